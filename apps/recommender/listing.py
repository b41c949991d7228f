"""From users to ranked lists: candidates, features, ranking, the shop's rules."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.recommender.catalog import Catalog
from apps.recommender.features import Features, ItemFacts, describe
from apps.recommender.profiles import histories
from apps.recommender.ranking import Ranking
from apps.recommender.retrieval import (
    CHANNELS,
    Asked,
    Candidates,
    Channels,
    Rows,
    Scores,
    candidates,
)
from apps.recommender.settings import RuleSettings

# How much deeper a list is ranked when a rule may throw items out of it.
SPARE = 5
TEXT_SOURCES = sum(1 << CHANNELS.index(name) for name in ("words", "meaning"))


@dataclass(frozen=True, eq=False)
class Lists:
    """For each user of a batch: item, score, sources (users, k), best first; -1 where a list is
    shorter. asked and features: what they were made from.
    """

    item: Rows
    score: Scores
    sources: NDArray[np.uint8]
    asked: Asked
    features: Features


@dataclass(frozen=True, eq=False)
class Described:
    """Candidates of a batch of users with their features."""

    found: Candidates
    asked: Asked
    features: Features


def ask(channels: Channels, users: Rows, now: Rows | None = None) -> Asked:
    """users: indices into the log. now: (users,) microseconds; by default just after the log."""
    past = histories(channels.log, users, channels.settings.events.history)
    seen = channels.log.matrix[users]
    moments = np.full(len(users), channels.log.now + 1_000_000) if now is None else now
    return channels.asked(past, seen, moments)


def describe_users(
    channels: Channels,
    facts: ItemFacts,
    users: Rows,
    *,
    now: Rows | None = None,
    include_seen: bool = False,
    blocked: Rows | None = None,
    pretend: NDArray[np.bool_] | None = None,
) -> Described:
    """The candidates of some users and all that is known of them.

    pretend: (items,) see features.describe; of these only what a text channel proposed is left,
    as it would be if they were new.
    """
    asked = ask(channels, users, now)
    scorers = channels.scorers(asked)
    found = candidates(
        scorers,
        asked,
        count=channels.settings.ranking.candidates,
        n_items=channels.log.n_items,
        include_seen=include_seen,
        blocked=np.empty(0, np.int64) if blocked is None else blocked,
    )
    if pretend is not None:
        by_text = (found.sources & TEXT_SOURCES) > 0
        found = found.keep(by_text | ~pretend[found.item])
    return Described(found, asked, describe(found, asked, scorers, channels, facts, pretend))


def list_users(
    channels: Channels,
    facts: ItemFacts,
    ranking: Ranking,
    users: Rows,
    k: int,
    *,
    include_seen: bool = False,
    blocked: Rows | None = None,
    now: Rows | None = None,
    threads: int | None = None,
    deeper: int = 1,
) -> Lists:
    """The k · deeper best items of each user."""
    known = describe_users(
        channels, facts, users, now=now, include_seen=include_seen, blocked=blocked
    )
    found = known.found
    score = ranking.score(known.features, threads)
    order = np.lexsort((-score, found.user))
    place = np.arange(len(order)) - np.searchsorted(found.user, found.user)
    rows = order[place < k * deeper]
    place = place[place < k * deeper]
    shape = (len(users), k * deeper)
    item = np.full(shape, -1, np.int64)
    scores = np.full(shape, -np.inf, np.float32)
    sources = np.zeros(shape, np.uint8)
    item[found.user[rows], place] = found.item[rows]
    scores[found.user[rows], place] = score[rows]
    sources[found.user[rows], place] = found.sources[rows]
    return Lists(item, scores, sources, known.asked, known.features)


def capped(item: Rows, groups: Sequence[tuple[str, ...]], k: int, most: int) -> NDArray[np.bool_]:
    """(users, wide): which items of each list stay, so that no category has more than `most` of
    the k; where the rest of the list cannot fill it, places stay empty.
    """
    kept = np.zeros(item.shape, bool)
    for row, items in enumerate(item):
        taken: dict[str, int] = {}
        for place, one in enumerate(items):
            if one < 0 or kept[row].sum() == k:
                break
            if all(taken.get(group, 0) < most for group in groups[one]):
                kept[row, place] = True
                for group in groups[one]:
                    taken[group] = taken.get(group, 0) + 1
    return kept


def with_rules(lists: Lists, catalog: Catalog, rules: RuleSettings, k: int) -> Lists:
    """The lists cut to k under the rules that depend on the rest of a list."""
    if rules.per_category is None:
        return Lists(
            lists.item[:, :k], lists.score[:, :k], lists.sources[:, :k], lists.asked, lists.features
        )
    kept = capped(lists.item, catalog.categories, k, rules.per_category)
    order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
    stays = np.take_along_axis(kept, order, 1)
    return Lists(
        np.where(stays, np.take_along_axis(lists.item, order, 1), -1),
        np.take_along_axis(lists.score, order, 1),
        np.take_along_axis(lists.sources, order, 1),
        lists.asked,
        lists.features,
    )
