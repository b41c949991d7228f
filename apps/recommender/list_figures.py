"""What the lists of a batch are like as a whole, and how they differ from those of the run before.

Fed shard by shard, so that memory holds the counts and one shard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Vectors in memory at once.
ROWS_AT_ONCE = 20_000
NAMED = 20


@dataclass(frozen=True)
class ListFigures:
    """Over all lists. coverage: share of the catalogue that is in some list. gini: 0 where every
    listed item is shown equally often, towards 1 where few are shown to all. diversity: mean over
    lists of 1 minus the mean cosine of two of its items, by the vectors of their texts; None where
    no list has two. novelty: mean over places of -log2 of the share of users who had the item, in
    bits (one user is added, so that an item nobody had has a figure). new: share of the places
    with items that nobody had.
    """

    items: int
    coverage: float
    gini: float
    diversity: float | None
    novelty: float
    new: float


@dataclass(frozen=True)
class Drift:
    """Against the run `against`, over the `users` that both have. kept: mean share of the earlier
    list that is still listed. same: share of users whose list has the same items. first: share
    whose first item is the same. entered, gone: items listed now, or then, alone.
    """

    against: str
    model: str
    users: int
    kept: float
    same: float
    first: float
    entered: int
    gone: int

    @property
    def line(self) -> str:
        return (
            f"against {self.against} by {self.model}: {self.kept:.1%} of the places kept, "
            f"{self.same:.1%} of {self.users:,} lists unchanged, {self.first:.1%} begin with the "
            f"same item; {self.entered:,} items came in, {self.gone:,} went"
        )


class ListCounts:
    """Adds up the rows of a run. ids: of the catalogue; vectors: (n, d) of unit length or 0;
    taken: (n,) users who had each item, of `users` in all."""

    def __init__(
        self, ids: Sequence[str], vectors: NDArray[np.float32], taken: NDArray[np.int64], users: int
    ) -> None:
        self._ids = pd.Index(ids)
        self._vectors = vectors
        self._novelty = novelty(taken, users)
        self._untaken = taken == 0
        self.shown = np.zeros(len(ids), np.int64)
        self._diversity: list[NDArray[np.float64]] = []
        self.served = 0

    def add(self, frame: pd.DataFrame) -> None:
        """user_id, item_id: rows of whole users, one after another."""
        item = self._ids.get_indexer(pd.Index(frame["item_id"]))
        user, names = pd.factorize(frame["user_id"])
        self.served += len(names)
        self.shown += np.bincount(item[item >= 0], minlength=len(self.shown))
        starts = np.flatnonzero(np.diff(user, prepend=-1))
        step = max(1, ROWS_AT_ONCE * len(starts) // max(1, len(user)))
        for first in range(0, len(starts), step):
            begin = starts[first : first + step]
            end = starts[first + step] if first + step < len(starts) else len(user)
            rows = self._vectors[item[begin[0] : end]]
            self._diversity.append(diversity(rows, begin - begin[0]))

    def figures(self) -> ListFigures:
        """Of all rows so far."""
        total = max(1, int(self.shown.sum()))
        listed = self.shown > 0
        spread = np.concatenate(self._diversity) if self._diversity else np.empty(0)
        known = spread[~np.isnan(spread)]
        return ListFigures(
            int(listed.sum()),
            float(listed.mean()) if len(listed) else 0.0,
            gini(self.shown[listed]),
            float(known.mean()) if len(known) else None,
            float(self.shown @ self._novelty / total),
            float(self.shown[self._untaken].sum() / total),
        )


def novelty(taken: NDArray[np.int64], users: int) -> NDArray[np.float64]:
    """(items,) -log2 of the share of users who had each item, in bits; one user is added, so that
    an item nobody had has a figure."""
    bits: NDArray[np.float64] = -np.log2((taken + 1) / (users + 1))
    return bits


def diversity(vectors: NDArray[np.float32], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(lists,) 1 minus the mean cosine of two items; NaN for a list of one. vectors: of the lists'
    items, one list after another, beginning at `starts`. By
    sum over pairs = (|sum of vectors|² - sum of |vector|²) / 2, so that no pair is looked at."""
    sums = np.add.reduceat(vectors.astype(np.float64), starts)
    own = np.add.reduceat((vectors.astype(np.float64) ** 2).sum(1), starts)
    size = np.diff(np.append(starts, len(vectors)))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = ((sums**2).sum(1) - own) / (size * (size - 1))
    return np.where(size > 1, 1.0 - mean, np.nan)


