"""Learning the fused classifier: scorers, weights out of fold, calibration on rows of its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

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
from shared.evaluation.outcomes import label_scores
from shared.inference.classifier import (
    DENSE,
    LEXICAL,
    Calibration,
    FusedClassifier,
    Fusion,
    Kind,
    Scope,
    energy,
    squashed,
)
from shared.inference.dense import DenseScorer, Views, nearest_distance
from shared.inference.lexical import LexicalScorer
from shared.inference.runtime import Embedder
from shared.training.examples import Examples, check
from shared.training.examples import folds as make_folds
from shared.training.kernel import Part, fit_dense
from shared.training.scorers import LexicalRows, lexical_margins

Floats = NDArray[np.float32]
Margins = Mapping[str, Floats]
Say = Callable[[str], None]
FOLDS = 5
MANY_FOLDS = 10  # where rows are few: a fold's model should not lack much of what the last one has
FEW_ROWS = 2000
CROSSFITS = 5
FLOOR = 1e-7  # of a probability, so that one row's loss stays finite
_NONE = np.empty(0, dtype=np.float32)


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
    fine-tuned scorer asked for one. losses: nats of each of those rows by the fusion. out_of_fold:
    (n, C) calibrated probabilities of the training rows from models that did not see them, NaN
    where a row was never held out (everywhere, with a fine-tuned scorer). seconds: step ->
    duration.
    """

    classifier: FusedClassifier
    parts: tuple[PartFigures, ...]
    fused: PartFigures
    losses: Floats
    out_of_fold: Floats
    seconds: Mapping[str, float]
    notes: tuple[str, ...]

    def held_out_scores(
        self, rows: NDArray[np.int64], truth: Sequence[Sequence[str]]
    ) -> NDArray[np.float64]:
        """(m,) label_scores of training rows by models that did not see them, NaN where none is.
        truth: their labels."""
        p = self.out_of_fold[rows]
        given = self.classifier.decide(np.nan_to_num(p))
        scores = label_scores(given, self.classifier.labels, truth)
        return np.where(np.isnan(p).any(axis=1), np.nan, scores)


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
class Scorers:
    """The scorers of a fusion, fitted on n rows.

    words: the rows as the lexical scorer sees them. dense: on the frozen encoder; vectors: (n, k *
    dim) as it sees the rows; held: (n, C) its margins of each row from the rows of other folds,
    zero where there were none. tuned: None without a fine-tuned encoder.
    """

    words: LexicalRows
    lexical: LexicalScorer
    dense: DenseScorer
    vectors: Floats
    held: Floats
    tuned: DenseScorer | None


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
    validation: Examples | None = None,
    out_of_scope: Sequence[str] = (),
    copies: Sequence[tuple[int, str]] = (),
    named: Examples | None = None,
    kind: Kind = "single",
    seed: int = 13,
    folds: int | None = None,
    threads: int = 2,
    say: Say = lambda _: None,
) -> FusedFit:
    """Train the fused classifier on `examples`.

    finetuned: an encoder fine-tuned on `examples` alone; its weight is then learned on
    `validation`, which it must not have seen. out_of_scope: texts to be refused; without any the
    two signals weigh the same. copies: (row of examples, its text altered), from which the lexical
    scorer learns too; weights and calibration never do. named: rows of the same labels from which
    every scorer learns and that are never held out. folds: of the out-of-fold rows (5, or 10 where
    rows are few). threads: with 1 the fit is repeatable to the bit; with more, probabilities to
    about 1e-5, because liblinear's threads share one random generator.

    Raises DataError: too few labels or rows, or a fine-tuned scorer without validation rows.
    """
    if examples.kind != kind:
        raise DataError(f'examples of kind "{examples.kind}" for a classifier of kind "{kind}"')
    if finetuned is not None and (validation is None or not len(validation)):
        raise DataError("a fine-tuned scorer needs validation rows that it was not trained on")
    notes = check(examples, validation)
    clock = _Clock(say)
    taught = examples.beside(named)
    names = taught.names
    truth = taught.targets(names)
    beyond = np.arange(len(examples), len(taught))
    parts = [
        (np.concatenate([train, beyond]), rows)
        for train, rows in (
            make_folds(examples, _fold_count(examples, folds), seed) if finetuned is None else ()
        )
    ]
    scorers = fit_scorers(
        taught,
        embedder=embedder,
        finetuned=finetuned,
        copies=copies,
        parts=parts,
        seed=seed,
        threads=threads,
        done=clock.done,
    )
    blank = Fusion({}, _calibration(1.0, np.zeros(len(names))), {}, _NONE, _NONE)
    classifier = FusedClassifier(
        labels=names,
        kind=kind,
        embedder=embedder,
        lexical=scorers.lexical,
        dense=scorers.dense,
        fusion=blank,
        scope=Scope(_NONE, _NONE, _NONE, _NONE),
        finetuned=finetuned,
        tuned=scorers.tuned,
    )
    if validation is not None and finetuned is not None:
        held = _validated(classifier, validation)
    else:
        held = _out_of_fold(taught, truth, scorers, parts, threads)
    clock.done("held-out scores")
    fusion, crossed = _calibrated(held, kind, seed)
    figures, fused = _figures(held, fusion, crossed, kind)
    classifier = replace(classifier, fusion=fusion, scope=_scope(held, fusion))
    if any(text.strip() for text in out_of_scope):
        classifier = replace(classifier, scope=_weighted(classifier, held, out_of_scope))
    clock.done("weights and calibration")
    oof = np.full((len(examples), len(names)), np.nan, dtype=np.float32)
    if finetuned is None:
        oof[held.rows] = crossed
    losses = row_losses(crossed, held.truth, kind)
    return FusedFit(classifier, figures, fused, losses, oof, clock.seconds, notes)


