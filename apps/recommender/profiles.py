"""Users as what they did last: padded histories and the recency-weighted mean over them."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.interactions import DAY, Interactions
from apps.recommender.settings import ProfileSettings


@dataclass(frozen=True, eq=False)
class Histories:
    """The most recent items of some users, newest in the last column.

    items: (users, length) int64, 0 where nothing is. weights: (users, length) float32, the
    events' weights, 0 where nothing is. times: (users, length) int64.
    """

    items: NDArray[np.int64]
    weights: NDArray[np.float32]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def present(self) -> NDArray[np.bool_]:
        return self.weights > 0

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(users,)"""
        return np.asarray(self.present.sum(1), np.int64)

    def rows(self, chosen: slice) -> "Histories":
        """Some of the users, with no more columns than the longest of them needs."""
        width = max(1, int(self.lengths[chosen].max(initial=1)))
        return Histories(
            self.items[chosen, -width:], self.weights[chosen, -width:], self.times[chosen, -width:]
        )


def histories(log: Interactions, users: NDArray[np.int64], length: int) -> Histories:
    """The last `length` items of each of `users` (indices into log.users)."""
    return _ending(log, log.starts[users], log.starts[users + 1], length)


def stretches(log: Interactions, users: NDArray[np.int64], length: int) -> Histories:
    """All items of each of `users`, in stretches of at most `length` (2 or more), newest first.

    A stretch begins with the item that the one before it ends with, so that each item but a
    user's first follows another in exactly one: [1 2 3 4 5] in threes is [3 4 5], [1 2 3].
    """
    begin, end = log.starts[users], log.starts[users + 1]
    count = np.maximum(1, -(-(end - begin - 1) // (length - 1)))
    first = np.cumsum(count) - count
    back = np.arange(count.sum()) - np.repeat(first, count)
    return _ending(
        log, np.repeat(begin, count), np.repeat(end, count) - back * (length - 1), length
    )


def _ending(
    log: Interactions, begin: NDArray[np.int64], end: NDArray[np.int64], length: int
) -> Histories:
    """The last `length` of each log[begin:end], which are rows of one user."""
    width = max(1, min(length, int((end - begin).max(initial=1))))
    rows = end[:, None] - width + np.arange(width)  # (users, width)
    present = rows >= begin[:, None]
    rows = np.clip(rows, 0, max(0, len(log) - 1))
    if not len(log):
        empty = np.zeros((len(begin), 1), np.int64)
        return Histories(empty, empty.astype(np.float32), empty)
    return Histories(
        np.where(present, log.item[rows], 0).astype(np.int64),
        np.where(present, log.weight[rows], 0).astype(np.float32),
        np.where(present, log.time[rows], 0),
    )


def recency_weights(
    past: Histories, settings: ProfileSettings, *, has_clock: bool
) -> NDArray[np.float32]:
    """(users, length): how much each item of a history counts; a row sums to 1, or to 0 if empty.

    weight = sqrt(event weight) · decay^(items after it) · 2^(-days before the last one / half
    life). The root keeps one purchase (8) from silencing a day of looking around (1 each).
    """
    width = past.items.shape[1]
    after = np.arange(width - 1, -1, -1)
    weights = np.sqrt(past.weights) * settings.decay**after
    if has_clock and settings.half_life_days is not None:
        last = past.times[:, -1:]
        days = np.where(past.present, (last - past.times) / DAY, 0.0)
        weights = weights * 0.5 ** (days / settings.half_life_days)
    total = weights.sum(1, keepdims=True)
    shares: NDArray[np.float32] = (weights / np.where(total > 0, total, 1)).astype(np.float32)
    return shares


def profile_matrix(past: Histories, shares: NDArray[np.float32], n_items: int) -> sp.csr_matrix:
    """(users, n_items) sparse: the shares in the columns of their items."""
    user, place = np.nonzero(past.present)
    return sp.csr_matrix(
        (shares[user, place], (user, past.items[user, place])),
        shape=(len(past), n_items),
    )
