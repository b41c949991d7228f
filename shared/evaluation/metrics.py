"""Figures of merit, each with an example worked by hand; their intervals are in intervals.py.

Weighted twins: every function that takes `weights` (b, n) counts row i weights[r, i] times in
resample r and returns (b,); that is what makes a bootstrap one matrix product. Without weights
each row counts once and the result is one number.
"""

from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
BINS = 15  # equal-width bins of confidence, as Guo et al. 2017 use


@dataclass(frozen=True, eq=False)
class LabelScores:
    """(C,) each; NaN where not measured: no true row (recall, f1), no prediction (precision)."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """(bins,) each: how many rows, their mean confidence and the share right (NaN when empty)."""

    edges: Floats
    count: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of rows that agree; for (n, C) membership matrices, of rows that agree in every label.

    >>> accuracy(["a", "b", "b", "c"], ["a", "b", "c", "c"])
    0.75
    >>> accuracy([[True, False], [True, True]], [[True, False], [True, False]])
    0.5
    """
    return float(correct(truth, predicted).mean())


def correct(truth: ArrayLike, predicted: ArrayLike) -> NDArray[np.bool_]:
    """(n,) whether each row agrees (in every column).

    >>> correct([1, 2, 3], [1, 0, 3]).tolist()
    [True, False, True]
    """
    same = np.asarray(truth) == np.asarray(predicted)
    if same.ndim == 0:
        raise ValueError(
            f"truth {np.shape(truth)} and predictions {np.shape(predicted)} must have one shape"
        )
    return np.asarray(same if same.ndim == 1 else same.all(axis=1))


def one_hot(codes: ArrayLike, classes: int) -> NDArray[np.bool_]:
    """(n, classes) membership matrix of class numbers.

    >>> one_hot([1, 0], 3).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0]]
    """
    return np.asarray(np.asarray(codes)[:, None] == np.arange(classes))


