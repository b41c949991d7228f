"""`triptych recommend`: the batch job over all users, those who changed, or those of a file; with a
report of each run beside that of the run before."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.recommender.batch_runs import (
    LISTS,
    BatchReport,
    Scope,
    finish_run,
    last_lists,
    new_run,
)
from apps.recommender.list_figures import NAMED, EarlierLists, ListCounts, drift
from pipelines.merge_lists import merge_lists
from shared.atomic import replacing
from shared.device import Device
from shared.registry import Registry
from shared.settings import Home
from shared.shards import Engine, LocalEngine
from shared.table_rows import format_of
from shared.tables import Column, read_table, write_table

if TYPE_CHECKING:
    from apps.recommender.live import LiveRecommender
    from apps.recommender.recommender import Recommender
    from apps.recommender.rule_cost import RuleCost

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What a batch is asked for. users: a table `user_id`, None for all. changed: only those with
    new events since the last run over all; the others keep their lists. table: also put the lists
    of all users into the database."""

    output: Path
    k: int = 10
    include_seen: bool = False
    users: Path | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    changed: bool = False
    table: bool = False


@dataclass(frozen=True)
class Recommended:
    """What the job wrote. resumed: users that an earlier run had done. computing: seconds spent
    on lists, see shards.ShardsDone. cost: of the shop's rules, None where none is on."""

    model: str
    users: int
    rows: int
    output: str
    seconds: float
    resumed: int
    computing: float
    cost: "RuleCost | None"
    report: BatchReport

    @property
    def line(self) -> str:
        rate = self.report.made / self.seconds if self.seconds else 0
        whom = f"{self.users} users"
        if self.report.scope == "changed":
            whom += f", {self.report.made} of them listed anew,"
        return (
            f"{self.rows} recommendations for {whom} by {self.model} in "
            f"{self.seconds:.1f} s ({rate:.0f} users a second): {self.output}"
        )

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Run:
    """What one batch is made of, put together before it starts."""

    def __init__(
        self, live: "LiveRecommender", model: str, wanted: Wanted, home: Home, folder: Path
    ) -> None:
        self.recommender: Recommender = live.current()
        self.stamp = live.stamp
        self.model, self.wanted, self.folder = model, wanted, folder
        self.day: date = self.recommender.today
        digest = self.recommender.day_rules(self.day).digest
        said = (live.base.fingerprint, digest, wanted.k, wanted.include_seen)
        self.state = hashlib.sha256(repr(said).encode()).hexdigest()[:32]
        self.before = last_lists(home, folder.parent.name)
        self.earlier = None if self.before is None else EarlierLists(self.before[1])
        bundle = self.recommender.bundle
        self.counts = ListCounts(
            bundle.catalog.ids, bundle.channels.meaning, bundle.log.counts, bundle.log.n_users
        )
        self.kept: list[NDArray[np.float64]] = []
        self.served: set[str] = set()

    def count(self, frame: pd.DataFrame) -> None:
        """Rows of whole users."""
        self.counts.add(frame)
        self.served.update(frame["user_id"])
        if self.before is not None and self.earlier is not None:
            self.kept.append(self.earlier.kept(frame, min(self.wanted.k, self.before[0].k)))

    def changed_users(self, live: "LiveRecommender", say: Say) -> list[str] | None:
        """Who is to be listed anew, None for all."""
        if self.before is None or self.earlier is None:
            say("no earlier run over all users: all are listed")
            return None
        if self.before[0].state != self.state:
            say("the model, the rules or the options are not those of the last run: all are listed")
            return None
        acted = live.additions.users_since(self.before[0].stamp, self.stamp)
        users = self.recommender.users
        new = self.earlier.users.get_indexer(pd.Index(users)) < 0
        return [name for name, is_new in zip(users, new, strict=True) if is_new or name in acted]


