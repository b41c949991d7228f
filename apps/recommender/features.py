"""What the final ranking knows of a candidate: the channels' scores, popularity, price, kinship."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.catalog import Catalog
from apps.recommender.interactions import DAY
from apps.recommender.neighbours import row_shares
from apps.recommender.retrieval import (
    CHANNELS,
    Asked,
    Candidates,
    Channels,
    Rows,
    Scorer,
    Scores,
    SparseScorer,
    VectorScorer,
)

Matrix = NDArray[np.float32]
# The flag of an item that nobody has taken yet.
COLD = "cold"
# How often an item was taken in the longest and in the shortest window of popularity.
RECENT = ("recent", "latest")
FUSED = (*CHANNELS, *(f"{name}, {COLD}" for name in CHANNELS), COLD, *RECENT)


@dataclass(frozen=True, eq=False)
class Features:
    """values: (m, len(names)) float32, NaN where unknown; row i is candidate i.

    spreads: (users, channels) the deviation of each channel's scores within a user's candidates,
    by which its `z_` column was divided; 0 where all are equal.
    """

    names: tuple[str, ...]
    values: Matrix
    spreads: Matrix

    def column(self, name: str) -> Scores:
        found: Scores = self.values[:, self.names.index(name)]
        return found

    @property
    def fused(self) -> Matrix:
        """(m, len(FUSED)) what the linear fusion weighs: the channels' standardised scores, once
        for items that were taken before and once for those that were not, that flag, and how
        popular the item is of late, 0 where the log has no clock.
        """
        scores = self.values[:, [self.names.index(f"z_{name}") for name in CHANNELS]]
        cold = self.column(COLD)[:, None]
        late = [
            self.column(f"z_{name}") if f"z_{name}" in self.names else np.zeros(len(cold))
            for name in RECENT
        ]
        return np.hstack([scores * (1 - cold), scores * cold, cold, np.column_stack(late)])


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """What does not change from batch to batch. log_price: (n,) NaN where unknown; created:
    (n,) microseconds or -1; brand: (n,) codes or -1; categories: (n, c) sparse, rows sum to 1.
    opening: (n,) codes of the titles' first words, or -1.
    """

    log_price: NDArray[np.float64]
    created: Rows
    brand: Rows
    categories: sp.csr_matrix
    opening: Rows

    @cached_property
    def has_price(self) -> bool:
        return bool(np.isfinite(self.log_price).any())

    @cached_property
    def has_brand(self) -> bool:
        return bool((self.brand >= 0).any())

    @cached_property
    def has_categories(self) -> bool:
        return bool(self.categories.nnz > 0)


def item_facts(catalog: Catalog) -> ItemFacts:
    categories = catalog.category_matrix
    per_item = np.asarray(categories.sum(1)).ravel()
    shares = sp.diags(1 / np.maximum(per_item, 1)) @ categories
    return ItemFacts(
        np.log(catalog.prices),
        catalog.created,
        catalog.brand_codes,
        shares.tocsr(),
        catalog.opening_codes,
    )


def describe(
    found: Candidates,
    asked: Asked,
    scorers: Mapping[str, Scorer],
    channels: Channels,
    facts: ItemFacts,
    pretend: NDArray[np.bool_] | None = None,
) -> Features:
    """The features of every candidate; columns a shop has no data for are left out.

    pretend: (items,) items to be seen as if nobody had taken them, so that a ranking can learn
    from a log in which everything has been taken what to think of something new.
    """
    columns: dict[str, NDArray[np.float32] | NDArray[np.float64]] = {}
    spreads: list[Scores] = []
    is_cold = channels.log.counts == 0
    if pretend is not None:
        is_cold = is_cold | pretend
    cold = is_cold[found.item]
    for name in CHANNELS:
        score = scorers[name].pairs(found.user, found.item)
        if name == "together":
            score = np.where(cold, 0, score).astype(np.float32)
        if name == "sequence" and pretend is not None:
            people = scorers[name]
            assert isinstance(people, VectorScorer)
            unmoved = replace(people, items=channels.worded).pairs(found.user, found.item)
            score = np.where(cold, unmoved, score)
        if name == "popular":
            score = _unknown_as_average(score, cold, found.user, len(asked))
        columns[name] = score
        columns[f"z_{name}"], spread = standardised(score, found.user, len(asked))
        spreads.append(spread)
        columns[f"rank_{name}"] = ranks(score, found.user)
    bits = (found.sources[:, None] >> np.arange(len(CHANNELS))) & 1
    columns["sources"] = bits.sum(1).astype(np.float32)
    columns["last_meaning"] = _last_similarity(found, asked, channels)
    columns["history"] = np.log1p(asked.past.lengths)[found.user]
    columns[COLD] = cold.astype(np.float32)
    if channels.log.has_clock:
        columns |= _in_time(found, asked, channels, facts, cold)
        columns |= _of_late(found, asked, channels, cold)
    columns |= _by_relatives(found, scorers, channels, pretend)
    columns |= _kinship(found, asked, facts)
    values = np.column_stack([column.astype(np.float32) for column in columns.values()])
    return Features(tuple(columns), values, np.column_stack(spreads))


def _unknown_as_average(score: Scores, cold: NDArray[np.bool_], user: Rows, users: int) -> Scores:
    """Cold candidates get the mean of the user's others: that nobody has taken an item on its
    first day says nothing against it, and counting it as 0 would bury all that is new.
    """
    known = np.maximum(np.bincount(user, ~cold, users), 1)
    mean = (np.bincount(user, np.where(cold, 0, score), users) / known)[user]
    filled: Scores = np.where(cold, mean, score).astype(np.float32)
    return filled


def standardised(score: Scores, user: Rows, users: int) -> tuple[Scores, Scores]:
    """((x - mean) / deviation, deviation (users,)) within each user's candidates; 0 where all are
    equal."""
    count = np.maximum(np.bincount(user, minlength=users), 1)
    mean = np.bincount(user, score, users) / count
    spread = score - mean[user]
    deviation = np.sqrt(np.bincount(user, spread**2, users) / count)
    scaled: Scores = (spread / np.maximum(deviation, 1e-6)[user]).astype(np.float32)
    return scaled, deviation.astype(np.float32)


def ranks(score: Scores, user: Rows) -> Scores:
    """log(1 + place) of each candidate among its user's, 0 for the best. user: sorted."""
    order = np.lexsort((-score, user))
    place = np.empty(len(score), np.int64)
    place[order] = np.arange(len(score)) - np.searchsorted(user, user)[order]
    logarithm: Scores = np.log1p(place).astype(np.float32)
    return logarithm