def label_scores(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> LabelScores:
    """Precision, recall and F1 of each label, from (n, C) membership matrices.

    Truth a a b, predicted a b b: label a has precision 1/1, recall 1/2, F1 2/3; label b has
    precision 1/2, recall 1/1, F1 2/3; label c never occurs and is not measured.

    >>> s = label_scores(one_hot([0, 0, 1], 3), one_hot([0, 1, 1], 3))
    >>> s.precision.tolist(), s.recall.tolist(), s.f1.round(3).tolist(), s.support.tolist()
    ([1.0, 0.5, nan], [0.5, 1.0, nan], [0.667, 0.667, nan], [2, 1, 0])
    """
    hits = (truth & predicted).sum(0).astype(np.float64)
    actual, claimed = truth.sum(0), predicted.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * hits / (actual + claimed)
        return LabelScores(
            hits / claimed, hits / actual, np.where(actual > 0, f1, np.nan), actual.astype(np.int64)
        )


@overload
def macro_f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float: ...
@overload
def macro_f1(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: NDArray[Any]
) -> Floats: ...
def macro_f1(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: NDArray[Any] | None = None
) -> float | Floats:
    """Mean F1 over the labels that occur in the truth or among the predictions, as scikit-learn's.

    Truth a a b, predicted a b b: (2/3 + 2/3) / 2; a label nobody names does not count.

    >>> round(macro_f1(one_hot([0, 0, 1], 3), one_hot([0, 1, 1], 3)), 3)
    0.667
    """
    hits = _sums(truth & predicted, weights)  # (b, C)
    involved = _sums(truth, weights) + _sums(predicted, weights)
    f1 = np.divide(2 * hits, involved, out=np.zeros_like(hits), where=involved > 0)
    result = f1.sum(1) / np.maximum((involved > 0).sum(1), 1)
    return result if weights is not None else float(result[0])


def label_f1(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: NDArray[Any]
) -> Floats:
    """(b, C) F1 of each label, NaN where no row of a resample has or is given it.

    Truth a a b, predicted a b b, the first row drawn twice and the second not at all:

    >>> label_f1(one_hot([0, 0, 1], 2), one_hot([0, 1, 1], 2), np.array([[2, 0, 1]])).tolist()
    [[1.0, 1.0]]
    """
    hits = _sums(truth & predicted, weights)
    involved = _sums(truth, weights) + _sums(predicted, weights)
    return np.asarray(
        np.divide(2 * hits, involved, out=np.full_like(hits, np.nan), where=involved > 0)
    )


def weighted_f1(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: NDArray[Any]
) -> Floats:
    """(b,) mean F1 over the labels, each counted as often as rows have it, as scikit-learn's.

    Truth a a b, predicted a b b: F1 is 2/3 for both, so the mean is too.

    >>> weighted_f1(one_hot([0, 0, 1], 2), one_hot([0, 1, 1], 2), np.ones((1, 3))).round(3).tolist()
    [0.667]
    """
    support = _sums(truth, weights)
    f1 = np.nan_to_num(label_f1(truth, predicted, weights))
    return np.asarray((support * f1).sum(1) / np.maximum(support.sum(1), 1))


@overload
def micro_f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float: ...
@overload
def micro_f1(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: NDArray[Any]
) -> Floats: ...
def micro_f1(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: NDArray[Any] | None = None
) -> float | Floats:
    """F1 over all (row, label) pairs together; equals accuracy when every row has one label.

    Truth {a, b}, {}; predicted {a}, {b}: one hit, three claims and facts in all: 2 * 1 / (2 + 2).

    >>> micro_f1(np.array([[1, 1], [0, 0]], bool), np.array([[1, 0], [0, 1]], bool))
    0.5
    """
    hits = _sums(truth & predicted, weights).sum(1)
    involved = (_sums(truth, weights) + _sums(predicted, weights)).sum(1)
    result = np.divide(2 * hits, involved, out=np.zeros_like(hits), where=involved > 0)
    return result if weights is not None else float(result[0])


@overload
def auroc(scores: ArrayLike, positive: ArrayLike) -> float: ...
@overload
def auroc(scores: ArrayLike, positive: ArrayLike, weights: NDArray[Any]) -> Floats: ...
def auroc(
    scores: ArrayLike, positive: ArrayLike, weights: NDArray[Any] | None = None
) -> float | Floats:
    """Chance that a positive scores above a negative, ties counting half; NaN without both kinds.

    Positives 3 and 1, negatives 2 and 1: pairs 3>2, 3>1, 1<2, 1=1 give (1 + 1 + 0 + 1/2) / 4.

    >>> auroc([3, 1, 2, 1], [True, True, False, False])
    0.625
    """
    yes, no = _by_score(scores, positive, weights)  # (b, levels), scores ascending
    below = np.cumsum(no, axis=1) - no
    total = yes.sum(1) * no.sum(1)
    wins = (yes * (below + no / 2)).sum(1)
    result = np.divide(wins, total, out=np.full(len(wins), np.nan), where=total > 0)
    return result if weights is not None else float(result[0])


@overload
def fpr_at_tpr(scores: ArrayLike, positive: ArrayLike, tpr: float = ...) -> float: ...
@overload
def fpr_at_tpr(
    scores: ArrayLike, positive: ArrayLike, tpr: float, weights: NDArray[Any]
) -> Floats: ...
def fpr_at_tpr(
    scores: ArrayLike, positive: ArrayLike, tpr: float = 0.95, weights: NDArray[Any] | None = None
) -> float | Floats:
    """Share of negatives at or above the highest threshold that keeps this share of positives.

    Positives 4, 3, 2, 1 of which 75 % are to be kept: the threshold is 2; of the negatives 3 and 0
    one is at or above it.

    >>> fpr_at_tpr([4, 3, 2, 1, 3, 0], [True] * 4 + [False] * 2, tpr=0.75)
    0.5
    """
    yes, no = _by_score(scores, positive, weights)
    kept = np.cumsum(yes[:, ::-1], axis=1)  # positives at or above each level, from the top
    passed = np.cumsum(no[:, ::-1], axis=1)
    total, others = kept[:, -1:], passed[:, -1]
    level = (kept >= tpr * total - 1e-9).argmax(1)
    let_in = np.take_along_axis(passed, level[:, None], axis=1)[:, 0]
    ok = (total[:, 0] > 0) & (others > 0)
    result = np.divide(let_in, others, out=np.full(len(let_in), np.nan), where=ok)
    return result if weights is not None else float(result[0])


@overload
def calibration_error(
    confidence: ArrayLike, right: ArrayLike, *, bins: int = ..., weights: None = ...
) -> float: ...
@overload
def calibration_error(
    confidence: ArrayLike, right: ArrayLike, *, bins: int = ..., weights: NDArray[Any]
) -> Floats: ...
def calibration_error(
    confidence: ArrayLike,
    right: ArrayLike,
    *,
    bins: int = BINS,
    weights: NDArray[Any] | None = None,
) -> float | Floats:
    """Expected calibration error: mean |confidence - accuracy| over equal-width bins, by size.

    Two rows at .95 of which one is right, two at .55 of which one is right:
    1/2 * |.95 - .5| + 1/2 * |.55 - .5| = .25. Source: Guo et al. 2017, equation 3.

    >>> round(calibration_error([0.95, 0.95, 0.55, 0.55], [1, 0, 1, 0]), 3)
    0.25
    """
    sure = np.asarray(confidence, dtype=np.float64)
    inside = one_hot(_bin_of(sure, bins), bins)  # (n, bins)
    gap = _sums(inside * (sure - np.asarray(right, dtype=np.float64))[:, None], weights)
    total = _sums(inside, weights).sum(1)
    result = np.abs(gap).sum(1) / np.maximum(total, 1e-12)
    return result if weights is not None else float(result[0])


def reliability(confidence: ArrayLike, right: ArrayLike, *, bins: int = BINS) -> ReliabilityBins:
    """The bars of a calibration plot.

    >>> reliability([0.1, 0.9, 0.95], [0, 1, 0], bins=2).accuracy.tolist()
    [0.0, 0.5]
    """
    sure, hit = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    at = _bin_of(sure, bins)
    count = np.bincount(at, minlength=bins)
    with np.errstate(invalid="ignore"):
        return ReliabilityBins(
            np.linspace(0, 1, bins + 1),
            count,
            np.bincount(at, sure, minlength=bins) / count,
            np.bincount(at, hit, minlength=bins) / count,
        )


def negative_log_likelihood(
    probabilities: NDArray[np.floating[Any]], codes: NDArray[np.int64]
) -> float:
    """Mean -ln of the probability given to the true class, nats; floored at 1e-12.

    >>> round(negative_log_likelihood(np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1])), 3)
    0.49
    """
    given = probabilities[np.arange(len(codes)), codes].astype(np.float64)
    return float(-np.log(np.maximum(given, 1e-12)).mean())


def recall_at(hits: NDArray[np.bool_], relevant: ArrayLike, k: int) -> Floats:
    """(n,) share of each row's relevant items among its first k.

    hits: (n, depth) whether the item at each rank is relevant, best first. relevant: (n,) how
    many relevant items the row has in all. A row without any is NaN.

    One of two relevant items in the first three:

    >>> recall_at(np.array([[False, True, False]]), [2], 3).tolist()
    [0.5]
    """
    total = np.asarray(relevant, dtype=np.float64)
    found = hits[:, :k].sum(1).astype(np.float64)
    return np.asarray(np.divide(found, total, out=np.full(len(found), np.nan), where=total > 0))


def ndcg_at(hits: NDArray[np.bool_], relevant: ArrayLike, k: int) -> Floats:
    """(n,) discounted gain of the first k against the best order, gains 0 or 1; arguments as above.

    Relevant at ranks 2 and 3, two relevant in all: (1/log2(3) + 1/log2(4)) / (1 + 1/log2(3)).
    Source: Järvelin and Kekäläinen 2002, with log2(rank + 1).

    >>> ndcg_at(np.array([[False, True, True]]), [2], 3).round(4).tolist()
    [0.6934]
    """
    total = np.asarray(relevant, dtype=np.int64)
    depth = min(k, hits.shape[1])
    discount = 1 / np.log2(np.arange(2, k + 2))
    best = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(total, k)]
    gained = hits[:, :depth] @ discount[:depth]
    return np.asarray(np.divide(gained, best, out=np.full(len(gained), np.nan), where=total > 0))


