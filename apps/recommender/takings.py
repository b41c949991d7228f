"""When users took which items, again and again: the habits that a repeat purchase comes from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from apps.recommender.interactions import DAY, Events, Interactions

Rows = NDArray[np.int64]
# What is not known of an item, a user or a pair is taken from the shop as a whole, as much as so
# many takers, items or intervals of their own would say.
LIKE_TAKERS, LIKE_ITEMS, LIKE_INTERVALS = 10.0, 5.0, 2.0


@dataclass(frozen=True, eq=False)
class Takings:
    """Sorted by user, item, time; of an item on a day one. user, item: (m,) int32. time: (m,)
    int64, microseconds since 1970."""

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.item)


def takings_of(log: Interactions) -> Takings:
    """Of pairs that the log holds. What undoes takes back the newest taking of its pair before it,
    and all of them where it takes away more than a pair can have, as hiding an item does. There
    are none where the log does not know its single events or has no clock.
    """
    if log.events is None or not log.has_clock:
        none = np.empty(0, np.int32)
        return Takings(none, none, np.empty(0, np.int64))
    return _takings(log.events, log)


def more_takings(takings: Takings, added: Events, log: Interactions) -> Takings:
    """With further events. log: with them."""
    some = np.ones(len(takings))
    events = Events(
        np.concatenate([takings.user, added.user]),
        np.concatenate([takings.item, added.item]),
        np.concatenate([takings.time, added.time]),
        np.concatenate([some.astype(np.float32), added.weight]),
        np.concatenate([some.astype(bool), added.taking]),
        added.kinds,
    )
    return _takings(events, log)


def _takings(events: Events, log: Interactions) -> Takings:
    pair = events.user.astype(np.int64) * log.n_items + events.item
    held = log.user.astype(np.int64) * log.n_items + log.item
    events = events.keep((events.taking | (events.weight < 0)) & np.isin(pair, held))
    order = np.lexsort((events.time, events.item, events.user))
    user, item, time = events.user[order], events.item[order], events.time[order]
    kept = _not_undone(user, item, events.weight[order], log.most)
    user, item, time = user[kept], item[kept], time[kept]
    goes_on = _same(user, item) & (time[1:] // DAY == time[:-1] // DAY)
    last = np.append(~goes_on, True)[: len(time)]
    return Takings(user[last], item[last], time[last])


def _not_undone(
    user: NDArray[np.int32], item: NDArray[np.int32], weight: NDArray[np.float32], most: float
) -> NDArray[np.bool_]:
    """(m,) the takings that are left of rows sorted by pair and time. most: weight of a pair."""
    undoes, undoes_all = weight < 0, weight < -most
    kept = ~undoes
    start = np.flatnonzero(np.append(True, ~_same(user, item)))[: len(user)]
    ends = np.append(start[1:], len(user))
    owner = np.searchsorted(start, np.flatnonzero(undoes), side="right") - 1
    for pair in np.unique(owner):
        open_rows: list[int] = []
        for row in range(start[pair], ends[pair]):
            if not undoes[row]:
                open_rows.append(row)
            elif undoes_all[row]:
                kept[open_rows] = False
                open_rows.clear()
            elif open_rows:
                kept[open_rows.pop()] = False
    return kept


def _same(user: NDArray[np.int32], item: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(m - 1,) whether a row is of the pair of the row before it."""
    same: NDArray[np.bool_] = (user[1:] == user[:-1]) & (item[1:] == item[:-1])
    return same


@dataclass(frozen=True, eq=False)
class Habits:
    """Pairs of a user and an item taken, sorted by user. user, item: (n,) int32. times: (n,) how
    often. first, last: (n,) microseconds. user u owns rows starts[u]:starts[u+1].
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    times: Rows
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    n_users: int
    n_items: int

    def __len__(self) -> int:
        return len(self.item)

    @cached_property
    def starts(self) -> Rows:
        """(n_users + 1,)"""
        counts = np.bincount(self.user, minlength=self.n_users)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def share(self) -> float:
        """Of all pairs those taken more than once, as if there were one more of each kind."""
        return float((np.sum(self.times > 1) + 1) / (len(self) + 2))

    @cached_property
    def item_again(self) -> NDArray[np.float64]:
        """(n_items,) users who took an item more than once."""
        often = (self.times > 1).astype(np.float64)
        return np.asarray(np.bincount(self.item, often, self.n_items), np.float64)

    @cached_property
    def item_share(self) -> NDArray[np.float64]:
        """(n_items,) share of an item's takers who took it again, 0..1, drawn to the shop's."""
        takers = np.bincount(self.item, minlength=self.n_items)
        return np.asarray((self.item_again + LIKE_TAKERS * self.share) / (takers + LIKE_TAKERS))

    @cached_property
    def user_share(self) -> NDArray[np.float64]:
        """(n_users,) share of a user's items that were taken again, drawn to the shop's."""
        again = np.bincount(self.user, self.times > 1, self.n_users)
        items = np.bincount(self.user, minlength=self.n_users)
        return np.asarray((again + LIKE_ITEMS * self.share) / (items + LIKE_ITEMS))

    @cached_property
    def own_interval(self) -> NDArray[np.float64]:
        """(n,) mean days from one taking to the next, NaN for what was taken once."""
        between = np.maximum(self.times - 1, 1) * DAY
        mean = (self.last - self.first) / between
        return np.where(self.times > 1, mean, np.nan)

    @cached_property
    def item_interval(self) -> NDArray[np.float64]:
        """(n_items,) days from one taking to the next that is usual for an item: the geometric
        mean over its pairs, drawn to the shop's."""
        known = self.times > 1
        logs = np.log(np.maximum(self.own_interval[known], 1.0))
        whole = float(logs.mean()) if len(logs) else 0.0
        summed = np.bincount(self.item[known], logs, self.n_items)
        count = np.bincount(self.item[known], minlength=self.n_items)
        return np.asarray(
            np.exp((summed + LIKE_INTERVALS * whole) / (count + LIKE_INTERVALS)), np.float64
        )

    @cached_property
    def interval(self) -> NDArray[np.float64]:
        """(n,) days after which the user is likely to take the item again: the pair's own mean,
        drawn to what is usual for the item."""
        own = np.log(np.maximum(np.nan_to_num(self.own_interval, nan=1.0), 1.0))
        weight = (self.times - 1).astype(np.float64)
        usual = np.log(self.item_interval[self.item])
        return np.asarray(
            np.exp((weight * own + LIKE_INTERVALS * usual) / (weight + LIKE_INTERVALS))
        )

    @cached_property
    def item_last(self) -> NDArray[np.int64]:
        """(n_items,) when anybody took an item last, 0 for never."""
        last = np.zeros(self.n_items, np.int64)
        np.maximum.at(last, self.item, self.last)
        return last

    @cached_property
    def user_last(self) -> NDArray[np.int64]:
        """(n_users,) when a user took anything last, 0 for never."""
        last = np.zeros(self.n_users, np.int64)
        np.maximum.at(last, self.user, self.last)
        return last


def habits_of(takings: Takings, n_users: int, n_items: int) -> Habits:
    start = np.flatnonzero(np.append(True, ~_same(takings.user, takings.item)))[: len(takings)]
    ends = np.append(start[1:], len(takings))
    return Habits(
        takings.user[start],
        takings.item[start],
        ends - start,
        takings.time[start],
        takings.time[ends - 1],
        n_users,
        n_items,
    )
