"""Questions and answers taught since a version was trained, weighed beside it. The version's own
files never change.

A message is as near to a taught question as the cosine of their vectors, and that of their
n-grams, say; and it is as near to the questions that the version learned from. A gate g(q), a
logistic curve of these four numbers, says how probable it is that a taught question is asked
(taught_fitting.py learns it from the version's own questions). So, as with answers that are found
by their meaning (matching.py),

    P(label | q) = (1 - g) * version(label | q) + g * softmax over the taught questions of label

Where g is too low for a taught question to be meant, the version decides as if nothing was taught.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit, softmax

from apps.chatbot.answers import Answer, AnswerBook
from shared.inference.classifier import RANKED, Prediction
from shared.inference.lexical import Grams, Vocabulary, fold, inverse_document_frequency, weigh

TAUGHT = "taught question"  # among the scorers of a reply
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Lesson:
    """A question with the label that a person has given it."""

    text: str
    label: str


@dataclass(frozen=True)
class TaughtAnswer:
    """What is said to a label in one language from now on; a template. title: on a button."""

    label: str
    language: str
    title: str
    template: str


@dataclass(frozen=True, eq=False)
class Gate:
    """weights: (F + 1,) of the features and the offset; F is 2 without n-grams, else 4. asked:
    below it the version decides as if nothing was taught. alone: from it on nothing else is
    meant."""

    weights: NDArray[np.float64]
    asked: float
    alone: float

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, F) -> (n,) probabilities."""
        return np.asarray(expit(features @ self.weights[:-1] + self.weights[-1]))


@dataclass(frozen=True, eq=False)
class Asked:
    """Questions in two views. vectors: (n, d) of length 1, as the dense scorer sees them; grams:
    (n, V), words and characters each of length 1; None where their texts are not kept."""

    vectors: Floats
    grams: sparse.csr_matrix | None


@dataclass(frozen=True, eq=False)
class KnownGrams:
    """The n-grams of a version's own questions, counted once: (n, V)."""

    vocabulary: Vocabulary
    counts: sparse.csr_matrix

    @classmethod
    def of(cls, texts: Sequence[str]) -> "KnownGrams":
        vocabulary = Vocabulary.of(texts)
        return cls(vocabulary, vocabulary.count(texts))

    def grown(self, texts: Sequence[str]) -> tuple[Grams, sparse.csr_matrix, sparse.csr_matrix]:
        """With the n-grams of further texts: how questions are compared now, and the rows of the
        version's questions and of these."""
        own, new = self.vocabulary, Vocabulary.of(texts)
        words = [*own.words, *(gram for gram in new.words if gram not in own.words)]
        chars = [*own.chars, *(gram for gram in new.chars if gram not in own.chars)]
        vocabulary = Vocabulary.from_grams(words, chars)
        added = len(words) - len(own.words)
        columns = self.counts.indices
        # Words come first: the columns of characters move on by the words that are new.
        moved = np.where(columns >= len(own.words), columns + added, columns)
        shape = (self.counts.shape[0], len(vocabulary))
        counts = sparse.csr_matrix((self.counts.data, moved, self.counts.indptr), shape=shape)
        mine = vocabulary.count(texts)
        idf = inverse_document_frequency(sparse.vstack([counts, mine]).tocsr())
        grams = Grams(vocabulary, idf)
        return grams, weigh(counts, idf, len(words)), weigh(mine, idf, len(words))


