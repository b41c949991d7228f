"""What users take again and again, in their lists where it is likelier to be taken than what
stands there.

How likely a user is to take an item again is a logistic regression on how often and when it was
taken (`TRAITS`); how likely what a list has at a place is to be taken is another one on the place
and the user (`PLACE_TRAITS`). Both are learned from what was held out, and a list is in the order
of these chances, as the probability ranking principle has it (Robertson 1977). That the share of an
item's takers who come back to it and the time since the last taking against the usual interval
tell most of it is found by Bhagat et al., Buy It Again (KDD 2018).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from apps.recommender.interactions import DAY, Events, Interactions
from apps.recommender.takings import Habits, Takings, habits_of, more_takings, takings_of

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]

# Of a user and an item taken. due: time since the last taking against the usual interval; late: the
# part of it above 0. idle: time since anybody took the item.
TRAITS = ("times", "since", "due", "late", "item", "user", "item_idle", "user_idle", "items")
# Of a place of a user's list. items: taken by the user; user_idle: time since the last of them.
PLACE_TRAITS = ("place", "items", "user_idle")


@dataclass(frozen=True)
class Chance:
    """A logistic regression: weights for values as they are, and the intercept."""

    weights: tuple[float, ...]
    intercept: float

    def __call__(self, traits: Scores) -> Scores:
        """(n,) 0..1 for traits (n, len(weights))."""
        return np.asarray(expit(traits @ np.array(self.weights) + self.intercept), np.float64)


def fit_chance(traits: Scores, happened: NDArray[np.bool_]) -> Chance:
    """Ridge-penalised on standardised traits. Where all or nothing happened that is all it says."""
    width = traits.shape[1]
    if happened.all() or not happened.any():
        share = (happened.sum() + 1) / (len(happened) + 2)
        return Chance((0.0,) * width, float(np.log(share / (1 - share))))
    mean, deviation = traits.mean(0), np.maximum(traits.std(0), 1e-9)
    model = LogisticRegression(max_iter=1000).fit((traits - mean) / deviation, happened)
    weights = model.coef_[0] / deviation
    return Chance(tuple(map(float, weights)), float(model.intercept_[0] - weights @ mean))


@dataclass(frozen=True)
class RepeatModel:
    """taken: of a pair, on TRAITS. placed: of a place, on PLACE_TRAITS. most: places of a list at
    most. since: of the usual interval so much must have gone by, or who has just bought something
    is offered it at once. kinds: see Events.

    On the users who taught it, each by the others: share: of what they took, what they had taken
    before; NDCG@10 over all they took, without and with repeats, and the 95 % interval of the
    difference.
    """

    taken: Chance
    placed: Chance
    most: int
    since: float
    kinds: tuple[str, ...]
    share: float = 0.0
    before: float = 0.0
    after: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @property
    def line(self) -> str:
        """For a person."""
        return (
            f"{self.share:.0%} of what users took they had taken before: at most {self.most} such "
            f"items in a list, NDCG@10 over all taken {self.before:.4f} -> {self.after:.4f} "
            f"({self.low:+.4f} to {self.high:+.4f})"
        )


@dataclass(frozen=True, eq=False)
class Found:
    """(users, most) each, the likeliest first: item, -1 for none, its chance and its row in the
    habits."""

    item: Rows
    chance: Scores
    row: Rows


@dataclass(frozen=True, eq=False)
class Repeats:
    """A model over the takings of one state of a log."""

    model: RepeatModel
    takings: Takings
    n_users: int
    n_items: int

    @cached_property
    def habits(self) -> Habits:
        return habits_of(self.takings, self.n_users, self.n_items)

    def of_log(self, log: Interactions) -> "Repeats":
        """The same model over another log, which knows its single events."""
        return Repeats(self.model, takings_of(log), log.n_users, log.n_items)

    def of_items(self, n_items: int) -> "Repeats":
        """For a longer catalogue."""
        return replace(self, n_items=n_items)

    def with_events(self, added: Events, log: Interactions) -> "Repeats":
        """With further events. log: with them."""
        takings = more_takings(self.takings, added, log)
        return replace(self, takings=takings, n_users=log.n_users)

    def found(self, users: Rows, now: Rows, refused: NDArray[np.bool_] | None = None) -> Found:
        """The items that users are likeliest to take again. now: (users,) microseconds. refused:
        (items,) those that are not shown."""
        habits, most = self.habits, self.model.most
        owner, rows = rows_of(habits, users)
        days = (now[owner] - habits.last[rows]) / DAY
        shown = days >= self.model.since * habits.interval[rows]
        if refused is not None:
            shown &= ~refused[habits.item[rows]]
        owner, rows = owner[shown], rows[shown]
        chance = self.model.taken(traits(habits, rows, now[owner]))
        order = np.lexsort((-chance, owner))
        place = np.arange(len(order)) - np.searchsorted(owner, owner)
        order, place = order[place < most], place[place < most]
        shape = (len(users), most)
        item, row = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
        best = np.zeros(shape)
        item[owner[order], place] = habits.item[rows[order]]
        row[owner[order], place] = rows[order]
        best[owner[order], place] = chance[order]
        return Found(item, best, row)

    def placed(self, users: Rows, now: Rows, wide: int) -> Scores:
        """(users, wide) how likely what the user's list has at each place is to be taken."""
        told = place_traits(self.habits, users, now, wide).reshape(-1, len(PLACE_TRAITS))
        # Falling from place to place, whatever the regression makes of the place.
        return np.minimum.accumulate(self.model.placed(told).reshape(len(users), wide), axis=1)


