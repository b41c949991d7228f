"""Held-out parts without leakage: the last item of each user, or everything after a moment."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apps.recommender.interactions import DAY, Interactions
from apps.recommender.settings import RecommenderSettings
from shared.errors import DataError

# Of users who choose one more item for so many that they have had, up to a limit: where histories
# are long there are few users, and the last item of each alone says little.
ONE_IN, MOST_OF_A_USER = 20, 5
# A cut in time needs this many users with a past and a future, absolutely and as a share.
LEAST_USERS = 100
LEAST_SHARE = 0.15


@dataclass(frozen=True, eq=False)
class Pairs:
    """user, item: (t,) int64, sorted by user."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)

    def of_users(self, chosen: NDArray[np.bool_]) -> "Pairs":
        """Those of the marked users (n_users,)."""
        rows = chosen[self.user]
        return Pairs(self.user[rows], self.item[rows])


NO_PAIRS = Pairs(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class Split:
    """known: what a model may see. The targets, sorted by user, none of them known: user, item (t,)
    int64, when (t,) int64 in the log's time, worth (t,) float32 their weight. name: "last" or
    "time". again: what had been taken by then and was taken again after it.
    """

    name: str
    known: Interactions
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    when: NDArray[np.int64]
    worth: NDArray[np.float32]
    again: Pairs = NO_PAIRS

    def __len__(self) -> int:
        return len(self.user)

    def of_users(self, chosen: NDArray[np.bool_]) -> "Split":
        """The targets of the marked users (n_users,); what is known stays."""
        rows = chosen[self.user]
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            when=self.when[rows],
            worth=self.worth[rows],
            again=self.again.of_users(chosen),
        )


def leave_last_out(log: Interactions, more: NDArray[np.bool_] | None = None) -> Split:
    """The last item of every user who has two or more.

    It flatters every model that may look at other users' later events; for a log with a clock
    `time_split` is what happens in a shop.
    more: (n_users,) of whom more than one is held out, see ONE_IN.
    """
    length = np.diff(log.starts)
    held = (length >= 2).astype(np.int64)
    if more is not None:
        several = np.minimum(1 + length // ONE_IN, MOST_OF_A_USER)
        held = np.where(more & (length >= 2), several, held)
    left = log.starts[log.user + 1] - np.arange(len(log))  # 1 for the last one
    last = left <= held[log.user]
    return _targets("last", log, last, log.keep(~last))


def time_split(log: Interactions, share: float) -> Split:
    """Everything in the last `share` of the log's pairs is held out, at one moment for all.

    An item that a user had before the moment is known and no target: what is taken again is held
    out apart.
    """
    return cut_at(log, int(np.quantile(log.time, 1.0 - share)) if len(log) else 0)


def days_split(log: Interactions, days: float) -> Split:
    """As time_split, of the log's last `days`. The log has a clock."""
    return cut_at(log, int(log.now - days * DAY))


def cut_at(log: Interactions, moment: int) -> Split:
    """What came after the moment against the log as it was at it."""
    known = log.as_of(moment)
    pairs = log.user.astype(np.int64) * log.n_items + log.item
    held = known.user.astype(np.int64) * log.n_items + known.item
    new = (log.time > moment) & ~np.isin(pairs, held)
    return replace(_targets("time", log, new, known), again=_again(log, held, moment))


def choose_split(
    log: Interactions, settings: RecommenderSettings, more: NDArray[np.bool_] | None = None
) -> Split:
    """As the settings say; `auto` cuts in time where the log has a clock and enough users act
    on both sides of the cut. more: see leave_last_out.

    Raises: DataError when no user has two items.
    """
    if settings.held_out == "time" and not log.has_clock:
        raise DataError(
            "[recommender] held_out = 'time': the events have no time stamps; use 'last' or 'auto'"
        )
    if settings.held_out != "last" and log.has_clock:
        split = time_split(log, settings.held_out_share)
        past = np.diff(split.known.starts) > 0
        both = len(np.unique(split.user[past[split.user]]))
        enough = both >= max(LEAST_USERS, LEAST_SHARE * log.n_users)
        if settings.held_out == "time" or enough:
            return split
    split = leave_last_out(log, more)
    if not len(split):
        raise DataError(
            f"none of the {log.n_users:,} users has two items in the log: "
            "there is nothing to learn an order from and nothing to hold out"
        )
    return split


def without_items(split: Split, hidden: NDArray[np.bool_]) -> Split:
    """The marked items (n_items,) taken out of what is known; as targets they stay. They are then
    items of their first day, of which the catalogue tells all and the log nothing."""
    known = split.known.keep(~hidden[split.known.item])
    return replace(split, known=known)


def part_of_users(n_users: int, share: float, seed: int) -> NDArray[np.bool_]:
    """(n_users,) a random `share` of the users marked."""
    chosen = np.zeros(n_users, bool)
    rng = np.random.default_rng(seed)
    chosen[rng.permutation(n_users)[: round(share * n_users)]] = True
    return chosen


def _targets(name: str, log: Interactions, held: NDArray[np.bool_], known: Interactions) -> Split:
    return Split(
        name,
        known,
        log.user[held].astype(np.int64),
        log.item[held].astype(np.int64),
        log.time[held],
        log.weight[held],
    )


def _again(log: Interactions, known: NDArray[np.int64], moment: int) -> Pairs:
    """Of the known pairs those with a taking on both sides of the moment."""
    if log.events is None:
        return NO_PAIRS
    taken = log.events.keep(log.events.taking)
    pairs = taken.user.astype(np.int64) * log.n_items + taken.item
    early = taken.time <= moment
    both = np.intersect1d(np.intersect1d(pairs[early], pairs[~early]), known)
    return Pairs(both // log.n_items, both % log.n_items)
