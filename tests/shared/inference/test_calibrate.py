"""Calibration: what is measured, and that an encoder that has one is exported by it."""

import logging
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from shared.inference.calibrate import calibrate
from shared.inference.export import export_int8
from shared.inference.parity import ParityGate
from shared.inference.runtime import (
    CALIBRATION_FILE,
    OnnxEmbedder,
    float_fingerprint,
    int8_fingerprint,
    load_embedder,
)
from shared.inference.static_quantisation import CLIPS, Calibration, Span
from shared.modeling.encoder import Encoder
from shared.modeling.encoder_folder import read_encoder_folder

LOOSE = ParityGate(cosine_min=0.9, cosine_mean=0.95, neighbour_agreement=0.0)
TEXTS = ["where is my order", "good", "the bank will pay the money late", "red shoe", "profit"]


@pytest.fixture(scope="module")
def calibrated(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder, calibrated on TEXTS and exported."""
    folder = tmp_path_factory.mktemp("calibrated") / "model"
    shutil.copytree(tiny_encoder, folder)
    calibrate(read_encoder_folder(folder), TEXTS, seed=1).write(folder / CALIBRATION_FILE)
    assert export_int8(folder, folder / "onnx", TEXTS, LOOSE, threads=2).passed
    return folder


def test_the_spans_are_those_of_the_linear_layers_inputs(
    tiny_encoder: Path, calibrated: Path
) -> None:
    """Against hooks on the layers in torch. The products' order is that of computation; query, key
    and value share their input."""
    encoder = Encoder.from_pretrained(tiny_encoder).eval()
    seen: dict[str, tuple[float, float]] = {}

    def watch(name: str, _: nn.Module, given: tuple[Any, ...]) -> None:
        low, high = seen.get(name, (np.inf, -np.inf))
        seen[name] = (min(low, float(given[0].min())), max(high, float(given[0].max())))

    for name, module in encoder.model.named_modules():
        if isinstance(module, nn.Linear) and not name.endswith(("key", "value")):
            module.register_forward_pre_hook(partial(watch, name))
    with torch.inference_mode():
        for text in TEXTS:
            encoder(**encoder.tokens([text]))
    found = Calibration.read(calibrated / CALIBRATION_FILE)
    assert found.texts == len(TEXTS)
    assert len(found.spans) == len(seen) == 8
    for span, (low, high) in zip(found.spans.values(), seen.values(), strict=True):
        shares = [span.low / min(low, 0), span.high / max(high, 0)]
        assert shares[0] == pytest.approx(shares[1], rel=1e-3)
        assert min(abs(shares[0] - clip) for clip in CLIPS) < 1e-3


def test_the_export_takes_the_static_scales(tiny_encoder: Path, calibrated: Path) -> None:
    model = onnx.load(str(calibrated / "onnx" / "encoder.int8.onnx"))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") == 8
    assert kinds.count("MatMulIntegerToFloat") == 12
    embedder = load_embedder(calibrated, threads=2)
    assert isinstance(embedder, OnnxEmbedder)
    expected = load_embedder(tiny_encoder, precision="fp32").encode(TEXTS)
    assert (embedder.encode(TEXTS) * expected).sum(1).min() > 0.99
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, embedder.encode(TEXTS), atol=1e-6)


def test_the_fingerprint_is_that_of_the_calibration(calibrated: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(calibrated, tmp_path / "model"))
    found = read_encoder_folder(folder)
    first = int8_fingerprint(found)
    assert first.startswith("int8s1-")
    assert load_embedder(folder).fingerprint == first
    said = Calibration.read(folder / CALIBRATION_FILE)
    name, span = next(iter(said.spans.items()))
    moved = {**said.spans, name: Span(span.low, span.high * 1.01)}
    Calibration(said.texts, moved).write(folder / CALIBRATION_FILE)
    assert int8_fingerprint(found) != first
    # The export that lies there has other scales: it is not taken for this one.
    assert load_embedder(folder).fingerprint == float_fingerprint(found)
    (folder / CALIBRATION_FILE).unlink()
    assert int8_fingerprint(found).startswith("int8t2-")


def test_the_calibration_of_another_encoder_is_told_and_fp32_serves(
    tiny_encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    Calibration(5, {"/elsewhere": Span(-1.0, 1.0)}).write(folder / CALIBRATION_FILE)
    report = export_int8(folder, folder / "onnx", TEXTS, LOOSE, threads=2)
    (failure,) = report.int8_failures
    assert failure.startswith("export failed: ModelError: the graph multiplies /model/")
    assert failure.endswith("which is not among the 1 calibrated activations; calibrate again")
    with caplog.at_level(logging.WARNING, logger="shared.inference"):
        assert load_embedder(folder).fingerprint == float_fingerprint(read_encoder_folder(folder))
    assert "instead of int8: export failed" in caplog.text


def test_the_same_texts_and_seed_give_the_same_calibration(
    tiny_encoder: Path, calibrated: Path
) -> None:
    found = calibrate(read_encoder_folder(tiny_encoder), TEXTS, seed=1)
    assert found == Calibration.read(calibrated / CALIBRATION_FILE)
