"""A classifier small enough to reckon with by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.inference.classifier import Calibration, FusedClassifier, Fusion, Kind, Scope
from shared.inference.dense import DenseScorer, KernelScorer, Views
from shared.inference.lexical import LexicalScorer, Vocabulary

MakeClassifier = Callable[..., FusedClassifier]


class Letters:
    """A text's vector counts its letters a to d."""

    dim = 4

    def __init__(self, fingerprint: str = "letters") -> None:
        self.fingerprint = fingerprint

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts, normalised=False)

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        rows = np.array([[t.count(c) + 0.01 for c in "abcd"] for t in texts], dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalised else rows


def dense(weight: NDArray[np.float32]) -> DenseScorer:
    views = Views(np.full((1, 4), 0.1, dtype=np.float32))
    return DenseScorer(views, KernelScorer(weight, 1.0, 0.05), np.eye(4, dtype=np.float32))


@pytest.fixture
def made() -> MakeClassifier:
    """made(kind, tuned=...): labels x, y and z; `known` vectors of the letters a to d."""

    def make(kind: Kind = "single", *, tuned: bool = False) -> FusedClassifier:
        names = ("lexical", "dense", "finetuned") if tuned else ("lexical", "dense")
        vocabulary = Vocabulary.of(["aa bb", "cc dd"])
        rng = np.random.default_rng(0)
        weight = rng.normal(size=(len(vocabulary), 3)).astype(np.float32)
        calibration = Calibration(np.ones(1, np.float32), np.zeros(3, np.float32))
        blank = np.zeros(3, np.float32)
        return FusedClassifier(
            labels=("x", "y", "z"),
            kind=kind,
            embedder=Letters(),
            lexical=LexicalScorer(vocabulary, np.ones(len(vocabulary), np.float32), weight, blank),
            dense=dense(np.eye(3, dtype=np.float32)),
            fusion=Fusion(
                dict(zip(names, (0.5, 0.8, 0.3), strict=False)),
                calibration,
                dict.fromkeys(names, calibration),
                np.array([0.3, 0.5, 0.9], np.float32),
                np.linspace(0, 0.9, 100, dtype=np.float32),
            ),
            scope=Scope(
                np.array([0, 0.5], np.float32),
                np.array([1, 0.5], np.float32),
                np.ones(2, np.float32),
                np.arange(100, dtype=np.float32),
            ),
            finetuned=Letters("tuned") if tuned else None,
            tuned=dense(rng.random((3, 3)).astype(np.float32)) if tuned else None,
        )

    return make
