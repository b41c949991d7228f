"""Is one system worse than another on the same rows? An exact test, an interval that does not
collapse, and Holm's correction where many parts are tested.

Why not the bootstrap of intervals.py: on a part where both systems agree on every row it gives an
interval of width zero, as if ten rows could prove anything, and its smallest p is too large for a
correction over a hundred labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FLIPS = 9_999
_CELLS = 4_000_000  # signs in memory at once


@dataclass(frozen=True)
class Loss:
    """How much worse the first system is on n rows in `units` independent groups.

    changed: units whose score differs; with so many, no p is smaller than 0.5 ** changed.
    value: mean of second minus first, > 0 where the first is worse; low, high: interval of
    `level`, two-sided. p: one-sided, of a loss this large or larger if the systems were alike.
    """

    n: int
    units: int
    changed: int
    value: float
    low: float
    high: float
    p: float


def loss_of(
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    span: float = 1.0,
    level: float = 0.95,
    seed: int = 13,
) -> Loss:
    """The loss of the first system against the second.

    first, second: (n,) scores of the same rows, higher is better. groups: (n,) ids of rows that
    speak with one voice, such as near duplicates; each row alone by default. span: the best score
    a row can have minus the worst.

    The interval is Agresti and Min's for matched proportions (Statistics in Medicine 24, 2005,
    section 3), which adds half a row of each kind before Wald's formula, carried over to any score
    of that span and to groups (ratio estimate with the groups' own variance). With no rows the
    loss is 0 and anything up to `span` is possible.

    >>> loss = loss_of([1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1])
    >>> loss.n, round(loss.value, 3), loss.p
    (6, 0.667, 0.0625)
    """
    better, worse = np.asarray(second, np.float64), np.asarray(first, np.float64)
    if better.shape != worse.shape or better.ndim != 1:
        raise ValueError(f"{worse.shape} scores of the first system, {better.shape} of the second")
    n = len(better)
    if n == 0:
        return Loss(0, 0, 0, 0.0, -span, span, 1.0)
    total, size = _by_group(better - worse, groups)
    value = float(total.sum() / n)
    # Two more rows: half a row lost, half a row won, one row drawn.
    spread = float(((total - size * value) ** 2).sum()) + span**2
    shrunk = float(total.sum()) / (n + 2)
    reach = float(stats.norm.ppf((1 + level) / 2)) * np.sqrt(spread) / (n + 2)
    low, high = max(-span, shrunk - reach), min(span, shrunk + reach)
    changed = int(np.count_nonzero(total))
    return Loss(n, len(total), changed, value, low, high, sign_flip(total, seed=seed))


def sign_flip(differences: ArrayLike, *, flips: int = FLIPS, seed: int = 13) -> float:
    """One-sided p of a sum this large or larger, if every difference could as well have the other
    sign; exact for any distribution of exchangeable pairs.

    Differences of one size make it the exact McNemar (sign) test in closed form; others are drawn
    `flips` times, the observed one counted in. Source: Good, Permutation, Parametric and Bootstrap
    Tests, 2005, section 3.2; Phipson and Smyth 2010 for the one counted in.

    Five lost and none won: 0.5 ** 5.

    >>> sign_flip([1, 1, 1, 1, 1, 0])
    0.03125
    """
    d = np.asarray(differences, np.float64)
    d = d[d != 0]
    if not len(d):
        return 1.0
    size = np.abs(d)
    if np.allclose(size, size[0]):
        lost = int((d > 0).sum())
        return float(stats.binomtest(lost, len(d), 0.5, alternative="greater").pvalue)
    rng = np.random.default_rng(seed)
    observed = d.sum() - 1e-9 * size.sum()
    reached = 0
    step = max(1, _CELLS // len(d))
    for start in range(0, flips, step):
        rows = min(step, flips - start)
        signs = rng.integers(0, 2, size=(rows, len(d)), dtype=np.int8)
        # Signs of -1 and 1 as 2 b - 1: one product of bytes and numbers.
        reached += int((2.0 * (signs @ size) - size.sum() >= observed).sum())
    return (reached + 1) / (flips + 1)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """(m,) adjusted p of m tests: rejecting those at or below alpha keeps the chance of any false
    rejection at alpha, however the tests depend on each other. Source: Holm 1979.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p, np.float64)
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    adjusted = np.empty(len(raw))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def can_fail(changed: ArrayLike, level: float) -> NDArray[np.bool_]:
    """(m,) which of m sign-flip tests could reach significance at all, by their changed units.

    The others cannot reject whatever their signs, and so need not be corrected for: the chance of
    a false rejection stays at `level` when Holm's correction is over these alone.
    Source: Tarone, Biometrics 46, 1990.

    Two parts without any change do not make the third one's test harder:

    >>> can_fail([0, 0, 6], 0.025).tolist()
    [False, False, True]
    """
    least = 0.5 ** np.asarray(changed, np.float64)
    tests = 1
    while (least <= level / tests).sum() > tests:
        tests += 1
    return np.asarray(least <= level / tests)


def _by_group(
    differences: NDArray[np.float64], groups: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of the differences in each group, and rows in each group."""
    if groups is None:
        return differences, np.ones(len(differences))
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(inverse, weights=differences)
    return np.asarray(sums, np.float64), np.bincount(inverse).astype(np.float64)
