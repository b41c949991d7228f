"""Whether an explanation is true of the model: does what it calls strong move the prediction?

Deletion takes the words away, the strongest first, and insertion puts them into an empty text in
that order; the area is the mean probability of the label on the way. A true explanation has a small
area of deletion and a large one of insertion. Source: Petsiuk et al. 2018, RISE, section 4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.text_units import Segmented
from shared.inference.classifier import FusedClassifier

Order = NDArray[np.int64]


@dataclass(frozen=True)
class Areas:
    """Means over the way, 0..1, by the trapezoidal rule: deletion better small, insertion large."""

    deletion: float
    insertion: float


def areas(
    classifier: FusedClassifier, segmented: Segmented, target: int, orders: Sequence[Order]
) -> list[Areas]:
    """One for each order of the units, strongest first. target: column of the label."""
    count = len(segmented.units)
    if count == 0:
        (p,) = classifier.predict_proba([segmented.text])[:, target]
        return [Areas(float(p), float(p)) for _ in orders]
    ranks = np.argsort(np.stack(orders), axis=1)  # (orders, units)
    joined = ranks[:, None, :] < np.arange(count + 1)[None, :, None]  # (orders, steps, units)
    masks = np.concatenate([~joined, joined]).reshape(-1, count)
    distinct, inverse = np.unique(masks, axis=0, return_inverse=True)
    texts = [segmented.keeping(mask) for mask in distinct]
    p = classifier.predict_proba(texts)[:, target][inverse.reshape(-1)].astype(np.float64)
    area = np.trapezoid(p.reshape(2, len(orders), count + 1), dx=1 / count, axis=2)
    return [Areas(float(d), float(i)) for d, i in area.T]


def strongest_first(parts: NDArray[np.float64]) -> Order:
    """Positions of the units by their part for the label, equal ones in the order of the text."""
    order: Order = np.argsort(-parts, kind="stable")
    return order
