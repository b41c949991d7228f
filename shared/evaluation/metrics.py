"""Figures of quality and their uncertainty.

Intervals are percentile bootstraps over rows (or groups of rows); comparisons of two models on the
same rows are paired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

ROUNDS = 1000
# Resampled rows held at once; keeps the weight matrix of large sets below 80 MB.
CHUNK_CELLS = 10_000_000


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PerLabel:
    """(C,) each, in the order of the labels. n: true rows; NaN where there is nothing to divide."""

    n: Labels
    precision: Floats
    recall: Floats
    f1: Floats


@dataclass(frozen=True)
class Comparison:
    """Model a against model b on the same rows. difference: a - b with its 95 % interval.
    p: two-sided, of the difference being 0."""

    difference: Interval
    p: float


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of rows that are right.

    >>> accuracy([0, 1, 1, 2], [0, 1, 2, 2])
    0.75
    """
    return float((np.asarray(truth) == np.asarray(predicted)).mean())


def per_label(truth: ArrayLike, predicted: ArrayLike, labels: int) -> PerLabel:
    """Precision, recall and F1 of each label of a single-label task. truth, predicted: (n,) codes.

    >>> per_label([0, 0, 1], [0, 1, 1], 2).f1.round(3).tolist()
    [0.667, 0.667]
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    return per_label_of_sets(
        truth[:, None] == np.arange(labels), predicted[:, None] == np.arange(labels)
    )


def per_label_of_sets(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> PerLabel:
    """The same for label sets. truth, predicted: (n, C) membership."""
    hits = (truth & predicted).sum(0).astype(np.float64)
    real, said = truth.sum(0), predicted.sum(0)
    return PerLabel(
        real.astype(np.int64),
        _ratio(hits, said),
        _ratio(hits, real),
        _ratio(2 * hits, real + said),
    )


def macro_f1(truth: ArrayLike, predicted: ArrayLike, labels: int) -> float:
    """Mean F1 over the labels that occur in truth or prediction.

    Label 0: precision 1, recall 1/2, F1 2/3; label 1: precision 1/2, recall 1, F1 2/3; label 2
    occurs nowhere and does not count.

    >>> round(macro_f1([0, 0, 1], [0, 1, 1], 3), 3)
    0.667
    """
    return float(np.nanmean(per_label(truth, predicted, labels).f1))


def auroc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Chance that a positive scores above a negative; ties count one half.

    Of the four pairs 3>1, 3>2, 2>1 are won and 2=2 is half won.

    >>> auroc([3, 2], [1, 2])
    0.875
    """
    positive, negative = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    if not len(positive) or not len(negative):
        return float("nan")
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    wins = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(wins / (len(positive) * len(negative)))


def fpr_at_recall(positive: ArrayLike, negative: ArrayLike, recall: float = 0.95) -> float:
    """Share of negatives that score at least as high as the threshold that keeps `recall` of the
    positives.

    >>> fpr_at_recall([4, 3, 2, 1], [0, 2.5, 3.5, 0], recall=0.75)
    0.5
    """
    positive = np.sort(np.asarray(positive, np.float64))[::-1]
    keep = int(np.ceil(recall * len(positive) - 1e-9))
    return float((np.asarray(negative, np.float64) >= positive[keep - 1]).mean())


def expected_calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by rows.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.

    Bin of 0.9: accuracy 1/2, gap 0.4; bin of 0.6: accuracy 1, gap 0.4.

    >>> round(expected_calibration_error([0.9, 0.9, 0.6], [1, 0, 1], bins=10), 3)
    0.4
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    gap = np.bincount(place, confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / count.sum())


def recall_at(ranks: ArrayLike, k: int) -> Floats:
    """(n,) 1.0 where the one relevant item has a rank (1 is best) of at most k, else 0.0."""
    return (np.asarray(ranks) <= k).astype(np.float64)


def ndcg_at(ranks: ArrayLike, k: int) -> Floats:
    """(n,) 1 / log2(1 + rank) within the first k, with one relevant item; its ideal is 1.

    >>> ndcg_at([1, 3, 11], 10).round(3).tolist()
    [1.0, 0.5, 0.0]
    """
    ranks = np.asarray(ranks, np.float64)
    return np.where(ranks <= k, 1 / np.log2(1 + ranks), 0.0)


