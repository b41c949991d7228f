"""The nightly job: lists for all users into one file, in shards that a killed run keeps.

    OUTPUT.shards/plan.json        what this run is: model, users, k, rules
    OUTPUT.shards/00012.parquet    a finished shard, written in one step
    OUTPUT                         all shards, users in their order, written in one step at the end

A run with the same plan goes on where the last one stopped; with another plan it starts anew.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from apps.recommender.recommender import Recommender
from shared.atomic import replacing, write_text
from shared.errors import DataError
from shared.tables import write_table

SHARD_USERS = 2048
PLAN = "plan.json"
SAY_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class BatchDone:
    """users: asked for, each once. rows: written. resumed: users found done by an earlier run.

    without: users who got no item.
    """

    users: int
    rows: int
    resumed: int
    without: int
    seconds: float


def run_batch(
    recommender: Recommender,
    users: Sequence[str] | None,
    *,
    k: int,
    include_seen: bool = False,
    output: Path,
    say: Callable[[str], None],
    shard_users: int = SHARD_USERS,
) -> BatchDone:
    """Write k rows for each user to `output`; users in the order given, each once.

    users: None for all the model knows. Raises: DataError when no user is given, or a place
    cannot be written.
    """
    started = time.monotonic()
    names = list(dict.fromkeys(recommender.users if users is None else users))
    if not names:
        raise DataError("no user to recommend to: the list of users is empty")
    folder = output.with_name(f"{output.name}.shards")
    shards = [names[at : at + shard_users] for at in range(0, len(names), shard_users)]
    _open(folder, _plan(recommender, names, k, include_seen, shard_users))
    finished = [path.is_file() for path in _paths(folder, len(shards))]
    resumed = sum(len(shard) for shard, there in zip(shards, finished, strict=True) if there)
    if resumed:
        say(f"going on: {resumed:,} of {len(names):,} users were done before")
    told = started
    for number, (shard, path) in enumerate(
        zip(shards, _paths(folder, len(shards)), strict=True), start=1
    ):
        if path.is_file():
            continue
        frame = recommender.recommend(shard, k, include_seen)
        with replacing(path) as part:
            frame.to_parquet(part, index=False)
        if time.monotonic() - told > SAY_EVERY_SECONDS:
            told = time.monotonic()
            say(f"  shard {number} of {len(shards)} ({told - started:.0f} s)")
    frames = [pd.read_parquet(path) for path in _paths(folder, len(shards))]
    whole = pd.concat(frames, ignore_index=True)
    write_table(whole, output)
    shutil.rmtree(folder, ignore_errors=True)
    served = int(whole["user_id"].nunique())
    return BatchDone(
        len(names), len(whole), resumed, len(names) - served, time.monotonic() - started
    )


def _plan(
    recommender: Recommender, names: Sequence[str], k: int, include_seen: bool, shard_users: int
) -> str:
    """What must be the same for a shard of an earlier run to be of use."""
    content = {
        "model": recommender.fingerprint,
        "rules": recommender.rules.model_dump(mode="json"),
        "users": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        "k": k,
        "include_seen": include_seen,
        "shard_users": shard_users,
    }
    return json.dumps(content, indent=2) + "\n"


def _open(folder: Path, plan: str) -> None:
    """The shards' folder, emptied where it belongs to another run."""
    said = folder / PLAN
    try:
        if folder.is_dir() and not (said.is_file() and said.read_text() == plan):
            shutil.rmtree(folder)
        write_text(said, plan)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from None


def _paths(folder: Path, count: int) -> list[Path]:
    return [folder / f"{number:05d}.parquet" for number in range(count)]
