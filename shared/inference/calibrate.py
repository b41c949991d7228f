"""Measuring the activations of an encoder on texts, for int8 with scales fixed beforehand."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from shared.inference.batches import TextTokens
from shared.inference.export import trace_onnx
from shared.inference.runtime import one_thread_session
from shared.inference.static_quantisation import Calibration, choose_span, matmul_inputs
from shared.modeling.encoder import Encoder
from shared.modeling.encoder_folder import EncoderFolder

# Of each activation and text, to choose its span by: 400 texts give 800,000, which is 3 MB.
SAMPLED_VALUES = 2000


def calibrate(found: EncoderFolder, texts: Sequence[str], *, seed: int) -> Calibration:
    """The span of every activation that meets a constant matrix, measured on `texts`.

    texts: like those that will be encoded; some hundred are enough. One at a time, so that no
    padding is measured. seed: of the values sampled.
    """
    encoder = Encoder.from_pretrained(
        found.path, prefix=found.prefix, max_length=found.max_length
    ).eval()
    tokens = TextTokens(
        encoder.tokenizer.backend_tokenizer,
        prefix=found.prefix,
        max_length=found.max_length,
        pad_token_id=found.pad_token_id,
    )
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fp32.onnx"
        trace_onnx(encoder, path)
        names = _tell(path)
        session = one_thread_session(path)
        lows, highs = np.full(len(names), np.inf), np.full(len(names), -np.inf)
        samples: list[list[NDArray[np.float32]]] = [[] for _ in names]
        for row in tokens.ids(texts):
            ids, mask = tokens.padded([row])
            values = session.run(list(names), {"input_ids": ids, "attention_mask": mask})
            for at, value in enumerate(values):
                lows[at], highs[at] = min(lows[at], value.min()), max(highs[at], value.max())
                samples[at].append(_some(value.ravel(), rng))
    spans = {
        name: choose_span(np.concatenate(samples[at]), float(lows[at]), float(highs[at]))
        for at, name in enumerate(names)
    }
    return Calibration(len(texts), spans)


def _tell(path: Path) -> tuple[str, ...]:
    """Make the graph in `path` give its activations too; their names."""
    model = onnx.load(str(path))
    names = matmul_inputs(model)
    for name in names:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    onnx.save(model, str(path))
    return names


def _some(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    if len(values) <= SAMPLED_VALUES:
        return values.copy()
    return values[rng.integers(len(values), size=SAMPLED_VALUES)]
