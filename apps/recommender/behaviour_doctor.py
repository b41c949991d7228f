"""What is wrong with a log of behaviour: who acts like a machine, whose clock is wrong, what is
told twice or undone. Nothing is left out here; each finding says what training does with such rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.recommender.catalog_doctor import unreadable
from apps.recommender.formats import RawTable
from apps.recommender.interactions import DAY, FIRST_TRUE_TIME, event_times
from apps.recommender.settings import EventSettings
from shared.data_findings import Finding, first_of, lines_of

# A clock may be ahead of ours by this.
AHEAD = timedelta(days=1)
HOUR = DAY // 24
# A machine: so many events in an hour, and this many times what 95 of 100 users have in theirs.
BUSY_HOUR, BUSY_TIMES = 100, 10.0
# Or: so many events at even distances (spread of the gaps under this share of their mean).
STEADY_EVENTS, STEADY = 50, 0.1
# Above this share of the log's rows a finding spoils the training.
MANY = 0.2


@dataclass(frozen=True, eq=False)
class EventTable:
    """A log as its file has it, row by row: user, item, kind (n,) text; time (n,) int64
    microseconds, or the place in the user's sequence; known (n,) whether the item is in the
    catalogue; lines (n,) of the file or (0,).
    """

    path: Path
    raw: RawTable
    user: "pd.Series[str]"
    item: "pd.Series[str]"
    kind: "pd.Series[str]"
    time: NDArray[np.int64]
    known: NDArray[np.bool_]
    has_clock: bool

    def __len__(self) -> int:
        return len(self.time)

    def where(self, rows: NDArray[np.bool_], names: Sequence[str] = ()) -> str:
        """The file, the first marked lines, and names that say more."""
        lines = self.raw.lines[rows].tolist() if len(self.raw.lines) else []
        told = [self.path.name, lines_of(lines)]
        place = ", ".join(part for part in told if part)
        return f"{place}: {first_of(list(dict.fromkeys(names)))}" if len(names) else place

    def pairs(self) -> pd.DataFrame:
        """user, item, kind, time of the rows that training uses, in the file's order."""
        used = (self.user != "").to_numpy(bool) & self.known
        frame = pd.DataFrame({"user": self.user, "item": self.item, "kind": self.kind})
        return frame.assign(time=self.time)[used]


def event_table(path: Path, raw: RawTable, item_ids: Sequence[str]) -> EventTable:
    """item_ids: of the catalogue."""
    frame = raw.frame
    item = frame["item_id"].astype("str").str.strip()
    time = event_times(raw)
    kind = frame["event"].astype("str").str.strip().str.lower() if "event" in frame else None
    if kind is None:
        kind = pd.Series("rating" if "value" in frame else "", index=frame.index, dtype="str")
    return EventTable(
        path,
        raw,
        frame["user_id"].astype("str").str.strip(),
        item,
        kind,
        time,
        pd.Index(item_ids).get_indexer(pd.Index(item)) >= 0,
        raw.has_clock and bool(len(time)) and int(time.max()) >= FIRST_TRUE_TIME,
    )


def check_behaviour(table: EventTable, settings: EventSettings, now: datetime) -> list[Finding]:
    """now: later events are of the future."""
    return [
        *unreadable(table.path, table.raw),
        *_users(table),
        *_items(table),
        *_kinds(table, settings),
        *_values(table),
        *_repeats(table),
        *_hidden(table, settings),
        *_undone(table, settings),
        *_clock(table, now),
        *_robots(table),
        *_lonely(table),
    ]


