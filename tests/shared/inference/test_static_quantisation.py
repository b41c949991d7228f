"""Scales fixed beforehand: the arithmetic against numpy, and what a calibration file may hold."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared.errors import ModelError
from shared.inference.static_quantisation import (
    CLIPS,
    Calibration,
    Span,
    choose_span,
    matmul_inputs,
    quantise_statically,
)


def graph(*matrices: NDArray[np.float32]) -> onnx.ModelProto:
    """y0 = x @ m0, y1 = x @ m1, z = relu(y0) @ m2, product = y0 @ y0^T."""
    width, made = matrices[0].shape
    nodes = [
        helper.make_node("MatMul", ["x", "m0"], ["y0"]),
        helper.make_node("MatMul", ["x", "m1"], ["y1"]),
        helper.make_node("Relu", ["y0"], ["r"]),
        helper.make_node("MatMul", ["r", "m2"], ["z"]),
        helper.make_node("Transpose", ["y0"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["y0", "t"], ["product"]),
    ]
    widths = {"y0": made, "y1": made, "z": width, "product": "l"}
    content = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", "l", width])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", "l", w])
         for n, w in widths.items()],
        [numpy_helper.from_array(m, f"m{at}") for at, m in enumerate(matrices)],
    )  # fmt: skip
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: onnx.ModelProto, x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": x}), strict=True))


def by_hand(x: NDArray[np.float32], matrix: NDArray[np.float32], span: Span) -> NDArray[np.float64]:
    """In whole numbers: levels above the zero level, times the columns' rounded weights."""
    step = (span.high - span.low) / 255
    zero = round(-span.low / step)
    levels = np.clip(np.rint(x / np.float32(step)).astype(np.int64) + zero, 0, 255) - zero
    scale = np.abs(matrix).max(axis=0) / 127
    product: NDArray[np.float64] = (levels @ np.rint(matrix / scale).astype(np.int64)) * scale
    return product * step


def example() -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]:
    """x and the three matrices. Processors without VNNI add two neighbouring products in 16 bits,
    which fit there when their signs are opposite."""
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 5, 16)).astype(np.float32)
    sign = np.tile(np.array([1, -1], np.float32), 8)[:, None]
    shapes = ((16, 8), (16, 8), (8, 16))
    made = [np.abs(random.normal(size=shape).astype(np.float32)) for shape in shapes]
    return x, tuple(matrix * sign[: len(matrix)] for matrix in made)


def test_products_are_those_of_the_rounded_integers() -> None:
    x, matrices = example()
    spans = {"x": Span(-2.0, 1.5), "r": Span(0.0, 9.0)}  # some of x lies outside
    model = graph(*matrices)
    assert quantise_statically(model, spans) == 3
    onnx.checker.check_model(model)
    found = run(model, x)
    y0 = by_hand(x, matrices[0], spans["x"])
    np.testing.assert_allclose(found["y0"], y0, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        found["y1"], by_hand(x, matrices[1], spans["x"]), rtol=1e-4, atol=1e-4
    )
    r = np.maximum(found["y0"], 0)
    np.testing.assert_allclose(
        found["z"], by_hand(r, matrices[2], spans["r"]), rtol=1e-4, atol=1e-4
    )
    product = found["y0"] @ found["y0"].transpose(0, 2, 1)  # of two activations: as it was
    np.testing.assert_allclose(found["product"], product, rtol=1e-4, atol=1e-2)


def test_an_activation_is_rounded_once_for_all_its_products() -> None:
    _, matrices = example()
    model = graph(*matrices)
    assert matmul_inputs(model) == ("x", "r")
    quantise_statically(model, {"x": Span(-1.0, 1.0), "r": Span(0.0, 1.0)})
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") == 2
    assert kinds.count("MatMul") == 1
    assert {t.name for t in model.graph.initializer}.isdisjoint({"m0", "m1", "m2"})


def test_an_activation_that_was_not_measured_is_refused() -> None:
    _, matrices = example()
    with pytest.raises(ModelError) as refused:
        quantise_statically(graph(*matrices), {"x": Span(-1.0, 1.0)})
    assert str(refused.value) == (
        "the graph multiplies r, which is not among the 1 calibrated activations; calibrate again"
    )


def test_the_span_chosen_has_the_least_squared_error() -> None:
    values = np.random.default_rng(1).normal(size=40_000).astype(np.float32)
    values[0] = 10  # one outlier would cost all others their digits
    low, high = float(values.min()), float(values.max())
    errors = {}
    for clip in CLIPS:
        step = (high - low) * clip / 255
        zero = round(-low * clip / step)
        levels = np.clip(np.round(values.astype(np.float64) / step) + zero, 0, 255)
        errors[clip] = float(((levels - zero) * step - values).__pow__(2).mean())
    best = min(errors, key=lambda clip: errors[clip])
    assert best < 1
    assert choose_span(values, low, high) == Span(low * best, high * best)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 0.0, Span(0.0, 1.0)), (2.0, 4.0, Span(0.0, 4.0)), (-4.0, -2.0, Span(-4.0, 0.0))],
)
def test_every_span_holds_zero(low: float, high: float, expected: Span) -> None:
    assert choose_span(np.array([low, high], np.float32), low, high) == expected
    assert expected.rounded(np.zeros(1, np.float32)).tolist() == [0.0]


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = Calibration(7, {"x": Span(-1.25, 3.0), "/model/r": Span(0.0, 0.5)})
    written.write(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == written


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"texts": 3}, "unexpected content (KeyError('spans')); calibrate again"),
        (
            {"texts": 3, "spans": []},
            "unexpected content (AttributeError(\"'list' object has no attribute 'items'\")); "
            "calibrate again",
        ),
        (
            {"texts": 3, "spans": {"x": {"low": 1, "high": 2}}},
            "a span that does not hold 0; calibrate again",
        ),
        (
            {"texts": 3, "spans": {"x": {"low": 0, "high": 0}}},
            "a span that does not hold 0; calibrate again",
        ),
    ],
)
def test_a_damaged_calibration_is_named(
    tmp_path: Path, content: dict[str, object], complaint: str
) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=f"^{re.escape(f'{path}: {complaint}')}$"):
        Calibration.read(path)