def gini(counts: NDArray[np.int64]) -> float:
    """0 for equal counts, (n - 1) / n where one has all; 0 for none.

    Source: the sorted form, Σ (2i - n - 1) x_i / (n Σ x).
    """
    n, total = len(counts), int(counts.sum())
    if not total:
        return 0.0
    place = 2 * np.arange(1, n + 1) - n - 1
    return float(place @ np.sort(counts) / (n * total))


class EarlierLists:
    """The lists that an earlier run wrote. Rows of a user stand together, best first."""

    def __init__(self, path: Path) -> None:
        frame = pd.read_parquet(path, columns=["user_id", "item_id"])
        code, users = pd.factorize(frame["user_id"])
        self.users = pd.Index(users)
        self._starts = np.append(np.flatnonzero(np.diff(code, prepend=-1)), len(code))
        self._item, items = pd.factorize(frame["item_id"])
        self.items = pd.Index(items)

    def of(self, user: str, most: int) -> list[str]:
        """The user's first items; none for a user it does not have."""
        place = self.users.get_indexer(pd.Index([user]))[0]
        if place < 0:
            return []
        begin, end = self._starts[place], self._starts[place + 1]
        return [str(self.items[code]) for code in self._item[begin : min(end, begin + most)]]

    def kept(self, frame: pd.DataFrame, k: int) -> NDArray[np.float64]:
        """(u, 3) of the users of `frame` whom this run has: share of the first k of the earlier
        list that is among the first k now, whether all are and no other, whether the first is."""
        frame = frame[frame["rank"] <= k]
        code, users = pd.factorize(frame["user_id"])
        place = self.users.get_indexer(pd.Index(users))
        item = self.items.get_indexer(pd.Index(frame["item_id"]))
        width = len(self.items) + 1
        now = code.astype(np.int64) * width + item
        begin = self._starts[np.maximum(place, 0)]
        size = np.minimum(self._starts[np.maximum(place, 0) + 1] - begin, k)
        size = np.where(place >= 0, size, 0)
        owner = np.repeat(np.arange(len(users)), size)
        row = np.repeat(begin - np.cumsum(size) + size, size) + np.arange(size.sum())
        then = owner * width + self._item[row]
        hit = np.bincount(owner[np.isin(then, now)], minlength=len(users))
        listed = np.bincount(code, minlength=len(users))
        firsts = np.flatnonzero(np.diff(code, prepend=-1))
        known = place >= 0
        first = np.zeros(len(users), bool)
        first[known] = self._item[begin[known]] == item[firsts[known]]
        rows = np.stack(
            [hit / np.maximum(size, 1), (hit == size) & (listed == size), first], axis=1
        )
        return np.asarray(rows[known], np.float64)


def drift(
    earlier: EarlierLists,
    kept: NDArray[np.float64],
    listed: Sequence[str],
    against: str,
    model: str,
) -> Drift | None:
    """kept: rows of EarlierLists.kept over the whole run; listed: ids of items in some list now.
    None where the two runs have no user in common."""
    if not len(kept):
        return None
    now = set(listed)
    then = set(map(str, earlier.items))
    share, same, first = map(float, kept.mean(0))
    return Drift(against, model, len(kept), share, same, first, len(now - then), len(then - now))