def robots(user: "pd.Series[str]", time: NDArray[np.int64]) -> dict[str, int]:
    """User -> events, of users who act like a machine: with BUSY_HOUR events within some hour and
    BUSY_TIMES what 95 of 100 users have in their busiest, or with STEADY_EVENTS at even distances
    of less than an hour. time: microseconds.
    """
    frame = pd.DataFrame({"user": user.to_numpy(), "time": time}).sort_values(
        ["user", "time"], kind="stable"
    )
    hours = frame.groupby(["user", frame["time"] // HOUR]).size().groupby("user").max()
    usual = float(hours.quantile(0.95)) if len(hours) else 0.0
    busy = set(hours.index[(hours >= BUSY_HOUR) & (hours > BUSY_TIMES * usual)])
    gaps = frame.groupby("user")["time"].diff()
    spread = gaps.groupby(frame["user"]).agg(["count", "mean", "std"])
    even = (spread["count"] >= STEADY_EVENTS - 1) & (spread["mean"] > 0) & (spread["mean"] < HOUR)
    steady = set(spread.index[even & (spread["std"] < STEADY * spread["mean"])])
    counts = frame["user"].value_counts()
    return {str(name): int(counts[name]) for name in counts.index if name in busy | steady}


def _share(table: EventTable, rows: int) -> str:
    return f"{rows:,} events ({rows / max(1, len(table)):.1%})"


def _users(table: EventTable) -> Iterator[Finding]:
    missing = (table.user == "").to_numpy(bool)
    if missing.any():
        count = int(missing.sum())
        yield Finding(
            "error" if count > MANY * len(table) else "warning",
            f"{_share(table, count)} have no user",
            table.where(missing),
            "they are left out: fill in a session or visitor id where the user is not known",
        )


def _items(table: EventTable) -> Iterator[Finding]:
    unknown = ~table.known
    if unknown.any():
        count = int(unknown.sum())
        names = table.item[unknown].unique().tolist()
        yield Finding(
            "error" if count > MANY * len(table) else "warning",
            f"{_share(table, count)} are on {len(names):,} items that the catalogue lacks",
            table.where(unknown, names),
            "they are left out: give the catalogue these items, or name the right id column with "
            "--item-column",
        )


def _kinds(table: EventTable, settings: EventSettings) -> Iterator[Finding]:
    unknown = (~table.kind.isin(list(settings.weights)) & (table.kind != "")).to_numpy(bool)
    if unknown.any():
        names = table.kind[unknown].value_counts().index.tolist()
        yield Finding(
            "warning",
            f"{_share(table, int(unknown.sum()))} are of a type without a weight",
            table.where(unknown, names),
            f"they count {settings.default:g} each: give them a weight in "
            "[recommender.events] weights",
        )


def _values(table: EventTable) -> Iterator[Finding]:
    frame = table.raw.frame
    if "value" not in frame:
        return
    values = frame["value"].to_numpy(np.float64)
    rated = (table.kind == "rating").to_numpy(bool)
    missing = rated & np.isnan(values)
    if missing.any():
        yield Finding(
            "warning",
            f"{_share(table, int(missing.sum()))} are ratings without a value",
            table.where(missing),
            "each counts as the best rating: fill in the value",
        )
    told = values[rated & ~np.isnan(values)]
    if len(told) and (highest := float(told.max())) > 5 * max(1e-9, float(np.quantile(told, 0.99))):
        yield Finding(
            "error",
            f"the highest rating is {highest:g}, 99 of 100 are at most "
            f"{float(np.quantile(told, 0.99)):g}",
            table.where(rated & (values == highest)),
            "mend it: every rating counts by its share of the highest one",
        )


def _repeats(table: EventTable) -> Iterator[Finding]:
    key = pd.DataFrame({"user": table.user, "item": table.item, "kind": table.kind})
    told = (table.user != "").to_numpy(bool)
    if table.has_clock:
        key = key.assign(time=table.time)
    again = key.duplicated().to_numpy(bool) & told
    if not again.any():
        return
    if table.has_clock:
        yield Finding(
            "warning",
            f"{_share(table, int(again.sum()))} repeat another one to the microsecond",
            table.where(again),
            "take them out where the log was written twice: their weights add up, to the limit of "
            "[recommender.events] most",
        )
    else:
        yield Finding(
            "note",
            f"{_share(table, int(again.sum()))} are on an item that the user had before",
            table.where(again),
            "a pair is kept once, at its last place",
        )


def _hidden(table: EventTable, settings: EventSettings) -> Iterator[Finding]:
    frame = _weighed(table, settings)
    hides = frame[frame["weight"] < -settings.most]
    if hides.empty:
        return
    pairs = len(hides[["user", "item"]].drop_duplicates())
    kinds = ", ".join(sorted(hides["kind"].unique()))
    yield Finding(
        "note",
        f"{len(hides):,} events hide an item ({kinds}), of {pairs:,} pairs of user and item",
        table.where(table.kind.index.isin(hides.index)),
        "the item is not recommended to the user again, unless it is taken later",
    )


def _weighed(table: EventTable, settings: EventSettings) -> pd.DataFrame:
    weight = table.kind.map(settings.weights).astype("float64").fillna(settings.default)
    return table.pairs().assign(weight=weight)


def _undone(table: EventTable, settings: EventSettings) -> Iterator[Finding]:
    frame = _weighed(table, settings)
    frame = frame[frame["weight"] >= -settings.most]
    takes = frame[frame["weight"] < 0]
    if takes.empty:
        return
    first = frame[frame["weight"] > 0].groupby(["user", "item"])["time"].min()
    keys = pd.MultiIndex.from_frame(takes[["user", "item"]])
    before = first.reindex(keys).to_numpy(np.float64)
    orphan = np.isnan(before) | (before > takes["time"].to_numpy(np.int64))
    sums = frame.groupby(["user", "item"])["weight"].sum()
    gone = int(((sums <= 0) & sums.index.isin(first.index)).sum())
    kinds = ", ".join(sorted(takes["kind"].unique()))
    yield Finding(
        "note",
        f"{len(takes):,} events take back ({kinds}): {gone:,} pairs of user and item are undone",
        table.where(table.kind.index.isin(takes.index)),
        "such a pair is no interest, and the item may be recommended to the user again",
    )
    if orphan.any():
        rows = table.kind.index.isin(takes.index[orphan])
        yield Finding(
            "warning",
            f"{int(orphan.sum()):,} of them have nothing before them to take back",
            table.where(rows),
            "is the log cut off at its beginning, or are users named otherwise in these rows?",
        )


def _clock(table: EventTable, now: datetime) -> Iterator[Finding]:
    if not table.has_clock:
        yield Finding(
            "warning" if table.raw.has_clock else "note",
            "the log has no clock: its times are places in a row"
            if table.raw.has_clock
            else "the log has an order and no times",
            table.path.name,
            "with times the last weeks' popularity and a split in time would be there",
        )
        return
    future = table.time > (now + AHEAD).timestamp() * 1e6
    early = table.time < FIRST_TRUE_TIME
    if future.any():
        yield Finding(
            "error",
            f"{_share(table, int(future.sum()))} are of the future",
            table.where(future, _days(table.time[future])),
            'mend or remove them: "the last 30 days" and the split in time are counted from the '
            "log's last event",
        )
    if early.any():
        yield Finding(
            "warning",
            f"{_share(table, int(early.sum()))} are of the first days of 1970: a time of 0",
            table.where(early),
            "fill in their times: each counts as the user's first event",
        )
    disorder = _out_of_order(table)
    if disorder.any():
        yield Finding(
            "note",
            f"{_share(table, int(disorder.sum()))} stand after later ones of the same user",
            table.where(disorder),
            "they are sorted by their times; if the file's order is the true one, a clock is wrong",
        )


def _out_of_order(table: EventTable) -> NDArray[np.bool_]:
    """(n,) earlier than an event of the same user above it; none where the file is in no order
    at all (newest first, or by item)."""
    latest = pd.Series(table.time).groupby(table.user.to_numpy()).cummax().to_numpy()
    late = (table.time < latest) & (table.user != "").to_numpy(bool)
    return late if late.mean() < MANY else np.zeros(len(table), bool)


def _days(times: NDArray[np.int64]) -> list[str]:
    return [f"{day:%Y-%m-%d}" for day in pd.to_datetime(np.unique(times // DAY) * DAY, unit="us")]


def _robots(table: EventTable) -> Iterator[Finding]:
    if not table.has_clock:
        return
    told = (table.user != "").to_numpy(bool)
    found = robots(table.user[told], table.time[told])
    if found:
        count = sum(found.values())
        names = [f"{name} ({events:,})" for name, events in found.items()]
        yield Finding(
            "error" if count > MANY * len(table) else "warning",
            f"{len(found):,} users act like machines, with {_share(table, count)}",
            f"{table.path.name}: {first_of(names)}",
            "take their events out: what they open becomes popular and goes with everything else",
        )


def _lonely(table: EventTable) -> Iterator[Finding]:
    counts = table.pairs().drop_duplicates(["user", "item"])["user"].value_counts()
    one = int((counts == 1).sum())
    if one:
        yield Finding(
            "note",
            f"{one:,} of {len(counts):,} users have one item: no order can be learned from them",
            table.path.name,
        )