def recommend_to_file(
    *,
    model: str,
    wanted: Wanted,
    home: Home,
    threads: int | None,
    device: Device = "auto",
    engine: Engine | None = None,
    clock: Callable[[], datetime],
    say: Say,
) -> Recommended:
    """Write `k` rows for each user to `output`, in shards that a killed run keeps, and a report of
    the run into the home.

    threads: of each worker. engine: where lists are made, by default in this process.

    Raises:
        ModelError: no such model. DataError: the users' file cannot be read.
        SettingsError: the device is not there. ServiceError: the engine gave up on a shard, or the
        database is not reached.
    """
    from apps.recommender.batch import ListsOfRelease, run_batch
    from apps.recommender.live import open_live
    from apps.recommender.rule_cost import rule_cost

    started = time.monotonic()
    version = Registry(home.models, clock).resolve(model, app="recommender")
    asked = users_in(wanted.users, wanted.mapping) if wanted.users else None
    live = open_live(version.path, home=home, threads=threads, device=device, clock=clock)
    run = Run(live, version.reference, wanted, home, new_run(home, version.name, clock()))
    recommender, k, seen = run.recommender, wanted.k, wanted.include_seen
    for note in recommender.day_rules(run.day).notes:
        say(f"rules: {note}")
    scope: Scope = "all" if asked is None else "file"
    if wanted.changed and (few := run.changed_users(live, say)) is not None:
        scope, asked = "changed", few
    elsewhere = ListsOfRelease(
        version.path, home, recommender.rules, run.stamp, run.day, k, seen, threads, device
    )
    file = wanted.output
    if scope == "changed":
        file = wanted.output.with_name(f"{wanted.output.name}.changed.parquet")
    users = list(recommender.users) if asked is None or scope == "changed" else asked
    resumed, computing = 0, 0.0
    if asked or scope != "changed":
        done = run_batch(
            recommender,
            asked,
            k=k,
            include_seen=seen,
            output=file,
            say=say,
            engine=engine,
            # In this process the recommender at hand serves: it need not be loaded twice.
            job=None if engine is None or isinstance(engine, LocalEngine) else elsewhere,
            day=run.day,
            each=None if scope == "changed" else run.count,
        )
        resumed, computing = done.resumed, done.computing
    lists = _lists_of(run, scope, file, users, asked or [])
    if wanted.table and lists is not None:
        _publish(run, version.name, lists, home, clock())
    cost = rule_cost(recommender, users, k, include_seen=seen, day=run.day)
    made = len(users) if asked is None else len(asked)
    report = _report(run, scope, users, made, resumed, computing, started, clock(), cost)
    finish_run(run.folder, report, lists)
    return Recommended(
        version.reference,
        len(users),
        report.rows,
        str(wanted.output),
        report.seconds,
        resumed,
        computing,
        cost,
        report,
    )


def _lists_of(
    run: Run, scope: Scope, file: Path, users: list[str], redone: list[str]
) -> Path | None:
    """The lists of all users as Parquet, for the next run; None after a run over some users.

    After one over those who changed, `output` is written here: their lists among the others'.
    """
    output = run.wanted.output
    parquet = format_of(output)[0] == "parquet"
    if scope == "file":
        return None
    if scope == "all" and parquet:
        return output
    lists = run.folder / LISTS
    lists.parent.mkdir(parents=True, exist_ok=True)
    if scope == "all":
        read_table(output, LIST_COLUMNS).frame.astype({"rank": "int32"}).to_parquet(lists)
        return lists
    assert run.before is not None  # changed_users said so
    with replacing(lists) as part:
        changed = file if redone else None
        merge_lists(run.before[1], changed, users, set(redone), part, run.count)
    if parquet:
        with replacing(output) as part:
            shutil.copyfile(lists, part)
    else:
        write_table(pd.read_parquet(lists), output)
    file.unlink(missing_ok=True)
    return lists


def _publish(run: Run, name: str, lists: Path, home: Home, at: datetime) -> None:
    from apps.recommender.list_table import publish_lists
    from shared.settings import database_url
    from shared.storage import create_engine

    engine = create_engine(database_url(home, os.environ))
    try:
        publish_lists(engine, lists, name=name, run=run.folder.name, model=run.model, at=at)
    finally:
        engine.dispose()


def _report(
    run: Run,
    scope: Scope,
    users: list[str],
    made: int,
    resumed: int,
    computing: float,
    started: float,
    now: datetime,
    cost: "RuleCost | None",
) -> BatchReport:
    ids = run.recommender.bundle.catalog.ids
    without = [name for name in users if name not in run.served]
    moved = None
    if run.before is not None and run.earlier is not None and run.kept:
        listed = [ids[row] for row in np.flatnonzero(run.counts.shown)]
        moved = drift(
            run.earlier, np.concatenate(run.kept), listed, run.before[0].run, run.before[0].model
        )
    return BatchReport(
        run=run.folder.name,
        model=run.model,
        at=now,
        scope=scope,
        users=len(users),
        made=made,
        rows=int(run.counts.shown.sum()),
        k=run.wanted.k,
        resumed=resumed,
        without=len(without),
        without_first=tuple(without[:NAMED]),
        figures=run.counts.figures(),
        drift=moved,
        seconds=time.monotonic() - started,
        computing=computing,
        output=str(run.wanted.output),
        state=run.state,
        stamp=run.stamp,
        cost="" if cost is None else cost.line,
        notes=run.recommender.day_rules(run.day).notes,
    )


LIST_COLUMNS = [
    Column("user_id"),
    Column("item_id"),
    Column("rank", kind="number"),
    Column("score", kind="number"),
    Column("reason", allow_empty=True),
]


def users_in(path: Path, mapping: Mapping[str, str]) -> list[str]:
    """The user ids of a table, each once, in its order."""
    table = read_table(path, [Column("user_id")], mapping=mapping)
    return list(dict.fromkeys(table.frame["user_id"].astype(str)))