def reciprocal_rank(hits: NDArray[np.bool_]) -> Floats:
    """(n,) 1 / rank of the first relevant item, 0 where none was found; its mean is MRR.

    >>> reciprocal_rank(np.array([[False, True], [False, False]])).tolist()
    [0.5, 0.0]
    """
    return np.where(hits.any(1), 1 / (hits.argmax(1) + 1), 0.0)


def _sums(columns: NDArray[Any], weights: NDArray[Any] | None) -> Floats:
    """(b, C) weighted column sums of (n, C); b = 1 without weights."""
    values = columns.astype(np.float64)
    return values.sum(0, keepdims=True) if weights is None else weights.astype(np.float64) @ values


def _bin_of(confidence: Floats, bins: int) -> NDArray[np.int64]:
    return np.clip((confidence * bins).astype(np.int64), 0, bins - 1)


def _by_score(
    scores: ArrayLike, positive: ArrayLike, weights: NDArray[Any] | None
) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at each distinct score, ascending: (b, levels) each."""
    values, is_positive = np.asarray(scores), np.asarray(positive, dtype=np.bool_)
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    starts = np.concatenate([[0], np.flatnonzero(ranked[1:] != ranked[:-1]) + 1])
    rows = np.ones((1, len(values))) if weights is None else weights.astype(np.float64)
    rows, flags = rows[:, order], is_positive[order]
    return (
        np.add.reduceat(rows * flags, starts, axis=1),
        np.add.reduceat(rows * ~flags, starts, axis=1),
    )
