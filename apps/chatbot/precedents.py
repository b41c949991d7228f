"""The questions a bot was trained on, kept with it to show which of them an answer rests on.

Personal data are masked before anything is kept. Row i belongs to row i of the classifier's `known`
vectors, which hold as long as the dense scorer weighs every training row; for more rows than that
(kernel.EXACT_ROWS) it weighs a choice of them, and no questions are kept.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.errors import ModelError
from shared.inference.classifier import FusedClassifier
from shared.inference.dense import rbf
from shared.text import mask_personal_data

FILE_NAME = "precedents.json"


@dataclass(frozen=True)
class Precedent:
    """A training question. similarity: cosine to the message, -1..1. pull: its exact term in the
    dense scorer's estimate of the intent's probability, below 0 where it speaks against it."""

    text: str
    label: str
    similarity: float
    pull: float


@dataclass(frozen=True)
class Precedents:
    """texts, labels: of the training questions, in the order of `known`."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(
        cls, classifier: FusedClassifier, texts: Sequence[str], labels: Sequence[str]
    ) -> "Precedents | None":
        """None where the classifier does not weigh every one of these rows, in this order."""
        if len(classifier.dense.weight) != len(texts):
            return None
        return cls(tuple(mask_personal_data(text) for text in texts), tuple(labels))

    def nearest(
        self, classifier: FusedClassifier, text: str, label: str, k: int = 5
    ) -> tuple[Precedent, ...]:
        """The k questions that pull the text most towards `label`, or away from it, in the dense
        scorer: its estimate is the sum of every question's pull."""
        features = classifier.embedder.features([text])
        cosines = (classifier.views(features) @ classifier.known[: len(self.texts)].T)[0]
        column = classifier.labels.index(label)
        pulls = rbf(cosines, classifier.dense.gamma) * classifier.dense.weight[:, column]
        best = np.argsort(-np.abs(pulls), kind="stable")[:k]
        return tuple(
            Precedent(self.texts[i], self.labels[i], float(cosines[i]), float(pulls[i]))
            for i in best
        )

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
        weighed = len(classifier.dense.weight)
        if not len(found.texts) == len(found.labels) == weighed:
            raise ModelError(
                f"{path}: {len(found.texts)} questions and {len(found.labels)} labels for "
                f"{weighed} known vectors; train again"
            )
        return found
