"""The export: what it writes, what it measures, and encoders that have no ONNX form."""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import MPNetConfig, MPNetModel, XLMRobertaConfig, XLMRobertaModel

from shared.errors import DataError
from shared.inference import export as export_module
from shared.inference.export import export_int8
from shared.inference.parity import HeadCheck, ParityGate, ParityReport
from shared.inference.probes import PROBE_TEXTS
from shared.inference.runtime import OnnxEmbedder, load_embedder
from shared.inference.throughput import Rate

LOOSE = ParityGate(cosine_min=0.9, cosine_mean=0.95, neighbour_agreement=0.0)
TEXTS = ["where is my order", "good", "the bank will pay the money late", "red shoe", "profit"]


def test_the_export_is_whole_and_holds_no_leftovers(tiny_encoder: Path, tmp_path: Path) -> None:
    target = tmp_path / "onnx"
    for _ in range(2):  # the second replaces the first
        report = export_int8(tiny_encoder, target, TEXTS, LOOSE, threads=2)
        assert sorted(path.name for path in target.iterdir()) == [
            "encoder.int8.onnx",
            "encoder.json",
            "parity.json",
            "tokenizer.json",
        ]
        assert [path.name for path in tmp_path.iterdir()] == ["onnx"]
        assert ParityReport.read(target) == report
    said = json.loads((target / "parity.json").read_text())
    assert said["passed"] is report.passed is True
    assert said["gate"]["cosine_min"] == 0.9


@pytest.mark.parametrize("family", ["mpnet", "xlm-roberta"])
def test_other_families_are_exported_and_agree_at_every_length(
    tiny_encoder: Path, tmp_path: Path, family: str
) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    small: dict[str, Any] = {
        "vocab_size": 140,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 66,
    }
    model = (
        MPNetModel(MPNetConfig(**small))
        if family == "mpnet"
        else XLMRobertaModel(XLMRobertaConfig(**small))
    )
    model.save_pretrained(folder)
    texts = ["good", "the bank will pay", "money late " * 12, "profit fall " * 90]
    report = export_int8(folder, folder / "onnx", texts, LOOSE, threads=2)
    assert report.passed, report.int8_failures
    found = OnnxEmbedder(folder / "onnx").encode(texts)
    expected = load_embedder(folder, precision="fp32").encode(texts)
    assert (found * expected).sum(1).min() > 0.98


def test_pooling_prefix_and_length_go_into_the_export(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    (folder / "triptych_encoder.json").write_text(
        json.dumps({"prefix": "good ", "max_length": 6, "pooling": "cls"})
    )
    export_int8(folder, folder / "onnx", TEXTS, LOOSE, threads=2)
    texts = [*TEXTS, "tea cup blue shoe money late red"]
    found = OnnxEmbedder(folder / "onnx").encode(texts)
    expected = load_embedder(folder, precision="fp32").encode(texts)
    assert (found * expected).sum(1).min() > 0.98


def test_the_head_is_part_of_the_parity(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick_bf16(rivals: Iterable[str], *_: object) -> list[Rate]:
        speeds = {"fp32": 1.0, "bf16": 2.0, "int8": 3.0}
        return [Rate(name, speeds[name], speeds[name], speeds[name]) for name in rivals]

    monkeypatch.setattr(export_module, "time_rounds", quick_bf16)
    fp32 = load_embedder(tiny_encoder, precision="fp32").encode(PROBE_TEXTS)
    # Each probe is its own label: the hardest head there is.
    head = HeadCheck(lambda vectors: vectors @ fp32.T, np.arange(len(PROBE_TEXTS)))
    report = export_int8(tiny_encoder, tmp_path / "onnx", head=head, gate=LOOSE, threads=2)
    assert report.int8 is not None
    assert report.bf16 is not None
    assert report.bf16.label_agreement is not None
    found = OnnxEmbedder(tmp_path / "onnx").encode(PROBE_TEXTS)
    agreement = ((found @ fp32.T).argmax(1) == (fp32 @ fp32.T).argmax(1)).mean()
    assert report.int8.label_agreement == pytest.approx(agreement)
    assert report.int8.metric_drop is not None


def test_an_encoder_without_an_onnx_form_is_reported_and_serves_in_fp32(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such\noperator: aten::odd")

    monkeypatch.setattr(export_module, "trace_onnx", refuse)
    report = export_int8(tiny_encoder, tmp_path / "onnx", TEXTS, LOOSE, threads=2)
    assert not report.passed
    assert report.int8 is None
    assert report.int8_failures == ("export failed: RuntimeError: no such operator: aten::odd",)
    assert [path.name for path in (tmp_path / "onnx").iterdir()] == ["parity.json"]


def test_a_failed_export_in_the_cache_is_not_tried_again(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def refuse(*_: object) -> None:
        calls.append(1)
        raise RuntimeError("no")

    monkeypatch.setattr(export_module, "trace_onnx", refuse)
    for _ in range(2):
        assert load_embedder(tiny_encoder, cache=tmp_path).fingerprint.startswith("float-")
    assert calls == [1]


def test_an_export_that_is_cut_off_leaves_what_was_there(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "onnx"
    export_int8(tiny_encoder, target, TEXTS, LOOSE, threads=2)
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    @contextmanager
    def full() -> Iterator[None]:
        raise OSError(28, "No space left on device")
        yield

    def no_space(*_: object) -> None:
        with full():
            pass

    monkeypatch.setattr(export_module, "trace_onnx", no_space)
    with pytest.raises(OSError, match="No space left"):
        export_int8(tiny_encoder, target, TEXTS, LOOSE, threads=2)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]


def test_probes_that_prove_nothing_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape("2 probe texts; parity needs at least 3")):
        export_int8(tiny_encoder, tmp_path / "onnx", ["a", "b"])
    head = HeadCheck(lambda vectors: vectors, np.zeros(4, dtype=np.int64))
    with pytest.raises(
        DataError, match=re.escape("4 expected labels for 5 probe texts; expected one for each")
    ):
        export_int8(tiny_encoder, tmp_path / "onnx", TEXTS, head=head)


def test_probe_texts_are_many_different_and_of_many_kinds() -> None:
    assert len(set(PROBE_TEXTS)) == len(PROBE_TEXTS) >= 60
    assert any(not text.isascii() for text in PROBE_TEXTS)
    assert max(map(len, PROBE_TEXTS)) > 500 > 10 > min(map(len, PROBE_TEXTS))
