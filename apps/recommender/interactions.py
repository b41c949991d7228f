"""What users did, as arrays: one row for each pair of user and item, in the order of time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.event_joining import NOTHING_HIDDEN, Hidden, join_events
from apps.recommender.formats import RawTable, read_event_file
from apps.recommender.settings import EventSettings
from shared.errors import DataError

DAY = 86_400_000_000  # microseconds
# Time stamps that all lie in the first days of 1970 are row numbers, no times.
FIRST_TRUE_TIME = 100 * DAY


@dataclass(frozen=True, eq=False)
class Events:
    """What pairs are joined from. user, item: (m,) int32. time: (m,) int64. weight: (m,) float32,
    below 0 where an event undoes. taking: (m,) whether the user took the item with it, so that a
    further one is taking it again: a purchase is, a view is not. kinds: the types of events that
    do; where there are none of these in the log every event that adds does.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64]
    weight: NDArray[np.float32]
    taking: NDArray[np.bool_]
    kinds: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.item)

    @property
    def frame(self) -> pd.DataFrame:
        """As join_events takes them."""
        weight = self.weight.astype(np.float64)
        return pd.DataFrame({"user": self.user, "item": self.item, "time": self.time,
                             "weight": weight, "taking": self.taking})  # fmt: skip

    def keep(self, rows: NDArray[np.bool_]) -> "Events":
        return Events(
            self.user[rows],
            self.item[rows],
            self.time[rows],
            self.weight[rows],
            self.taking[rows],
            self.kinds,
        )


@dataclass(frozen=True, eq=False)
class Interactions:
    """Pairs sorted by user, then time. users: ids; user u owns rows starts[u]:starts[u+1].

    user, item: (n,) int32 indices. time: (n,) int64, microseconds since 1970, or the position in
    the user's sequence where the log has no clock. weight: (n,) float32 > 0.
    events: what they were joined from; None where that is not known any more. most: see
    EventSettings. hidden: no pair of it is among the others.
    """

    users: tuple[str, ...]
    n_items: int
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64]
    weight: NDArray[np.float32]
    has_clock: bool
    events: Events | None = None
    most: float = math.inf
    hidden: Hidden = NOTHING_HIDDEN

    def __len__(self) -> int:
        return len(self.item)

    @property
    def n_users(self) -> int:
        return len(self.users)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(n_users + 1,)"""
        counts = np.bincount(self.user, minlength=self.n_users)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(n_items,) users who engaged with each item."""
        return np.bincount(self.item, minlength=self.n_items).astype(np.int64)

    @cached_property
    def log_counts(self) -> NDArray[np.float32]:
        """(n_items,) ln(1 + counts), by which `popular` scores."""
        return np.log1p(self.counts).astype(np.float32)

    @cached_property
    def now(self) -> int:
        """The time of the last event, 0 for an empty log."""
        return int(self.time.max()) if len(self) else 0

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """(n_users, n_items) weights."""
        return sp.csr_matrix(
            (self.weight, (self.user, self.item)), shape=(self.n_users, self.n_items)
        )

    @cached_property
    def withheld(self) -> sp.csr_matrix:
        """(n_users, n_items) 1 for what a user has hidden."""
        ones = np.ones(len(self.hidden), np.float32)
        return sp.csr_matrix(
            (ones, (self.hidden.user, self.hidden.item)), shape=(self.n_users, self.n_items)
        )

    def items_of(self, user: int) -> NDArray[np.int32]:
        """The user's items, oldest first."""
        return self.item[self.starts[user] : self.starts[user + 1]]

    def as_of(self, moment: int) -> "Interactions":
        """As it was at that time: a pair with events on both sides of it is what it was before.
        Pairs that are the same keep their order."""
        earlier = self.time <= moment
        if self.events is None:
            return self.keep(earlier)
        events = self.events.keep(self.events.time <= moment)
        joined = join_events(events.frame, self.most)
        pairs = joined.pairs
        user, item = pairs["user"].to_numpy(np.int64), pairs["item"].to_numpy(np.int64)
        # Ties were drawn when the log was read; what is tied now and was not comes last of these.
        own = self.user[earlier].astype(np.int64) * self.n_items + self.item[earlier]
        place = pd.Index(own).get_indexer(pd.Index(user * self.n_items + item))
        place[place < 0] = len(own)
        time = pairs["time"].to_numpy(np.int64)
        order = np.lexsort((place, time, user))
        return Interactions(
            self.users,
            self.n_items,
            user[order].astype(np.int32),
            item[order].astype(np.int32),
            time[order],
            pairs["weight"].to_numpy(np.float32)[order],
            self.has_clock,
            events,
            self.most,
            joined.hidden,
        )

    def keep(self, rows: NDArray[np.bool_]) -> "Interactions":
        """The same users and items with only the marked rows, and without single events."""
        return Interactions(
            self.users,
            self.n_items,
            self.user[rows],
            self.item[rows],
            self.time[rows],
            self.weight[rows],
            self.has_clock,
            hidden=self.hidden,
        )


