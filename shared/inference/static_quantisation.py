"""int8 matrix products for an ONNX graph, with scales measured once on texts of one's own.

The other way, token_quantisation.py, measures each token as it comes. Here an activation has one
scale for every token of every text, found beforehand: nothing is left to compute but the rounding.
The price is that one outlying token decides how finely all others are told apart.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from shared.atomic import write_text
from shared.errors import ModelError
from shared.inference.graph_rewriting import (
    CONTRIB,
    Rewriting,
    constant_matrices,
    is_constant_product,
)
from shared.inference.token_quantisation import quantise_columns
from shared.modeling.encoder_folder import read_json_object

LEVELS = 255
# Shares of the whole span that are tried: what lies outside is clipped, the rest told apart better.
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


@dataclass(frozen=True)
class Span:
    """The values that uint8 0..255 stands for: low <= 0 <= high, and low < high."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """Between two neighbouring levels."""
        return (self.high - self.low) / LEVELS

    @property
    def zero(self) -> int:
        """The level of the value 0."""
        return round(-self.low / self.scale)

    def rounded(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is left of the values, which may have any shape.

        >>> Span(-64.0, 191.0).rounded(np.float32([-99, 0, 0.6, 7.4])).tolist()
        [-64.0, 0.0, 1.0, 7.0]
        """
        levels = np.clip(np.rint(values / self.scale) + self.zero, 0, LEVELS)
        kept: NDArray[np.float32] = ((levels - self.zero) * self.scale).astype(np.float32)
        return kept


@dataclass(frozen=True)
class Calibration:
    """spans: activation of the traced graph -> its span. texts: how many it was measured on."""

    texts: int
    spans: Mapping[str, Span]

    def write(self, path: Path) -> None:
        """As JSON; the spans are part of what an int8 vector is, see runtime.int8_fingerprint."""
        content = {"texts": self.texts, "spans": {n: asdict(s) for n, s in self.spans.items()}}
        write_text(path, json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Calibration":
        """Raises ModelError naming the file if it is not what write() wrote."""
        said = read_json_object(path)
        try:
            spans = {
                name: Span(float(span["low"]), float(span["high"]))
                for name, span in said["spans"].items()
            }
            texts = int(said["texts"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"{path}: unexpected content ({error!r}); calibrate again") from error
        if any(not span.low <= 0 <= span.high or span.low == span.high for span in spans.values()):
            raise ModelError(f"{path}: a span that does not hold 0; calibrate again")
        return cls(texts, spans)


def choose_span(values: NDArray[np.float32], low: float, high: float) -> Span:
    """The span with the least squared error on `values`, among clipped shares of low..high.

    values: a sample of the activation's. low, high: its smallest and largest value; 0 is added.
    Source: Choukroun et al. 2019, Low-bit Quantization of Neural Networks for Efficient Inference.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return Span(0.0, 1.0)  # always 0, which any span keeps
    spans = [Span(low * clip, high * clip) for clip in CLIPS]
    errors = [float(np.square(span.rounded(values) - values).mean()) for span in spans]
    return spans[int(np.argmin(errors))]


def matmul_inputs(model: ModelProto) -> tuple[str, ...]:
    """The activations that are multiplied by a constant matrix, each once, in graph order."""
    matrices = constant_matrices(model)
    names = [node.input[0] for node in model.graph.node if is_constant_product(node, matrices)]
    return tuple(dict.fromkeys(names))


def quantise_statically(model: ModelProto, spans: Mapping[str, Span]) -> int:
    """Replace in place each MatMul with a constant matrix by its int8 form; return how many.

    X @ W becomes int32((Q - zero) @ round(W / s_w)) * s_w * scale, where Q is X in levels of its
    span and s_w = max |w| of the column / 127.

    Raises ModelError for an activation without a span.
    """
    matrices = constant_matrices(model)
    state, quantised = Rewriting(), set[str]()
    replaced = 0
    for node in model.graph.node:
        if not is_constant_product(node, matrices):
            state.nodes.append(node)
            continue
        x, y = node.input[0], node.output[0]
        if x not in spans:
            raise ModelError(
                f"the graph multiplies {x}, which is not among the {len(spans)} calibrated "
                "activations; calibrate again"
            )
        if x not in quantised:
            quantised.add(x)
            state.constant(f"{x}/scale", np.array(spans[x].scale, np.float32))
            state.constant(f"{x}/zero", np.array(spans[x].zero, np.uint8))
            state.add("QuantizeLinear", [x, f"{x}/scale", f"{x}/zero"], f"{x}/q")
        matrix, scale = quantise_columns(numpy_helper.to_array(matrices[node.input[1]]))
        inputs = [
            f"{x}/q",
            state.constant(f"{y}/w", matrix),
            f"{x}/scale",
            state.constant(f"{y}/w_scale", scale.astype(np.float32)),
            f"{x}/zero",
            state.constant(f"{y}/w_zero", np.zeros(matrix.shape[1], np.int8)),
        ]
        state.nodes.append(helper.make_node("MatMulIntegerToFloat", inputs, [y], domain=CONTRIB))
        replaced += 1
    state.apply(model)
    return replaced
