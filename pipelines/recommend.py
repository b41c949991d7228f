"""`triptych recommend`: the batch job over all users, or those of a file; and what is added to a
recommender between two trainings."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from shared.device import Device
from shared.errors import DataError
from shared.registry import Registry
from shared.settings import Home
from shared.shards import Engine, LocalEngine
from shared.tables import Column, read_table

if TYPE_CHECKING:
    from apps.recommender.importing import Imported
    from apps.recommender.rule_cost import RuleCost


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

    @property
    def line(self) -> str:
        rate = self.users / self.seconds if self.seconds else 0
        return (
            f"{self.rows} recommendations for {self.users} users by {self.model} in "
            f"{self.seconds:.1f} s ({rate:.0f} users a second): {self.output}"
        )

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def users_in(path: Path, mapping: Mapping[str, str]) -> list[str]:
    """The user ids of a table, each once, in its order."""
    table = read_table(path, [Column("user_id")], mapping=mapping)
    return list(dict.fromkeys(table.frame["user_id"].astype(str)))


def recommend_to_file(
    *,
    model: str,
    users: Path | None,
    mapping: Mapping[str, str],
    k: int,
    include_seen: bool,
    output: Path,
    home: Home,
    threads: int | None,
    device: Device = "auto",
    engine: Engine | None = None,
    clock: Callable[[], datetime],
    say: Callable[[str], None],
) -> Recommended:
    """Write `k` rows for each user to `output`, in shards that a killed run keeps.

    threads: of each worker. engine: where lists are made, by default in this process.

    Raises:
        ModelError: no such model. DataError: the users' file cannot be read.
        SettingsError: the device is not there. ServiceError: the engine gave up on a shard.
    """
    from apps.recommender.batch import ListsOfRelease, run_batch
    from apps.recommender.live import open_live
    from apps.recommender.rule_cost import rule_cost

    started = time.monotonic()
    version = Registry(home.models, clock).resolve(model, app="recommender")
    wanted = users_in(users, mapping) if users else None
    live = open_live(version.path, home=home, threads=threads, device=device, clock=clock)
    recommender = live.current()
    day = recommender.today
    for note in recommender.day_rules(day).notes:
        say(f"rules: {note}")
    elsewhere = ListsOfRelease(
        version.path, home, recommender.rules, live.stamp, day, k, include_seen, threads, device
    )
    done = run_batch(
        recommender,
        wanted,
        k=k,
        include_seen=include_seen,
        output=output,
        say=say,
        engine=engine,
        # In this process the recommender at hand serves: it need not be loaded twice.
        job=None if engine is None or isinstance(engine, LocalEngine) else elsewhere,
        day=day,
    )
    seconds = time.monotonic() - started
    asked = list(recommender.users) if wanted is None else wanted
    cost = rule_cost(recommender, asked, k, include_seen=include_seen, day=day)
    return Recommended(
        f"{version.name}@{version.version}",
        done.users,
        done.rows,
        str(output),
        seconds,
        done.resumed,
        done.computing,
        cost,
    )


@dataclass(frozen=True)
class Added:
    """What an import did: of each file, None where none was given."""

    model: str
    items: "Imported | None"
    events: "Imported | None"
    seconds: float

    @property
    def lines(self) -> tuple[str, ...]:
        given = {"items": self.items, "events": self.events}
        done = [found.line(noun) for noun, found in given.items() if found is not None]
        return (*done, f"{self.model} serves them from now on ({self.seconds:.1f} s)")

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def import_to_recommender(
    *,
    model: str,
    items: Path | None,
    events: Path | None,
    mapping: Mapping[str, str],
    home: Home,
    threads: int | None,
    device: Device = "auto",
    clock: Callable[[], datetime],
    say: Callable[[str], None],
) -> Added:
    """Items first, so that events on them find them. May be killed and repeated: nothing is added
    twice.

    Raises:
        ModelError: no such model, or its encoder is gone. DataError: neither file, or one cannot be
        read. ServiceError: the database is not reached.
    """
    from apps.recommender.auditing import open_encoder
    from apps.recommender.importing import import_events, import_items
    from apps.recommender.live import open_live

    started = time.monotonic()
    if items is None and events is None:
        raise DataError("nothing to import: give --items, --events, or both")
    version = Registry(home.models, clock).resolve(model, app="recommender")
    live = open_live(version.path, home=home, threads=threads, device=device, clock=clock)
    note = live.base.bundle.encoder
    of_items = of_events = None
    if items is not None:
        of_items = import_items(
            live, cache(lambda: open_encoder(note, version.path, home)), items, mapping, say
        )
    if events is not None:
        of_events = import_events(live, events, mapping, say)
    return Added(version.reference, of_items, of_events, time.monotonic() - started)
