"""Fitting the lexical scorer, a linear SVM on n-grams, and a rival: logistic regression."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from sklearn.svm import LinearSVC

from shared.inference.classifier import Kind
from shared.inference.lexical import (
    LexicalScorer,
    Vocabulary,
    inverse_document_frequency,
    weigh,
)

Floats = NDArray[np.float32]
SVM_COST = 1.0
LOGISTIC_STRENGTH = 30.0  # C of logistic regression on vectors of length 1
ITERATIONS = 300


@dataclass(frozen=True, eq=False)
class Ngrams:
    """The n-gram counts of all rows, so that folds differ only in their weights."""

    vocabulary: Vocabulary
    counts: sparse.csr_matrix

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Ngrams":
        vocabulary = Vocabulary.of(texts)
        return cls(vocabulary, vocabulary.count(texts))


@dataclass(frozen=True, eq=False)
class LexicalRows:
    """What the lexical scorer learns from: n examples and, behind them, altered copies of some.

    truth: (n, C). owner: (m,) the example that each row is, or is a copy of; m >= n.
    """

    ngrams: Ngrams
    truth: NDArray[np.bool_]
    owner: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        truth: NDArray[np.bool_],
        copies: Sequence[tuple[int, str]] = (),
    ) -> "LexicalRows":
        """copies: (row of the example, altered text)."""
        owner = [*range(len(texts)), *(row for row, _ in copies)]
        ngrams = Ngrams.of([*texts, *(text for _, text in copies)])
        return cls(ngrams, truth, np.asarray(owner, dtype=np.int64))

    def fit(self, rows: NDArray[np.int64], *, threads: int = 1) -> LexicalScorer:
        """From these examples and the copies of them, none of any other example."""
        mine = np.flatnonzero(np.isin(self.owner, rows))
        return fit_lexical(self.ngrams, self.truth[self.owner], mine, threads=threads)


def fit_lexical(
    ngrams: Ngrams, truth: NDArray[np.bool_], rows: NDArray[np.int64], *, threads: int = 1
) -> LexicalScorer:
    """One linear SVM a label on the TF-IDF of these rows. truth: (n, C) of all rows.

    N-grams that only other rows have get no weight, so that a fold sees what serving would.
    """
    words = len(ngrams.vocabulary.words)
    idf = inverse_document_frequency(ngrams.counts[rows])
    features = weigh(ngrams.counts[rows], idf, words).astype(np.float64)

    if (truth[rows].sum(1) == 1).all() and truth.shape[1] > 2:
        svm = LinearSVC(C=SVM_COST, random_state=0).fit(features, truth[rows].argmax(1))
        weight, bias = svm.coef_.T, svm.intercept_
    else:
        with ThreadPoolExecutor(threads) as pool:
            fitted = list(pool.map(partial(_binary, features), truth[rows].T))
        weight = np.stack([coefficients for coefficients, _ in fitted], axis=1)
        bias = np.array([intercept for _, intercept in fitted])
    return LexicalScorer(ngrams.vocabulary, idf, weight.astype(np.float32), bias.astype(np.float32))


def _binary(features: sparse.csr_matrix, hit: NDArray[np.bool_]) -> tuple[NDArray[Any], float]:
    """Coefficients (F,) and intercept; a label that all or no rows have needs no n-gram."""
    if hit.all() or not hit.any():
        return np.zeros(features.shape[1]), 1.0 if hit.all() else -1.0
    svm = LinearSVC(C=SVM_COST, random_state=0).fit(features, hit)
    return svm.coef_[0], float(svm.intercept_[0])


def lexical_margins(scorer: LexicalScorer, ngrams: Ngrams, rows: NDArray[np.int64]) -> Floats:
    """(len(rows), C) of rows that are counted already."""
    features = weigh(ngrams.counts[rows], scorer.idf, len(ngrams.vocabulary.words))
    return np.asarray(features @ scorer.weight + scorer.bias, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class LinearScorer:
    """What the dense scorer is measured against. weight: (C, dim), bias: (C,)."""

    weight: Floats
    bias: Floats

    def margins(self, vectors: Floats) -> Floats:
        """(n, dim) -> (n, C)."""
        return np.asarray(vectors @ self.weight.T + self.bias, dtype=np.float32)


def fit_linear(
    vectors: Floats,
    truth: NDArray[np.bool_],
    kind: Kind,
    *,
    strength: float = LOGISTIC_STRENGTH,
) -> LinearScorer:
    """Logistic regression on (n, dim) vectors: softmax for "single", one sigmoid a label else.

    Minimises the summed log loss + |weight|^2 / (2 strength); the bias is not penalised.
    """
    rows, dim = vectors.shape
    classes = truth.shape[1]
    hit = truth.astype(np.float32)
    x = np.asarray(vectors, dtype=np.float32)

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight = theta[: classes * dim].reshape(classes, dim).astype(np.float32)
        z = x @ weight.T + theta[classes * dim :].astype(np.float32)
        if kind == "single":
            logp = log_softmax(z, axis=1)
            value = -float(logp[truth].sum(dtype=np.float64))
            slope = np.exp(logp) - hit
        else:
            value = float((np.logaddexp(0, z) - hit * z).sum(dtype=np.float64))
            slope = expit(z) - hit
        gradient = np.concatenate([(slope.T @ x + weight / strength).ravel(), slope.sum(0)])
        total = value + float((weight.astype(np.float64) ** 2).sum()) / (2 * strength)
        return total / rows, gradient.astype(np.float64) / rows

    found = minimize(
        loss,
        np.zeros(classes * (dim + 1)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": ITERATIONS, "gtol": 1e-5},
    ).x.astype(np.float32)
    return LinearScorer(found[: classes * dim].reshape(classes, dim), found[classes * dim :])