def fit_scorers(
    examples: Examples,
    *,
    embedder: Embedder,
    finetuned: Embedder | None = None,
    copies: Sequence[tuple[int, str]] = (),
    parts: Sequence[Part] = (),
    seed: int = 13,
    threads: int = 2,
    done: Say = lambda _: None,
) -> Scorers:
    """Each scorer on all of the examples; arguments as in `fit_fused`.

    parts: folds for the dense scorer's held-out margins. done: told of each step that is over.
    """
    truth = examples.targets(examples.names)
    features = embedder.features(examples.texts)
    done("encoding")
    words = LexicalRows.of(examples.texts, truth, copies)
    with threadpool_limits(limits=threads):
        lexical = words.fit(np.arange(len(examples)), threads=threads)
        done("lexical scorer")
        dense, vectors, held = _fit_views(features, embedder.dim, truth, parts, seed)
        done("dense scorer")
        tuned = None
        if finetuned is not None:
            own = finetuned.features(examples.texts)
            fitted, _, _ = _fit_views(own, finetuned.dim, truth, (), seed)
            # Nobody asks how far a text is from its known vectors: those it weighs are enough.
            tuned = replace(fitted, known=fitted.known[: len(fitted.kernel.weight)])
            done("fine-tuned scorer")
    return Scorers(words, lexical, dense, vectors, held, tuned)


def _fit_views(
    features: Floats, dim: int, truth: NDArray[np.bool_], parts: Sequence[Part], seed: int
) -> tuple[DenseScorer, Floats, Floats]:
    """The scorer, the vectors it sees the rows as, and its margins of held-out rows."""
    views = Views.of(features, dim)
    vectors = views(features)
    fit = fit_dense(vectors, truth, parts, seed=seed)
    return DenseScorer(views, fit.scorer, fit.known), vectors, fit.held


def _fold_count(examples: Examples, folds: int | None) -> int:
    wanted = folds or (FOLDS if len(examples) > FEW_ROWS else MANY_FOLDS)
    return min(wanted, len(np.unique(examples.groups)))


def _out_of_fold(
    examples: Examples,
    truth: NDArray[np.bool_],
    scorers: Scorers,
    parts: Sequence[Part],
    threads: int,
) -> Held:
    """Margins of every row from scorers of the other folds; rows never held out are left out."""
    words, vectors = scorers.words, scorers.vectors
    lexical = np.zeros(truth.shape, dtype=np.float32)
    distances = np.zeros(len(truth), dtype=np.float32)

    def one(part: Part) -> None:
        train, rows = part
        scorer = words.fit(train)
        lexical[rows] = lexical_margins(scorer, words.ngrams, rows)
        distances[rows] = nearest_distance(vectors[rows], vectors[train])

    # One thread a fold: liblinear and BLAS release the interpreter lock.
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, [part for part in parts if len(part[1])]))
    rows = np.sort(np.concatenate([rows for _, rows in parts]))
    return Held(
        {LEXICAL: lexical[rows], DENSE: scorers.held[rows]},
        truth[rows],
        distances[rows],
        examples.groups[rows],
        rows,
    )


def _validated(classifier: FusedClassifier, validation: Examples) -> Held:
    """Margins of the validation rows whose labels are all known."""
    known = set(classifier.labels)
    rows = np.array([i for i, y in enumerate(validation.labels) if set(y) <= known], dtype=np.int64)
    if not len(rows):
        raise DataError("no validation row has a label that the training part knows")
    part = validation.take(rows)
    margins, distances = classifier.margins(part.texts)
    return Held(margins, part.targets(classifier.labels), distances, part.groups, rows)


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
        fusion = fit_fusion(_only(held.margins, rest), held.truth[rest], kind)
        crossed[mine] = squashed(fusion.logits(_only(held.margins, mine)), kind)
    fusion = fit_fusion(held.margins, held.truth, kind)
    scores = np.sort(1 - crossed[held.truth])
    return replace(fusion, nonconformity=scores), crossed


