"""A report comes back from its JSON, and its page shows everything and runs nothing."""

from pathlib import Path

import pytest

from shared.errors import DataError
from shared.evaluation.report import (
    Baseline,
    CalibrationBin,
    Confusion,
    LabelFigures,
    Measure,
    Report,
    Slice,
)

ACCURACY = Measure("accuracy", 0.94, 0.92, 0.955, 1540)


@pytest.fixture
def report() -> Report:
    return Report(
        title="Bot <1>",
        app="chatbot",
        model="support@2",
        data="1,540 questions",
        measures=(ACCURACY, Measure("AUROC", None, None, None, 0)),
        per_label=(
            LabelFigures("refund", 9, 1.0, 0.9, 0.95),
            LabelFigures("card & pin", 3, 0.5, 0.6, 0.55),
            LabelFigures("unseen", 0, None, None, None),
        ),
        confusions=(Confusion("refund", "card & pin", 3, ("<script>alert(1)</script>", "hm")),),
        slices=(Slice("short", 40, (ACCURACY,)),),
        baselines=(Baseline("TF-IDF + SVM", (Measure("accuracy", 0.9, 0.88, 0.92, 1540),)),),
        calibration=(CalibrationBin(0.9, 1.0, 40, 0.95, 0.9),),
        notes=("1 label has one example only",),
        seconds={"encoding": 1.25},
    )


def test_a_report_comes_back_from_its_json(report: Report) -> None:
    assert Report.from_json(report.to_json()) == report


def test_only_measured_figures_go_to_the_registry(report: Report) -> None:
    assert report.metrics == {"accuracy": 0.94}


def test_what_is_not_a_report_is_refused() -> None:
    with pytest.raises(DataError, match=r"^not a report: KeyError: 'title'$"):
        Report.from_json("{}")


def test_the_page_holds_everything_escaped_and_asks_nobody(report: Report, tmp_path: Path) -> None:
    page = report.write(tmp_path / "new")
    html = page.read_text(encoding="utf-8")
    assert (tmp_path / "new" / "report.json").read_text(encoding="utf-8") == report.to_json() + "\n"
    for shown in (
        "Bot &lt;1&gt;",
        "0.920 to 0.955",
        "TF-IDF + SVM",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "card &amp; pin",
        "1 label has one example only",
        "40 rows: says 95.0 %, is right 90.0 %",
        "unseen",
        "1.2 s",
    ):
        assert shown in html
    for forbidden in ("<script", "http:", "https:", "src="):
        assert forbidden not in html


def test_the_weakest_label_stands_first(report: Report, tmp_path: Path) -> None:
    table = report.write(tmp_path).read_text(encoding="utf-8").split("Label by label")[1]
    assert table.index("card &amp; pin") < table.index("refund")


def test_a_report_of_one_figure_is_a_page_too(tmp_path: Path) -> None:
    html = Report("R", "news", "n@1", "x", (ACCURACY,)).write(tmp_path).read_text(encoding="utf-8")
    assert "0.940" in html
    assert "<svg" not in html
