"""What the serving benchmark says of its measurements, and what it refuses."""

from pathlib import Path

import pytest

from pipelines.benchmark_serving import (
    OURS,
    SAME,
    Memory,
    Serving,
    benchmark_serving,
    measure_memory,
)
from shared.errors import DataError
from shared.inference.throughput import Rate
from shared.settings import Home


def test_the_lines_give_milliseconds_and_ratios() -> None:
    batched = (Rate(OURS, 500.0, 600.0, 250.0), Rate(SAME, 100.0, 110.0, 50.0))
    single = (Rate(OURS, 200.0, 210.0, 200.0), Rate(SAME, 80.0, 90.0, 40.0))
    memory = Memory({"chatbot": 300.0, "news": 500.0}, together=600.0)
    lines = Serving(batched, single, memory).lines()
    assert [line.split()[-4:] for line in lines[:4]] == [
        ["1.0", "times", "our", "time"],
        ["5.0", "times", "our", "time"],
        ["1.0", "times", "our", "time"],
        ["2.5", "times", "our", "time"],
    ]
    assert "2.00 ms a text" in lines[0]
    assert "12.50 ms a text" in lines[3]
    assert lines[4] == (
        "memory    all in one process 600 MiB; alone chatbot 300, news 500: 0.75 of their sum"
    )


def test_a_home_without_models_has_no_memory_to_measure(tmp_path: Path) -> None:
    said: list[str] = []
    assert measure_memory(Home(tmp_path), said.append) is None
    assert said == [
        f"memory is not measured: {tmp_path / 'models'} has no model of each application"
    ]


def test_the_texts_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dnnc_valid\.csv is not there: name the folder"):
        benchmark_serving(tmp_path, home=Home(tmp_path), say=print)