def _only(margins: Margins, rows: NDArray[np.bool_]) -> Margins:
    return {name: z[rows] for name, z in margins.items()}


def fit_fusion(margins: Margins, truth: NDArray[np.bool_], kind: Kind) -> Fusion:
    """Weights, calibration and thresholds from margins (n, C) of held-out rows with truth (n, C);
    without conformal scores, which need rows that fitted none of these."""
    names, stack = list(margins), list(margins.values())
    classes = truth.shape[1]
    if kind == "single":
        codes = truth.argmax(1)
        pool = fit_pool(stack, codes)
        weights, whole = pool.weights, _calibration(1.0, pool.offsets)
        parts = {
            name: _calibration(1 / fit_temperature(z, codes), np.zeros(classes))
            for name, z in margins.items()
        }
    else:
        weights = fit_binary_pool(stack, truth)
        mixed = sum(w * z for w, z in zip(weights, stack, strict=True))
        whole = _calibration(*fit_label_platts(np.asarray(mixed), truth))
        shared = {name: fit_platt(z, truth) for name, z in margins.items()}
        parts = {
            name: _calibration(p.slope, np.full(classes, p.offset)) for name, p in shared.items()
        }
    fusion = Fusion(
        dict(zip(names, map(float, weights), strict=True)),
        whole,
        parts,
        np.full(classes, 0.5, dtype=np.float32),
        _NONE,
    )
    if kind == "single":
        return fusion
    p = squashed(fusion.logits(margins), kind)
    return replace(fusion, thresholds=fit_thresholds(p, truth).astype(np.float32))


def _calibration(slope: float | NDArray[np.float64], bias: NDArray[np.float64]) -> Calibration:
    return Calibration(np.atleast_1d(slope).astype(np.float32), bias.astype(np.float32))


def _figures(
    held: Held, fusion: Fusion, crossed: Floats, kind: Kind
) -> tuple[tuple[PartFigures, ...], PartFigures]:
    """Shares are of the weights times the spread of the margins they multiply."""
    pull = {name: fusion.weights[name] * float(z.std()) for name, z in held.margins.items()}
    total = sum(pull.values()) or 1.0
    parts = tuple(
        _judged(name, pull[name] / total, squashed(fusion.parts[name](z), kind), held.truth, None)
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
    else:
        said = p.argmax(1)[:, None] == np.arange(p.shape[1])
    loss = row_losses(p, truth, "multi" if multi else "single")
    return PartFigures(
        name,
        float(weight),
        float(correct(truth, said).mean()),
        macro_f1(truth, said),
        float(loss.mean()),
    )


def row_losses(p: Floats, truth: NDArray[np.bool_], kind: Kind) -> Floats:
    """(n,) nats of each row: of its label, or summed over the decisions of all labels. p, truth:
    (n, C)."""
    kept = np.clip(p, FLOOR, 1 - FLOOR)
    if kind == "single":
        return np.asarray(-np.log(kept[truth]), dtype=np.float32)
    return np.asarray(-np.where(truth, np.log(kept), np.log(1 - kept)).sum(1), dtype=np.float32)


def _scope(held: Held, fusion: Fusion) -> Scope:
    """Both signals count the same until texts that must be refused say otherwise."""
    energies = energy(fusion.logits(held.margins))
    signals = np.stack([energies, held.distances], 1)
    scope = Scope(
        signals.mean(0).astype(np.float32),
        np.maximum(signals.std(0), 1e-6).astype(np.float32),
        np.ones(2, dtype=np.float32),
        _NONE,
    )
    return replace(scope, in_scope=np.sort(scope.scores(energies, held.distances)))


def _weighted(classifier: FusedClassifier, held: Held, out_of_scope: Sequence[str]) -> Scope:
    """The scope with the weights that best separate these texts from held-out in-scope rows."""
    scope, fusion = classifier.scope, classifier.fusion
    margins, distances = classifier.margins([text for text in out_of_scope if text.strip()])
    energies = energy(fusion.logits(held.margins))
    inside = np.stack([energies, held.distances], 1)
    outside = np.stack([energy(fusion.logits(margins)), distances], 1)
    signals = (np.concatenate([inside, outside]) - scope.means) / scope.deviations
    refused = np.arange(len(signals)) >= len(inside)
    found = LogisticRegression(class_weight="balanced").fit(signals, refused).coef_[0]
    weights = np.maximum(found, 0.0)
    if not weights.any():
        return scope
    fresh = replace(scope, weights=(2 * weights / weights.sum()).astype(np.float32))
    return replace(fresh, in_scope=np.sort(fresh.scores(energies, held.distances)))
