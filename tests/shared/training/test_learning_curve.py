"""The curve's law is found again where it is known; its intervals hold what they promise."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import DataError
from shared.inference.runtime import load_embedder
from shared.training.examples import Examples
from shared.training.learning_curve import (
    Gain,
    LearningCurve,
    Measured,
    Point,
    fit_curve,
    measure_curve,
)

SIZES = np.array([100, 200, 400, 700, 1000])


def drawn(
    rng: np.random.Generator, floor: float, scale: float, rate: float, tests: int = 400
) -> tuple[Measured, ...]:
    """Three repeats of a learner whose error is floor + scale * n ** -rate; a test row has one
    difficulty for all sizes."""
    error = floor + scale * SIZES**-rate
    return tuple(
        Measured(SIZES, rng.random(tests)[None, :] > error[:, None], np.arange(tests))
        for _ in range(3)
    )


@pytest.mark.parametrize(("floor", "scale", "rate"), [(0.03, 2.0, 0.5), (0.0, 1.0, 0.3)])
def test_twice_the_rows_bring_what_the_true_law_says(
    floor: float, scale: float, rate: float
) -> None:
    rng = np.random.default_rng(0)
    true = scale * (1000**-rate - 2000**-rate)
    gains = [fit_curve(drawn(rng, floor, scale, rate)).gains[0] for _ in range(25)]
    assert abs(np.mean([gain.value for gain in gains]) - true) < 0.006
    assert sum(gain.low - 0.002 <= true <= gain.high + 0.002 for gain in gains) >= 20


def test_a_flat_curve_promises_little() -> None:
    rng = np.random.default_rng(1)
    curve = fit_curve(drawn(rng, 0.1, 0.0, 0.5, tests=4000))
    assert curve.gains[0].high < 0.02
    assert abs(curve.points[-1].accuracy - 0.9) < 0.02


def test_points_are_the_measured_accuracies_and_then_the_foreseen_ones() -> None:
    curve = fit_curve(drawn(np.random.default_rng(2), 0.03, 2.0, 0.5))
    assert [point.n for point in curve.points] == [100, 200, 400, 700, 1000, 2000, 4000]
    assert [point.measured for point in curve.points] == [True] * 5 + [False] * 2
    for point in curve.points:
        assert point.low <= point.accuracy <= point.high
    foreseen = curve.floor + curve.scale * 2000**-curve.rate
    assert curve.points[5].accuracy == pytest.approx(1 - foreseen)


@pytest.mark.parametrize(
    ("low", "high", "advice"),
    [
        (0.0, 0.004, "would bring little"),
        (0.006, 0.02, "more rows pay."),
        (0.001, 0.02, "cannot be told"),
    ],
)
def test_the_words_follow_the_interval(low: float, high: float, advice: str) -> None:
    points = (Point(1000, 0.9, 0.88, 0.92, True), Point(2000, 0.91, 0.88, 0.93, False))
    curve = LearningCurve(points, (Gain(2, 0.003, low, high),), 0.0, 1.0, 0.5)
    assert advice in curve.words
    assert curve.words.startswith("1,000 rows give an accuracy of 0.900; 2 times as many")


def toy(rows: int) -> Examples:
    rng = np.random.default_rng(3)
    words = {"pay": "card", "cancel": "order", "greet": "hello"}
    filler = "the a my is was please help how will red blue tea cup shoe".split()
    labels = [list(words)[i % 3] for i in range(rows)]
    texts = [" ".join([*rng.choice(filler, 4), words[label]]) for label in labels]
    return Examples(tuple(texts), tuple((label,) for label in labels), np.arange(rows))


def test_it_trains_on_growing_parts_and_tests_on_the_same_rows(tiny_encoder: Path) -> None:
    embedder = load_embedder(tiny_encoder, threads=1)
    (measured,) = measure_curve(
        toy(150), embedder=embedder, shares=(0.1, 0.4, 1.0), repeats=1, threads=1
    )
    assert measured.sizes.tolist() == sorted(measured.sizes.tolist())
    assert measured.sizes[-1] + measured.right.shape[1] == 150
    assert measured.sizes[0] < 20
    assert measured.right.shape[0] == 3
    assert measured.right[-1].mean() > 0.9


def test_too_few_rows_for_a_curve_are_refused(tiny_encoder: Path) -> None:
    embedder = load_embedder(tiny_encoder, threads=1)
    with pytest.raises(DataError, match="different sizes to train on, and a curve needs 3"):
        measure_curve(toy(9), embedder=embedder, repeats=1, threads=1)
