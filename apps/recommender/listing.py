"""From users to ranked lists: candidates, features, ranking."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.recommender.arrivals import Arrivals, arrivals_of, with_arrivals, with_new_items
from apps.recommender.features import Features, ItemFacts, describe
from apps.recommender.ranking import Ranking
from apps.recommender.repeats import Found, Repeats
from apps.recommender.retrieval import (
    CHANNELS,
    SOURCES,
    Asked,
    Candidates,
    Channels,
    Rows,
    Scores,
    after,
    candidates,
)

AGAIN = np.uint8(1 << SOURCES.index("again"))
USERS_AT_ONCE = 512
TEXT_SOURCES = sum(1 << CHANNELS.index(name) for name in ("words", "meaning"))


@dataclass(frozen=True, eq=False)
class Lists:
    """For each user of a batch: item, score, sources (users, k), best first; -1 and -inf where a
    list is shorter. moved: (users, k) whether a new item was put there, see with_new_items.
    habit: (users, k) the row in the habits of what is there to be taken again, -1 for the others.
    asked and features: what they were made from.
    """

    item: Rows
    score: Scores
    sources: NDArray[np.uint8]
    moved: NDArray[np.bool_]
    habit: Rows
    asked: Asked
    features: Features

    def at(self, place: Rows) -> "Lists":
        """The lists of these columns, (users, k), -1 for none."""
        there, column = place >= 0, np.maximum(place, 0)
        return Lists(
            np.where(there, np.take_along_axis(self.item, column, 1), -1),
            np.where(there, np.take_along_axis(self.score, column, 1), -np.inf),
            np.where(there, np.take_along_axis(self.sources, column, 1), 0),
            there & np.take_along_axis(self.moved, column, 1),
            np.where(there, np.take_along_axis(self.habit, column, 1), -1),
            self.asked,
            self.features,
        )


@dataclass(frozen=True, eq=False)
class Described:
    """Candidates of a batch of users with their features."""

    found: Candidates
    asked: Asked
    features: Features


def ask(channels: Channels, users: Rows, now: Rows | None = None) -> Asked:
    """users: indices into the log. now: (users,) microseconds; by default just after the log."""
    moments = np.full(len(users), after(channels.log)) if now is None else now
    return channels.asked(users, moments)


def describe_users(
    channels: Channels,
    facts: ItemFacts,
    users: Rows,
    *,
    now: Rows | None = None,
    include_seen: bool = False,
    blocked: Rows | None = None,
    refused: NDArray[np.bool_] | None = None,
    pretend: NDArray[np.bool_] | None = None,
    arrivals: Arrivals | None = None,
) -> Described:
    """The candidates of some users and all that is known of them.

    blocked: items that are no candidates. refused: (items,) those that are, but that the shop's
    rules will leave out, so that there must be others beside them.
    pretend: (items,) see features.describe; of these only what a text channel proposed is left,
    as it would be if they were new.
    arrivals: new items for those to whom too few are proposed.
    """
    asked = ask(channels, users, now)
    scorers = channels.scorers(asked, refused)
    found = candidates(
        scorers,
        asked,
        count=channels.settings.ranking.candidates,
        n_items=channels.log.n_items,
        include_seen=include_seen,
        blocked=np.empty(0, np.int64) if blocked is None else blocked,
        refused=refused,
    )
    if pretend is not None:
        by_text = (found.sources & TEXT_SOURCES) > 0
        found = found.keep(by_text | ~pretend[found.item])
    if arrivals is not None:
        found = with_arrivals(found, asked, arrivals)
    return Described(found, asked, describe(found, asked, scorers, channels, facts, pretend))


def list_users(
    channels: Channels,
    facts: ItemFacts,
    ranking: Ranking,
    users: Rows,
    k: int | None,
    *,
    include_seen: bool = False,
    refused: NDArray[np.bool_] | None = None,
    now: Rows | None = None,
    threads: int | None = None,
    repeats: Repeats | None = None,
) -> Lists:
    """The k best items of each user, or, where k is None, all of the candidates; with what they
    take again, where `repeats` are given."""
    arrivals = arrivals_of(channels, facts, refused)
    known = describe_users(
        channels,
        facts,
        users,
        now=now,
        include_seen=include_seen,
        refused=refused,
        arrivals=arrivals,
    )
    moments = known.asked.now
    ranked = _best_first(known.found, ranking.score(known.features, threads))
    if repeats is not None:
        wide = int(np.bincount(ranked.user, minlength=1).max())
        placed = repeats.placed(users, moments, wide)
        ranked = with_repeats(ranked, repeats.found(users, moments, refused), placed)
    score, put = with_new_items(
        ranked.score, ranked.user, arrivals.new[ranked.item], arrivals.places
    )
    order = np.lexsort((-score, ranked.user))
    place = np.arange(len(order)) - np.searchsorted(ranked.user, ranked.user)
    wide = max(1, int(place.max(initial=0)) + 1) if k is None else k
    rows = order[place < wide]
    place = place[place < wide]
    shape = (len(users), wide)
    lists = Lists(
        np.full(shape, -1, np.int64),
        np.full(shape, -np.inf, np.float32),
        np.zeros(shape, np.uint8),
        np.zeros(shape, bool),
        np.full(shape, -1, np.int64),
        known.asked,
        known.features,
    )
    at = (ranked.user[rows], place)
    lists.item[at] = ranked.item[rows]
    lists.score[at] = score[rows]
    lists.sources[at] = ranked.sources[rows]
    lists.moved[at] = put[rows]
    lists.habit[at] = ranked.habit[rows]
    return lists


def ranked_items(
    channels: Channels,
    facts: ItemFacts,
    ranking: Ranking,
    users: Rows,
    k: int,
    *,
    threads: int | None = None,
    repeats: Repeats | None = None,
) -> Rows:
    """(u, k) the items of any number of users' lists; with what they take again, where `repeats`
    are given."""
    parts = [users[at : at + USERS_AT_ONCE] for at in range(0, len(users), USERS_AT_ONCE)]
    lists = (
        list_users(channels, facts, ranking, part, k, threads=threads, repeats=repeats)
        for part in parts
    )
    return np.concatenate([np.empty((0, k), np.int64), *(each.item for each in lists)])


@dataclass(frozen=True, eq=False)
class Ranked:
    """Items of a batch of users, sorted by user and best first, each (m,). habit: see Lists."""

    user: Rows
    item: Rows
    score: Scores
    sources: NDArray[np.uint8]
    habit: Rows


def _best_first(found: Candidates, score: Scores) -> Ranked:
    order = np.lexsort((-score, found.user))
    none = np.full(len(order), -1, np.int64)
    return Ranked(found.user[order], found.item[order], score[order], found.sources[order], none)


def with_repeats(ranked: Ranked, again: Found, placed: NDArray[np.float64]) -> Ranked:
    """With what is found to be taken again, each before all that is less likely to be taken; with
    the score of what it stands before, or of the last one.

    placed: (users, wide) how likely what stands at each place of the lists is to be taken, falling.
    """
    start = np.searchsorted(ranked.user, np.arange(len(again.item) + 1))
    length = np.diff(start)
    owner, column = np.nonzero(again.item >= 0)
    chance = again.chance[owner, column]
    ahead = np.minimum((placed[owner] >= chance[:, None]).sum(1), length[owner])
    beside = start[owner] + np.minimum(ahead, length[owner] - 1)
    score = np.zeros(len(owner), np.float32)
    some = length[owner] > 0
    score[some] = ranked.score[beside[some]]
    place = np.arange(len(ranked.user)) - start[ranked.user]
    user = np.concatenate([ranked.user, owner])
    order = np.lexsort(
        (
            np.concatenate([np.zeros(len(place), np.int64), column]),
            np.concatenate([place, ahead - 0.5]),
            user,
        )
    )
    return Ranked(
        user[order],
        np.concatenate([ranked.item, again.item[owner, column]])[order],
        np.concatenate([ranked.score, score])[order],
        np.concatenate([ranked.sources, np.full(len(owner), AGAIN)])[order],
        np.concatenate([ranked.habit, again.row[owner, column]])[order],
    )
