"""What the load benchmark tells, and what it cannot measure."""

import math
from pathlib import Path

import pytest

from pipelines.benchmark_load import Served, benchmark_load
from shared.errors import ModelNotFoundError
from shared.settings import Home


def test_the_times_are_those_of_answers() -> None:
    served = Served("one client", tuple(float(ms) for ms in range(1, 101)), errors=2, seconds=4.0)
    assert served.per_second == 25
    # Of 100 answers, 95 came within p95.
    assert (served.quantile(0.5), served.quantile(0.95), served.quantile(1)) == (51, 96, 100)
    assert served.line().split()[2:] == [
        "25.0", "a", "second", "ms:", "p50", "51.0,", "p95", "96.0,", "p99", "100.0", "2",
        "errors,", "100", "answers",
    ]  # fmt: skip


def test_without_an_answer_there_is_no_time() -> None:
    served = Served("one client", (), errors=3, seconds=1.0)
    assert served.per_second == 0
    assert math.isnan(served.quantile(0.95))


def test_the_model_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        benchmark_load("chatbot", home=Home(tmp_path), threads=1, say=print)
