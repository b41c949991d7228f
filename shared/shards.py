"""A long job cut into shards, so that a killed run goes on where it stopped.

    OUTPUT.shards/plan.json        what this run is: model, rows, options
    OUTPUT.shards/00012.parquet    a finished shard, written in one step
    OUTPUT                         all shards in their order, written in one step at the end

A run with the same plan goes on where the last one stopped; with another plan it starts anew. Where
the shards are cut depends on the input alone, so whatever computes them writes the same output.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd
import pyarrow
from pyarrow import parquet

from shared.atomic import replacing, write_text
from shared.errors import DataError
from shared.table_rows import format_of
from shared.tables import write_table

PLAN = "plan.json"
SAY_EVERY_SECONDS = 10.0
# For the message of an engine that gives up.
KEPT = "what is finished is kept, and the same command goes on from there"

Work = Callable[[Sequence[str]], pd.DataFrame]
"""Keys of a shard -> its rows."""


class Job(Protocol):
    """What is done to every shard. Pickled where it is done by another process."""

    def open(self) -> Work:
        """Get ready, once for each worker: load the model."""
        ...


@dataclass(frozen=True)
class Shard:
    """number: 0, 1, … first: place of its first key among all keys."""

    number: int
    first: int
    keys: tuple[str, ...]

    @property
    def place(self) -> str:
        """For a person, counted from 1."""
        return (
            f"shard {self.number + 1} (rows {self.first + 1:,} to {self.first + len(self.keys):,})"
        )


@dataclass(frozen=True, eq=False)
class Finished:
    """A shard's rows."""

    shard: Shard
    frame: pd.DataFrame


class Engine(Protocol):
    """Where shards are computed."""

    def compute(self, job: Job, shards: Sequence[Shard]) -> Iterator[Finished]:
        """Every shard once, in any order; never many more at a time than there are workers, so
        that what is finished waits on disk and not in memory."""
        ...


class LocalEngine:
    """One shard after another in this process."""

    def compute(self, job: Job, shards: Sequence[Shard]) -> Iterator[Finished]:
        work = job.open()
        for shard in shards:
            yield Finished(shard, work(shard.keys))


@dataclass(frozen=True)
class ShardsDone:
    """rows: written. resumed: keys that an earlier run had finished. seconds: of this run;
    computing: of these from the first shard asked for to the last one finished."""

    rows: int
    resumed: int
    seconds: float
    computing: float


def run_shards(
    job: Job,
    keys: Sequence[str],
    *,
    plan: Mapping[str, object],
    output: Path,
    shard_keys: int,
    say: Callable[[str], None],
    noun: str = "rows",
    engine: Engine | None = None,
    each: Callable[[pd.DataFrame], None] | None = None,
) -> ShardsDone:
    """Do `job` to all keys, `shard_keys` at a time, and write its rows in their order to `output`.

    plan: what must be the same, beside the keys and the size of a shard, for the shards of an
    earlier run to be of use. noun: what the keys are, for a person. engine: LocalEngine by
    default. each: is shown every shard's rows in their order at the end.

    Raises: DataError when a place cannot be written; and what the job and the engine raise.
    """
    started = time.monotonic()
    format_of(output)  # a name that cannot be written is told before the work, not after it
    folder = output.with_name(f"{output.name}.shards")
    shards = [
        Shard(number, first, tuple(keys[first : first + shard_keys]))
        for number, first in enumerate(range(0, len(keys), shard_keys))
    ]
    content = {**plan, "keys": _digest(keys), "shard_keys": shard_keys}
    _open(folder, json.dumps(content, indent=2) + "\n")
    paths = {shard.number: folder / f"{shard.number:05d}.parquet" for shard in shards}
    left = [shard for shard in shards if not paths[shard.number].is_file()]
    resumed = len(keys) - sum(len(shard.keys) for shard in left)
    if resumed:
        say(f"going on: {resumed:,} of {len(keys):,} {noun} were done before")
    told = asked = time.monotonic()
    for done, found in enumerate((engine or LocalEngine()).compute(job, left) if left else (), 1):
        with replacing(paths[found.shard.number]) as part:
            found.frame.to_parquet(part, index=False)
        if time.monotonic() - told > SAY_EVERY_SECONDS:
            told = time.monotonic()
            say(f"  {done} of {len(left)} shards ({told - started:.0f} s)")
    computing = time.monotonic() - asked
    rows = _joined(list(paths.values()), output, each)
    shutil.rmtree(folder, ignore_errors=True)
    return ShardsDone(rows, resumed, time.monotonic() - started, computing)


def _joined(
    paths: Sequence[Path], output: Path, each: Callable[[pd.DataFrame], None] | None
) -> int:
    """Write the shards as one table; its rows. Parquet is copied shard by shard, so that memory
    holds one of them; the text formats go through one table."""
    if format_of(output)[0] != "parquet":
        whole = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
        if each is not None:
            each(whole)
        write_table(whole, output)
        return len(whole)
    rows = 0
    # A column that is empty in one shard has no type there.
    schema = pyarrow.unify_schemas(
        [parquet.read_schema(path) for path in paths], promote_options="permissive"
    )
    try:
        with (
            replacing(output) as part,
            parquet.ParquetWriter(part, schema) as writer,
        ):
            for path in paths:
                table = parquet.read_table(path).cast(schema)
                writer.write_table(table)
                if each is not None:
                    each(table.to_pandas())
                rows += len(table)
    except OSError as error:
        raise DataError(f"{output}: cannot be written: {error.strerror or error}") from None
    return rows


def _digest(keys: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for key in keys:
        # The length first: no two lists of keys run into one another.
        encoded = key.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(encoded) + encoded)
    return digest.hexdigest()


def _open(folder: Path, plan: str) -> None:
    """The shards' folder, emptied where it belongs to another run."""
    said = folder / PLAN
    try:
        if folder.is_dir() and not (said.is_file() and said.read_text(encoding="utf-8") == plan):
            shutil.rmtree(folder)
        write_text(said, plan)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from None
