"""The fused classifier, serving side: lexical, frozen-dense and fine-tuned scorers as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shared.inference.runtime import Embedder

Kind = Literal["single", "multi"]


@dataclass(frozen=True)
class Prediction:
    """What the classifier says about one text.

    label: the most probable label, also where nothing is decided. probability: calibrated, 0..1.
    labels: the decision: (label,) for "single"; for "multi" every label above its own threshold,
    perhaps none. ranking: the ten most probable labels, best first. conformal: the labels that
    cannot be ruled out at the chosen alpha; empty means that nothing fits. oos_score: grows the
    farther the text is out of scope; compare with FusedClassifier.oos_threshold. scorers: each
    scorer's own calibrated probability of `label`.
    """

    label: str
    probability: float
    labels: tuple[str, ...]
    ranking: tuple[tuple[str, float], ...]
    conformal: tuple[str, ...]
    oos_score: float
    scorers: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """One pass over n texts. probabilities: (n, C); parts: scorer -> (n, C); oos: (n,)."""

    probabilities: NDArray[np.float32]
    parts: dict[str, NDArray[np.float32]]
    oos: NDArray[np.float32]


class FusedClassifier:
    """labels: C names in column order; kind "single" or "multi"."""

    labels: tuple[str, ...]
    kind: Kind
    embedder: "Embedder"
    finetuned: "Embedder | None"

    def score(
        self,
        texts: Sequence[str],
        *,
        vectors: NDArray[np.float32] | None = None,
        finetuned_vectors: NDArray[np.float32] | None = None,
    ) -> Scores:
        """vectors, finetuned_vectors: (n, dim) normalised, where the caller has them already."""
        raise NotImplementedError

    def predict_proba(
        self,
        texts: Sequence[str],
        *,
        vectors: NDArray[np.float32] | None = None,
        finetuned_vectors: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """(n, C) calibrated. Rows sum to 1 for "single"; each entry stands alone for "multi"."""
        raise NotImplementedError

    def predict(
        self,
        texts: Sequence[str],
        *,
        vectors: NDArray[np.float32] | None = None,
        finetuned_vectors: NDArray[np.float32] | None = None,
        alpha: float = 0.05,
    ) -> list[Prediction]:
        """In the order of the texts. alpha: risk that the conformal set misses the true label."""
        raise NotImplementedError

    def oos_threshold(self, in_scope_loss: float = 0.03) -> float:
        """The score above which a text is refused, losing this share of in-scope texts."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """classifier.json and classifier.safetensors; the encoders are not in it."""
        raise NotImplementedError

    @classmethod
    def load(
        cls, folder: Path, *, embedder: "Embedder", finetuned: "Embedder | None" = None
    ) -> "FusedClassifier":
        """Raises ModelError for a damaged folder or another encoder's fingerprint."""
        raise NotImplementedError
