"""Tail probabilities and ranges of over-dispersed counts: the arithmetic under the surge score.

Every tail is a *mid* p-value, P(X > k) + P(X = k) / 2: with small counts the usual P(X >= k) is far
too careful and P(X > k) too bold, while the mid-p is right on average.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, gammaln
from scipy.stats import nbinom

Floats = NDArray[np.float64]


def _beta_binomial_log_pmf(k: Floats, n: Floats, a: Floats, b: Floats) -> Floats:
    choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    result: Floats = choose + betaln(k + a, n - k + b) - betaln(a, b)
    return result


def beta_shapes(mean: ArrayLike, rho: ArrayLike) -> tuple[Floats, Floats]:
    """The Beta(a, b) of a share with this mean and intra-class correlation rho, both in (0, 1).

    a = mean * M, b = (1 - mean) * M with M = 1 / rho - 1, so that a beta-binomial count has
    variance n * mean * (1 - mean) * (1 + (n - 1) * rho); rho -> 0 is the binomial.
    """
    m = np.asarray(mean, dtype=np.float64)
    concentration = 1.0 / np.asarray(rho, dtype=np.float64) - 1.0
    return m * concentration, (1.0 - m) * concentration


def beta_binomial_mid_p(k: ArrayLike, n: ArrayLike, mean: ArrayLike, rho: ArrayLike) -> Floats:
    """Chance of k or more negatives among n stories, ties counted half. Arguments broadcast.

    Summed term by term upward from k, each term from the last by its ratio: a tail of 1e-30 keeps
    all its digits, where 1 - cdf would give 0. Needs 0 <= k <= n; n = 0 gives 0.5.
    """
    a, b = beta_shapes(mean, rho)
    k_, n_, a, b = np.broadcast_arrays(
        np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64), a, b
    )
    shape = k_.shape
    x, n_, a, b = (np.array(v, dtype=np.float64).ravel() for v in (k_, n_, a, b))
    term = np.exp(_beta_binomial_log_pmf(x, n_, a, b))
    total = term / 2.0
    alive = np.flatnonzero(x < n_)
    x, n_, a, b, term = x[alive], n_[alive], a[alive], b[alive], term[alive]
    while alive.size:
        ratio = (n_ - x) * (a + x) / ((x + 1.0) * (b + n_ - x - 1.0))
        term = term * ratio
        total[alive] += term
        x = x + 1.0
        # Past the mode and too small to matter (the rest is at most term * remaining steps);
        # b < 1 can rise again towards x = n, so such a tail is summed to its end.
        tiny = (ratio < 1.0) & (term * (n_ - x) < 1e-15 * total[alive]) & (b >= 1.0)
        keep = (x < n_) & ~tiny
        if not keep.all():
            alive, x, n_ = alive[keep], x[keep], n_[keep]
            a, b, term = a[keep], b[keep], term[keep]
    return np.asarray(np.minimum(total, 1.0).reshape(shape))


def negative_binomial_mid_p(k: ArrayLike, mean: ArrayLike, dispersion: ArrayLike) -> Floats:
    """Chance of a count of k or more, ties half, when counts have `mean` and variance
    `dispersion * mean`, dispersion > 1. A mean of 0 is taken as 1e-9."""
    k_ = np.asarray(k, dtype=np.float64)
    phi = np.asarray(dispersion, dtype=np.float64)
    size = np.maximum(np.asarray(mean, dtype=np.float64), 1e-9) / (phi - 1.0)
    success = 1.0 / phi
    result: Floats = nbinom.sf(k_, size, success) + 0.5 * nbinom.pmf(k_, size, success)
    return np.minimum(result, 1.0)


def negative_binomial_lower_mid_p(k: ArrayLike, mean: ArrayLike, dispersion: ArrayLike) -> Floats:
    """Chance of a count of k or fewer, ties half; as `negative_binomial_mid_p`, from below."""
    k_ = np.asarray(k, dtype=np.float64)
    phi = np.asarray(dispersion, dtype=np.float64)
    size = np.maximum(np.asarray(mean, dtype=np.float64), 1e-9) / (phi - 1.0)
    success = 1.0 / phi
    result: Floats = nbinom.cdf(k_, size, success) - 0.5 * nbinom.pmf(k_, size, success)
    return np.clip(result, 0.0, 1.0)


def beta_binomial_range(n: int, mean: float, rho: float, coverage: float) -> tuple[int, int]:
    """Smallest central range [low, high] of the count out of n that holds `coverage` of the chance:
    at most (1 - coverage) / 2 lies beyond either end."""
    a, b = beta_shapes(mean, rho)
    x = np.arange(n + 1, dtype=np.float64)
    pmf = np.exp(_beta_binomial_log_pmf(x, np.full_like(x, n), np.asarray(a), np.asarray(b)))
    cdf = np.cumsum(pmf / pmf.sum())
    tail = (1.0 - coverage) / 2.0
    low = int(np.searchsorted(cdf, tail, side="right"))
    high = int(np.searchsorted(cdf, 1.0 - tail, side="left"))
    return min(low, n), min(high, n)


def overdispersion(
    k: NDArray[np.float64], n: NDArray[np.float64], mean: NDArray[np.float64], weight: Floats
) -> float:
    """Maximum-likelihood rho of shares k / n around `mean`, in [0.005, 0.3]; all arrays flat.

    The floor keeps the null honest where history is too short to show its dispersion.
    """
    from scipy.optimize import minimize_scalar

    use = (n > 1) & (weight > 0)
    if int(use.sum()) < 10:
        return 0.02
    k_, n_, m_, w_ = k[use], n[use], mean[use], weight[use]

    def loss(log_rho: float) -> float:
        a, b = beta_shapes(m_, np.exp(log_rho))
        return -float((w_ * _beta_binomial_log_pmf(k_, n_, a, b)).sum())

    found = minimize_scalar(loss, bounds=(np.log(0.005), np.log(0.3)), method="bounded")
    return float(np.exp(found.x))
