"""The nightly job: lists for all users into one file, in shards that a killed run keeps."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from apps.recommender.additions import Stamp
from apps.recommender.live import open_live
from apps.recommender.recommender import Recommender
from apps.recommender.settings import RuleSettings
from shared.device import Device
from shared.errors import DataError
from shared.settings import Home
from shared.shards import Engine, Job, Work, run_shards

SHARD_USERS = 2048


@dataclass(frozen=True)
class BatchDone:
    """users: asked for, each once. rows: written. resumed: users found done by an earlier run.

    without: users who got no item. computing: seconds of them spent on lists, see ShardsDone.
    """

    users: int
    rows: int
    resumed: int
    without: int
    seconds: float
    computing: float


@dataclass(frozen=True)
class ListsInHand:
    """Lists by a recommender that is loaded already. day: by whose rules, also past midnight."""

    recommender: Recommender
    k: int
    include_seen: bool
    day: date

    def open(self) -> Work:
        return lambda users: self.recommender.recommend(
            users, self.k, self.include_seen, day=self.day
        )


@dataclass(frozen=True)
class ListsOfRelease:
    """Lists by a released model, which each worker loads for itself.

    folder: of the model version. rules: of the shop, as they were where the job was started, on
    that day. added: to the model by then.
    """

    folder: Path
    home: Home
    rules: RuleSettings
    added: Stamp
    day: date
    k: int
    include_seen: bool
    threads: int | None
    device: Device

    def open(self) -> Work:
        live = open_live(
            self.folder,
            home=self.home,
            threads=self.threads,
            device=self.device,
            rules=self.rules,
        )
        loaded = live.current(self.added)
        return ListsInHand(loaded, self.k, self.include_seen, self.day).open()


def run_batch(
    recommender: Recommender,
    users: Sequence[str] | None,
    *,
    k: int,
    include_seen: bool = False,
    output: Path,
    say: Callable[[str], None],
    shard_users: int = SHARD_USERS,
    engine: Engine | None = None,
    job: Job | None = None,
    day: date | None = None,
    each: Callable[[pd.DataFrame], None] | None = None,
) -> BatchDone:
    """Write k rows for each user to `output`; users in the order given, each once.

    users: None for all the model knows. engine: where lists are made, by default in this process.
    job: how workers elsewhere come by the same recommender. day: by whose rules, today's by
    default; a killed run that is started again on a day with other rules starts anew. each: is
    shown every shard's rows in their order at the end.

    Raises: DataError when no user is given, or a place cannot be written.
    """
    started = time.monotonic()
    rules_of = recommender.today if day is None else day
    names = list(dict.fromkeys(recommender.users if users is None else users))
    if not names:
        raise DataError("no user to recommend to: the list of users is empty")
    served: set[str] = set()

    def count(frame: pd.DataFrame) -> None:
        served.update(frame["user_id"])
        if each is not None:
            each(frame)

    done = run_shards(
        job or ListsInHand(recommender, k, include_seen, rules_of),
        names,
        plan={
            "model": recommender.fingerprint,
            "rules": recommender.day_rules(rules_of).digest,
            "k": k,
            "include_seen": include_seen,
        },
        output=output,
        shard_keys=shard_users,
        say=say,
        noun="users",
        engine=engine,
        each=count,
    )
    return BatchDone(
        len(names),
        done.rows,
        done.resumed,
        len(names) - len(served),
        time.monotonic() - started,
        done.computing,
    )
