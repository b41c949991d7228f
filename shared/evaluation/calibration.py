"""Fitting what turns margins into probabilities one may act on; applying it is inference's part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logsumexp

Floats = NDArray[np.float64]
# A label's own offset is believed as far as its rows speak for it: prior standard deviation, in
# logits, of the offsets of a softmax.
OFFSET_DEVIATION = 0.5
# Slopes and offsets of single labels lean on what all labels share by this many pseudo-rows.
SHARED_ROWS = 20.0
# Of the largest margin: a spread below is rounding, of sums over thousands of rows in float32.
ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Pool:
    """softmax(sum_k weights[k] * margins_k + offsets): weights (K,) >= 0, offsets (C,)."""

    weights: Floats
    offsets: Floats


@dataclass(frozen=True, eq=False)
class Platt:
    """sigmoid(slope * z + offset)."""

    slope: float
    offset: float


def fit_temperature(logits: NDArray[Any], codes: NDArray[np.int64]) -> float:
    """The temperature that minimises the mean of -ln softmax(logits / T) at the true class.

    Searched between e^-6 and e^6. Source: Guo et al. 2017, section 4.2.
    """
    z = np.asarray(logits, dtype=np.float64)
    true = z[np.arange(len(codes)), codes]

    def loss(log_t: float) -> float:
        scale = np.exp(-log_t)
        return float((logsumexp(z * scale, axis=1) - true * scale).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-6.0, 6.0), method="bounded").x))


def fit_pool(
    margins: Sequence[NDArray[Any]],
    codes: NDArray[np.int64],
    *,
    offset_deviation: float = OFFSET_DEVIATION,
) -> Pool:
    """The logarithmic opinion pool of K scorers with the least log loss.

    margins: K arrays (n, C). Weighting log-probabilities or the margins they come from is the
    same pool, because what each scorer's softmax subtracts is equal for all labels. The offsets
    carry a normal prior and add up to about 0; the problem is convex.
    """
    stack = np.stack([np.asarray(m, dtype=np.float64) for m in margins])  # (K, n, C)
    kinds, rows, classes = stack.shape
    scale = _spreads(stack)
    stack = stack / scale[:, None, None]
    true = np.zeros((rows, classes))
    true[np.arange(rows), codes] = 1.0
    ridge = 1 / (2 * offset_deviation**2 * rows)

    def loss(theta: Floats) -> tuple[float, Floats]:
        weights, offsets = theta[:kinds], theta[kinds:]
        logp = log_softmax(np.tensordot(weights, stack, 1) + offsets, axis=1)
        slope = (np.exp(logp) - true) / rows  # (n, C)
        gradient = np.concatenate(
            [np.tensordot(stack, slope, axes=([1, 2], [0, 1])), slope.sum(0) + 2 * ridge * offsets]
        )
        return float(-logp[np.arange(rows), codes].mean() + ridge * offsets @ offsets), gradient

    start = np.concatenate([np.full(kinds, 1 / kinds), np.zeros(classes)])
    bounds = [(0.0, None)] * kinds + [(None, None)] * classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Pool(found[:kinds] / scale, found[kinds:])


def _spreads(stack: NDArray[np.float64]) -> Floats:
    """(K,) standard deviation of each scorer's margins (K, ...), infinite where it is no more than
    rounding: a scorer that tells nothing apart gets the weight 0. A weight fitted to it would be
    so large that rounding errors decide."""
    flat = stack.reshape(len(stack), -1)
    spread = flat.std(axis=1)
    return np.where(spread > ROUNDING * np.abs(flat).max(axis=1), spread, np.inf)


def fit_binary_pool(margins: Sequence[NDArray[Any]], truth: NDArray[np.bool_]) -> Floats:
    """(K,) weights >= 0 of the scorers where each label is decided for itself.

    margins: K arrays (n, C); truth: (n, C). Minimises the log loss over all (row, label) pairs
    of sigmoid(sum_k w_k m_k + b) with one b.
    """
    stack = np.stack([np.asarray(m, dtype=np.float64).ravel() for m in margins])  # (K, n * C)
    scale = _spreads(stack)
    stack = stack / scale[:, None]
    hit = truth.ravel().astype(np.float64)

    def loss(theta: Floats) -> tuple[float, Floats]:
        z = theta[:-1] @ stack + theta[-1]
        slope = (expit(z) - hit) / len(hit)
        return float((np.logaddexp(0, z) - hit * z).mean()), np.append(stack @ slope, slope.sum())

    start = np.append(np.full(len(stack), 1 / len(stack)), 0.0)
    bounds = [(0.0, None)] * len(stack) + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return np.asarray(found[:-1] / scale)


def fit_platt(
    margins: NDArray[Any], truth: NDArray[np.bool_], *, prior: Platt | None = None
) -> Platt:
    """Slope (>= 0) and offset of the least log loss of one yes/no question.

    With a prior, both lean on it as SHARED_ROWS rows would. Without, the targets are softened as
    Platt 1999 (equation 5) does, so that separable rows keep a finite slope.
    """
    z = np.asarray(margins, dtype=np.float64).ravel()
    hit = np.asarray(truth).ravel().astype(np.float64)
    yes = hit.sum()
    if prior is None:
        hit = np.where(hit > 0, (yes + 1) / (yes + 2), 1 / (len(hit) - yes + 2))
    centre = np.array([prior.slope, prior.offset]) if prior else np.zeros(2)
    spread = max(float(z.std()), 1e-12)
    pull = SHARED_ROWS / len(z) if prior else 0.0

    def loss(theta: Floats) -> tuple[float, Floats]:
        logit = theta[0] * z + theta[1]
        slope = (expit(logit) - hit) / len(z)
        # How far the logits move, in units of their spread, so that scale plays no part.
        away = (theta - centre) * np.array([spread, 1.0])
        gradient = np.array([slope @ z, slope.sum()]) + pull * away * np.array([spread, 1.0])
        return float((np.logaddexp(0, logit) - hit * logit).mean() + pull * away @ away / 2), (
            gradient
        )

    start = centre if prior else np.array([1 / spread, 0.0])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]).x
    return Platt(float(found[0]), float(found[1]))


def fit_label_platts(margins: NDArray[Any], truth: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Slopes and offsets (C,) of each label, leaning on those of all labels together."""
    shared = fit_platt(margins, truth)
    fitted = [fit_platt(margins[:, j], truth[:, j], prior=shared) for j in range(margins.shape[1])]
    return np.array([p.slope for p in fitted]), np.array([p.offset for p in fitted])


