"""The questions a bot was trained on, kept with it to show which of them a message is like.

Personal data are masked before anything is kept. Row i belongs to row i of the classifier's `known`
vectors, behind which may stand rows that nobody asked. With more rows than kernel.EXACT_ROWS the
dense scorer weighs a choice of them, and no questions are kept.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError
from shared.inference.classifier import FusedClassifier
from shared.text import mask_personal_data

FILE_NAME = "precedents.json"
ROUNDING = 2e-3  # of a vector of length 1 in half precision, and of int8 in another batch


@dataclass(frozen=True)
class Precedent:
    """A training question. similarity: cosine to the message, -1..1."""

    text: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Precedents:
    """texts, labels: of the training questions, in the order of the first of `known`."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(
        cls, classifier: FusedClassifier, texts: Sequence[str], labels: Sequence[str]
    ) -> "Precedents | None":
        """None where the first rows that the classifier weighs are not these, in this order."""
        first = classifier.dense.known[: len(texts)]
        if len(classifier.dense.kernel.weight) < len(texts) or not _same(classifier, texts, first):
            return None
        return cls(tuple(mask_personal_data(text) for text in texts), tuple(labels))

    def nearest(self, classifier: FusedClassifier, text: str, k: int = 5) -> tuple[Precedent, ...]:
        """The k questions nearest to the text as the dense scorer sees it, of whatever intent.

        By similarity and not by each question's term in the scorer's estimate: the kernel is wide,
        and the largest terms are of far-off questions that cancel each other.
        """
        features = classifier.embedder.features([text])
        cosines = (classifier.dense.views(features) @ classifier.dense.known[: len(self.texts)].T)[
            0
        ]
        best = np.argsort(-cosines, kind="stable")[:k]
        return tuple(Precedent(self.texts[i], self.labels[i], float(cosines[i])) for i in best)

    def save(self, folder: Path) -> None:
        text = json.dumps({"texts": self.texts, "labels": self.labels}, ensure_ascii=False)
        (folder / FILE_NAME).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, classifier: FusedClassifier) -> "Precedents | None":
        """None where the model keeps none. Raises ModelError when the file does not fit it."""
        path = folder / FILE_NAME
        if not path.is_file():
            return None
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            found = cls(tuple(stored["texts"]), tuple(stored["labels"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path}: not readable ({error})") from error
        weighed = len(classifier.dense.kernel.weight)
        if not len(found.texts) == len(found.labels) <= weighed:
            raise ModelError(
                f"{path}: {len(found.texts)} questions and {len(found.labels)} labels for "
                f"{weighed} known vectors; train again"
            )
        return found


def _same(classifier: FusedClassifier, texts: Sequence[str], known: NDArray[np.float32]) -> bool:
    """Whether these are the texts' vectors, as near as half precision keeps them."""
    vectors = classifier.dense.views(classifier.embedder.features(texts))
    return bool(np.allclose(vectors, known, atol=ROUNDING))