@dataclass(frozen=True)
class EventReport:
    """What reading a log found. rows: of the file. repeated: rows that joined an earlier one of
    their pair. undone: pairs whose weights sum to 0 or less; hidden: those of them that their users
    have hidden. tied: share of rows that share
    their time with another item of the same user (their order is drawn by the seed).
    """

    rows: int
    pairs: int
    users: int
    rejected: int = 0
    missing_user: int = 0
    unknown_item_rows: int = 0
    unknown_items: tuple[str, ...] = ()
    unknown_types: tuple[str, ...] = ()
    unknown_type_rows: int = 0
    repeated: int = 0
    undone: int = 0
    hidden: int = 0
    tied: float = 0.0

    @property
    def lines(self) -> tuple[str, ...]:
        """One line for a person on the whole, and one for each thing that is not as it should."""
        found = [
            f"{self.rows:,} events -> {self.pairs:,} pairs of {self.users:,} users",
            *_told(self.rejected, "rows cannot be read"),
            *_told(self.missing_user, "events without a user left out"),
            *_told(
                self.unknown_item_rows,
                f"events on {len(self.unknown_items):,} items that are not in the catalogue "
                f"left out (first: {', '.join(self.unknown_items[:3])})",
            ),
            *_told(
                self.unknown_type_rows,
                f"events of unknown type counted as 1: {', '.join(self.unknown_types[:5])}",
            ),
            *_told(self.repeated, "repeated events joined"),
            *_told(self.undone - self.hidden, "pairs undone by refunds or the like"),
            *_told(self.hidden, "pairs hidden by their users, who are not shown the item again"),
        ]
        if self.tied > 0.01:
            found.append(f"{self.tied:.0%} of the events are tied in time: order drawn by the seed")
        return tuple(found)


def _told(count: int, what: str) -> list[str]:
    return [f"{count:,} {what}"] if count else []


@dataclass(frozen=True, eq=False)
class ReadLog:
    """interactions, and what was left out of them."""

    interactions: Interactions
    report: EventReport


def read_interactions(
    path: Path,
    item_ids: Sequence[str],
    *,
    mapping: Mapping[str, str],
    settings: EventSettings,
    seed: int,
) -> ReadLog:
    """Read a log in any of the formats of `formats.read_event_file`.

    Raises: DataError when it cannot be read or no event is on an item of the catalogue.
    """
    raw = read_event_file(path, mapping)
    log = from_events(raw, item_ids, settings=settings, seed=seed)
    if not len(log.interactions):
        raise DataError(
            f"{path}: none of its {log.report.rows:,} events is of a user on an item of the "
            f"catalogue ({len(item_ids):,} items, first: {', '.join(item_ids[:3])}; "
            f"unknown here: {', '.join(log.report.unknown_items[:3]) or 'none'})"
        )
    return log