def best_threshold(probabilities: NDArray[Any], truth: NDArray[np.bool_]) -> float:
    """The cut with the highest F1 of "at or above"; the middle between two scores, 0.5 if no row
    is true.

    >>> round(best_threshold(np.array([0.9, 0.4, 0.3, 0.1]), np.array([1, 1, 0, 0], bool)), 2)
    0.35
    """
    if not truth.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    score = np.asarray(probabilities, dtype=np.float64)[order]
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(score) + 1) + hits[-1])
    f1[:-1][score[:-1] == score[1:]] = 0.0  # a cut cannot part equal scores
    at = int(f1.argmax())
    below = score[at + 1] if at + 1 < len(score) else 0.0
    return float((score[at] + below) / 2)


def fit_thresholds(probabilities: NDArray[Any], truth: NDArray[np.bool_]) -> Floats:
    """(C,) the cut of each label for F1, leaning on the cut of all labels by SHARED_ROWS true rows.

    A label with few true rows has a noisy best cut of its own.
    """
    shared = best_threshold(probabilities.ravel(), truth.ravel())
    support = truth.sum(0)
    own = np.array(
        [best_threshold(probabilities[:, j], truth[:, j]) for j in range(truth.shape[1])]
    )
    return np.asarray((support * own + SHARED_ROWS * shared) / (support + SHARED_ROWS))
