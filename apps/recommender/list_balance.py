"""What lists are like beside how good they are: varied, new to people, drawn to what is popular,
true to each user's mix of categories."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.features import ItemFacts
from apps.recommender.interactions import Interactions
from apps.recommender.list_figures import diversity, novelty
from apps.recommender.retrieval import Rows, Scores
from shared.evaluation.intervals import bootstrap, mean_of
from shared.evaluation.report import Measure

# Steck's α: the share of the user's own mix in what the list's is compared as, so that a category
# that is not in the list costs much, and not without end.
SMOOTHING = 0.01


def balance_of(
    lists: Rows, users: Rows, log: Interactions, facts: ItemFacts, meaning: Scores, seed: int
) -> tuple[Measure, ...]:
    """Of the lists (u, k), -1 for none, of users with a history; the last where the catalogue has
    categories. meaning: (items, d) text vectors of unit length, or 0."""
    had = log.matrix[users].astype(bool).astype(np.float64)
    bias = Measure(
        "popularity bias", popularity_bias(lists, had, log.counts), None, None, len(users)
    )
    values = {
        "variety": variety(lists, meaning),
        "novelty": list_novelty(lists, novelty(log.counts, log.n_users)),
    }
    if facts.has_categories:
        values["miscalibration"] = miscalibration(lists, had, facts.categories)
    return (bias, *(_mean(name, found, seed) for name, found in values.items() if len(found)))


def _mean(name: str, values: NDArray[np.float64], seed: int) -> Measure:
    found = bootstrap(mean_of(values), len(values), seed=seed)
    return Measure(name, found.value, found.low, found.high, len(values))


def variety(lists: Rows, meaning: Scores) -> NDArray[np.float64]:
    """(of lists of two and more,) see list_figures.diversity."""
    lists = lists[(lists >= 0).sum(1) > 1]
    there = lists >= 0
    if not len(lists):
        return np.empty(0)
    size = there.sum(1)
    return diversity(meaning[lists[there]], np.cumsum(size) - size)


def list_novelty(lists: Rows, bits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(of lists that are not empty,) the mean novelty of their items, `bits` (items,)."""
    lists = lists[(lists >= 0).any(1)]
    there = lists >= 0
    summed = np.where(there, bits[np.maximum(lists, 0)], 0.0).sum(1)
    mean: NDArray[np.float64] = summed / there.sum(1)
    return mean


def popularity_bias(lists: Rows, had: sp.csr_matrix, taken: Rows) -> float:
    """How much more popular listed items are than those of the users' own histories, of which each
    user's mean counts once: 0 as popular, 1 twice as popular, -1 nobody has had them.

    had: (u, items) 1 where the user has had the item. taken: (items,) users who have had each.
    Source: ΔGAP of Abdollahpouri, Mansoury, Burke and Mobasher 2019 (arXiv 1907.13286).
    """
    own = (had @ taken) / np.maximum(np.asarray(had.sum(1)).ravel(), 1)
    there = lists >= 0
    counts = np.where(there, taken[np.maximum(lists, 0)], 0.0)
    listed = counts.sum(1) / np.maximum(there.sum(1), 1)
    return float(listed.mean() / max(own.mean(), 1e-12) - 1)


def miscalibration(
    lists: Rows, had: sp.csr_matrix, categories: sp.csr_matrix
) -> NDArray[np.float64]:
    """(of users whose history has a category,) Kullback-Leibler divergence, in nats, of the list's
    mix of categories from the history's: 0 where both are the same, at most ln(1 / SMOOTHING).

    categories: (items, categories), rows sum to 1 or 0.
    Source: Steck 2018, Calibrated Recommendations, equations 2 to 5, each item weighing the same.
    """
    owner, place = np.nonzero(lists >= 0)
    shape = (len(lists), had.shape[1])
    listed = sp.csr_matrix((np.ones(len(owner)), (owner, lists[owner, place])), shape)
    wanted, given = _mix(had @ categories), _mix(listed @ categories)
    known = wanted.sum(1) > 0
    wanted, given = wanted[known], given[known]
    smoothed = (1 - SMOOTHING) * given + SMOOTHING * wanted
    ratio = np.divide(wanted, smoothed, out=np.ones_like(wanted), where=wanted > 0)
    values: NDArray[np.float64] = (wanted * np.log(ratio)).sum(1)
    return values


def _mix(summed: sp.csr_matrix) -> NDArray[np.float64]:
    """(u, categories) rows that sum to 1, or to 0."""
    dense = np.asarray(summed.toarray(), np.float64)
    total = dense.sum(1, keepdims=True)
    return dense / np.where(total > 0, total, 1.0)
