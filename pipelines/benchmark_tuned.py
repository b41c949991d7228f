"""What fine-tuning adds where news is labelled: the first fold of each set, with and without it.

Of the folds of benchmark_labels.py, and the same rows asked: one fold of a large encoder takes half
an hour, and five of each set a day.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.news_monitor.labels import SENTIMENTS
from pipelines.benchmark_core import FOLDS
from pipelines.benchmark_labels import (
    PHRASEBANK,
    TOPICS,
    TWEETS,
    LabelRow,
    Learner,
    figures,
    hits_of,
    read_sets,
)
from shared.evaluation.intervals import Interval, bootstrap, mean_of, paired_bootstrap
from shared.modeling.encoder_folder import read_encoder_folder, read_json_object
from shared.settings import Home
from shared.training.examples import Examples, folds
from shared.training.options import Method, TrainOptions

Say = Callable[[str], None]
FROZEN, TUNED = "triptych, frozen", "triptych, fine-tuned"
EPOCHS = 3
# Layers that learn, from the top: the output of those below is computed once.
LEARNING = 6


@dataclass(frozen=True)
class Fold:
    """One set's rows, to learn from and to be asked."""

    name: str
    part: Examples
    held: Examples


def benchmark_tuned(
    folder: Path, *, home: Home, options: TrainOptions, say: Say
) -> Iterator[LabelRow]:
    """Figures of both on what there is of the sets in `folder`; their difference is paired.

    options: its base; fine-tuned by its method, whole where that is frozen.
    """
    learner = Learner.open(home, options, say)
    config = read_json_object(read_encoder_folder(learner.base.path).weights / "config.json")
    lower = max(0, int(config.get("num_hidden_layers", 0)) - LEARNING)
    method = Method.FULL if options.method == Method.FROZEN else options.method
    learning = replace(options, method=method, epochs=EPOCHS, freeze_layers=lower)
    learner = replace(learner, options=learning)
    for fold in first_folds(folder, home, options.seed, say):
        yield from _compared(fold, learner)


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


def _compared(fold: Fold, learner: Learner) -> Iterator[LabelRow]:
    data = f"{fold.name}, first of {FOLDS} folds"
    with tempfile.TemporaryDirectory() as place:
        learned = learner.learn(fold.part, Path(place) / "encoder")
        answers = {
            system: (fit.classifier.labels, fit.classifier.predict_proba(fold.held.texts))
            for system, fit in ((FROZEN, learned.frozen["news"]), (TUNED, learned.chosen["news"]))
        }
    right = {}
    for system, (labels, scores) in answers.items():
        right[system] = hits_of(fold.held, labels, scores)
        if fold.name == TOPICS:
            found = bootstrap(mean_of(right[system]), len(fold.held))
            yield LabelRow(data, system, "accuracy", found)
        else:
            said = np.array([SENTIMENTS.index(labels[at]) for at in scores.argmax(1)])
            yield from figures(data, system, _codes(fold.held), said)
    gain = paired_bootstrap(mean_of(right[TUNED]), mean_of(right[FROZEN]), len(fold.held))
    found = Interval(gain.value, gain.low, gain.high)
    yield LabelRow(data, TUNED, "accuracy above the frozen one", found)


def _codes(rows: Examples) -> NDArray[np.int64]:
    return np.array([SENTIMENTS.index(label) for label in rows.single])
