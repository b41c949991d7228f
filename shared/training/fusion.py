"""Learning the fused classifier: scorers, weights out of fold, calibration on rows of its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from shared.errors import DataError
from shared.evaluation.calibration import (
    fit_binary_pool,
    fit_label_platts,
    fit_platt,
    fit_pool,
    fit_temperature,
    fit_thresholds,
)
from shared.evaluation.metrics import correct, macro_f1
from shared.inference.classifier import (
    DENSE,
    FINETUNED,
    LEXICAL,
    FusedClassifier,
    Fusion,
    Kind,
    Scope,
    Squash,
    energy,
)
from shared.inference.dense import LinearScorer, nearest_distance
from shared.inference.runtime import Embedder
from shared.training.examples import Examples, check
from shared.training.examples import folds as make_folds
from shared.training.scorers import Ngrams, fit_lexical, fit_linear, lexical_margins

Floats = NDArray[np.float32]
Margins = Mapping[str, Floats]
Say = Callable[[str], None]
FOLDS = 5
MANY_FOLDS = 10  # where rows are few: a fold's model should not lack much of what the last one has
FEW_ROWS = 2000
CROSSFITS = 5


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


@dataclass(frozen=True, eq=False)
class FusedFit:
    """A trained classifier and how it came about.

    parts: each scorer alone; fused: all together; out of fold, or on the validation part where a
    fine-tuned scorer asked for one. out_of_fold: (n, C) calibrated probabilities of the training
    rows from models that did not see them, NaN where a row was never held out (everywhere, with a
    fine-tuned scorer). seconds: step -> duration.
    """

    classifier: FusedClassifier
    parts: tuple[PartFigures, ...]
    fused: PartFigures
    out_of_fold: Floats
    seconds: Mapping[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Held:
    """Rows that the scorers did not see. margins: name -> (m, C); truth: (m, C); distances: (m,)
    to the nearest vector they did see; groups: (m,); rows: (m,) of the examples they come from."""

    margins: Margins
    truth: NDArray[np.bool_]
    distances: Floats
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Inputs:
    """Examples with all that is computed once: vectors (n, dim), n-gram counts, truth (n, C)."""

    examples: Examples
    names: tuple[str, ...]
    truth: NDArray[np.bool_]
    vectors: Floats
    tuned: Floats | None


class _Clock:
    """Adds up the seconds of named steps."""

    def __init__(self, say: Say) -> None:
        self.seconds: dict[str, float] = {}
        self._say = say
        self._last = time.perf_counter()

    def done(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = now - self._last
        self._say(f"{step}: {now - self._last:.1f} s")
        self._last = now


def fit_fused(
    examples: Examples,
    *,
    embedder: Embedder,
    finetuned: Embedder | None = None,
    finetuned_head: LinearScorer | None = None,
    validation: Examples | None = None,
    out_of_scope: Sequence[str] = (),
    kind: Kind = "single",
    seed: int = 13,
    folds: int | None = None,
    threads: int = 2,
    say: Say = lambda _: None,
) -> FusedFit:
    """Train the fused classifier on `examples`.

    finetuned: an encoder fine-tuned on `examples` alone; its weight is then learned on
    `validation`, which it must not have seen. finetuned_head: its own head; else logistic
    regression on its vectors. out_of_scope: texts to be refused; without any the two signals
    weigh the same. folds: of the out-of-fold rows (5, or 10 where rows are few).

    Raises DataError: too few labels or rows, or a fine-tuned scorer without validation rows.
    """
    if examples.kind != kind:
        raise DataError(f'examples of kind "{examples.kind}" for a classifier of kind "{kind}"')
    notes = list(check(examples, validation))
    clock = _Clock(say)
    inputs = _prepared(examples, embedder, finetuned, finetuned_head)
    ngrams = Ngrams.of(examples.texts)
    clock.done("encoding")
    with threadpool_limits(limits=threads):
        lexical = fit_lexical(ngrams, inputs.truth, _all(inputs), threads=threads)
        dense = fit_linear(inputs.vectors, inputs.truth, kind)
        tuned = finetuned_head
        if tuned is None and inputs.tuned is not None:
            tuned = fit_linear(inputs.tuned, inputs.truth, kind)
    clock.done("scorers")
    if finetuned is None:
        held = _out_of_fold(inputs, ngrams, kind, _fold_count(examples, folds), seed, threads)
    else:
        if validation is None or not len(validation):
            raise DataError("a fine-tuned scorer needs validation rows that it was not trained on")
        held = _validated(inputs, validation, embedder, finetuned, (lexical, dense, tuned))
    clock.done("out of fold")
    fusion, crossed = _calibrated(held, kind, seed)
    parts, fused = _figures(held, fusion, crossed, kind)
    clock.done("weights and calibration")
    classifier = FusedClassifier(
        labels=inputs.names,
        kind=kind,
        embedder=embedder,
        lexical=lexical,
        dense=dense,
        fusion=fusion,
        scope=_scope(inputs.vectors, held, fusion),
        finetuned=finetuned,
        tuned=tuned,
    )
    if out_of_scope:
        classifier = _with_refused(classifier, held, out_of_scope)
    clock.done("scope")
    oof = np.full((len(examples), len(inputs.names)), np.nan, dtype=np.float32)
    if finetuned is None:
        oof[held.rows] = crossed
    return FusedFit(classifier, parts, fused, oof, clock.seconds, tuple(notes))


def _prepared(
    examples: Examples,
    embedder: Embedder,
    finetuned: Embedder | None,
    head: LinearScorer | None,
) -> Inputs:
    names = examples.names
    tuned = None
    if finetuned is not None and head is None:
        tuned = finetuned.encode(examples.texts)
    return Inputs(examples, names, examples.targets(names), embedder.encode(examples.texts), tuned)


def _all(inputs: Inputs) -> NDArray[np.int64]:
    return np.arange(len(inputs.examples), dtype=np.int64)


def _fold_count(examples: Examples, folds: int | None) -> int:
    wanted = folds or (FOLDS if len(examples) > FEW_ROWS else MANY_FOLDS)
    return min(wanted, len(np.unique(examples.groups)))


def _out_of_fold(
    inputs: Inputs, ngrams: Ngrams, kind: Kind, folds: int, seed: int, threads: int
) -> Held:
    """Margins of every row from scorers of the other folds; rows never held out are left out."""
    parts = make_folds(inputs.examples, folds, seed)
    shape = inputs.truth.shape
    margins = {name: np.zeros(shape, dtype=np.float32) for name in (LEXICAL, DENSE)}
    distances = np.zeros(shape[0], dtype=np.float32)

    def one(part: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
        train, rows = part
        lexical = fit_lexical(ngrams, inputs.truth, train)
        margins[LEXICAL][rows] = lexical_margins(lexical, ngrams, rows)
        dense = fit_linear(inputs.vectors[train], inputs.truth[train], kind)
        margins[DENSE][rows] = dense.margins(inputs.vectors[rows])
        distances[rows] = nearest_distance(inputs.vectors[rows], inputs.vectors[train])

    # One thread a fold: liblinear and BLAS release the interpreter lock.
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, [part for part in parts if len(part[1])]))
    rows = np.sort(np.concatenate([rows for _, rows in parts]))
    return Held(
        {name: z[rows] for name, z in margins.items()},
        inputs.truth[rows],
        distances[rows],
        inputs.examples.groups[rows],
        rows,
    )


def _validated(
    inputs: Inputs,
    validation: Examples,
    embedder: Embedder,
    finetuned: Embedder,
    scorers: tuple,  # type: ignore[type-arg]
) -> Held:
    lexical, dense, tuned = scorers
    known = set(inputs.names)
    rows = np.array([i for i, y in enumerate(validation.labels) if set(y) <= known], dtype=np.int64)
    if not len(rows):
        raise DataError("no validation row has a label that the training part knows")
    part = validation.take(rows)
    vectors = embedder.encode(part.texts)
    margins = {
        LEXICAL: lexical.margins(part.texts),
        DENSE: dense.margins(vectors),
        FINETUNED: tuned.margins(finetuned.encode(part.texts, normalised=tuned.normalised)),
    }
    distances = nearest_distance(vectors, inputs.vectors)
    return Held(margins, part.targets(inputs.names), distances, part.groups, rows)


def _calibrated(held: Held, kind: Kind, seed: int) -> tuple[Fusion, Floats]:
    """The fusion of all held-out rows, and each row's probabilities from a fusion of the others.

    The second give the conformal scores: no row is judged by parameters that were fitted on it.
    """
    rng = np.random.default_rng(seed)
    ids, inverse = np.unique(held.groups, return_inverse=True)
    part = rng.permutation(len(ids))[inverse] % min(CROSSFITS, len(ids))
    crossed = np.zeros(held.truth.shape, dtype=np.float32)
    for p in np.unique(part):
        rest, mine = part != p, part == p
        if not rest.any():
            rest = mine
        fusion = _fit_fusion(_only(held.margins, rest), held.truth[rest], kind)
        crossed[mine] = fusion.squash(fusion.mixed(_only(held.margins, mine)), kind)
    fusion = _fit_fusion(held.margins, held.truth, kind)
    scores = np.sort(1 - crossed[held.truth])
    return Fusion(fusion.weights, fusion.squash, fusion.parts, fusion.thresholds, scores), crossed


def _only(margins: Margins, rows: NDArray[np.bool_]) -> Margins:
    return {name: z[rows] for name, z in margins.items()}


def _fit_fusion(margins: Margins, truth: NDArray[np.bool_], kind: Kind) -> Fusion:
    names, stack = list(margins), list(margins.values())
    classes = truth.shape[1]
    if kind == "single":
        codes = truth.argmax(1)
        pool = fit_pool(stack, codes)
        weights, squash = pool.weights, _squash(1.0, pool.offsets)
        parts = {
            name: _squash(1 / fit_temperature(z, codes), np.zeros(classes))
            for name, z in margins.items()
        }
    else:
        weights = fit_binary_pool(stack, truth)
        mixed = sum(w * z for w, z in zip(weights, stack, strict=True))
        squash = _squash(*fit_label_platts(np.asarray(mixed), truth))
        shared = {name: fit_platt(z, truth) for name, z in margins.items()}
        parts = {name: _squash(p.slope, np.full(classes, p.offset)) for name, p in shared.items()}
    fusion = Fusion(
        dict(zip(names, map(float, weights), strict=True)),
        squash,
        parts,
        np.full(classes, 0.5, dtype=np.float32),
        np.empty(0, dtype=np.float32),
    )
    if kind == "single":
        return fusion
    p = squash(fusion.mixed(margins), kind)
    return Fusion(
        fusion.weights,
        squash,
        parts,
        fit_thresholds(p, truth).astype(np.float32),
        fusion.nonconformity,
    )


def _squash(slope: float | NDArray[np.float64], bias: NDArray[np.float64]) -> Squash:
    return Squash(np.atleast_1d(slope).astype(np.float32), bias.astype(np.float32))


def _figures(
    held: Held, fusion: Fusion, crossed: Floats, kind: Kind
) -> tuple[tuple[PartFigures, ...], PartFigures]:
    """Shares are of the weights times the spread of the margins they multiply."""
    pull = {name: fusion.weights[name] * float(z.std()) for name, z in held.margins.items()}
    total = sum(pull.values()) or 1.0
    parts = tuple(
        _judged(name, pull[name] / total, fusion.parts[name](z, kind), held.truth, None)
        for name, z in held.margins.items()
    )
    thresholds = fusion.thresholds if kind == "multi" else None
    return parts, _judged("fused", 1.0, crossed, held.truth, thresholds)


def _judged(
    name: str,
    weight: float,
    p: Floats,
    truth: NDArray[np.bool_],
    thresholds: Floats | None,
) -> PartFigures:
    multi = thresholds is not None or bool((truth.sum(1) != 1).any())
    if multi:
        said = p >= (0.5 if thresholds is None else thresholds)
        kept = np.clip(p, 1e-7, 1 - 1e-7)
        loss = -np.where(truth, np.log(kept), np.log(1 - kept)).sum(1)
    else:
        said = p.argmax(1)[:, None] == np.arange(p.shape[1])
        loss = -np.log(np.maximum(p[truth], 1e-7))
    return PartFigures(
        name,
        float(weight),
        float(correct(truth, said).mean()),
        macro_f1(truth, said),
        float(loss.mean()),
    )


def _logits(fusion: Fusion, margins: Margins) -> Floats:
    return np.asarray(fusion.mixed(margins) * fusion.squash.slope + fusion.squash.bias)


def _scope(known: Floats, held: Held, fusion: Fusion) -> Scope:
    energies = energy(_logits(fusion, held.margins))
    signals = np.stack([energies, held.distances], 1)
    scope = Scope(
        known,
        signals.mean(0).astype(np.float32),
        np.maximum(signals.std(0), 1e-6).astype(np.float32),
        np.ones(2, dtype=np.float32),
        np.empty(0, dtype=np.float32),
    )
    return _rescored(scope, np.ones(2, dtype=np.float32), energies, held.distances)


def _rescored(scope: Scope, weights: Floats, energies: Floats, distances: Floats) -> Scope:
    fresh = Scope(scope.known, scope.means, scope.deviations, weights, scope.in_scope)
    in_scope = np.sort(fresh.combine(energies, distances))
    return Scope(scope.known, scope.means, scope.deviations, weights, in_scope)


def _with_refused(
    classifier: FusedClassifier, held: Held, out_of_scope: Sequence[str]
) -> FusedClassifier:
    """The same with the two signals weighted by what separates these texts from held-out rows."""
    texts = [text for text in out_of_scope if text.strip()]
    if not texts:
        return classifier
    scope, fusion = classifier.scope, classifier.fusion
    vectors = classifier.embedder.encode(texts)
    margins = {LEXICAL: classifier.lexical.margins(texts), DENSE: classifier.dense.margins(vectors)}
    if classifier.finetuned is not None and classifier.tuned is not None:
        margins[FINETUNED] = classifier.tuned.margins(
            classifier.finetuned.encode(texts, normalised=classifier.tuned.normalised)
        )
    energies = energy(_logits(fusion, held.margins))
    inside = np.stack([energies, held.distances], 1)
    outside = np.stack(
        [energy(_logits(fusion, margins)), nearest_distance(vectors, scope.known)], 1
    )
    signals = (np.concatenate([inside, outside]) - scope.means) / scope.deviations
    refused = np.arange(len(signals)) >= len(inside)
    found = LogisticRegression(class_weight="balanced").fit(signals, refused).coef_[0]
    weights = np.maximum(found, 0.0)
    if not weights.any():
        return classifier
    fresh = _rescored(
        scope, (2 * weights / weights.sum()).astype(np.float32), energies, held.distances
    )
    return FusedClassifier(
        classifier.labels,
        classifier.kind,
        classifier.embedder,
        classifier.lexical,
        classifier.dense,
        fusion,
        fresh,
        classifier.finetuned,
        classifier.tuned,
    )
