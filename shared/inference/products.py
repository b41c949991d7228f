"""How much faster this processor multiplies int8 than fp32, which bounds an int8 encoder's gain.

With VNNI one instruction multiplies and adds four pairs of int8. Without it three do, which leaves
int8 a factor of two in the products at best, whatever the library; the rest of an encoder
(attention, normalisation, GELU) is fp32 in both.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch.nn.functional import linear

from shared.inference.graph_rewriting import CONTRIB
from shared.inference.runtime import one_thread_session
from shared.inference.throughput import Rate, time_rounds
from shared.inference.token_quantisation import quantise_columns
from shared.inference.torch_runtime import threads_limited

# A batch of 32 texts of 15 tokens, in the widest product of all-MiniLM-L6-v2.
ROWS, INNER, OUTER = 480, 384, 1536
REPEATS = 20  # products of a round
FP32, INT8 = "torch fp32", "ONNX Runtime int8"


def time_products(
    *, rows: int = ROWS, inner: int = INNER, outer: int = OUTER, rounds: int = 15
) -> tuple[Rate, Rate]:
    """Products (rows, inner) @ (inner, outer) a second, in FP32 and in INT8, on one thread each.

    int8: uint8 activations and int8 weights to fp32, as in token_quantisation, without its scaling
    of the activations.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, inner), dtype=np.float32)
    matrix = rng.standard_normal((inner, outer), dtype=np.float32)
    rivals = {FP32: _in_torch(x, matrix), INT8: _in_onnx(x, matrix)}
    with threads_limited(1), torch.inference_mode():
        plain, small = time_rounds(rivals, REPEATS, rounds)
    return plain, small


def _in_torch(x: NDArray[np.float32], matrix: NDArray[np.float32]) -> Callable[[], None]:
    tokens, weight = torch.from_numpy(x), torch.from_numpy(matrix.T.copy())

    def run() -> None:
        for _ in range(REPEATS):
            linear(tokens, weight)

    return run


def _in_onnx(x: NDArray[np.float32], matrix: NDArray[np.float32]) -> Callable[[], None]:
    session = one_thread_session(product_model(matrix))
    tokens = np.clip(np.rint(x / np.abs(x).max() * 127) + 128, 0, 255).astype(np.uint8)

    def run() -> None:
        for _ in range(REPEATS):
            session.run(None, {"x": tokens})

    return run


def product_model(matrix: NDArray[np.float32]) -> bytes:
    """An ONNX model: x (m, k) uint8 around 128 -> y (m, n) float32, (x - 128) @ matrix, its matrix
    in int8."""
    quantised, scale = quantise_columns(matrix)
    constants = {
        "w": quantised,
        "one": np.array(1, np.float32),
        "scale": scale.astype(np.float32),
        "middle": np.array(128, np.uint8),
        "zero": np.zeros(matrix.shape[1], np.int8),
    }
    product = helper.make_node(
        "MatMulIntegerToFloat", ["x", "w", "one", "scale", "middle", "zero"], ["y"], domain=CONTRIB
    )
    graph = helper.make_graph(
        [product],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["m", matrix.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", matrix.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    content: bytes = model.SerializeToString()
    return content
