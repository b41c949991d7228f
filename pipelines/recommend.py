"""`triptych recommend`: the batch job over all users, or those of a file."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shared.device import Device
from shared.registry import Registry
from shared.settings import Home
from shared.shards import Engine, LocalEngine
from shared.tables import Column, read_table

if TYPE_CHECKING:
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
    from apps.recommender.recommender import Recommender
    from apps.recommender.rule_cost import rule_cost

    started = time.monotonic()
    version = Registry(home.models, clock).resolve(model, app="recommender")
    wanted = users_in(users, mapping) if users else None
    recommender = Recommender.load(
        version.path, home=home, threads=threads, device=device, clock=clock
    )
    day = recommender.today
    for note in recommender.day_rules(day).notes:
        say(f"rules: {note}")
    elsewhere = ListsOfRelease(
        version.path, home, recommender.rules, day, k, include_seen, threads, device
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
