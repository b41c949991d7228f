"""Learning the fused classifier: scorers, weights out of fold, calibration on rows of its own."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.evaluation.outcomes import label_scores
from shared.inference.classifier import DENSE, FINETUNED, FusedClassifier, Kind
from shared.inference.runtime import Embedder
from shared.training.examples import Examples, check
from shared.training.examples import folds as make_folds
from shared.training.fused_scorers import (
    Floats,
    Say,
    emphasis,
    fit_scorers,
    fold_count,
    out_of_fold,
    validated,
)
from shared.training.fusion_weights import (
    PartFigures,
    calibrated,
    leaner,
    part_figures,
    row_losses,
    scope_of,
    unfitted,
    weighted_scope,
)


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
            make_folds(examples, fold_count(examples, folds), seed) if finetuned is None else ()
        )
    ]
    scorers = fit_scorers(
        taught,
        embedder=embedder,
        finetuned=finetuned,
        copies=copies,
        parts=parts,
        first=emphasis(examples),
        seed=seed,
        threads=threads,
        done=clock.done,
    )
    fusion, scope = unfitted(len(names))
    classifier = FusedClassifier(
        labels=names,
        kind=kind,
        embedder=embedder,
        lexical=scorers.lexical,
        dense=scorers.dense,
        fusion=fusion,
        scope=scope,
        finetuned=finetuned,
        tuned=scorers.tuned,
    )
    if validation is not None and finetuned is not None:
        held = validated(classifier, validation)
    else:
        held = out_of_fold(taught, truth, scorers, parts, threads)
    clock.done("held-out scores")
    fusion, crossed = calibrated(held, kind, seed)
    if scorers.tuned is not None:
        # The base encoder reads the text a second time: that must be worth something.
        fusion, crossed = leaner(held, (fusion, crossed), kind, seed, without=DENSE)
    parts_alone, fused = part_figures(held, fusion, crossed, kind)
    classifier = replace(classifier, fusion=fusion)
    if scorers.tuned is not None and validation is not None:
        if fusion.weights[DENSE] == 0:
            # The base encoder would be asked for distances alone, at the price of the other one.
            classifier = replace(classifier, measured_by=FINETUNED)
            held = replace(held, distances=validated(classifier, validation).distances)
        else:
            weighed = scorers.tuned.known[: len(scorers.tuned.kernel.weight)]
            classifier = replace(classifier, tuned=replace(scorers.tuned, known=weighed))
    classifier = replace(classifier, scope=scope_of(held, fusion))
    if any(text.strip() for text in out_of_scope):
        classifier = replace(classifier, scope=weighted_scope(classifier, held, out_of_scope))
    clock.done("weights and calibration")
    oof = np.full((len(examples), len(names)), np.nan, dtype=np.float32)
    if finetuned is None:
        oof[held.rows] = crossed
    losses = row_losses(crossed, held.truth, kind)
    return FusedFit(classifier, parts_alone, fused, losses, oof, clock.seconds, notes)
