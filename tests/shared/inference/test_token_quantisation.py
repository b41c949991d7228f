"""The rewritten graph against the same arithmetic in numpy."""

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared.inference.token_quantisation import quantise_columns, quantise_matmuls


def graph(*matrices: NDArray[np.float32]) -> onnx.ModelProto:
    """y_i = x @ matrix_i, all of the same x (batch, length, k); y_product = y_0 @ y_0^T."""
    nodes = [
        helper.make_node("MatMul", ["x", f"m{place}"], [f"y{place}"])
        for place in range(len(matrices))
    ]
    nodes.append(helper.make_node("Transpose", ["y0"], ["t"], perm=[0, 2, 1]))
    nodes.append(helper.make_node("MatMul", ["y0", "t"], ["product"]))
    names = [*[f"y{place}" for place in range(len(matrices))], "product"]
    content = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", "l", matrices[0].shape[0]])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", "l", n]) for n in names],
        [numpy_helper.from_array(matrix, f"m{place}") for place, matrix in enumerate(matrices)],
    )
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: onnx.ModelProto, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[NDArray[np.float32]] = session.run(None, {"x": x})
    return found


def by_hand(x: NDArray[np.float32], matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    largest = np.maximum(np.abs(x).max(axis=-1, keepdims=True), 1e-9)
    x_int = np.rint(x * (np.float32(127) / largest)).astype(np.int64)
    scale = np.abs(matrix).max(axis=0) / 127
    w_int = np.rint(matrix / scale).astype(np.int64)
    product: NDArray[np.float64] = (x_int @ w_int) * scale * (largest / 127)
    return product


def example() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 5, 16)).astype(np.float32)
    x[1, 2] *= 1000  # one outlying token
    x[2, 4] = 0  # and one of zeros
    first, second = np.abs(random.normal(size=(2, 16, 8)).astype(np.float32))
    # Processors without VNNI add two neighbouring products in 16 bits, which opposite signs fit.
    sign = np.tile(np.array([1, -1], np.float32), 8)[:, None]
    return x, first * sign, second * sign


def test_products_are_those_of_the_rounded_integers() -> None:
    x, first, second = example()
    model = graph(first, second)
    assert quantise_matmuls(model) == 2
    onnx.checker.check_model(model)
    y0, y1, _ = run(model, x)
    np.testing.assert_allclose(y0, by_hand(x, first), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(y1, by_hand(x, second), rtol=1e-4, atol=1e-5)


def test_products_are_within_the_bound_of_rounding_both_sides_by_half_a_step() -> None:
    x, first, second = example()
    model = graph(first, second)
    quantise_matmuls(model)
    y0 = run(model, x)[0]
    step_x = np.abs(x).max(axis=-1, keepdims=True) / 127  # of each token
    step_w = np.abs(first).max(axis=0) / 127  # of each column
    bound = np.abs(x).sum(-1, keepdims=True) * step_w + step_x * np.abs(first).sum(0)
    bound = bound / 2 + len(first) * step_x * step_w / 4
    assert (np.abs(y0 - x @ first) <= 1.01 * bound + 1e-6).all()
    assert (y0[2, 4] == 0).all()


def test_a_tokens_product_does_not_depend_on_the_others() -> None:
    x, first, second = example()
    model = graph(first, second)
    quantise_matmuls(model)
    together = run(model, x)[0]
    alone = np.concatenate([run(model, x[place : place + 1])[0] for place in range(3)])
    np.testing.assert_array_equal(together, alone)


def test_products_of_two_activations_stay_as_they_are() -> None:
    x, first, second = example()
    model = graph(first, second)
    quantise_matmuls(model)
    y0, _, product = run(model, x)
    np.testing.assert_allclose(product, y0 @ y0.transpose(0, 2, 1), rtol=1e-4, atol=1e-2)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMul") == 1
    assert kinds.count("QuantizeLinear") == 1  # x is quantised once for both
    assert {t.name for t in model.graph.initializer}.isdisjoint({"m0", "m1"})


def test_columns_are_within_half_a_step() -> None:
    matrix = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    matrix[:, 3] = 0
    quantised, scale = quantise_columns(matrix)
    assert quantised.dtype == np.int8
    assert np.abs(quantised[:, :3]).max(axis=0).tolist() == [127, 127, 127]
    assert (np.abs(quantised * scale - matrix) <= scale / 2 + 1e-7).all()
