"""The fused classifier beside what it is made of, on public development parts, in one run.

Rivals: TF-IDF + linear SVM (scikit-learn's own, words 1-2 and characters 3-5), and logistic
regression on the same frozen vectors. Nothing is chosen on the rows that are measured on.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from pipelines.public_sets import (
    BANKING,
    CLINC,
    TWITTER,
    all_there,
    banking,
    clinc,
    examples_of,
)
from shared.evaluation.intervals import bootstrap, mean_of
from shared.evaluation.metrics import auroc, calibration_error, fpr_at_tpr, macro_f1, one_hot
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import Embedder
from shared.training.examples import Examples, folds
from shared.training.fusion import fit_fused
from shared.training.scorers import fit_linear

Say = Callable[[str], None]
Floats = NDArray[np.float32]
FUSION, SVM, LOGISTIC = "fusion", "TF-IDF + linear SVM", "frozen + logistic regression"
THREADS = 2
FOLDS = 5


@dataclass(frozen=True)
class BenchRow:
    """One figure with its 95 % interval, both means over the seeds; seconds of training."""

    dataset: str
    system: str
    metric: str
    value: float
    low: float | None
    high: float | None
    seconds: float | None


@dataclass(frozen=True, eq=False)
class Outcome:
    """One system on held-out rows: scores (n, C), where higher is likelier; out-of-scope scores of
    the held-out rows and of the rows to be refused, where the set has such rows."""

    system: str
    scores: Floats
    seconds: float
    inside: Floats | None = None
    outside: Floats | None = None


def benchmark_core(
    datasets: Path, embedder: Callable[[], Embedder], seeds: Sequence[int], say: Say
) -> list[BenchRow]:
    """Measure on every set that is there; a missing one is skipped with a line.

    datasets: the folder with chatbot/ and finance/. embedder: makes the frozen encoder; called
    once. Seconds hold encoding too, except where folds share it (Twitter).
    """
    encoder = embedder()
    rows: list[BenchRow] = []
    for measure in (_banking, _clinc, _twitter):
        for row in measure(datasets, encoder, seeds, say):
            say(_line(row))
            rows.append(row)
    return rows


def _banking(
    datasets: Path, encoder: Embedder, seeds: Sequence[int], say: Say
) -> Iterator[BenchRow]:
    if not all_there([datasets / name for name in BANKING], say):
        return
    parts = banking(datasets)
    outcomes = [_outcomes(parts.train, parts.held.texts, (), encoder, seed) for seed in seeds]
    yield from _rows("BANKING77 dnnc_valid", parts.held, parts.train.names, outcomes)


def _clinc(datasets: Path, encoder: Embedder, seeds: Sequence[int], say: Say) -> Iterator[BenchRow]:
    if not all_there([datasets / CLINC], say):
        return
    parts = clinc(datasets)
    outcomes = [
        _outcomes(parts.train, parts.held.texts, parts.outside, encoder, seed) for seed in seeds
    ]
    yield from _rows("CLINC150 val", parts.held, parts.train.names, outcomes)


def _twitter(
    datasets: Path, encoder: Embedder, seeds: Sequence[int], say: Say
) -> Iterator[BenchRow]:
    for name, place in TWITTER.items():
        path = datasets / place
        if not all_there([path], say):
            continue
        examples = examples_of(path)
        remembering = RememberingEmbedder(encoder)
        remembering.features(examples.texts)  # before any clock runs
        outcomes = [_cross_validated(examples, remembering, seed) for seed in seeds]
        yield from _rows(f"{name}, 5 folds", examples, examples.names, outcomes)


def _outcomes(
    train: Examples, texts: Sequence[str], outside: Sequence[str], encoder: Embedder, seed: int
) -> list[Outcome]:
    """All systems, fitted on `train` and asked about `texts`."""
    started = time.perf_counter()
    classifier = fit_fused(train, embedder=encoder, seed=seed, threads=THREADS).classifier
    seconds = time.perf_counter() - started
    scored = classifier.score(texts)
    refused = classifier.score(outside).oos if outside else None
    fused = Outcome(FUSION, scored.probabilities, seconds, scored.oos, refused)
    return [fused, svm(train, texts), _logistic(train, texts, encoder)]


def svm(train: Examples, texts: Sequence[str]) -> Outcome:
    """Its margins, a column for each of train.names."""
    started = time.perf_counter()
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True),
    )
    model = make_pipeline(features, LinearSVC(random_state=0)).fit(train.texts, train.single)
    seconds = time.perf_counter() - started
    margins = model.decision_function(texts)
    if margins.ndim == 1:
        margins = np.stack([-margins, margins], axis=1)
    return Outcome(SVM, margins.astype(np.float32), seconds)


def _logistic(train: Examples, texts: Sequence[str], encoder: Embedder) -> Outcome:
    started = time.perf_counter()
    vectors = encoder.encode(train.texts)
    with threadpool_limits(limits=THREADS):
        model = fit_linear(vectors, train.targets(train.names), "single")
    seconds = time.perf_counter() - started
    logits = model.margins(encoder.encode(texts))
    e = np.exp(logits - logits.max(1, keepdims=True))
    return Outcome(LOGISTIC, e / e.sum(1, keepdims=True), seconds)


def _cross_validated(examples: Examples, encoder: Embedder, seed: int) -> list[Outcome]:
    """Each row judged by models of the folds it is not in; near duplicates are in one fold."""
    shape = (len(examples), len(examples.names))
    scores = {name: np.zeros(shape, dtype=np.float32) for name in (FUSION, SVM, LOGISTIC)}
    seconds = dict.fromkeys(scores, 0.0)
    for train, held in folds(examples, FOLDS, seed):
        texts = [examples.texts[row] for row in held]
        for outcome in _outcomes(examples.take(train), texts, (), encoder, seed):
            scores[outcome.system][held] = outcome.scores
            seconds[outcome.system] += outcome.seconds / FOLDS
    return [Outcome(name, scores[name], seconds[name]) for name in scores]


def _rows(
    dataset: str, held: Examples, names: Sequence[str], outcomes: Sequence[Sequence[Outcome]]
) -> Iterator[BenchRow]:
    """Means over seeds of every figure that a system has."""
    known = {name: code for code, name in enumerate(names)}
    truth = np.array([known.get(label, -1) for label in held.single])
    for runs in zip(*outcomes, strict=True):
        figures = [dict(_figures(truth, run)) for run in runs]
        seconds = float(np.mean([run.seconds for run in runs]))
        for metric in figures[0]:
            value, low, high = np.mean([figure[metric] for figure in figures], axis=0)
            yield BenchRow(
                dataset, runs[0].system, metric, float(value), float(low), float(high), seconds
            )


def _figures(
    truth: NDArray[np.int64], run: Outcome
) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """metric -> value, low, high."""
    rows, classes = run.scores.shape
    right = run.scores.argmax(1) == truth
    actual, claimed = one_hot(truth, classes), one_hot(run.scores.argmax(1), classes)
    found = {
        "accuracy": bootstrap(mean_of(right), rows),
        "macro F1": bootstrap(lambda w: macro_f1(actual, claimed, w), rows),
    }
    if run.system != SVM:  # margins are no probabilities
        sure = run.scores.max(1)
        found["calibration error"] = bootstrap(
            lambda w: calibration_error(sure, right, weights=w), rows
        )
    if run.inside is not None and run.outside is not None:
        scores = -np.concatenate([run.inside, run.outside])  # high: in scope
        kept = np.arange(len(scores)) < rows
        found["out-of-scope AUROC"] = bootstrap(lambda w: auroc(scores, kept, w), len(scores))
        found["out of scope let through at 95 % kept"] = bootstrap(
            lambda w: fpr_at_tpr(scores, kept, 0.95, w), len(scores)
        )
    for metric, interval in found.items():
        yield metric, (interval.value, interval.low, interval.high)


def _line(row: BenchRow) -> str:
    interval = f" ({row.low:.4f} to {row.high:.4f})" if row.low is not None else ""
    time_taken = f", {row.seconds:.1f} s of training" if row.seconds is not None else ""
    return f"{row.dataset}: {row.system}: {row.metric} {row.value:.4f}{interval}{time_taken}"
