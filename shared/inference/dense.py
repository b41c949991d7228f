"""Scorers on vectors: a linear function, and the distance to known vectors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
CHUNK = 1024  # rows compared with all known vectors at once


@dataclass(frozen=True, eq=False)
class LinearScorer:
    """weight: (C, dim), bias: (C,). normalised: whether it reads vectors of length 1."""

    weight: Floats
    bias: Floats
    normalised: bool = True

    def margins(self, vectors: Floats) -> Floats:
        """(n, dim) -> (n, C)."""
        return np.asarray(vectors @ self.weight.T + self.bias, dtype=np.float32)


def nearest_distance(
    vectors: Floats, known: Floats, *, excluded: NDArray[np.bool_] | None = None
) -> Floats:
    """(n,) 1 - the highest cosine to a known vector, 0 (a copy) to 2. All vectors of length 1.

    excluded: (n, m), known vectors that a row may not see.
    """
    found = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), CHUNK):
        part = slice(start, start + CHUNK)
        cosines = vectors[part] @ known.T
        if excluded is not None:
            cosines[excluded[part]] = -1.0
        found[part] = 1 - cosines.max(1)
    return found
