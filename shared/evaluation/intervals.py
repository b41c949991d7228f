"""How far chance alone moves a figure: bootstrap intervals and paired tests of two systems."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
RESAMPLES = 1000
_CELLS = 4_000_000  # weights in memory at once


@dataclass(frozen=True)
class Interval:
    """A figure and the percentile interval of its bootstrap distribution."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """First minus second with its interval; p: two-sided, that there is no difference."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class McNemar:
    """only_first: rows that only the first system has right. p: exact, two-sided."""

    only_first: int
    only_second: int
    p: float


def mean_of(values: ArrayLike) -> Statistic:
    """The weighted mean of (n,) values as a statistic; NaN rows do not count.

    >>> mean_of([1.0, 0.0, float("nan")])(np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 0.0]])).tolist()
    [0.5, 0.75]
    """
    numbers = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(numbers)
    clean = np.where(known, numbers, 0.0)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = weights @ known.astype(np.float64)
        out = np.full(len(total), np.nan)
        return np.asarray(np.divide(weights @ clean, total, out=out, where=total > 0))

    return statistic


def bootstrap(
    statistic: Statistic,
    rows: int,
    *,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 13,
) -> Interval:
    """Percentile bootstrap over rows, or over whole groups (dialogues, users) where given.

    statistic: maps weights (b, rows), how often each row was drawn, to (b,) figures. NaN figures
    (a resample without positives) are left out. groups: (rows,) ids. Source: Efron and Tibshirani
    1993, chapter 13.
    """
    value = float(statistic(np.ones((1, rows)))[0])
    drawn = _distribution(statistic, rows, groups, resamples, seed)
    if not len(drawn):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def bootstrap_many(
    statistic: Statistic,
    rows: int,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 13,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile bootstrap of C figures at once: (C,) lower and (C,) upper bounds.

    statistic: maps weights (b, rows) to (b, C). NaN figures of a resample do not count; a figure
    that no resample has gets NaN bounds.
    """
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // max(rows, 1))
    found = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        found.append(statistic(_drawn(rng, size, rows).astype(np.float64)))
    figures = np.concatenate(found)
    bounds = np.full((2, figures.shape[1]), np.nan)
    some = ~np.isnan(figures).all(0)
    bounds[:, some] = np.nanquantile(figures[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return bounds[0], bounds[1]


def paired_bootstrap(
    first: Statistic,
    second: Statistic,
    rows: int,
    *,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 13,
) -> Difference:
    """First minus second on the same resampled rows.

    p counts resamples on the far side of zero, ties half, doubled and with one added above and
    below, so that it is never 0. Source: Davison and Hinkley 1997, equation 4.11.
    """

    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return first(weights) - second(weights)

    found = bootstrap(difference, rows, groups=groups, resamples=resamples, level=level, seed=seed)
    drawn = _distribution(difference, rows, groups, resamples, seed)
    side = min(
        (drawn < 0).sum() + (drawn == 0).sum() / 2, (drawn > 0).sum() + (drawn == 0).sum() / 2
    )
    p = min(1.0, 2 * (float(side) + 1) / (len(drawn) + 1))
    return Difference(found.value, found.low, found.high, p)


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Exact McNemar test on which rows each system has right.

    Of 5 rows that only one system has right, all 5 are the first's: p = 2 * 0.5 ** 5.

    >>> mcnemar([True] * 5 + [False], [False] * 6)
    McNemar(only_first=5, only_second=0, p=0.0625)
    """
    a, b = np.asarray(first, dtype=np.bool_), np.asarray(second, dtype=np.bool_)
    if a.shape != b.shape:
        raise ValueError(f"{a.shape} rows of the first system and {b.shape} of the second")
    ahead, behind = int((a & ~b).sum()), int((b & ~a).sum())
    if ahead + behind == 0:
        return McNemar(0, 0, 1.0)
    p = stats.binomtest(ahead, ahead + behind, 0.5).pvalue
    return McNemar(ahead, behind, float(p))


def _distribution(
    statistic: Statistic, rows: int, groups: ArrayLike | None, resamples: int, seed: int
) -> NDArray[Any]:
    """The figures of all resamples that have one."""
    rng = np.random.default_rng(seed)
    inverse = None
    units = rows
    if groups is not None:
        ids, inverse = np.unique(np.asarray(groups), return_inverse=True)
        units = len(ids)
    step = max(1, _CELLS // max(rows, 1))
    found = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        weights = _drawn(rng, size, units)
        spread = weights if inverse is None else weights[:, inverse]
        found.append(statistic(spread.astype(np.float64)))
    figures = np.concatenate(found)
    return figures[~np.isnan(figures)]


def _drawn(rng: np.random.Generator, size: int, units: int) -> NDArray[np.int64]:
    """(size, units) how often each unit is drawn in each resample."""
    flat = rng.integers(0, units, size=(size, units)) + np.arange(size)[:, None] * units
    return np.bincount(flat.ravel(), minlength=size * units).reshape(size, units)
