"""The benchmark of engines: what its figures are made of. The run itself is for `make bench`."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from pipelines import benchmark_distributed
from pipelines.benchmark_distributed import Distributed, DistributedRow
from pipelines.benchmark_distributed import benchmark_distributed as run
from shared.errors import DataError
from shared.settings import Home
from shared.shards import Finished, Shard


def test_a_rate_counts_from_the_moment_that_every_worker_has_finished_a_shard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Worker 1 finishes after 10, 11, 12 s, worker 2, which starts late, after 12.5 and 13.5 s."""
    clock = iter([0.0, 10.0, 11.0, 12.0, 12.5, 13.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))

    def finished() -> Iterator[Finished]:
        for number, process in enumerate((1, 1, 1, 2, 2)):
            frame = pd.DataFrame({"process": [process] * 8, "held": [300.0 + process] * 8})
            yield Finished(Shard(number, 8 * number, ("a",) * 8), frame)

    row = benchmark_distributed._timed("ray", 2, finished())
    # After 12.5 s one shard of 8 texts came, within a second.
    assert row == DistributedRow("ray", 2, rate=8.0, seconds=13.5, worker_mb=302.0)


def test_a_ratio_is_that_of_the_rates_of_one_run() -> None:
    rows = (DistributedRow("one", 1, 50.0, 9.0, 1.0), DistributedRow("two", 2, 90.0, 6.0, 1.0))
    assert Distributed(rows, 10, 2, 1.0).ratio("two", "one") == 1.8


def test_too_few_texts_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `distributed` is not installed")
    pd.DataFrame({"title": ["Banks fall"] * 200}).to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(DataError) as caught:
        run(home=Home(tmp_path), say=print, table=tmp_path / "few.csv")
    assert str(caught.value) == (
        f"{tmp_path / 'few.csv'}: 200 texts are 2 shards, expected at least 1024 texts: rates are "
        "taken while all workers work"
    )
