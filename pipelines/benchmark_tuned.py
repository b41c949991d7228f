"""What fine-tuning adds where news is labelled, with and without it: on the first fold of each set,
on sets it was not taught by, and in one model of all sets.

Of the folds of benchmark_labels.py, and the same rows asked: one fold of a large encoder takes half
an hour on two cores, and five of each set a day.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.news_monitor.labels import SENTIMENTS
from pipelines.benchmark_core import FOLDS, SVM
from pipelines.benchmark_labels import (
    ABOVE_OWN,
    PHRASEBANK,
    TOPICS,
    TWEETS,
    LabelRow,
    Learner,
    codes_of,
    figures,
    gain,
    hits_of,
    likeliest,
    origins,
    per_set,
    pooled,
    read_sets,
    svm_sentiment,
    taught_to_unseen,
    unseen_figures,
)
from shared.evaluation.intervals import bootstrap, mean_of
from shared.modeling.encoder_folder import read_encoder_folder, read_json_object
from shared.settings import Home
from shared.training.examples import Examples, folds
from shared.training.options import Method, TrainOptions

Say = Callable[[str], None]
Floats = NDArray[np.float32]
FROZEN, TUNED = "triptych, frozen", "triptych, fine-tuned"
ABOVE_FROZEN = "accuracy above the frozen one"
EPOCHS = 3
# Layers that learn, from the top: the output of those below is computed once.
LEARNING = 6


@dataclass(frozen=True)
class Fold:
    """One set's rows, to learn from and to be asked."""

    name: str
    part: Examples
    held: Examples


def tuned_folds(folder: Path, *, home: Home, options: TrainOptions, say: Say) -> Iterator[LabelRow]:
    """Figures of both on the first fold of what there is of the sets in `folder`.

    options: its base; fine-tuned by its method, whole where that is frozen.
    """
    learner = _learner(home, options, say)
    for fold in first_folds(folder, home, options.seed, say):
        answers = _asked(learner, fold.part, fold.held.texts)
        right = {}
        data = f"{fold.name}, first of {FOLDS} folds"
        for system, (labels, scores) in answers.items():
            right[system] = hits_of(fold.held, labels, scores).astype(bool)
            if fold.name == TOPICS:
                found = bootstrap(mean_of(right[system]), len(fold.held))
                yield LabelRow(data, system, "accuracy", found)
            else:
                said = _in_order(labels, scores).argmax(1)
                yield from figures(data, system, codes_of(fold.held), said)
        yield LabelRow(data, TUNED, ABOVE_FROZEN, gain(right[TUNED], right[FROZEN]))


def tuned_unseen(
    folder: Path, *, home: Home, options: TrainOptions, say: Say
) -> Iterator[LabelRow]:
    """Figures of both, and of the SVM, on sets that they were not taught by; as `tuned_folds`."""
    sets = read_sets(folder, home, say)
    if not sets.unseen or not {PHRASEBANK, TWEETS} <= set(sets.sentiment):
        return
    taught = taught_to_unseen(sets)
    asked = [text for held in sets.unseen.values() for text in held.texts]
    answers = {
        system: per_set(_in_order(*found), sets.unseen.values())
        for system, found in _asked(_learner(home, options, say), taught, asked).items()
    }
    for at, (name, held) in enumerate(sets.unseen.items()):
        own = {system: found[at] for system, found in answers.items()}
        rival = svm_sentiment(taught, held.texts)
        yield from unseen_figures(name, held, {**own, SVM: rival})
        right = {
            system: likeliest(held, scores) == codes_of(held) for system, scores in own.items()
        }
        yield LabelRow(
            f"{name}, never seen", TUNED, ABOVE_FROZEN, gain(right[TUNED], right[FROZEN])
        )


def tuned_together(
    folder: Path, *, home: Home, options: TrainOptions, say: Say
) -> Iterator[LabelRow]:
    """Each set's own model beside one of all sets, on the first fold of all their rows; as
    `tuned_folds`."""
    sets = read_sets(folder, home, say).sentiment
    if len(sets) < 2:
        return
    learner = _learner(home, options, say)
    whole, origin = pooled(sets.values()), origins(sets.values())
    train, held = next(iter(folds(whole, FOLDS, options.seed)))
    common = _asked(learner, whole.take(train), whole.take(held).texts)
    for at, name in enumerate(sets):
        mine = origin[held] == at
        rows = whole.take(held[mine])
        own = _asked(learner, whole.take(train[origin[train] == at]), rows.texts)
        data, truth = f"{name}, first of {FOLDS} folds", codes_of(rows)
        for system in (FROZEN, TUNED):
            alone = _in_order(*own[system]).argmax(1)
            together = _in_order(*common[system])[mine].argmax(1)
            name_together = f"{system}, one model for all sets"
            yield from figures(data, system, truth, alone)
            yield from figures(data, name_together, truth, together)
            found = gain(together == truth, alone == truth)
            yield LabelRow(data, name_together, ABOVE_OWN, found)


def first_folds(folder: Path, home: Home, seed: int, say: Say) -> Iterator[Fold]:
    """The first of each set's folds by near duplicates, topics last: they take longest."""
    sets = read_sets(folder, home, say)
    there: Mapping[str, Examples | None] = {
        name: sets.sentiment.get(name) for name in (PHRASEBANK, TWEETS)
    } | {TOPICS: sets.topics}
    for name, rows in there.items():
        if rows is not None:
            train, held = next(iter(folds(rows, FOLDS, seed)))
            yield Fold(name, rows.take(train), rows.take(held))


def _learner(home: Home, options: TrainOptions, say: Say) -> Learner:
    """That fine-tunes the upper layers."""
    learner = Learner.open(home, options, say)
    config = read_json_object(read_encoder_folder(learner.base.path).weights / "config.json")
    lower = max(0, int(config.get("num_hidden_layers", 0)) - LEARNING)
    method = Method.FULL if options.method == Method.FROZEN else options.method
    learning = replace(options, method=method, epochs=EPOCHS, freeze_layers=lower)
    return replace(learner, options=learning)


def _asked(
    learner: Learner, rows: Examples, texts: Sequence[str]
) -> Mapping[str, tuple[Sequence[str], Floats]]:
    """Labels and (n, C) probabilities for texts, by what learned from the rows with and without
    fine-tuning."""
    with tempfile.TemporaryDirectory() as place:
        learned = learner.learn(rows, Path(place) / "encoder")
        return {
            system: (fit.classifier.labels, fit.classifier.predict_proba(texts))
            for system, fit in ((FROZEN, learned.frozen["news"]), (TUNED, learned.chosen["news"]))
        }


def _in_order(labels: Sequence[str], scores: Floats) -> Floats:
    """(n, 3) the scores in the order of SENTIMENTS."""
    return scores[:, [labels.index(label) for label in SENTIMENTS]]
