"""The report of a classifier: figures with intervals, rivals on the same rows, where it errs."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.intervals import Interval, bootstrap, bootstrap_many, mean_of
from shared.evaluation.leakage import Copies
from shared.evaluation.metrics import (
    calibration_error,
    label_f1,
    label_scores,
    macro_f1,
    micro_f1,
    one_hot,
    reliability,
)
from shared.evaluation.report import (
    Baseline,
    CalibrationBin,
    Confusion,
    LabelFigures,
    Measure,
    Slice,
)
from shared.evaluation.slices import SMALLEST_SLICE, text_parts

CONFUSIONS_LISTED = 12
EXAMPLES_EACH = 3
CALIBRATION_BINS = 10
UNSEEN = " without training copies"  # closes the names of figures without such rows


@dataclass(frozen=True)
class Judged:
    """The parts of a Report that follow from texts, truth and probabilities."""

    measures: tuple[Measure, ...]
    per_label: tuple[LabelFigures, ...]
    confusions: tuple[Confusion, ...]
    slices: tuple[Slice, ...]
    baselines: tuple[Baseline, ...]
    calibration: tuple[CalibrationBin, ...]


def judge_single(
    texts: Sequence[str],
    truth: Sequence[str],
    labels: Sequence[str],
    probabilities: NDArray[np.floating],
    *,
    rivals: Mapping[str, NDArray[np.floating]] = {},
    known_words: Collection[str] | None = None,
    copies: Copies | None = None,
    seed: int = 13,
    prefix: str = "",
) -> Judged:
    """Accuracy, macro-F1 and calibration of a single-label classifier.

    probabilities: (n, C) in the order of `labels`; a truth that is not among them counts as wrong.
    rivals: name -> (n, C) scores on the same rows. known_words: of the training rows, for slices by
    new words. copies: which rows are copies of training rows; the figures are then given without
    them too. prefix: put before the measures' names where a report holds several heads.
    """
    names, codes = _codes(truth, labels)
    actual = one_hot(codes, len(names))
    predicted = probabilities.argmax(1)
    right = predicted == codes
    confidence = probabilities.max(1)
    error = bootstrap(
        lambda weights: calibration_error(confidence, right, weights=weights),
        len(right),
        seed=seed,
    )
    measures = (
        *_single_measures(actual, predicted, seed, prefix),
        _measure(f"{prefix}calibration error", error, len(right)),
        *(
            _renamed(measure)
            for rows in _unseen(copies)
            for measure in _single_measures(actual[rows], predicted[rows], seed, prefix)
        ),
    )
    return Judged(
        measures,
        _label_figures(names, actual, one_hot(predicted, len(names)), seed),
        _confusions(texts, truth, [labels[j] for j in predicted]),
        _slices(texts, right, known_words, copies, seed, f"{prefix}accuracy"),
        tuple(
            Baseline(name, _single_measures(actual, scores.argmax(1), seed, prefix))
            for name, scores in rivals.items()
        ),
        calibration_bins(confidence, right),
    )


def judge_multi(
    texts: Sequence[str],
    truth: NDArray[np.bool_],
    labels: Sequence[str],
    predicted: NDArray[np.bool_],
    probabilities: NDArray[np.floating],
    *,
    rivals: Mapping[str, NDArray[np.bool_]] = {},
    known_words: Collection[str] | None = None,
    copies: Copies | None = None,
    seed: int = 13,
    prefix: str = "",
) -> Judged:
    """Macro-F1, micro-F1 and exact match of a classifier that may give several labels, or none.

    truth, predicted, rivals: (n, C) membership; probabilities: (n, C); known_words, copies: as
    above.
    """
    flat, said = probabilities.ravel(), truth.ravel()
    confidence = np.where(flat >= 0.5, flat, 1 - flat)
    right = (flat >= 0.5) == said
    exact = (truth == predicted).all(1)
    unseen = (
        _renamed(measure)
        for rows in _unseen(copies)
        for measure in _multi_measures(truth[rows], predicted[rows], seed, prefix)
    )
    return Judged(
        (*_multi_measures(truth, predicted, seed, prefix), *unseen),
        _label_figures(labels, truth, predicted, seed),
        _confusions(texts, _joined(truth, labels), _joined(predicted, labels)),
        _slices(texts, exact, known_words, copies, seed, f"{prefix}exact match"),
        tuple(
            Baseline(name, _multi_measures(truth, other, seed, prefix))
            for name, other in rivals.items()
        ),
        calibration_bins(confidence, right),
    )


def calibration_bins(
    confidence: NDArray[np.floating], right: NDArray[np.bool_]
) -> tuple[CalibrationBin, ...]:
    """Confidence against accuracy in bins of equal width; empty ones are left out."""
    bins = reliability(confidence, right, bins=CALIBRATION_BINS)
    return tuple(
        CalibrationBin(
            float(bins.edges[j]),
            float(bins.edges[j + 1]),
            int(bins.count[j]),
            float(bins.confidence[j]),
            float(bins.accuracy[j]),
        )
        for j in np.flatnonzero(bins.count)
    )


def _codes(truth: Sequence[str], labels: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """All label names, those the model does not know last, and the (n,) code of each truth."""
    names = [*labels, *sorted(set(truth) - set(labels))]
    place = {name: code for code, name in enumerate(names)}
    return names, np.array([place[label] for label in truth], dtype=np.int64)


def _single_measures(
    actual: NDArray[np.bool_], predicted: NDArray[np.int64], seed: int, prefix: str
) -> tuple[Measure, ...]:
    n = len(actual)
    claimed = one_hot(predicted, actual.shape[1])
    right = (actual & claimed).any(1)
    macro = bootstrap(lambda weights: macro_f1(actual, claimed, weights), n, seed=seed)
    return (
        _measure(f"{prefix}accuracy", bootstrap(mean_of(right), n, seed=seed), n),
        _measure(f"{prefix}macro F1", macro, n),
    )


def _multi_measures(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], seed: int, prefix: str
) -> tuple[Measure, ...]:
    n = len(truth)
    macro = bootstrap(lambda weights: macro_f1(truth, predicted, weights), n, seed=seed)
    micro = bootstrap(lambda weights: micro_f1(truth, predicted, weights), n, seed=seed)
    exact = bootstrap(mean_of((truth == predicted).all(1)), n, seed=seed)
    return (
        _measure(f"{prefix}macro F1", macro, n),
        _measure(f"{prefix}micro F1", micro, n),
        _measure(f"{prefix}exact match", exact, n),
    )


def _measure(name: str, interval: Interval, n: int) -> Measure:
    return Measure(name, interval.value, interval.low, interval.high, n)


def _unseen(copies: Copies | None) -> list[NDArray[np.int64]]:
    """The rows that are no copies, where some are and some are not; else nothing."""
    if copies is None or not copies.near.any() or copies.near.all():
        return []
    return [np.flatnonzero(~copies.near)]


def _renamed(measure: Measure) -> Measure:
    return replace(measure, name=measure.name + UNSEEN)


def _label_figures(
    names: Sequence[str], truth: NDArray[np.bool_], predicted: NDArray[np.bool_], seed: int
) -> tuple[LabelFigures, ...]:
    """One row for each label; nothing is claimed of a label that no held-out row has."""
    scores = label_scores(truth, predicted)
    bounds = bootstrap_many(
        lambda weights: label_f1(truth, predicted, weights), len(truth), seed=seed
    )

    def known(value: float, n: int) -> float | None:
        return None if n == 0 or np.isnan(value) else float(value)

    return tuple(
        LabelFigures(
            name,
            int(n),
            *(known(value, n) for value in (precision, recall, f1, low, high)),
        )
        for name, n, precision, recall, f1, low, high in zip(
            names,
            scores.support,
            scores.precision,
            scores.recall,
            scores.f1,
            *bounds,
            strict=True,
        )
    )


def _confusions(
    texts: Sequence[str], truth: Sequence[str], predicted: Sequence[str]
) -> tuple[Confusion, ...]:
    """The most frequent mistakes, with texts."""
    pairs = Counter((t, p) for t, p in zip(truth, predicted, strict=True) if t != p)
    return tuple(
        Confusion(
            true,
            taken,
            count,
            tuple(
                text
                for text, t, p in zip(texts, truth, predicted, strict=True)
                if (t, p) == (true, taken)
            )[:EXAMPLES_EACH],
        )
        for (true, taken), count in pairs.most_common(CONFUSIONS_LISTED)
    )


def _joined(membership: NDArray[np.bool_], labels: Sequence[str]) -> list[str]:
    return [" | ".join(np.asarray(labels)[row]) or "(none)" for row in membership]


def _slices(
    texts: Sequence[str],
    right: NDArray[np.bool_],
    known_words: Collection[str] | None,
    copies: Copies | None,
    seed: int,
    name: str,
) -> tuple[Slice, ...]:
    """The share right on each part of the rows that is large enough."""
    parts = dict(text_parts(texts, known_words))
    if copies is not None:
        parts |= {"copies of training rows": copies.near, "no training copies": ~copies.near}
    found = []
    for title, rows in parts.items():
        n = int(rows.sum())
        if SMALLEST_SLICE <= n < len(texts):
            interval = bootstrap(mean_of(right[rows]), n, seed=seed)
            found.append(Slice(title, n, (_measure(name, interval, n),)))
    return tuple(found)
