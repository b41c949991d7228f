"""Learning the fused classifier: scorers, weights out of fold, calibration on rows of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.inference.classifier import FusedClassifier, Kind
from shared.inference.runtime import Embedder
from shared.training.examples import Examples


@dataclass(frozen=True)
class PartFigures:
    """A scorer, or the fusion, on rows none of its parameters were fitted on.

    weight: its share in the fusion (1 for the fusion). accuracy: exact match of the best label for
    "single", of the whole label set for "multi". macro_f1: 0..1. nll: nats a row, after
    calibration.
    """

    name: str
    weight: float
    accuracy: float
    macro_f1: float
    nll: float


@dataclass(frozen=True)
class FusedFit:
    """A trained classifier and how it came about.

    parts: each scorer alone; fused: all together; out of fold, or on the validation part where a
    fine-tuned scorer asked for one. out_of_fold: (n, C) calibrated probabilities of the training
    rows from models that did not see them, NaN where a row was never held out. seconds: step ->
    duration.
    """

    classifier: FusedClassifier
    parts: tuple[PartFigures, ...]
    fused: PartFigures
    out_of_fold: NDArray[np.float32]
    seconds: Mapping[str, float]
    notes: tuple[str, ...]


def fit_fused(
    examples: Examples,
    *,
    embedder: Embedder,
    finetuned: Embedder | None = None,
    validation: Examples | None = None,
    out_of_scope: Sequence[str] = (),
    kind: Kind = "single",
    seed: int = 13,
    folds: int | None = None,
    threads: int = 2,
    say: Callable[[str], None] = lambda _: None,
) -> FusedFit:
    """Train the fused classifier on `examples`."""
    raise NotImplementedError
