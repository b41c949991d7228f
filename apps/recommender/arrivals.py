"""What nobody has taken yet, in lists: proposed to those to whom no channel proposes enough of it,
and put at the places that are kept for it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.features import ItemFacts
from apps.recommender.interactions import DAY, Interactions
from apps.recommender.retrieval import SOURCES, Asked, Candidates, Channels, Rows, Scores

NEW = np.uint8(1 << SOURCES.index("new"))
# New items have their places among so many.
FIRST = 10
# Pairs of a user and a new item that are scored at once: 64 MB of float32.
SCORES_AT_ONCE = 16_000_000


@dataclass(frozen=True, eq=False)
class Arrivals:
    """The new items that may be shown. new: (items,). places: how many of the FIRST places of a
    list are for them."""

    channels: Channels
    facts: ItemFacts
    new: NDArray[np.bool_]
    places: int

    @cached_property
    def order(self) -> Rows:
        """Most wanted first, as far as anything tells: those whose relatives are taken most, of
        equals the newest, of these the last of the catalogue."""
        rows = np.flatnonzero(self.new)
        kin = np.asarray(self.channels.relatives[rows] @ self.channels.log.log_counts)
        order: Rows = rows[np.lexsort((-rows, -self.facts.created[rows], -kin))]
        return order


def arrivals_of(
    channels: Channels, facts: ItemFacts, refused: NDArray[np.bool_] | None = None
) -> Arrivals:
    """refused: (items,) what the shop's rules leave out."""
    settings = channels.settings.ranking
    new = new_items(channels.log, facts.created, settings.new_for_days)
    if refused is not None:
        new &= ~refused
    return Arrivals(channels, facts, new, places_kept(new, settings.new_items_places))


def new_items(log: Interactions, created: Rows, days: int | None) -> NDArray[np.bool_]:
    """(items,) those that nobody has taken yet, and, where `days` are given, that are no older than
    that when the log ends. created: (items,) microseconds, -1 where unknown: such an item is new.
    """
    untaken: NDArray[np.bool_] = log.counts == 0
    if days is None:
        return untaken
    return untaken & ((created < 0) | (created >= log.now - days * DAY))


def places_kept(new: NDArray[np.bool_], most: int) -> int:
    """How many of the FIRST places are for new items: as many as is their share of the catalogue,
    and `most` at most. new: (items,)

    A shop that adds an item in a hundred keeps no place of ten for it: it would be given to what
    nobody wants.

    >>> [places_kept(np.arange(100) < new, 2) for new in (3, 6, 15, 60)]
    [0, 1, 2, 2]
    """
    share = float(new.mean()) if len(new) else 0.0
    return min(most, int(FIRST * share + 0.5))


def with_arrivals(found: Candidates, asked: Asked, arrivals: Arrivals) -> Candidates:
    """With the nearest new items for each user of the batch who has fewer of them than there are
    places: by the cosine of texts, and in the order of arrivals where that tells nothing."""
    new, places = arrivals.new, arrivals.places
    proposed = np.bincount(found.user, new[found.item], len(asked)).astype(np.int64)
    short = np.flatnonzero(proposed < places)
    if not len(short):
        return found
    meaning, items = arrivals.channels.meaning, arrivals.order
    pairs = (np.ones(len(found.user), np.float32), (found.user, found.item))
    out = (sp.csr_matrix(pairs, asked.hidden.shape) + asked.hidden).tocsr()
    users, added = [found.user], [found.item]
    at_once = max(1, SCORES_AT_ONCE // len(items))
    for at in range(0, len(short), at_once):
        part = short[at : at + at_once]
        scores = np.asarray(asked.profile[part] @ meaning) @ meaning[items].T
        scores[out[part][:, items].toarray() > 0] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :places]
        wanted = np.arange(best.shape[1]) < (places - proposed[part])[:, None]
        row, nth = np.nonzero(wanted & np.isfinite(np.take_along_axis(scores, best, 1)))
        users.append(part[row])
        added.append(items[best[row, nth]])
    user, item = np.concatenate(users), np.concatenate(added)
    sources = np.full(len(user), NEW)
    sources[: len(found.user)] = found.sources
    order = np.lexsort((item, user))
    return Candidates(user[order], item[order], sources[order])


def popular_with_arrivals(popular: Rows, arrivals: Arrivals) -> Rows:
    """(n,) items, most wanted first, for a user of whom nothing is known: with the first arrivals
    at the places that are kept."""
    first = arrivals.order[: arrivals.places]
    items = np.concatenate([popular, first[~np.isin(first, popular)]])
    score = -np.arange(len(items), dtype=np.float32)
    dealt, _ = with_new_items(
        score, np.zeros(len(items), np.int64), arrivals.new[items], arrivals.places
    )
    return items[np.argsort(-dealt, kind="stable")]


def with_new_items(
    score: Scores, user: Rows, new: NDArray[np.bool_], places: int
) -> tuple[Scores, NDArray[np.bool_]]:
    """(scores (m,), which were moved (m,)): each user's scores dealt out again, so that `places`
    of the FIRST are new items where there are as many. The best new ones stand where they stood,
    or last of the FIRST; the others keep their order.

    user: sorted. A recall of new items asks for one place of a list, whichever it is, and the last
    is the one that costs the others least.
    """
    order = np.lexsort((-score, user))
    start = np.searchsorted(user, user)
    place = np.arange(len(user)) - start
    fresh = new[order]
    count = np.cumsum(fresh)
    nth = count - count[start] + fresh[start]  # 1 for the user's best new item
    kept = fresh & (nth <= places)
    before: Rows = np.cumsum(kept) - kept
    rest = place - (before - before[start])  # the place among those that are not kept
    last = FIRST - np.bincount(user, kept)[user]
    # A half: just before the one of the rest that stood there.
    wanted = np.where(kept, np.minimum(rest, last) - 0.5 + nth * 1e-6, rest)
    again = np.lexsort((wanted, user))
    dealt = np.empty_like(score)
    dealt[order[again]] = score[order]
    moved = np.zeros(len(user), bool)
    moved[order[kept & (place >= FIRST)]] = True
    return dealt, moved
