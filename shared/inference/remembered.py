"""Features of texts, kept in memory for as long as a training run reads the same rows again."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError
from shared.inference.batches import unit_length
from shared.inference.runtime import AdaptableEmbedder, Embedder
from shared.modeling.adapter import Adapter


class RememberingEmbedder:
    """See Embedder. Each different text is computed once; 6 kB a text for an encoder of width 384.

    For training, where folds, the report and the last fit ask for the same rows; a service would
    only fill its memory.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.dim, self.fingerprint = embedder.dim, embedder.fingerprint
        self._embedder = embedder
        self._known: dict[str, NDArray[np.float32]] = {}

    def with_adapter(self, adapter: Adapter) -> Embedder:
        """See AdaptableEmbedder; what it gives remembers nothing."""
        if not isinstance(self._embedder, AdaptableEmbedder):
            raise ModelError(f"the encoder {self.fingerprint} serves no adapters; use method full")
        return self._embedder.with_adapter(adapter)

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        """(len(texts), dim) in the order of `texts`."""
        vectors = self.features(texts)[:, : self.dim]
        return unit_length(vectors) if normalised else np.ascontiguousarray(vectors)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(len(texts), k * dim) in the order of `texts`."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing or not len(texts):
            computed = self._embedder.features(missing)
            if not len(texts):
                return computed
            self._known.update(zip(missing, computed, strict=True))
        return np.stack([self._known[text] for text in texts])
