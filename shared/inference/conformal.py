"""Conformal sets: the labels that cannot be ruled out at a stated risk.

Nonconformity of a label is 1 - its calibrated probability (LAC: Sadinle, Lei and Wasserman 2019).
"""

import numpy as np
from numpy.typing import NDArray


def conformal_quantile(scores: NDArray[np.floating], alpha: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest of n calibration scores; inf where n is too small.

    A set of all labels whose nonconformity is at most this holds the true label with probability
    1 - alpha at least. Source: Vovk et al. 2005; Angelopoulos and Bates 2021, section 1.

    >>> conformal_quantile(np.array([0.4, 0.1, 0.2, 0.3]), 0.25)
    0.4
    >>> conformal_quantile(np.array([0.4, 0.1, 0.2, 0.3]), 0.1)
    inf
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha}, expected more than 0 and less than 1")
    rank = int(np.ceil((len(scores) + 1) * (1 - alpha) - 1e-9))
    if rank > len(scores):
        return float("inf")
    return float(np.sort(scores)[rank - 1])


def conformal_members(
    probabilities: NDArray[np.floating], scores: NDArray[np.floating], alpha: float
) -> NDArray[np.bool_]:
    """(n, C) whether each label is in the set of each row; `scores` from calibration rows."""
    return np.asarray(1 - probabilities <= conformal_quantile(scores, alpha))
