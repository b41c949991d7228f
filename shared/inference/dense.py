"""The dense scorer: kernel least squares on the views of one encoder's features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
TINY = np.float32(1e-6)
# How far a text is from what is known is told by its tenth nearest vector, as the nearest may be a
# stray one (Sun et al. 2022, Out-of-Distribution Detection with Deep Nearest Neighbors); of few
# vectors by an earlier one.
NEIGHBOUR, ROWS_A_NEIGHBOUR = 10, 10
CHUNK = 1024  # rows compared with all known vectors at once


@dataclass(frozen=True, eq=False)
class Views:
    """Makes one vector of length 1 from the features of a text.

    centre: (k, dim) the mean of each view over the training rows. Without its mean a view says
    what sets a text apart: the encoder's states lie in a narrow cone. first: how much the first
    view, which is the encoder's vector of the text, weighs beside each of the others.
    """

    centre: Floats
    first: float = 1.0

    @classmethod
    def of(cls, features: Floats, dim: int, first: float = 1.0) -> "Views":
        """features: (n, k * dim) of the training rows."""
        mean = features.mean(0, dtype=np.float64).reshape(-1, dim)
        return cls(mean.astype(np.float32), first)

    @property
    def shares(self) -> Floats:
        """(k,) lengths of the views in a vector; their squares sum to 1.

        >>> Views(np.zeros((2, 3), np.float32), first=0.75).shares.round(3).tolist()
        [0.6000000238418579, 0.800000011920929]
        """
        weights = np.ones(len(self.centre))
        weights[0] = self.first
        return np.asarray(weights / np.linalg.norm(weights), dtype=np.float32)

    def __call__(self, features: Floats) -> Floats:
        """(n, k * dim) -> (n, k * dim). A view that is its mean is left at zero."""
        views = features.reshape(-1, *self.centre.shape) - self.centre
        lengths = np.linalg.norm(views, axis=2, keepdims=True)
        views *= self.shares[:, None] / np.maximum(lengths, TINY)
        return views.reshape(len(features), -1)


@dataclass(frozen=True, eq=False)
class KernelScorer:
    """Kernel least squares on 0/1 targets, which estimates each label's probability.

    weight: (m, C) of the first m known vectors. gamma: of exp(-gamma |a - b|^2). floor: what is
    added before the logarithm, so that a label without support is unlikely and not impossible.
    """

    weight: Floats
    gamma: float
    floor: float

    def margins(self, cosines: Floats) -> Floats:
        """(n, C) log estimates from the cosines (n, >= m) to the known vectors."""
        kernel = rbf(cosines[:, : len(self.weight)], self.gamma)
        estimate = np.maximum(kernel @ self.weight, 0) + np.float32(self.floor)
        return np.asarray(np.log(estimate), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class DenseScorer:
    """known: (m, k * dim) vectors of training rows as `views` makes them, of which `kernel` weighs
    the first. neighbour: which of them, counted from the nearest, a text's distance is measured
    to."""

    views: Views
    kernel: KernelScorer
    known: Floats
    neighbour: int = 1

    def __call__(self, features: Floats) -> tuple[Floats, Floats]:
        """(n, k * dim) -> margins (n, C) and the distance (n,) to the known vectors."""
        vectors = self.views(features)
        margins = np.empty((len(vectors), self.kernel.weight.shape[1]), dtype=np.float32)
        distances = np.empty(len(vectors), dtype=np.float32)
        for part in in_chunks(len(vectors)):
            cosines = vectors[part] @ self.known.T
            margins[part] = self.kernel.margins(cosines)
            distances[part] = 1 - _kth_highest(cosines, self.neighbour)
        return margins, distances


def rbf(cosines: Floats, gamma: float) -> Floats:
    """exp(-gamma |a - b|^2) of vectors of length 1 with these cosines.

    >>> rbf(np.float32([1.0, 0.0]), 0.5).round(3).tolist()
    [1.0, 0.36800000071525574]
    """
    scale = np.float32(2 * gamma)
    return np.asarray(np.exp(cosines * scale - scale))


def in_chunks(rows: int) -> Iterator[slice]:
    """Slices of at most CHUNK rows: cosines to all known vectors are big."""
    return (slice(start, min(start + CHUNK, rows)) for start in range(0, rows, CHUNK))


def neighbour_of(rows: int) -> int:
    """The one that distances are measured to among so many known vectors.

    >>> [neighbour_of(rows) for rows in (5, 30, 1000)]
    [1, 3, 10]
    """
    return max(1, min(NEIGHBOUR, rows // ROWS_A_NEIGHBOUR))


def neighbour_among(rows: int, others: int, neighbour: int) -> int:
    """The one of `rows` known vectors that is as far away as the `neighbour`th of `others` drawn
    alike: of four fifths of the vectors the eighth for the tenth of all.

    >>> neighbour_among(800, 1000, 10)
    8
    """
    return max(1, round(neighbour * rows / others))


def distance_to(vectors: Floats, known: Floats, neighbour: int = 1) -> Floats:
    """(n,) 1 - the cosine to the `neighbour`th nearest known vector, 0 (a copy) to 2. All vectors
    of length 1."""
    found = np.empty(len(vectors), dtype=np.float32)
    for part in in_chunks(len(vectors)):
        found[part] = 1 - _kth_highest(vectors[part] @ known.T, neighbour)
    return found


def _kth_highest(cosines: Floats, k: int) -> Floats:
    """(n, m) -> (n,); the lowest where m < k."""
    k = min(k, cosines.shape[1])
    if k == 1:
        return np.asarray(cosines.max(1))
    return np.asarray(np.partition(cosines, -k, axis=1)[:, -k])