def _last_similarity(found: Candidates, asked: Asked, channels: Channels) -> Scores:
    """Cosine of the texts of the candidate and of the user's newest item, 0 without one."""
    newest = channels.meaning[asked.past.items[:, -1]] * asked.past.present[:, -1:]
    near = VectorScorer(newest, channels.meaning, channels.meaning_index)
    return near.pairs(found.user, found.item)


def _in_time(
    found: Candidates,
    asked: Asked,
    channels: Channels,
    facts: ItemFacts,
    cold: NDArray[np.bool_],
) -> dict[str, NDArray[np.float64]]:
    """Counts in the windows before `now`, the item's age and how long nobody took it; NaN for
    cold items but for an age the catalogue tells."""
    until, clock = asked.now[found.user], channels.clock
    columns: dict[str, NDArray[np.float64]] = {
        f"taken_{days}d": np.where(cold, np.nan, np.log1p(clock.count(found.item, until, days)))
        for days in channels.settings.ranking.windows_days
    }
    idle = np.log1p(np.maximum(clock.last(found.item, until), 0))
    columns["idle_days"] = np.where(cold, np.nan, idle)
    known = np.where(cold, np.nan, np.maximum(clock.first(found.item, until), 0))
    if (facts.created >= 0).any():
        listed = np.where(
            facts.created[found.item] >= 0, (until - facts.created[found.item]) / DAY, np.nan
        )
        known = np.fmax(known, np.maximum(listed, 0))
    columns["age_days"] = np.log1p(known)
    return columns


