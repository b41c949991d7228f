"""What a smaller encoder costs and gives beside the one whose place it takes: accuracy,
milliseconds, megabytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.intervals import Difference, mean_of, paired_bootstrap
from shared.inference.runtime import ONNX_FOLDER, Embedder
from shared.inference.throughput import time_rounds
from shared.modeling.encoder_folder import read_encoder_folder
from shared.training.examples import Examples, Split
from shared.training.fusion import fit_fused
from shared.training.options import TrainOptions
from shared.training.pretraining_stage import Say

BATCH = 32  # texts that an embedder takes at a time
SINGLE_TEXTS, ROUNDS = 24, 3


@dataclass(frozen=True)
class Speed:
    """Milliseconds for one text by itself, and for each text of a batch of BATCH."""

    alone: float
    batched: float


@dataclass(frozen=True)
class Accuracy:
    """Of the frozen fusion on held-out rows, with the encoder replaced and with the student as
    served. drop: the first minus the second with its 95 % interval, paired by row."""

    replaced: float
    student: float
    drop: Difference
    train: int
    held_out: int


def measure_accuracy(
    part: Split, replaced: Embedder, student: Embedder, options: TrainOptions, say: Say
) -> Accuracy:
    """Fit the frozen fusion on the training part twice, and ask both about the held-out part."""
    right = [fused_hits(part.train, part.validation, e, options, say) for e in (replaced, student)]
    before, after = map(mean_of, right)
    drop = paired_bootstrap(before, after, len(part.validation), groups=part.validation.groups)
    means = [float(hits.mean()) for hits in right]
    return Accuracy(means[0], means[1], drop, len(part.train), len(part.validation))


def fused_hits(
    train: Examples, held: Examples, embedder: Embedder, options: TrainOptions, say: Say
) -> NDArray[np.bool_]:
    """(n,) whether the frozen fusion, fitted on `train`, has each held-out row right."""
    fit = fit_fused(
        train, embedder=embedder, seed=options.seed, threads=options.threads or 2, say=say
    )
    best = fit.classifier.score(held.texts).probabilities.argmax(1)
    labels = np.array(fit.classifier.labels)
    return np.asarray(labels[best] == np.array(held.single))


def measure_speed(embedders: Mapping[str, Embedder], texts: Sequence[str]) -> dict[str, Speed]:
    """All embedders in turn, so that other work on the machine falls on each alike."""
    some = texts[:SINGLE_TEXTS]
    batched = {name: partial(e.features, texts) for name, e in embedders.items()}
    alone = {name: partial(_one_by_one, e, some) for name, e in embedders.items()}
    rates = [time_rounds(batched, len(texts), ROUNDS), time_rounds(alone, len(some), ROUNDS)]
    return {
        one.name: Speed(alone=1000 / one.texts_per_second, batched=1000 / many.texts_per_second)
        for many, one in zip(*rates, strict=True)
    }


def _one_by_one(embedder: Embedder, texts: Sequence[str]) -> None:
    for text in texts:
        embedder.features([text])


def megabytes_of(folder: Path, export: Path | None = None) -> float:
    """Of the weights in an encoder folder; of the int8 export where there is one, in a folder of
    its own or else beside the weights."""
    exported = sorted((export or folder / ONNX_FOLDER).glob("*.onnx"))
    files = exported or read_encoder_folder(folder).weight_files()
    return sum(file.stat().st_size for file in files) / 1e6
