"""`triptych benchmark distributed`: one process, one Ray worker and two, on the same texts.

Every worker has one thread, so that what is compared is the number of workers. Rates are taken
while all of them work: from the moment each has finished its first shard (its start and the loading
of the model lie before) to the last shard; `seconds` is the whole job, start and loading included.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd

from pipelines.distributed import RayEngine
from pipelines.embed import Embedding
from shared.errors import DataError
from shared.inference.model_encoders import open_base_encoder
from shared.pretrained import resolve
from shared.settings import Home
from shared.shards import Engine, Finished, Job, LocalEngine, Shard, Work
from shared.tables import Column, read_table

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "samples" / "news" / "stream.csv.gz"
SHARD_TEXTS = 128
MOST_TEXTS = 3072
ROUNDS = 3
WORKERS = (1, 2)
BASE = "minilm"


@dataclass(frozen=True)
class DistributedRow:
    """One engine. rate: texts a second, of its median round, while all its workers work. seconds:
    of the whole job, median round. worker_mb: MiB a worker held at most."""

    engine: str
    workers: int
    rate: float
    seconds: float
    worker_mb: float


@dataclass(frozen=True)
class Distributed:
    """rows: of every engine, on `texts` texts. bytes_per_vector: of the Parquet table."""

    rows: tuple[DistributedRow, ...]
    texts: int
    processors: int
    bytes_per_vector: float

    def ratio(self, engine: str, to: str) -> float:
        """How many times as many texts a second as another engine of the same run."""
        rates = {row.engine: row.rate for row in self.rows}
        return rates[engine] / rates[to]


@dataclass(frozen=True)
class Weighed:
    """A job whose rows also say which process made them and the MiB it held at most by then."""

    job: Job

    def open(self) -> Work:
        work = self.job.open()

        def weighed(keys: Sequence[str]) -> pd.DataFrame:
            frame = work(keys)
            held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # KiB on Linux
            return frame.assign(process=os.getpid(), held=held)

        return weighed


def benchmark_distributed(
    *, home: Home, say: Callable[[str], None], table: Path | None = None, rounds: int = ROUNDS
) -> Distributed:
    """Embed the first titles of `table`, by default the news of the samples, `rounds` times by
    each engine in turn, so that a slow minute of the machine falls on all of them.

    Raises: SettingsError without Ray. DataError for a table with too few rows.
    """
    texts = read_table(table or SAMPLE, [Column("title")]).frame["title"].tolist()[:MOST_TEXTS]
    starts = range(0, len(texts), SHARD_TEXTS)
    shards = [Shard(n, at, tuple(texts[at : at + SHARD_TEXTS])) for n, at in enumerate(starts)]
    least = 4 * max(WORKERS)
    if len(shards) < least:
        raise DataError(
            f"{table or SAMPLE}: {len(texts)} texts are {len(shards)} shards, expected at least "
            f"{least * SHARD_TEXTS} texts: rates are taken while all workers work"
        )
    embedder = open_base_encoder(resolve(BASE, cache=home.cache), cache=home.cache, threads=1)
    job = Weighed(Embedding(BASE, home, 1, "cpu", embedder.fingerprint))
    engines: dict[str, tuple[int, Engine]] = {"local": (1, LocalEngine())}
    for workers in WORKERS:
        engines[f"ray, {workers} workers"] = (workers, RayEngine(workers=workers))
    taken: dict[str, list[DistributedRow]] = {name: [] for name in engines}
    for number in range(rounds):
        for name, (workers, engine) in engines.items():
            taken[name].append(_timed(name, workers, engine.compute(job, shards)))
            say(f"round {number + 1}, {name}: {taken[name][-1].rate:.0f} texts a second")
    result = Distributed(
        tuple(_median(rows) for rows in taken.values()),
        len(texts),
        len(os.sched_getaffinity(0)),
        _bytes_on_disk(job.job.open()(texts[:SHARD_TEXTS])[["vector"]]),
    )
    for line in lines_of(result):
        say(line)
    return result


def _timed(name: str, workers: int, found: Iterator[Finished]) -> DistributedRow:
    started = time.perf_counter()
    moments: list[tuple[float, int]] = []
    first: dict[int, int] = {}
    held = 0.0
    for place, finished in enumerate(found):
        moments.append((time.perf_counter(), len(finished.frame)))
        first.setdefault(int(finished.frame["process"].iloc[0]), place)
        held = max(held, float(finished.frame["held"].max()))
    warm = max(first.values())
    rows = sum(count for _, count in moments[warm + 1 :])
    span = moments[-1][0] - moments[warm][0]
    return DistributedRow(name, workers, rows / span, moments[-1][0] - started, held)


def _median(rows: Sequence[DistributedRow]) -> DistributedRow:
    return DistributedRow(
        rows[0].engine,
        rows[0].workers,
        median(row.rate for row in rows),
        median(row.seconds for row in rows),
        max(row.worker_mb for row in rows),
    )


def _bytes_on_disk(frame: pd.DataFrame) -> float:
    """Of a row, as Parquet."""
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        frame.to_parquet(file.name, index=False)
        return Path(file.name).stat().st_size / len(frame)


def lines_of(result: Distributed) -> Iterator[str]:
    """The rows as aligned lines."""
    yield (
        f"{result.texts} texts, one thread a worker, {result.processors} processors; "
        f"{result.bytes_per_vector:.0f} bytes a vector on disk"
    )
    yield f"{'engine':<16} {'texts/s':>8} {'times local':>12} {'whole job, s':>13} {'MiB':>6}"
    for row in result.rows:
        yield (
            f"{row.engine:<16} {row.rate:>8.0f} {result.ratio(row.engine, 'local'):>12.2f} "
            f"{row.seconds:>13.1f} {row.worker_mb:>6.0f}"
        )
    one, two = (f"ray, {workers} workers" for workers in WORKERS)
    yield f"two workers give {result.ratio(two, one):.2f} times the rate of one"