@dataclass(frozen=True, eq=False)
class Taught:
    """What was taught. read: the m taught questions as the version reads them, slips mended; asked:
    the same in two views; known: the grams of the version's own, where
    these are kept. gate: None where the version has too few questions to learn it from; then only
    the taught questions themselves, word for word, are taken for what they are."""

    lessons: tuple[Lesson, ...]
    answers: tuple[TaughtAnswer, ...]
    read: tuple[str, ...]
    asked: Asked
    grams: Grams | None
    known: sparse.csr_matrix | None
    gate: Gate | None

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """T labels, sorted."""
        return tuple(sorted({lesson.label for lesson in self.lessons}))

    @cached_property
    def _label_of(self) -> NDArray[np.int64]:
        place = {label: at for at, label in enumerate(self.labels)}
        return np.array([place[lesson.label] for lesson in self.lessons], int)

    @cached_property
    def _verbatim(self) -> dict[str, str]:
        pairs = zip(self.read, self.lessons, strict=True)
        return {fold(text): lesson.label for text, lesson in pairs}

    @cached_property
    def _turned(self) -> tuple[sparse.csr_matrix, sparse.csr_matrix] | None:
        """(V, m) and (V, n): turned round once and not with each message."""
        if self.asked.grams is None or self.known is None:
            return None
        return self.asked.grams.T.tocsr(), self.known.T.tocsr()

    def weighed(
        self,
        texts: Sequence[str],
        vectors: Floats,
        distances: Floats,
        predictions: Sequence[Prediction],
    ) -> list[Prediction]:
        """The version's predictions with what was taught among their labels.

        vectors: (n, d) as the dense scorer sees the texts; distances: (n,) 1 - the cosine to the
        nearest of the version's questions.
        """
        if not self.lessons:
            return list(predictions)
        gates, shares = self._near(texts, vectors, distances)
        found = []
        for row, before in enumerate(predictions):
            label = self._verbatim.get(fold(texts[row]))
            if label is not None:
                sure = np.array([float(own == label) for own in self.labels])
                found.append(self._joined(before, 1.0, sure, alone=True))
            elif self.gate is None or gates[row] < self.gate.asked:
                found.append(before)
            else:
                alone = bool(gates[row] >= self.gate.alone)
                found.append(self._joined(before, float(gates[row]), shares[row], alone=alone))
        return found

    def _near(
        self, texts: Sequence[str], vectors: Floats, distances: Floats
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The gate (n,), and which taught label it is if any (n, T); rows sum to 1."""
        cosines = [np.asarray(vectors @ self.asked.vectors.T, dtype=np.float64)]
        known = [1 - distances.astype(np.float64)]
        if self.grams is not None and self._turned is not None:
            rows = self.grams.rows(texts)
            mine, others = self._turned
            cosines.append((rows @ mine).toarray() / 2)
            known.append(np.asarray((rows @ others).max(axis=1).todense()).ravel() / 2)
        if self.gate is None:
            return np.zeros(len(texts)), np.zeros((len(texts), len(self.labels)))
        features = np.stack([*(view.max(1) for view in cosines), *known], axis=1)
        slopes = self.gate.weights[: len(cosines)]
        logits = np.stack([view * slope for view, slope in zip(cosines, slopes, strict=True)]).sum(
            0
        )
        best = np.full((len(texts), len(self.labels)), -np.inf)
        for at in range(len(self.labels)):
            best[:, at] = logits[:, self._label_of == at].max(1)
        return self.gate(features), softmax(best, axis=1)

    def _joined(
        self, before: Prediction, gate: float, shares: NDArray[np.float64], *, alone: bool
    ) -> Prediction:
        """alone: only taught labels can be meant. Of these stay as many as hold 1 - alpha of their
        probability, which is what a gate leaves open."""
        p = {label: (1 - gate) * own for label, own in before.ranking}
        for label, share in zip(self.labels, shares, strict=True):
            p[label] = p.get(label, 0.0) + gate * float(share)
        ranking = sorted(p.items(), key=lambda each: -each[1])
        wanted = self.gate.alone if self.gate is not None else 1.0
        order = np.argsort(-shares, kind="stable")
        needed = 1 + int(np.searchsorted(np.cumsum(shares[order]), min(wanted, 1 - 1e-9)))
        members = {self.labels[at] for at in order[:needed]}
        if not alone:
            members |= set(before.conformal)
        inside = tuple(label for label, _ in ranking if label in members)
        label = inside[0]
        return replace(
            before,
            label=label,
            probability=p[label],
            labels=(label,),
            ranking=tuple(ranking[:RANKED]),
            conformal=inside,
            scorers={**before.scorers, TAUGHT: gate} if label == before.label else {TAUGHT: gate},
        )

    def nearest(self, vectors: Floats, k: int = 5) -> list[tuple[Lesson, float]]:
        """The k taught questions nearest to a text of vector (1, d), with their cosines."""
        if not self.lessons:
            return []
        cosines = (vectors @ self.asked.vectors.T)[0]
        best = np.argsort(-cosines, kind="stable")[:k]
        return [(self.lessons[at], float(cosines[at])) for at in best]


def with_answers(book: AnswerBook, answers: Sequence[TaughtAnswer]) -> AnswerBook:
    """The book with what was taught in place of what it says to these labels in that language."""
    texts: dict[str, dict[str, tuple[str, ...]]] = {a.label: dict(a.texts) for a in book.answers}
    titles: dict[str, dict[str, str]] = {a.label: dict(a.titles) for a in book.answers}
    for each in answers:
        texts.setdefault(each.label, {})[each.language] = (each.template,)
        titles.setdefault(each.label, {})[each.language] = each.title
    return AnswerBook(tuple(Answer(label, titles[label], texts[label]) for label in texts))
