"""int8 matrix products for an ONNX graph, with one scale for each token.

ONNX Runtime's own quantize_dynamic gives a whole batch one activation scale, so a text's vector
depends on what else is in the batch (all-MiniLM-L6-v2: cosine down to .984 between a text in a
batch of 32 and the same text alone) and one outlying token costs all others their digits. Here
each token has a scale of its own. Then a text's vector is the same in any company, and it is
nearer to fp32; the price is a few elementwise operations, 6 % of the processor time.

Processors without VNNI add two neighbouring products in 16 bits, where the largest ones saturate.
Weights of 7 bits cannot, and are no better for it: on such a processor all-MiniLM-L6-v2 keeps a
mean cosine of .9969 to fp32 with 8 bits and of .9964 with 7 (300 questions of BANKING77).

Change runtime.INT8_RECIPE, which goes into fingerprints, whenever the vectors change.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from shared.inference.graph_rewriting import (
    CONTRIB,
    Rewriting,
    constant_matrices,
    is_constant_product,
)

# Smallest scale: a token of zeros must not be divided by zero.
_TINY = 1e-9


@dataclass
class _TokenRewriting(Rewriting):
    """quantised: activations that are quantised already, by name."""

    quantised: set[str] = field(default_factory=set)


def quantise_matmuls(model: ModelProto) -> int:
    """Replace in place each MatMul with a constant matrix by its int8 form; return how many.

    X (..., length, k) @ W (k, n) becomes

        s_x = max |x| of the token / 127        (..., length, 1), computed for each text
        s_w = max |w| of the column / 127       (n,), computed here
        Y = int32(round(X / s_x) @ round(W / s_w)) * s_w * s_x

    X is stored as uint8 around 128, W as int8, for that is the pair processors multiply fastest.
    Products of two activations (attention) stay in fp32. Embedding tables stay in fp32.
    """
    matrices = constant_matrices(model)
    state = _TokenRewriting()
    state.constant("tq_one", np.array(1, np.float32))
    state.constant("tq_largest", np.array(127, np.float32))
    state.constant("tq_tiny", np.array(_TINY, np.float32))
    state.constant("tq_zero", np.array(128, np.uint8))
    replaced = 0
    for node in model.graph.node:
        if is_constant_product(node, matrices):
            _quantise_input(state, node.input[0])
            _replace(state, node, numpy_helper.to_array(matrices[node.input[1]]))
            replaced += 1
        else:
            state.nodes.append(node)
    state.apply(model)
    return replaced


def _quantise_input(state: _TokenRewriting, x: str) -> None:
    """x -> x/q (uint8 around 128) and x/largest (max |x| of each token), once for all users."""
    if x in state.quantised:
        return
    state.quantised.add(x)
    state.add("Abs", [x], f"{x}/abs")
    state.add("ReduceMax", [f"{x}/abs"], f"{x}/max", axes=[-1], keepdims=1)
    state.add("Max", [f"{x}/max", "tq_tiny"], f"{x}/largest")
    state.add("Div", ["tq_largest", f"{x}/largest"], f"{x}/inverse")
    state.add("Mul", [x, f"{x}/inverse"], f"{x}/scaled")
    state.add("QuantizeLinear", [f"{x}/scaled", "tq_one", "tq_zero"], f"{x}/q")


def _replace(state: _TokenRewriting, node: NodeProto, matrix: NDArray[np.float32]) -> None:
    x, y = node.input[0], node.output[0]
    quantised, scale = quantise_columns(matrix)
    inputs = [
        f"{x}/q",
        state.constant(f"{y}/w", quantised),
        "tq_one",
        # max |x| / 127 is the token's scale; the 127 goes into the constant.
        state.constant(f"{y}/scale", (scale / 127).astype(np.float32)),
        "tq_zero",
        state.constant(f"{y}/zero", np.zeros(matrix.shape[1], np.int8)),
    ]
    product = helper.make_node("MatMulIntegerToFloat", inputs, [f"{y}/product"], domain=CONTRIB)
    state.nodes.append(product)
    state.add("Mul", [f"{y}/product", f"{x}/largest"], y)


def quantise_columns(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(k, n) -> int8 (k, n) in -127..127 and scales (n,): matrix is about int8 * scales."""
    scale = np.abs(matrix).max(axis=0) / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(matrix / scale).astype(np.int8), scale
