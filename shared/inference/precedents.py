"""The texts a classifier was trained on, kept with it to show which of them a text is like.

Personal data are masked before anything is kept. Row i belongs to row i of the dense scorer's
`known` vectors, and of the fine-tuned one's, for both are fitted on the same rows in the same
order; behind the kept rows may stand others, such as the names of labels. The vectors lie in the
classifier's own file: here are texts and labels alone.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError
from shared.inference.classifier import DENSE, FINETUNED, FusedClassifier
from shared.inference.dense import DenseScorer, in_chunks
from shared.near_duplicates import near_duplicate_key
from shared.text import mask_personal_data

if TYPE_CHECKING:
    from shared.inference.runtime import Embedder

FILE_NAME = "precedents.json"
SEPARATOR = "|"  # joins several labels of one text
ROUNDING = 2e-3  # of a vector of length 1 in half precision, and of int8 in another batch


@dataclass(frozen=True)
class Precedent:
    """A training text. label: several are joined by |. similarity: cosine to the text asked
    about, -1..1."""

    text: str
    label: str
    similarity: float

    @property
    def in_words(self) -> str:
        """Its label, or labels, as a person reads them.

        >>> Precedent("", "Banks|Oil", 1.0).in_words, Precedent("", "", 1.0).in_words
        ('Banks, Oil', 'none')
        """
        return self.label.replace(SEPARATOR, ", ") or "none"


@dataclass(frozen=True)
class Precedents:
    """texts, labels: of the training rows, in the order of the first of `known`."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(
        cls, classifier: FusedClassifier, texts: Sequence[str], labels: Sequence[str]
    ) -> "Precedents | None":
        """All of these rows; None where the first rows that the classifier weighs are not these,
        in this order. With more than kernel.EXACT_ROWS it weighs a choice of them."""
        first = classifier.dense.known[: len(texts)]
        if len(classifier.dense.kernel.weight) < len(texts) or not _same(classifier, texts, first):
            return None
        return cls(tuple(mask_personal_data(text) for text in texts), tuple(labels))

    @classmethod
    def of_known(
        cls, classifier: FusedClassifier, texts: Sequence[str], labels: Sequence[str]
    ) -> "Precedents | None":
        """Those of these rows whose vectors the classifier knows, in its order: of very many a
        choice, and none that fine-tuning held back. None where they are not its first rows.

        Asks the embedder for all texts: one that remembers them has them from the training.
        """
        rows = _known_rows(classifier, texts)
        if not rows:
            return None
        return cls(
            tuple(mask_personal_data(texts[row]) for row in rows),
            tuple(labels[row] for row in rows),
        )

    def nearest(self, classifier: FusedClassifier, text: str, k: int = 5) -> tuple[Precedent, ...]:
        """The k texts nearest to this one as the encoder sees it that has most say in the
        classifier, of whatever label; of copies with one label the first.

        By similarity and not by each text's term in the scorer's estimate: the kernel is wide,
        and the largest terms are of far-off texts that cancel each other.
        """
        embedder, scorer = _most_heard(classifier)
        known = scorer.known[: len(self.texts)]
        cosines = (scorer.views(embedder.features([text])) @ known.T)[0]
        found: dict[tuple[str, str], Precedent] = {}
        for row in np.argsort(-cosines, kind="stable"):
            each = Precedent(self.texts[row], self.labels[row], float(cosines[row]))
            found.setdefault((near_duplicate_key(each.text), each.label), each)
            if len(found) == k:
                break
        return tuple(found.values())

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
        known = len(classifier.dense.known)
        if not len(found.texts) == len(found.labels) <= known:
            raise ModelError(
                f"{path}: {len(found.texts)} texts and {len(found.labels)} labels for {known} "
                "known vectors; train again"
            )
        return found


def _most_heard(classifier: FusedClassifier) -> "tuple[Embedder, DenseScorer]":
    """The encoder whose scorer weighs most in the fusion, and that scorer."""
    weights = classifier.fusion.weights
    if (
        classifier.finetuned is not None
        and classifier.tuned is not None
        and weights.get(FINETUNED, 1.0) >= weights.get(DENSE, 1.0)
    ):
        return classifier.finetuned, classifier.tuned
    return classifier.embedder, classifier.dense


def _same(classifier: FusedClassifier, texts: Sequence[str], known: NDArray[np.float32]) -> bool:
    """Whether these are the texts' vectors, as near as half precision keeps them."""
    vectors = classifier.dense.views(classifier.embedder.features(texts))
    return bool(np.allclose(vectors, known, atol=ROUNDING))


def _known_rows(classifier: FusedClassifier, texts: Sequence[str]) -> list[int]:
    """The text that each of the first known vectors is of; none if these are of others, or if a
    vector of no text stands between them. Texts that the encoder cannot tell apart may change
    places."""
    dense = classifier.dense
    rows: defaultdict[bytes, list[int]] = defaultdict(list)  # by vector; copies share one
    for part in in_chunks(len(texts)):
        vectors = dense.views(classifier.embedder.features(texts[part]))
        for row, vector in enumerate(vectors, start=part.start):
            rows[_digest(vector)].append(row)
    for copies in rows.values():
        copies.reverse()
    found: list[int] = []
    beyond = False  # behind the last of the texts
    for vector in dense.known:
        left = rows.get(_digest(vector))
        if not left:
            beyond = True
        elif beyond:
            return []
        else:
            found.append(left.pop())
    return found


def _digest(vector: NDArray[np.float32]) -> bytes:
    """Equal for vectors that half precision keeps alike."""
    return blake2b(vector.astype(np.float16).tobytes(), digest_size=16).digest()
