"""What is fitted must be what made the data."""

import doctest

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from shared.evaluation import calibration
from shared.evaluation.calibration import (
    best_threshold,
    fit_binary_pool,
    fit_label_platts,
    fit_platt,
    fit_pool,
    fit_temperature,
    fit_thresholds,
)


def drawn(logits: NDArray[np.float64], seed: int = 0) -> NDArray[np.int64]:
    """(n,) a class for each row with the probabilities of its softmax."""
    p = softmax(logits, axis=1)
    u = np.random.default_rng(seed).uniform(size=(len(p), 1))
    codes: NDArray[np.int64] = (p.cumsum(1) < u).sum(1).clip(0, p.shape[1] - 1)
    return codes


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(calibration).failed == 0


def test_the_temperature_that_made_the_labels_is_found() -> None:
    logits = np.random.default_rng(1).normal(0, 3, (20_000, 5))
    assert fit_temperature(2.5 * logits, drawn(logits)) == pytest.approx(2.5, rel=0.05)


def test_the_pool_finds_the_weights_and_gives_noise_none() -> None:
    rng = np.random.default_rng(2)
    first, second, noise = rng.normal(0, 1, (3, 20_000, 4))
    codes = drawn(1.5 * first + 0.5 * second)
    pool = fit_pool([first, second, noise], codes)
    assert pool.weights == pytest.approx([1.5, 0.5, 0.0], abs=0.05)
    assert pool.offsets == pytest.approx(np.zeros(4), abs=0.05)


def test_offsets_follow_many_rows_and_stay_near_zero_for_few() -> None:
    rng = np.random.default_rng(3)
    margins = rng.normal(0, 1, (20_000, 3))
    codes = drawn(margins + np.array([1.0, 0.0, -1.0]))
    many = fit_pool([margins], codes).offsets
    few = fit_pool([margins[:6]], codes[:6]).offsets
    assert many - many.mean() == pytest.approx([1.0, 0.0, -1.0], abs=0.08)
    assert np.abs(few).max() < 0.4


def test_platt_finds_slope_and_offset() -> None:
    z = np.random.default_rng(4).normal(0, 2, 50_000)
    hit = np.random.default_rng(5).uniform(size=50_000) < expit(0.7 * z - 1)
    found = fit_platt(z, hit)
    assert found.slope == pytest.approx(0.7, abs=0.03)
    assert found.offset == pytest.approx(-1, abs=0.05)


def test_platt_stays_finite_on_separable_rows() -> None:
    found = fit_platt(np.array([-1.0, -1.0, 1.0, 1.0]), np.array([False, False, True, True]))
    assert expit(found.slope + found.offset) == pytest.approx(0.75, abs=0.01)  # (2 + 1) / (2 + 2)


def test_labels_with_few_rows_lean_on_the_others() -> None:
    rng = np.random.default_rng(6)
    z = rng.normal(0, 2, (300, 2))
    hit = rng.uniform(size=(300, 2)) < expit(z - 1)
    hit[:, 1] = False  # this one never occurs: alone its offset would go to minus infinity
    slopes, offsets = fit_label_platts(z, hit)
    assert np.isfinite(slopes).all()
    assert -8 < offsets[1] < offsets[0]


def test_the_binary_pool_ignores_a_scorer_of_noise() -> None:
    rng = np.random.default_rng(7)
    good, noise = rng.normal(0, 1, (2, 5000, 3))
    hit = rng.uniform(size=(5000, 3)) < expit(2 * good)
    assert fit_binary_pool([good, noise], hit) == pytest.approx([2.0, 0.0], abs=0.08)


def test_the_best_threshold_is_that_of_brute_force() -> None:
    rng = np.random.default_rng(8)
    p = rng.uniform(size=60).round(2)
    hit = rng.uniform(size=60) < p

    def f1(cut: float) -> float:
        said = p >= cut
        return float(2 * (said & hit).sum() / (said.sum() + hit.sum()))

    assert f1(best_threshold(p, hit)) == pytest.approx(max(f1(cut) for cut in p))
    assert best_threshold(p, np.zeros(60, dtype=bool)) == 0.5


def test_a_label_without_rows_gets_the_threshold_of_all() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.1]])
    hit = np.array([[True, False], [False, False]])
    shared = best_threshold(p.ravel(), hit.ravel())
    assert fit_thresholds(p, hit)[1] == pytest.approx(shared)


def test_a_scorer_that_says_the_same_of_every_row_weighs_nothing() -> None:
    """Its margins differ by rounding alone, which a weight large enough would let decide."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 4, 200)
    told = rng.normal(size=(200, 4))
    told[np.arange(200), codes] += 2.0
    dumb = np.array([-1.2406, -1.2406, -1.2405, -1.2403]) + 1e-5 * rng.normal(size=(200, 4))
    pool = fit_pool([told, dumb], codes)
    alone = fit_pool([told], codes)
    assert pool.weights[1] == 0
    np.testing.assert_allclose(pool.weights[0], alone.weights[0], rtol=1e-3)
    np.testing.assert_allclose(pool.offsets, alone.offsets, atol=1e-3)
    truth = np.eye(4, dtype=bool)[codes]
    weights = fit_binary_pool([told, dumb], truth)
    assert weights[1] == 0
    np.testing.assert_allclose(weights[0], fit_binary_pool([told], truth)[0], rtol=1e-3)
