"""Candidates from several channels, each remembering where it came from.

A channel turns a batch of users into a scorer, which can name its best items and can score any
pair of a user and an item: the ranking needs every channel's view of every candidate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.interactions import Interactions
from apps.recommender.neighbours import relatives, row_largest
from apps.recommender.popularity import ItemClock, windowed_order
from apps.recommender.profiles import Histories, histories, profile_matrix, recency_weights
from apps.recommender.sequence_model import SequenceModel, item_vectors, user_vectors
from apps.recommender.settings import RecommenderSettings
from shared.inference.vector_index import VectorIndex

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]

CHANNELS = ("sequence", "together", "words", "meaning", "popular")
# Bits of `sources`: the channels, what users take again (repeats.py), and new items for those to
# whom no channel proposes any (new_fill.py).
SOURCES = (*CHANNELS, "again", "new")
# Pairs of a user and an item whose vectors are multiplied at once: 64 MB of float32 at 256-d.
PAIRS_AT_ONCE = 32_768
# A catalogue up to this size is cheaper to score whole than pair by pair.
WHOLE_CATALOGUE = 50_000
# For fewer users than this, picking the vectors of their pairs is cheaper all the same.
WHOLE_FROM_USERS = 16
# Nearest items by meaning that are looked at for relatives: not all of them were taken.
ALIKE = 60
# How far past its best a channel looks for items that the shop's rules do not leave out, in counts.
REFUSED_REACH = 10


@dataclass(frozen=True, eq=False)
class Asked:
    """A batch of users. now: (users,) microseconds, the moment each is asked about.

    shares: (users, length) what each item of the history counts. profile: (users, items) sparse,
    the same by item. seen: (users, items) sparse, above 0 where the user has had the item;
    hidden: where the user wants to see it no more.
    """

    past: Histories
    shares: Scores
    profile: sp.csr_matrix
    seen: sp.csr_matrix
    hidden: sp.csr_matrix
    now: Rows

    def __len__(self) -> int:
        return len(self.past)


class Scorer(Protocol):
    """What one channel says about one batch of users."""

    def top(self, count: int) -> tuple[Rows, Scores]:
        """(users, ≤ count) items and scores, best first; -1 where there is none."""
        ...

    def pairs(self, user: Rows, item: Rows) -> Scores:
        """(m,) the score of item[i] for user[i] of the batch; 0: knows nothing."""
        ...


@dataclass(frozen=True, eq=False)
class VectorScorer:
    """users (b, d) against items (n, d), unit length; candidates by the index."""

    users: Scores
    items: Scores
    index: VectorIndex

    def top(self, count: int) -> tuple[Rows, Scores]:
        hits = self.index.search(self.users, count)
        rows = hits.ids.astype(np.int64)
        rows[~self.users.any(1)] = -1  # nobody is near to a user without a history
        return rows, hits.scores

    def pairs(self, user: Rows, item: Rows) -> Scores:
        if len(self.items) <= WHOLE_CATALOGUE and len(self.users) >= WHOLE_FROM_USERS:
            whole: Scores = (self.users @ self.items.T)[user, item]
            return whole
        scores = np.empty(len(user), np.float32)
        for at in range(0, len(user), PAIRS_AT_ONCE):
            part = slice(at, at + PAIRS_AT_ONCE)
            scores[part] = np.einsum("md,md->m", self.users[user[part]], self.items[item[part]])
        return scores


@dataclass(frozen=True, eq=False)
class SparseScorer:
    """matrix: (b, n) scores, stored where a neighbour of the history is."""

    matrix: sp.csr_matrix

    @cached_property
    def whole(self) -> Scores | None:
        """The matrix with its zeros, where the catalogue is small enough."""
        if self.matrix.shape[1] > WHOLE_CATALOGUE:
            return None
        dense: Scores = self.matrix.toarray().astype(np.float32, copy=False)
        return dense

    def top(self, count: int) -> tuple[Rows, Scores]:
        if self.whole is None or count >= self.whole.shape[1]:
            return row_largest(self.matrix, count)
        best = np.argpartition(-self.whole, count - 1, axis=1)[:, :count]
        scores = np.take_along_axis(self.whole, best, 1)
        order = np.argsort(-scores, axis=1, kind="stable")
        scores = np.take_along_axis(scores, order, 1)
        return np.where(scores > 0, np.take_along_axis(best, order, 1), -1), scores

    def pairs(self, user: Rows, item: Rows) -> Scores:
        if self.whole is not None:
            return self.whole[user, item]
        found: Scores = np.asarray(self.ordered[user, item], np.float32).ravel()
        return found

    @cached_property
    def ordered(self) -> sp.csr_matrix:
        """The matrix with the columns of a row in order: a pair is looked up by halving, and not by
        going through all that is stored for the user."""
        ordered = self.matrix.copy()
        ordered.sum_duplicates()
        return ordered


@dataclass(frozen=True, eq=False)
class SameForAll:
    """order: items, most wanted first. values: (n,) their scores."""

    order: Rows
    values: Scores
    users: int

    def top(self, count: int) -> tuple[Rows, Scores]:
        best = self.order[:count]
        shape = (self.users, len(best))
        return np.broadcast_to(best, shape), np.broadcast_to(self.values[best], shape)

    def pairs(self, user: Rows, item: Rows) -> Scores:  # noqa: ARG002
        found: Scores = self.values[item]
        return found


@dataclass(frozen=True, eq=False)
class Channels:
    """Everything that proposes and scores items, for one state of the log.

    meaning: (n, d) whitened text vectors; moved: (n, d) the same as the sequence model sees them;
    worded: (n, d) as it would see them if nobody had taken them.
    together, words: neighbour tables; meant: the nearest by meaning. relatives: (n, n) see
    neighbours.relatives; speaks_for: the same by its columns, so that no request has to turn it;
    kindred: (n, d) their mean of `moved`: what is known of others alike.
    order: items by popularity.
    """

    log: Interactions
    settings: RecommenderSettings
    meaning: Scores
    meaning_index: VectorIndex
    sequence: SequenceModel
    moved: Scores
    worded: Scores
    moved_index: VectorIndex
    together: sp.csr_matrix
    words: sp.csr_matrix
    meant: sp.csr_matrix
    relatives: sp.csr_matrix
    speaks_for: sp.csr_matrix
    kindred: Scores
    order: Rows
    clock: ItemClock

    def asked(self, users: Rows, now: Rows) -> Asked:
        """users: indices into the log. now: (users,) microseconds."""
        past = histories(self.log, users, self.settings.events.history)
        shares = recency_weights(past, self.settings.profile, has_clock=self.log.has_clock)
        profile = profile_matrix(past, shares, self.log.n_items)
        return Asked(past, shares, profile, self.log.matrix[users], self.log.withheld[users], now)

    def scorers(self, asked: Asked, refused: NDArray[np.bool_] | None = None) -> dict[str, Scorer]:
        """Channel -> scorer, in the order of CHANNELS. refused: (items,) what nobody will be shown:
        `popular` proposes the others, so that a list can always be filled."""
        people = user_vectors(self.sequence, self.moved, asked.past)
        order = self.order if refused is None else self.order[~refused[self.order]]
        return {
            "sequence": VectorScorer(people, self.moved, self.moved_index),
            "together": SparseScorer((asked.profile @ self.together).tocsr()),
            "words": SparseScorer((asked.profile @ self.words).tocsr()),
            "meaning": VectorScorer(
                np.asarray(asked.profile @ self.meaning), self.meaning, self.meaning_index
            ),
            "popular": SameForAll(order, self.log.log_counts, len(asked)),
        }


def build_channels(
    log: Interactions,
    settings: RecommenderSettings,
    *,
    meaning: Scores,
    sequence: SequenceModel,
    together: sp.csr_matrix,
    words: sp.csr_matrix,
    meant: sp.csr_matrix,
    clock: ItemClock,
    fingerprint: str,
    meaning_index: VectorIndex | None = None,
    moved_index: VectorIndex | None = None,
) -> Channels:
    """fingerprint: of the encoder whose vectors `meaning` are. meaning_index, moved_index: built
    where they are not there yet."""
    moved = item_vectors(sequence, log.counts > 0)
    related = relatives(words, meant, log.counts > 0)
    return Channels(
        log=log,
        settings=settings,
        meaning=meaning,
        meaning_index=row_index(meaning, fingerprint) if meaning_index is None else meaning_index,
        sequence=sequence,
        moved=moved,
        worded=item_vectors(sequence, np.zeros(len(moved), bool)),
        moved_index=row_index(moved, fingerprint) if moved_index is None else moved_index,
        together=together,
        words=words,
        meant=meant,
        relatives=related,
        speaks_for=related.T.tocsr(),
        kindred=np.asarray(related @ moved),
        order=windowed_order(log, settings.ranking.windows_days),
        clock=clock,
    )


def alike_in_meaning(index: VectorIndex, vectors: Scores, first: int = 0) -> sp.csr_matrix:
    """(rows, items of the index) cosines above 0 of the few items nearest to each of `vectors`
    (rows, d), of which row i is item `first` + i; 0 for an item itself."""
    count = min(len(index), ALIKE)
    hits = index.search(vectors, count)
    item = hits.ids.astype(np.int64)
    near = (item >= 0) & (hits.scores > 0) & (item != first + np.arange(len(vectors))[:, None])
    row, place = np.nonzero(near)
    found = sp.csr_matrix(
        (hits.scores[row, place], (row, item[row, place])), (len(vectors), len(index))
    )
    return found.astype(np.float32)


def after(log: Interactions) -> int:
    """The moment just after a log."""
    return log.now + 1_000_000


def row_index(vectors: Scores, fingerprint: str) -> VectorIndex:
    """An index whose ids are the row numbers."""
    ids = [str(row) for row in range(len(vectors))]
    return VectorIndex.build(vectors, ids, encoder_fingerprint=fingerprint)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of a user of the batch and an item, sorted by user. user, item: (m,).

    sources: (m,) bit i is set where SOURCES[i] proposed the item.
    """

    user: Rows
    item: Rows
    sources: NDArray[np.uint8]

    def starts(self, users: int) -> Rows:
        """(users + 1,): user u owns rows starts[u]:starts[u+1]."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.user, minlength=users))])

    def keep(self, rows: NDArray[np.bool_]) -> "Candidates":
        return Candidates(self.user[rows], self.item[rows], self.sources[rows])


def candidates(
    scorers: Mapping[str, Scorer],
    asked: Asked,
    *,
    count: int,
    n_items: int,
    include_seen: bool,
    blocked: Rows,
    refused: NDArray[np.bool_] | None = None,
) -> Candidates:
    """The union of each channel's best `count` items that the user may be shown: none that is
    hidden, none of the history unless include_seen.

    A channel is asked for as many more as it could waste on these.
    refused: (items,) these are candidates as all others, and beside them there are the best
    `count` that are not refused, as far as those are among the first (1 + REFUSED_REACH) · count.
    """
    left_out = asked.hidden if include_seen else asked.seen + asked.hidden
    most_left_out = int(np.diff(left_out.indptr).max(initial=0))
    wasted = 0 if refused is None else min(int(refused.sum()), REFUSED_REACH * count)
    wanted = min(n_items, count + min(most_left_out, 4 * count) + len(blocked) + wasted)
    barred = np.zeros(n_items, bool)
    barred[blocked] = True
    keys: list[Rows] = []
    bits: list[Rows] = []
    owner, out = left_out.nonzero()
    barred_pairs = np.sort(_keys(owner, out, n_items))
    for name, scorer in scorers.items():
        top, _ = scorer.top(wanted)
        user = np.repeat(np.arange(len(asked)), top.shape[1])
        item = top.ravel()
        rows = item >= 0
        rows[rows] = ~barred[item[rows]]
        key = _keys(user, item, n_items)
        rows &= ~_contains(barred_pairs, key)
        user, key, item = user[rows], key[rows], item[rows]
        # Still best first: the place within the user's list is the row less the list's start.
        start = np.searchsorted(user, user)
        kept = np.arange(len(user)) - start < count
        if refused is not None:
            fine = ~refused[item]
            before = np.concatenate([[0], np.cumsum(fine)])
            kept |= fine & (before[:-1] - before[start] < count)
        keys.append(key[kept])
        bits.append(np.full(int(kept.sum()), 1 << CHANNELS.index(name), np.int64))
    pairs, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    sources = np.bincount(inverse, weights=np.concatenate(bits), minlength=len(pairs))
    return Candidates(pairs // n_items, pairs % n_items, sources.astype(np.uint8))


def _keys(user: Rows, item: Rows, n_items: int) -> Rows:
    return user.astype(np.int64) * n_items + item.astype(np.int64)


def _contains(ordered: Rows, values: Rows) -> NDArray[np.bool_]:
    """Whether each value is in the sorted array."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[place] == values
    return found