def reciprocal_rank(ranks: ArrayLike) -> Floats:
    """(n,) 1 / rank, whose mean is the MRR."""
    return 1 / np.asarray(ranks, np.float64)


def mean_interval(
    values: ArrayLike, *, seed: int, groups: ArrayLike | None = None, rounds: int = ROUNDS
) -> Interval:
    """Mean of a per-row figure with its bootstrap interval. values: (n,), n of 1 or more.

    groups: (n,) rows of one group are drawn together.
    """
    values = np.asarray(values, np.float64)
    means = resampled(lambda w: (w @ values) / w.sum(1), len(values), seed, groups, rounds)
    return _interval(float(values.mean()), means)


def macro_f1_interval(
    truth: ArrayLike, predicted: ArrayLike, labels: int, *, seed: int, rounds: int = ROUNDS
) -> Interval:
    """macro_f1 with its bootstrap interval, for a single-label task."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    eye = np.arange(labels)
    return macro_f1_interval_of_sets(
        truth[:, None] == eye, predicted[:, None] == eye, seed=seed, rounds=rounds
    )


def macro_f1_interval_of_sets(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], *, seed: int, rounds: int = ROUNDS
) -> Interval:
    """The same for label sets (n, C)."""
    hits = (truth & predicted).astype(np.float64)
    sizes = truth.astype(np.float64) + predicted

    def macro(weights: Floats) -> Floats:  # (rounds, n) -> (rounds,)
        f1 = _ratio(2 * (weights @ hits), weights @ sizes)
        result: Floats = np.nanmean(f1, axis=1)
        return result

    figures = resampled(macro, len(truth), seed, None, rounds)
    return _interval(float(macro(np.ones((1, len(truth))))[0]), figures)


def resampled(
    figure: Callable[[Floats], Floats],
    n: int,
    seed: int,
    groups: ArrayLike | None = None,
    rounds: int = ROUNDS,
) -> Floats:
    """(rounds,) a figure on bootstrap samples.

    figure: (r, n) how often each row was drawn -> (r,).
    """
    rng = np.random.default_rng(seed)
    codes = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = n if codes is None else int(codes.max()) + 1
    step = max(1, CHUNK_CELLS // n)
    parts = []
    for start in range(0, rounds, step):
        size = min(step, rounds - start)
        drawn = rng.multinomial(units, np.full(units, 1 / units), size=size).astype(np.float64)
        parts.append(figure(drawn if codes is None else drawn[:, codes]))
    return np.concatenate(parts)


def bootstrap_interval(
    figure: Callable[[NDArray[np.int64]], float], n: int, *, seed: int, rounds: int = 300
) -> Interval:
    """Any figure of rows, given as a function of row numbers; slower than the ones above."""
    rng = np.random.default_rng(seed)
    figures = np.array([figure(rng.integers(0, n, n)) for _ in range(rounds)])
    return _interval(figure(np.arange(n)), figures)


def compare(a: ArrayLike, b: ArrayLike, *, seed: int, rounds: int = ROUNDS) -> Comparison:
    """Paired bootstrap of two per-row figures on the same rows."""
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    means = resampled(lambda w: (w @ difference) / w.sum(1), len(difference), seed, None, rounds)
    low, high = (float((means <= 0).mean()), float((means >= 0).mean()))
    return Comparison(
        _interval(float(difference.mean()), means), min(1.0, 2 * min(low, high) + 1 / rounds)
    )


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> float:
    """Exact two-sided p that a and b are equally often right, from the rows only one has right.

    Three rows only a has right, none only b: p = 2 / 2**3.

    >>> mcnemar([1, 1, 1, 1], [0, 0, 0, 1])
    0.25
    """
    a, b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def ranks_of(scores: NDArray[np.floating], targets: Sequence[int] | Labels) -> Labels:
    """(n,) rank of each row's target, 1 is best; ties count against the target by half, rounded up.

    scores: (n, C); targets: (n,) columns.
    """
    mine = scores[np.arange(len(scores)), np.asarray(targets)][:, None]
    above, level = (scores > mine).sum(1), (scores == mine).sum(1) - 1
    ranks: Labels = 1 + above + (level + 1) // 2
    return ranks


def _ratio(part: ArrayLike, whole: ArrayLike) -> Floats:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _interval(value: float, figures: Floats) -> Interval:
    low, high = np.percentile(figures, [2.5, 97.5])
    return Interval(value, float(low), float(high))
