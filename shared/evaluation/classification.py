"""The report of a classifier: figures with intervals, rivals on the same rows, where it errs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.metrics import (
    Interval,
    bootstrap_interval,
    expected_calibration_error,
    macro_f1_interval,
    macro_f1_interval_of_sets,
    mean_interval,
    per_label,
    per_label_of_sets,
)
from shared.evaluation.report import (
    Baseline,
    CalibrationBin,
    Confusion,
    LabelFigures,
    Measure,
    Slice,
)
from shared.text import detect_language

CONFUSIONS_LISTED = 12
EXAMPLES_EACH = 3
CALIBRATION_BINS = 10
# A slice of fewer rows says more about its rows than about the model.
SMALLEST_SLICE = 20
SHORT_WORDS = 4
LONG_WORDS = 20


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
    seed: int = 13,
    prefix: str = "",
) -> Judged:
    """Accuracy, macro-F1 and calibration of a single-label classifier.

    probabilities: (n, C) in the order of `labels`; a truth that is not among them counts as wrong.
    rivals: name -> (n, C) scores on the same rows. prefix: put before the measures' names where a
    report holds several heads.
    """
    names, codes = _codes(truth, labels)
    predicted = probabilities.argmax(1)
    right = predicted == codes
    confidence = probabilities.max(1)
    measures = (
        *_single_measures(codes, predicted, len(names), seed, prefix),
        _measure(
            f"{prefix}calibration error",
            bootstrap_interval(
                lambda rows: expected_calibration_error(confidence[rows], right[rows]),
                len(right),
                seed=seed,
            ),
            len(right),
        ),
    )
    figures = per_label(codes, predicted, len(names))
    return Judged(
        measures,
        _label_figures(names, figures.n, figures.precision, figures.recall, figures.f1),
        _confusions(texts, truth, [labels[j] for j in predicted]),
        _slices(texts, right, seed, f"{prefix}accuracy"),
        tuple(
            Baseline(name, _single_measures(codes, scores.argmax(1), len(names), seed, prefix))
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
    seed: int = 13,
    prefix: str = "",
) -> Judged:
    """Macro-F1, micro-F1 and exact match of a classifier that may give several labels, or none.

    truth, predicted, rivals: (n, C) membership; probabilities: (n, C).
    """
    figures = per_label_of_sets(truth, predicted)
    flat, said = probabilities.ravel(), truth.ravel()
    confidence = np.where(flat >= 0.5, flat, 1 - flat)
    right = (flat >= 0.5) == said
    exact = (truth == predicted).all(1)
    return Judged(
        _multi_measures(truth, predicted, seed, prefix),
        _label_figures(labels, figures.n, figures.precision, figures.recall, figures.f1),
        _confusions(texts, _joined(truth, labels), _joined(predicted, labels)),
        _slices(texts, exact, seed, f"{prefix}exact match"),
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
    place = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    bins = []
    for number in np.unique(place):
        rows = place == number
        bins.append(
            CalibrationBin(
                number / CALIBRATION_BINS,
                (number + 1) / CALIBRATION_BINS,
                int(rows.sum()),
                float(confidence[rows].mean()),
                float(right[rows].mean()),
            )
        )
    return tuple(bins)


def _codes(truth: Sequence[str], labels: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """All label names, those the model does not know last, and the (n,) code of each truth."""
    names = [*labels, *sorted(set(truth) - set(labels))]
    place = {name: code for code, name in enumerate(names)}
    return names, np.array([place[label] for label in truth], dtype=np.int64)


def _single_measures(
    codes: NDArray[np.int64], predicted: NDArray[np.int64], labels: int, seed: int, prefix: str
) -> tuple[Measure, ...]:
    n = len(codes)
    return (
        _measure(f"{prefix}accuracy", mean_interval(predicted == codes, seed=seed), n),
        _measure(f"{prefix}macro F1", macro_f1_interval(codes, predicted, labels, seed=seed), n),
    )


def _multi_measures(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], seed: int, prefix: str
) -> tuple[Measure, ...]:
    n = len(truth)

    def micro(rows: NDArray[np.int64]) -> float:
        sizes = truth[rows].sum() + predicted[rows].sum()
        return float(2 * (truth[rows] & predicted[rows]).sum() / sizes) if sizes else 1.0

    exact = (truth == predicted).all(1)
    macro = macro_f1_interval_of_sets(truth, predicted, seed=seed)
    return (
        _measure(f"{prefix}macro F1", macro, n),
        _measure(f"{prefix}micro F1", bootstrap_interval(micro, n, seed=seed), n),
        _measure(f"{prefix}exact match", mean_interval(exact, seed=seed), n),
    )


def _measure(name: str, interval: Interval, n: int) -> Measure:
    return Measure(name, interval.value, interval.low, interval.high, n)


def _label_figures(
    names: Sequence[str],
    n: NDArray[np.int64],
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
    f1: NDArray[np.float64],
) -> tuple[LabelFigures, ...]:
    """One row for each label; nothing is claimed of a label that no held-out row has."""

    def known(value: float, count: int) -> float | None:
        return None if count == 0 or np.isnan(value) else float(value)

    return tuple(
        LabelFigures(name, int(k), known(p, k), known(r, k), known(f, k))
        for name, k, p, r, f in zip(names, n, precision, recall, f1, strict=True)
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
    texts: Sequence[str], right: NDArray[np.bool_], seed: int, name: str
) -> tuple[Slice, ...]:
    """The share right on short and long texts, and on each language."""
    words = np.array([len(text.split()) for text in texts])
    languages = np.array([detect_language(text) for text in texts])
    parts = {
        f"up to {SHORT_WORDS} words": words <= SHORT_WORDS,
        f"{LONG_WORDS} words or more": words >= LONG_WORDS,
        **{f"language {code}": languages == code for code in sorted(set(languages) - {"und"})},
    }
    found = []
    for title, rows in parts.items():
        n = int(rows.sum())
        if SMALLEST_SLICE <= n < len(texts):
            interval = mean_interval(right[rows], seed=seed)
            found.append(Slice(title, n, (_measure(name, interval, n),)))
    return tuple(found)