def from_events(
    raw: RawTable, item_ids: Sequence[str], *, settings: EventSettings, seed: int
) -> ReadLog:
    """Weigh, join and sort the events of a table.

    Users keep the order of their first appearance. A pair's weight is the sum over its events, at
    most `settings.most`; its time that of its last event that adds to it.
    """
    frame = raw.frame
    users = frame["user_id"].astype("str").str.strip()
    known_user = (users != "").to_numpy(bool)
    item = pd.Index(item_ids).get_indexer(pd.Index(frame["item_id"].astype("str").str.strip()))
    known = known_user & (item >= 0)
    strangers = frame["item_id"][known_user & (item < 0)]
    types = _types(frame)
    weight, unknown_type = _event_weights(frame, types, settings)
    kinds = tuple(kind for kind in settings.taken if (types == kind).any())
    codes, uniques = pd.factorize(users[known])
    events = pd.DataFrame(
        {
            "user": codes.astype(np.int32),
            "item": item[known].astype(np.int32),
            "time": event_times(raw)[known],
            "weight": weight[known],
            "taking": is_taking(types, weight, kinds)[known],
        }
    )
    joined = join_events(events, settings.most)
    pairs = joined.pairs
    order, tied = _order(pairs, np.random.default_rng(seed))
    pairs = pairs.iloc[order]
    interactions = Interactions(
        tuple(str(u) for u in uniques),
        len(item_ids),
        pairs["user"].to_numpy(np.int32),
        pairs["item"].to_numpy(np.int32),
        pairs["time"].to_numpy(np.int64),
        pairs["weight"].to_numpy(np.float32),
        raw.has_clock and (pairs.empty or int(pairs["time"].max()) >= FIRST_TRUE_TIME),
        Events(
            events["user"].to_numpy(np.int32),
            events["item"].to_numpy(np.int32),
            events["time"].to_numpy(np.int64),
            weight[known].astype(np.float32),
            events["taking"].to_numpy(bool),
            kinds,
        ),
        settings.most,
        joined.hidden,
    )
    report = EventReport(
        rows=len(frame) + len(raw.rejects),
        pairs=len(pairs),
        users=len(uniques),
        rejected=len(raw.rejects),
        missing_user=int((~known_user).sum()),
        unknown_item_rows=len(strangers),
        unknown_items=tuple(sorted(set(strangers.astype("str")))),
        unknown_types=tuple(sorted(set(types[unknown_type]))),
        unknown_type_rows=int(unknown_type.sum()),
        repeated=len(events) - len(pairs) - joined.undone,
        undone=joined.undone,
        hidden=len(joined.hidden),
        tied=tied,
    )
    return ReadLog(interactions, report)


def event_times(raw: RawTable) -> NDArray[np.int64]:
    """(n,) microseconds since 1970, or the place in the user's sequence."""
    if "position" in raw.frame:
        return raw.frame["position"].to_numpy(np.int64)
    times = raw.frame["timestamp"].dt.tz_convert("UTC").dt.tz_localize(None)
    return np.asarray(times.astype("datetime64[us]").astype("int64"), np.int64)


def _types(frame: pd.DataFrame) -> pd.Series:
    """In lower case, "" where there are none."""
    if "event" not in frame:
        return pd.Series("", index=frame.index, dtype="str")
    return frame["event"].astype("str").str.strip().str.lower()


def _event_weights(
    frame: pd.DataFrame, types: pd.Series, settings: EventSettings
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(weight of each event, whether its type is unknown).

    A rating counts by its value against the highest one of the log, so that 1 star of 5 is a
    fifth of 5 stars; a table with values but no types is a table of ratings.
    """
    unknown = np.zeros(len(frame), bool)
    if "event" in frame:
        weight = types.map(settings.weights).astype("float64")
        unknown = (weight.isna() & (types != "")).to_numpy(bool)
        weight = weight.fillna(settings.default)
        rated = (types == "rating").to_numpy(bool)
    else:
        rated = np.full(len(frame), "value" in frame)
        kind = settings.weights["rating"] if "value" in frame else settings.default
        weight = pd.Series(kind, index=frame.index, dtype="float64")
    result: NDArray[np.float64] = np.array(weight, np.float64)
    if "value" in frame and rated.any():
        values = np.asarray(frame["value"], np.float64)
        highest = np.nanmax(values[rated], initial=0.0)
        if highest > 0:
            share = np.clip(values / highest, 0.1, 1.0)
            told = rated & ~np.isnan(share)
            result[told] *= share[told]
    return result, unknown


def is_taking(
    types: pd.Series, weight: NDArray[np.float64], kinds: tuple[str, ...]
) -> NDArray[np.bool_]:
    """Of events with these types, in lower case, and weights. kinds: see Events."""
    found: NDArray[np.bool_] = types.isin(kinds).to_numpy(bool) if kinds else weight > 0
    return found


def _order(pairs: pd.DataFrame, rng: np.random.Generator) -> tuple[NDArray[Any], float]:
    """Rows by user and time. Ties are drawn, never left in the order of ids: logs sorted by item
    id within a day would otherwise teach a sequence model the ids.
    """
    user, time = pairs["user"].to_numpy(), pairs["time"].to_numpy()
    order = np.lexsort((rng.random(len(pairs)), time, user))
    same = (user[order][1:] == user[order][:-1]) & (time[order][1:] == time[order][:-1])
    tied = np.zeros(len(pairs), bool)
    tied[1:] |= same
    tied[:-1] |= same
    return order, float(tied.mean()) if len(pairs) else 0.0
