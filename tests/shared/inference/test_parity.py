"""Parity figures by hand, and the gate as data."""

import re
from pathlib import Path

import numpy as np
import pytest

from shared.errors import ModelError
from shared.inference.parity import (
    HeadCheck,
    Parity,
    ParityGate,
    ParityReport,
    compare,
    neighbour_agreement,
)


def directions(*degrees: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    angles = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_cosines_are_those_of_the_angles_between() -> None:
    found = compare(directions(0, 50, 100), directions(60, 50, 100))
    assert found.cosine_min == pytest.approx(0.5, abs=1e-6)
    assert found.cosine_mean == pytest.approx(2.5 / 3, abs=1e-6)
    assert (found.label_agreement, found.metric_drop) == (None, None)


def test_neighbours_are_compared_with_ties_forgiven() -> None:
    reference = directions(0, 20, 60, 99)
    assert neighbour_agreement(reference, reference) == 1.0
    # The second and the third find each other, which were 40 degrees apart: the second had one at
    # 20, and the third one at 39, a cosine of .011 nearer.
    assert neighbour_agreement(reference, directions(0, 58, 60, 99)) == 0.5
    # 40 or 40.5 degrees away: a cosine of .0056.
    assert neighbour_agreement(directions(20, 60, 100.5), directions(19, 60, 100)) == 1.0


def test_labels_and_metric_are_judged_through_the_head() -> None:
    reference, other = directions(10, 80, 20, 70), directions(10, 80, 60, 70)
    head = HeadCheck(lambda vectors: vectors, expected=np.array([0, 1, 0, 0]))
    found = compare(reference, other, head)
    assert found.label_agreement == 0.75
    assert found.metric_drop == 0.25
    assert compare(reference, other, HeadCheck(lambda vectors: vectors)).metric_drop is None


def test_each_figure_has_its_gate() -> None:
    good = Parity(0.99, 0.999, 0.95, 0.99, 0.0)
    assert good.failures(ParityGate()) == ()
    assert Parity(0.9, 0.98, 0.5, 0.9, 0.02).failures(ParityGate()) == (
        "cosine_min 0.9 below 0.97",
        "cosine_mean 0.98 below 0.99",
        "neighbour_agreement 0.5 below 0.9",
        "label_agreement 0.9 below 0.98",
        "metric_drop 0.02 above 0.01",
    )
    nothing = float("nan")
    assert len(Parity(nothing, nothing, nothing, nothing, nothing).failures(ParityGate())) == 5


@pytest.mark.parametrize(
    ("int8_failures", "bf16_failures", "best"),
    [((), (), "int8"), (("x",), (), "bf16"), (("x",), ("y",), "fp32")],
)
def test_the_best_runtime_is_the_smallest_that_passed(
    int8_failures: tuple[str, ...], bf16_failures: tuple[str, ...], best: str
) -> None:
    fine = Parity(1, 1, 1)
    report = ParityReport("f", 3, ParityGate(), fine, fine, int8_failures, bf16_failures)
    assert report.best == best
    assert report.passed == (best == "int8")


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    report = ParityReport(
        "int8-x", 9, ParityGate(cosine_min=0.5), None, Parity(1, 1, 1), ("why",), (), {"fp32": 3.5}
    )
    report.write(tmp_path)
    assert ParityReport.read(tmp_path) == report
    assert not report.passed


def test_a_strange_report_is_named(tmp_path: Path) -> None:
    path = tmp_path / "parity.json"
    path.write_text("{}")
    message = f"{path}: unexpected content (KeyError('fingerprint')); export again"
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        ParityReport.read(tmp_path)
