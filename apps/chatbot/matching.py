"""Finding an answer that no example asks for: by the meaning of its text alone.

The similarity of a question to the best answer is turned into a probability by the firm's own
pairs: each training question is matched against all answers, and a logistic curve learns how often
the nearest answer is the right one at that similarity. The encoder is frozen, so no question has
taught it its answer and the curve is not flattered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from shared.errors import ModelError
from shared.inference.runtime import Embedder

FILE_NAME = "answers.safetensors"


@dataclass(frozen=True)
class Match:
    """The answers nearest to one message. labels: best first; similarities: cosine, -1..1;
    probability: that the first one is the right answer."""

    labels: tuple[str, ...]
    similarities: tuple[float, ...]
    probability: float


@dataclass(frozen=True)
class AnswerMatcher:
    """labels: A answers; vectors: (A, dim) of unit length; slope, intercept: of the logistic curve
    from similarity to probability."""

    labels: tuple[str, ...]
    vectors: NDArray[np.float32]
    slope: float
    intercept: float

    @classmethod
    def from_answers(
        cls, labels: Sequence[str], texts: Sequence[str], embedder: Embedder
    ) -> "AnswerMatcher":
        """Not yet calibrated: `probability` is 0 until `with_curve`."""
        return cls(tuple(labels), embedder.encode(texts), 0.0, -np.inf)

    def with_curve(self, slope: float, intercept: float) -> "AnswerMatcher":
        return AnswerMatcher(self.labels, self.vectors, slope, intercept)

    def similarities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, dim) unit vectors of messages -> (n, A) cosines."""
        result: NDArray[np.float32] = vectors @ self.vectors.T
        return result

    def match(self, vectors: NDArray[np.float32], k: int = 10) -> list[Match]:
        """The k nearest answers of each message."""
        scores = self.similarities(vectors)  # (n, A)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        matches = []
        for row, best in zip(scores, order, strict=True):
            logit = self.slope * float(row[best[0]]) + self.intercept
            matches.append(
                Match(
                    tuple(self.labels[j] for j in best),
                    tuple(float(row[j]) for j in best),
                    float(1 / (1 + np.exp(-np.clip(logit, -50, 50)))),
                )
            )
        return matches

    def save(self, folder: Path) -> None:
        save_file({"vectors": self.vectors}, folder / FILE_NAME)

    @classmethod
    def load(
        cls, folder: Path, labels: Sequence[str], slope: float, intercept: float, dim: int
    ) -> "AnswerMatcher":
        """Raises ModelError when the file is broken or of another encoder's dimension."""
        path = folder / FILE_NAME
        try:
            vectors = load_file(path)["vectors"]
        except Exception as error:  # safetensors raises its own undocumented types
            raise ModelError(f"{path}: not readable ({error})") from error
        if vectors.shape != (len(labels), dim):
            raise ModelError(
                f"{path}: vectors of shape {vectors.shape}, expected ({len(labels)}, {dim})"
            )
        return cls(tuple(labels), vectors, slope, intercept)
