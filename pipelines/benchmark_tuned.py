"""What fine-tuning adds where news is labelled, with and without it: on folds of each set, on sets
it was not taught by, and in one model of all sets.

Of the folds of benchmark_labels.py, and the same rows asked. One fold of a large encoder takes up
to half an hour on two cores, so that the first one of a set is asked unless all are wanted.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
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
    Answers,
    LabelRow,
    Learner,
    codes_of,
    figures,
    gain,
    hits_of,
    likeliest,
    origins,
    own_label_figures,
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
FIRST, ALL = f"first of {FOLDS} folds", f"{FOLDS} folds"
EPOCHS = 3
# Layers that learn, from the top: the output of those below is computed once.
LEARNING = 6


def tuned_folds(
    folder: Path, *, home: Home, options: TrainOptions, say: Say, every: bool = False
) -> Iterator[LabelRow]:
    """Figures of both on the first fold of what there is of the sets in `folder`, or on every one,
    the rows of all folds as one.

    options: its base; fine-tuned by its method, whole where that is frozen.
    """
    learner, count = _learner(home, options, say), FOLDS if every else 1
    for name, rows in _sets_by_time(folder, home, say):
        right = {system: np.zeros(len(rows), dtype=np.bool_) for system in (FROZEN, TUNED)}
        codes = {system: np.zeros(len(rows), dtype=np.int64) for system in right}
        chosen = list(islice(folds(rows, FOLDS, options.seed), count))
        for number, (train, held) in enumerate(chosen, start=1):
            part = rows.take(held)
            for system, (labels, scores) in _asked(learner, rows.take(train), part.texts).items():
                right[system][held] = hits_of(part, labels, scores)
                if name != TOPICS:
                    codes[system][held] = _in_order(labels, scores).argmax(1)
            before, after = (right[system][held].mean() for system in (FROZEN, TUNED))
            say(f"{name}: fold {number} of {FOLDS}: accuracy {before:.4f} to {after:.4f}")
        asked = np.concatenate([held for _, held in chosen])
        data = f"{name}, {ALL if every else FIRST}"
        for system in right:
            hits = right[system][asked]
            if name == TOPICS:
                yield LabelRow(data, system, "accuracy", bootstrap(mean_of(hits), len(hits)))
            else:
                truth = codes_of(rows.take(asked))
                yield from figures(data, system, truth, codes[system][asked])
        yield LabelRow(data, TUNED, ABOVE_FROZEN, gain(right[TUNED][asked], right[FROZEN][asked]))


def tuned_unseen(
    folder: Path, *, home: Home, options: TrainOptions, say: Say
) -> Iterator[LabelRow]:
    """Figures of both, and of the SVM, on sets that they were not taught by; as `tuned_folds`. Of a
    set without neutral rows, then also of what was taught without them."""
    sets = read_sets(folder, home, say)
    if not sets.unseen or not {PHRASEBANK, TWEETS} <= set(sets.sentiment):
        return
    taught = taught_to_unseen(sets)
    asked = [text for held in sets.unseen.values() for text in held.texts]
    learner = _learner(home, options, say)
    answers = {
        system: per_set(_in_order(*found), sets.unseen.values())
        for system, found in _asked(learner, taught, asked).items()
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
        yield from own_label_figures(name, held, taught, partial(_asked, learner))


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
        data, truth = f"{name}, {FIRST}", codes_of(rows)
        for system in (FROZEN, TUNED):
            alone = _in_order(*own[system]).argmax(1)
            together = _in_order(*common[system])[mine].argmax(1)
            name_together = f"{system}, one model for all sets"
            yield from figures(data, system, truth, alone)
            yield from figures(data, name_together, truth, together)
            found = gain(together == truth, alone == truth)
            yield LabelRow(data, name_together, ABOVE_OWN, found)


def _sets_by_time(folder: Path, home: Home, say: Say) -> Iterator[tuple[str, Examples]]:
    """What there is of the sets, topics last: they take longest."""
    sets = read_sets(folder, home, say)
    there: Mapping[str, Examples | None] = {
        name: sets.sentiment.get(name) for name in (PHRASEBANK, TWEETS)
    } | {TOPICS: sets.topics}
    for name, rows in there.items():
        if rows is not None:
            yield name, rows


def _learner(home: Home, options: TrainOptions, say: Say) -> Learner:
    """That fine-tunes the upper layers."""
    learner = Learner.open(home, options, say)
    config = read_json_object(read_encoder_folder(learner.base.path).weights / "config.json")
    lower = max(0, int(config.get("num_hidden_layers", 0)) - LEARNING)
    method = Method.FULL if options.method == Method.FROZEN else options.method
    learning = replace(options, method=method, epochs=EPOCHS, freeze_layers=lower)
    return replace(learner, options=learning)


def _asked(learner: Learner, rows: Examples, texts: Sequence[str]) -> Answers:
    """By what learned from the rows with and without fine-tuning."""
    with tempfile.TemporaryDirectory() as place:
        learned = learner.learn(rows, Path(place) / "encoder")
        return {
            system: (fit.classifier.labels, fit.classifier.predict_proba(texts))
            for system, fit in ((FROZEN, learned.frozen["news"]), (TUNED, learned.chosen["news"]))
        }


def _in_order(labels: Sequence[str], scores: Floats) -> Floats:
    """(n, 3) the scores in the order of SENTIMENTS."""
    return scores[:, [labels.index(label) for label in SENTIMENTS]]
