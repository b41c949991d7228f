"""A card says what the report measured, and names what is weak only where it is."""

import gzip
import hashlib
from datetime import UTC, datetime
from pathlib import Path

from shared.evaluation.model_card import Origin, Purpose, model_card, source_file
from shared.evaluation.report import Baseline, LabelFigures, Measure, Report, Slice

PURPOSE = Purpose("To answer questions.", "legal advice.", ("It knows its labels only.",))


def report() -> Report:
    return Report(
        title="t",
        app="chatbot",
        model="minilm frozen",
        data="120 held-out questions",
        measures=(
            Measure("accuracy", 0.87312, 0.81, 0.93, 120),
            Measure("calibration error", 0.0417, 0.02, 0.09, 120),
        ),
        per_label=(
            LabelFigures("refund|other", 12, 0.7, 0.6, 0.6461, 0.4, 0.8),
            LabelFigures("cancel", 30, 1.0, 1.0, 1.0, 1.0, 1.0),
            LabelFigures("never seen", 0, None, None, None),
        ),
        slices=(
            Slice("language zh", 25, (Measure("accuracy", 0.52, 0.32, 0.72, 25),)),
            Slice("language en", 95, (Measure("accuracy", 0.96, 0.92, 0.99, 95),)),
            Slice("up to 4 words", 30, (Measure("accuracy", 0.8, 0.66, 0.93, 30),)),
        ),
        baselines=(Baseline("TF-IDF + linear SVM", (Measure("accuracy", 0.79, 0.7, 0.86, 120),)),),
        notes=("method frozen: chosen by the smallest label",),
    )


def card(tmp_path: Path) -> str:
    path = tmp_path / "questions.csv"
    path.write_text("text,label\nhi,greet\n")
    origin = Origin(
        reference="desk@3",
        created_at=datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
        base="minilm",
        base_sha256="53aa51172d142c89",
        licence="Apache-2.0",
        method="auto",
        seed=13,
        sources=(source_file("examples", path),),
    )
    return model_card(report(), origin, PURPOSE)


def test_every_measured_figure_stands_in_the_card(tmp_path: Path) -> None:
    text = card(tmp_path)
    assert "| accuracy | 0.873 (0.810 to 0.930) | 120 |" in text
    assert "calibration error: 0.042 (0.020 to 0.090)" in text
    assert "| TF-IDF + linear SVM | 0.790 (0.700 to 0.860) |" in text
    assert "Measured on 120 held-out questions." in text
    assert "method frozen: chosen by the smallest label" in text
    assert text.startswith("# desk@3\n")


def test_weak_is_what_lies_below_the_whole_by_more_than_chance(tmp_path: Path) -> None:
    weak = card(tmp_path).split("## Where it is weak")[1].split("##")[0]
    assert "language zh: accuracy 0.520 (0.320 to 0.720) on 25 rows, 0.873 on all" in weak
    assert "label refund|other: F1 0.646 (0.400 to 0.800) on 12 rows" in weak
    assert "labels without a held-out row, of which nothing is known: 1" in weak
    assert "language en" not in weak
    assert "up to 4 words" not in weak
    assert "cancel" not in weak


def test_data_are_named_by_size_and_hash(tmp_path: Path) -> None:
    text = card(tmp_path)
    digest = hashlib.sha256(b"text,label\nhi,greet\n").hexdigest()
    assert f"| questions.csv | examples | 20 | 2 | {digest} |" in text
    packed = tmp_path / "events.csv.gz"
    packed.write_bytes(gzip.compress(b"a\nb\nc\n"))
    assert source_file("events", packed).lines == 3
    packed.write_bytes(b"no archive")
    assert source_file("events", packed).lines is None


def test_the_licence_of_the_base_encoder_is_told(tmp_path: Path) -> None:
    assert "Base encoder minilm (sha256 53aa51172d14…): Apache-2.0." in card(tmp_path)