def rows_of(habits: Habits, users: Rows) -> tuple[Rows, Rows]:
    """(owner, row): the rows of some users, of the place of each in `users`, in this order. A user
    after the last one that the habits know has none."""
    known = np.minimum(users, habits.n_users - 1)
    count = np.where(users < habits.n_users, np.diff(habits.starts)[known], 0)
    owner = np.repeat(np.arange(len(users)), count)
    within = np.arange(len(owner)) - np.searchsorted(owner, owner)
    return owner, habits.starts[known][owner] + within


def traits(habits: Habits, rows: Rows, now: Rows) -> Scores:
    """(n, len(TRAITS)) of rows of the habits, each asked about at its own moment."""
    user, item = habits.user[rows], habits.item[rows]
    since = _log_days(now - habits.last[rows])
    due = since - np.log1p(habits.interval[rows])
    columns = (
        np.log(habits.times[rows]),
        since,
        due,
        np.maximum(due, 0),
        _log_odds(habits.item_share)[item],
        _log_odds(habits.user_share)[user],
        _log_days(now - habits.item_last[item]),
        _log_days(now - habits.user_last[user]),
        np.log(np.diff(habits.starts)[user]),
    )
    return np.column_stack(columns) if len(rows) else np.empty((0, len(TRAITS)))


def place_traits(habits: Habits, users: Rows, now: Rows, wide: int) -> Scores:
    """(users, wide, len(PLACE_TRAITS))"""
    known = np.minimum(users, habits.n_users - 1)
    items = np.log1p(np.where(users < habits.n_users, np.diff(habits.starts)[known], 0))
    idle = np.where(items > 0, _log_days(now - habits.user_last[known]), 0.0)
    place = np.broadcast_to(np.log1p(np.arange(wide)), (len(users), wide))
    ones = np.ones((1, wide))
    return np.stack([place, items[:, None] * ones, idle[:, None] * ones], axis=2)


def most_taken(habits: Habits, users: Rows, most: int) -> Rows:
    """(u, most) what each user took most often, of equals the newest first; -1 for none. What
    somebody who learns nothing would offer again."""
    owner, rows = rows_of(habits, users)
    order = np.lexsort((-habits.last[rows], -habits.times[rows], owner))
    place = np.arange(len(order)) - np.searchsorted(owner, owner)
    kept = place < most
    found = np.full((len(users), most), -1, np.int64)
    found[owner[kept], place[kept]] = habits.item[rows[order]][kept]
    return found


def repeat_reason(habits: Habits, row: int) -> str:
    """One line for a person: how often, how regularly, and on which day (UTC) last. A date stays
    true however late a list is read."""
    times, last = int(habits.times[row]), np.datetime64(int(habits.last[row]), "us")
    day = last.astype("datetime64[D]")
    if times > 1:
        often = "twice" if times == 2 else f"{times} times"
        return f"again: had {often}, about every {_days(habits.own_interval[row])}, last on {day}"
    item = habits.item[row]
    if not habits.item_again[item]:
        return f"again: had once, on {day}"
    usual = _days(habits.item_interval[item])
    return f"again: had once, on {day}; others took it again after {usual}"


def _days(count: float) -> str:
    days = max(1, round(count))
    return "1 day" if days == 1 else f"{days:,} days"


def _log_days(microseconds: Rows) -> Scores:
    return np.asarray(np.log1p(np.maximum(microseconds, 0) / DAY), np.float64)


def _log_odds(share: Scores) -> Scores:
    return np.asarray(np.log(share / (1 - share)), np.float64)
