"""The dense scorer: kernel least squares on the views of one encoder's features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
TINY = np.float32(1e-6)
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
    the first."""

    views: Views
    kernel: KernelScorer
    known: Floats

    def __call__(self, features: Floats) -> tuple[Floats, Floats]:
        """(n, k * dim) -> margins (n, C) and the distance (n,) to the nearest known vector."""
        vectors = self.views(features)
        margins = np.empty((len(vectors), self.kernel.weight.shape[1]), dtype=np.float32)
        distances = np.empty(len(vectors), dtype=np.float32)
        for part in in_chunks(len(vectors)):
            cosines = vectors[part] @ self.known.T
            margins[part] = self.kernel.margins(cosines)
            distances[part] = 1 - cosines.max(1)
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


def nearest_distance(vectors: Floats, known: Floats) -> Floats:
    """(n,) 1 - the highest cosine to a known vector, 0 (a copy) to 2. All vectors of length 1."""
    found = np.empty(len(vectors), dtype=np.float32)
    for part in in_chunks(len(vectors)):
        found[part] = 1 - (vectors[part] @ known.T).max(1)
    return found
