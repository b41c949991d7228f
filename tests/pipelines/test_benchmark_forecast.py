"""The forecast's benchmark: its arithmetic, its pairs, and a real run of a case."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.benchmark_forecast import CASES, ForecastRow, benchmark_forecast, pairs_of, run_case
from shared.errors import DataError
from shared.settings import Home
from shared.training.examples import Examples


def test_errors_are_shares_of_the_truth() -> None:
    row = ForecastRow("case", 5.0, 4.0, 900.0, 1000.0, 100)
    assert row.error == pytest.approx(0.25)
    assert row.memory_error == pytest.approx(-0.1)
    assert row.line() == (
        "case: said 5.00 minutes, took 4.00 (+25%); said 900 MiB, held 1000 (-10%); 100 steps"
    )


def test_a_pair_is_two_neighbours_of_a_label() -> None:
    labels = [("b",), ("a",), ("b",), ("b",), ("a",), ("c",)]
    found = pairs_of(Examples(tuple("uvwxyz"), tuple(labels), np.arange(6)))
    assert list(zip(found.anchors, found.positives, strict=True)) == [
        ("v", "y"),
        ("u", "w"),
        ("w", "x"),
    ]


@pytest.mark.parametrize("matching", [False, True])
def test_a_case_is_forecast_and_run(tiny_encoder: Path, tmp_path: Path, matching: bool) -> None:
    rng = random.Random(1)
    words = {"good": "profit", "bad": "loss"}
    fillers = "the a my is was where how when will it help please tea cup".split()
    with (tmp_path / "t.csv").open("w") as file:
        file.write("text,label\n")
        for at in range(1400):
            label = ("good", "bad")[at % 2]
            file.write(f"{' '.join(rng.sample(fillers, 5))} {words[label]},{label}\n")
    options = replace(
        CASES[0].options, base=str(tiny_encoder), batch_size=16, threads=1, bf16=False
    )
    case = replace(CASES[0], options=options, rows=1200, matching=matching)
    row = run_case(case, tmp_path / "t.csv", tmp_path / "cache")
    assert row.steps >= 60
    assert row.said_minutes > 0
    assert row.took_minutes > 0
    assert row.held_memory_mb >= row.said_memory_mb > 50


def test_a_folder_without_the_sets_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(DataError) as caught:
        benchmark_forecast(tmp_path, home=Home(tmp_path), seed=1, threads=1, say=said.append)
    assert str(caught.value).startswith(f"nothing to measure in {tmp_path}: fetch a set")
    assert len(said) == len(CASES)