def _of_late(
    found: Candidates, asked: Asked, channels: Channels, cold: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    """The logarithms of the counts in the longest and the shortest window, standardised."""
    days = channels.settings.ranking.windows_days
    if not days:
        return {}
    until, columns = asked.now[found.user], {}
    for name, window in zip(RECENT, (max(days), min(days)), strict=True):
        counts = np.log1p(channels.clock.count(found.item, until, window)).astype(np.float32)
        counts = _unknown_as_average(counts, cold, found.user, len(asked))
        columns[f"z_{name}"], _ = standardised(counts, found.user, len(asked))
    return columns


def _by_relatives(
    found: Candidates,
    scorers: Mapping[str, Scorer],
    channels: Channels,
    pretend: NDArray[np.bool_] | None,
) -> dict[str, Scores]:
    """What behaviour says of the items worded most alike, each a weighted mean over them: it stands
    in for what is not known of a new item, and steadies what is known of a rare one."""
    people, together = scorers["sequence"], scorers["together"]
    assert isinstance(people, VectorScorer)
    assert isinstance(together, SparseScorer)
    table, turned, vectors = channels.relatives, channels.speaks_for, channels.kindred
    if pretend is not None:
        table = row_shares((table @ sp.diags((~pretend).astype(np.float32))).tocsr())
        turned, vectors = table.T.tocsr(), np.asarray(table @ channels.moved)
    chosen = SparseScorer((together.matrix @ turned).tocsr())
    columns = {
        "kin_sequence": replace(people, items=vectors).pairs(found.user, found.item),
        "kin_together": chosen.pairs(found.user, found.item),
    }
    users = len(people.users)
    for name in tuple(columns):
        columns[f"z_{name}"], _ = standardised(columns[name], found.user, users)
    # Of the candidates alone: a request must not go through the whole catalogue.
    items, place = np.unique(found.item, return_inverse=True)
    columns["kin_popular"] = np.asarray(table[items] @ channels.log.log_counts)[place]
    return columns


def _kinship(
    found: Candidates, asked: Asked, facts: ItemFacts
) -> dict[str, NDArray[np.float32] | NDArray[np.float64]]:
    """Price against the user's mean price, and the share of the history in its categories, of its
    brand and with a title that begins as its own does."""
    columns: dict[str, NDArray[np.float32] | NDArray[np.float64]] = {}
    items, shares = asked.past.items, asked.shares
    if facts.has_price:
        paid = facts.log_price[items]
        weight = np.where(np.isfinite(paid), shares, 0.0)
        total = weight.sum(1)
        usual = np.where(
            total > 0, np.nansum(weight * np.nan_to_num(paid), 1) / np.maximum(total, 1e-9), np.nan
        )
        price = facts.log_price[found.item]
        columns["price"] = price
        columns["price_gap"] = price - usual[found.user]
        columns["price_distance"] = np.abs(price - usual[found.user])
    if facts.has_categories:
        liked = (asked.profile @ facts.categories).tocsr()  # (users, categories)
        columns["category_affinity"] = _row_products(liked, facts.categories, found)
    if facts.has_brand:
        columns["brand_affinity"] = _share_alike(facts.brand, found, asked)
    columns["opening_affinity"] = _share_alike(facts.opening, found, asked)
    return columns


def _share_alike(codes: Rows, found: Candidates, asked: Asked) -> Scores:
    """(m,) the share of the user's history with the candidate's code; -1 is like nothing."""
    own = codes[found.item][:, None]
    same = (codes[asked.past.items][found.user] == own) & (own >= 0)
    share: Scores = np.where(same, asked.shares[found.user], 0.0).sum(1)
    return share


def _row_products(left: sp.csr_matrix, right: sp.csr_matrix, found: Candidates) -> Scores:
    """(m,) left[user] · right[item]."""
    if left.shape[1] <= 2000:
        dense = left.toarray()
        weighted = right[found.item]
        weighted.data = (
            weighted.data * dense[np.repeat(found.user, np.diff(weighted.indptr)), weighted.indices]
        )
        summed: Scores = np.asarray(weighted.sum(1), np.float32).ravel()
        return summed
    product: Scores = np.asarray(
        left[found.user].multiply(right[found.item]).sum(1), np.float32
    ).ravel()
    return product
