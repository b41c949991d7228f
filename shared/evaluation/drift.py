"""How far a fine-tuned encoder moved from its base on texts of every kind: what it may have lost
beyond its own task."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from shared.inference.probes import PROBE_TEXTS
from shared.inference.runtime import Embedder

NEIGHBOURS = 5


@dataclass(frozen=True)
class Drift:
    """spearman: rank correlation, -1..1, of the cosines of all pairs of texts. overlap: mean share
    of each text's `neighbours` nearest others that stayed, 0..1; `chance` of them would by luck."""

    texts: int
    neighbours: int
    spearman: float
    overlap: float

    @property
    def chance(self) -> float:
        return self.neighbours / (self.texts - 1)

    @property
    def line(self) -> str:
        """What a reader of the report must know."""
        return (
            f"the fine-tuned encoder on {self.texts} general texts: the cosines of their pairs "
            f"rank as those of its base with a Spearman correlation of {self.spearman:.2f} "
            f"(1: as before), and {self.overlap:.0%} of the {self.neighbours} nearest neighbours "
            f"are the same ({self.chance:.0%} by chance)"
        )


def drift_notes(base: Embedder, finetuned: Embedder | None) -> tuple[str, ...]:
    """On the texts of inference/probes.py, for a report; nothing without a fine-tuned encoder."""
    if finetuned is None:
        return ()
    return (drift(base.encode(PROBE_TEXTS), finetuned.encode(PROBE_TEXTS)).line,)


def drift(
    before: NDArray[np.float32], after: NDArray[np.float32], neighbours: int = NEIGHBOURS
) -> Drift:
    """before, after: (n, d) and (n, d') of unit length, the same n > neighbours texts."""
    first, second = before @ before.T, after @ after.T
    pairs = np.triu_indices(len(first), 1)
    rank = float(stats.spearmanr(first[pairs], second[pairs]).statistic)
    nearest = []
    for cosines in (first, second):
        np.fill_diagonal(cosines, -2.0)
        nearest.append(np.argsort(-cosines, axis=1, kind="stable")[:, :neighbours])
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*nearest, strict=True)]
    return Drift(len(first), neighbours, rank, float(np.mean(shared)) / neighbours)
