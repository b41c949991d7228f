"""Answers that no example asks for, found by their own text and weighed against learned intents.

How near a question is to an answer is said by the cosine of their vectors and that of their
n-grams, pooled into logits (q: one question). Whether q asks for such an answer at all is said by a
gate g(q), a logistic curve of three numbers: how sure the classifier is, how near the nearest
unseen answer is, and how near the answer of the intent that the classifier takes it for. So

    P(intent | q) = (1 - g) * classifier,        P(unseen answer | q) = g * softmax(logits)

is one distribution over everything the bot can say, with a conformal set of its own. The firm's
own questions taught all of it (match_fitting.py); the encoder is frozen, so that no question has
taught it its answer and the curves are not flattered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy import sparse
from scipy.special import expit, logit, softmax

from apps.chatbot.answers import AnswerBook
from shared.errors import ModelError
from shared.inference.classifier import RANKED, Prediction
from shared.inference.conformal import conformal_members
from shared.inference.lexical import Grams
from shared.inference.runtime import Embedder

FILE_NAME = "answers.safetensors"
MEANING = "meaning of the answer"  # among the scorers of a reply
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Choice:
    """What the firm's questions taught. weights: (2,) of the cosines of vectors and of n-grams;
    gate: (4,) of gate_features, and the offset; nonconformity: (m,) sorted, 1 - P of the true
    answer. questions: (n, dim) vectors of all questions, where most intents have a single one: what
    the classifier is sure of is then not known, and the cosine to the nearest question stands for
    it; (0, dim) otherwise."""

    weights: Floats
    gate: Floats
    nonconformity: Floats
    questions: Floats


@dataclass(frozen=True, eq=False)
class AnswerMatcher:
    """intents: K labels of the classifier. labels: A labels of answers, some of them intents too;
    texts: theirs; vectors: (A, dim) of unit length. choice: None where too few questions have an
    answer among these to learn from; then no answer is found by its meaning."""

    intents: tuple[str, ...]
    labels: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: Floats
    choice: Choice | None = None

    @classmethod
    def of(cls, answers: AnswerBook, intents: Sequence[str], embedder: Embedder) -> "AnswerMatcher":
        """All the answers, by the first variant of each; has not learned to choose."""
        texts = tuple(answer.template() for answer in answers.answers)
        labels = tuple(answer.label for answer in answers.answers)
        return cls(tuple(intents), labels, texts, embedder.encode(texts))

    @cached_property
    def unseen(self) -> NDArray[np.int64]:
        """(B,) which of the answers no example asks for."""
        known = set(self.intents)
        return np.array([at for at, label in enumerate(self.labels) if label not in known], int)

    @cached_property
    def own(self) -> NDArray[np.int64]:
        """(K,) the answer of each intent, -1 where it has none."""
        place = {label: at for at, label in enumerate(self.labels)}
        return np.array([place.get(label, -1) for label in self.intents], int)

    @cached_property
    def _grams(self) -> tuple[Grams, sparse.csr_matrix]:
        return Grams.of(self.texts)

    def cosines(self, texts: Sequence[str], vectors: Floats) -> tuple[Floats, Floats]:
        """Of texts with vectors (n, dim) to each answer: by vectors and by n-grams, (n, A) both."""
        grams, answers = self._grams
        # Of two parts of length 1, words and characters: their mean.
        by_gram = (grams.rows(texts) @ answers.T).toarray() / 2
        return np.asarray(vectors @ self.vectors.T), np.asarray(by_gram, dtype=np.float32)

    def joint(self, texts: Sequence[str], vectors: Floats, probabilities: Floats) -> Floats:
        """(n, K + B) of the intents and then of the unseen answers; rows sum to 1. probabilities:
        (n, K) of the classifier."""
        if self.choice is None:
            return np.pad(probabilities, ((0, 0), (0, len(self.unseen))))
        by_vector, by_gram = self.cosines(texts, vectors)
        logits = self.choice.weights[0] * by_vector + self.choice.weights[1] * by_gram
        open_to = np.zeros(logits.shape, bool)
        open_to[:, self.unseen] = True
        if len(self.choice.questions):
            near = (vectors @ self.choice.questions.T).max(1)
        else:
            near = sureness(probabilities)
        seen = gate_features(near, probabilities.argmax(1), logits, open_to, self.own)
        return joined(probabilities, logits[:, self.unseen], gate_of(seen, self.choice.gate))

    def weighed(
        self,
        texts: Sequence[str],
        vectors: Floats,
        probabilities: Floats,
        predictions: Sequence[Prediction],
        alpha: float,
    ) -> list[Prediction]:
        """The classifier's predictions with the unseen answers among their labels."""
        if self.choice is None:
            return list(predictions)
        p = self.joint(texts, vectors, probabilities)
        members = conformal_members(p, self.choice.nonconformity, alpha)
        order = np.argsort(-p, axis=1, kind="stable")
        names = (*self.intents, *(self.labels[at] for at in self.unseen))
        found = []
        for row, before in enumerate(predictions):
            best = order[row, 0]
            label, sure = names[best], float(p[row, best])
            found.append(
                replace(
                    before,
                    label=label,
                    probability=sure,
                    labels=(label,),
                    ranking=tuple((names[j], float(p[row, j])) for j in order[row, :RANKED]),
                    conformal=tuple(names[j] for j in order[row] if members[row, j]),
                    scorers=before.scorers if label == before.label else {MEANING: sure},
                )
            )
        return found

    def save(self, folder: Path) -> None:
        arrays = {"vectors": self.vectors}
        if self.choice is not None:
            arrays |= {
                "weights": self.choice.weights,
                "gate": self.choice.gate,
                "nonconformity": self.choice.nonconformity,
                "questions": self.choice.questions,
            }
        save_file(arrays, folder / FILE_NAME)

    @classmethod
    def load(
        cls, folder: Path, *, answers: AnswerBook, intents: Sequence[str], dim: int
    ) -> "AnswerMatcher | None":
        """None where every answer has examples. dim: of the base encoder's vectors.

        Raises ModelError when the file is broken, or not of these answers or this encoder.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            return None
        try:
            arrays = load_file(path)
            vectors = arrays["vectors"]
            choice = None
            if "gate" in arrays:
                choice = Choice(
                    **{name: arrays[name] for name in ("weights", "gate", "nonconformity")},
                    questions=arrays["questions"],
                )
        except Exception as error:  # safetensors raises its own undocumented types
            raise ModelError(f"{path}: not readable ({error})") from error
        wanted = (len(answers.answers), dim)
        if vectors.shape != wanted:
            raise ModelError(f"{path}: vectors of shape {vectors.shape}, expected {wanted}")
        texts = tuple(answer.template() for answer in answers.answers)
        labels = tuple(answer.label for answer in answers.answers)
        return cls(tuple(intents), labels, texts, vectors, choice)


def sureness(probabilities: Floats) -> NDArray[np.float64]:
    """(n,) log-odds of the likeliest intent, of (n, K)."""
    top = np.clip(probabilities.max(1).astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(logit(top))


def gate_features(
    near: NDArray[np.floating],
    best: NDArray[np.int64],
    logits: Floats,
    open_to: NDArray[np.bool_],
    own: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(n, 3): how near what was learned is, the logit of the nearest answer that is unseen, and
    that of the likeliest intent's own answer (the mean of all where it has none).

    near: (n,) sureness, or a cosine; best: (n,) the likeliest of K intents; logits: (n, A);
    open_to: (n, A) which answers count as unseen; own: (K,).
    """
    nearest = np.where(open_to, logits, -np.inf).max(1)
    answer = own[best]
    said = logits[np.arange(len(logits)), np.maximum(answer, 0)]
    return np.stack([near, nearest, np.where(answer >= 0, said, logits.mean(1))], axis=1)


def gate_of(features: NDArray[np.float64], gate: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n,) the probability that an unseen answer is asked for."""
    return np.asarray(expit(features @ gate[:-1] + gate[-1]))


def joined(probabilities: Floats, unseen: Floats, gate: NDArray[np.float64]) -> Floats:
    """(n, K + B) from (n, K) probabilities of intents, (n, B) logits and the gate (n,)."""
    intents = (1 - gate)[:, None] * probabilities
    answers = gate[:, None] * softmax(unseen.astype(np.float64), axis=1)
    return np.concatenate([intents, answers], axis=1).astype(np.float32)
