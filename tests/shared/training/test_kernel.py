"""Folds in closed form against fitting each fold anew."""

import doctest

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.training import kernel
from shared.training.kernel import FLOOR, RIDGE, Part, as_stored, fit_dense

Floats = NDArray[np.float32]


def data(rows: int = 60) -> tuple[Floats, NDArray[np.bool_], list[Part]]:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(rows, 8))
    codes = (vectors[:, 0] > 0).astype(int) + (vectors[:, 1] > 1)
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    part = np.arange(rows) % 4
    folds = [(np.flatnonzero(part != f), np.flatnonzero(part == f)) for f in range(4)]
    truth: NDArray[np.bool_] = codes[:, None] == np.arange(3)
    return as_stored(unit), truth, folds


def kernel_of(cosines: Floats, gamma: float) -> NDArray[np.float64]:
    return np.exp(-gamma * (2 - 2 * cosines.astype(np.float64)))


def fitted(vectors: Floats, truth: NDArray[np.bool_], gamma: float, asked: Floats) -> Floats:
    """Kernel ridge by the normal equations, in double precision."""
    gram = kernel_of(vectors @ vectors.T, gamma)
    weight = np.linalg.solve(gram + RIDGE * np.eye(len(vectors)), truth.astype(np.float64))
    estimate = kernel_of(asked @ vectors.T, gamma) @ weight
    return np.asarray(np.log(np.maximum(estimate, 0) + FLOOR), dtype=np.float32)


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(kernel).failed == 0


def test_a_fold_left_out_in_closed_form_is_the_fold_fitted_anew() -> None:
    vectors, truth, folds = data()
    fit = fit_dense(vectors, truth, folds, seed=0)
    for train, rows in folds:
        anew = fitted(vectors[train], truth[train], fit.scorer.gamma, vectors[rows])
        np.testing.assert_allclose(fit.held[rows], anew, atol=5e-3)


def test_the_scorer_is_kernel_ridge_on_all_rows() -> None:
    vectors, truth, _ = data()
    fit = fit_dense(vectors, truth, (), seed=0)
    ours = fit.scorer.margins(vectors @ fit.known.T)
    np.testing.assert_allclose(ours, fitted(vectors, truth, fit.scorer.gamma, vectors), atol=0.02)


def test_as_many_landmarks_as_rows_are_the_exact_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, truth, folds = data()
    exact = fit_dense(vectors, truth, folds, seed=0)
    monkeypatch.setattr(kernel, "EXACT_ROWS", 10)
    monkeypatch.setattr(kernel, "JITTER", 1e-7)
    landmarks = fit_dense(vectors, truth, folds, seed=0)
    np.testing.assert_allclose(landmarks.held, exact.held, atol=0.02)
    np.testing.assert_allclose(
        landmarks.scorer.margins(vectors @ landmarks.known.T),
        exact.scorer.margins(vectors @ exact.known.T),
        atol=0.05,
    )


def test_fewer_landmarks_still_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, truth, folds = data(200)
    monkeypatch.setattr(kernel, "EXACT_ROWS", 10)
    monkeypatch.setattr(kernel, "LANDMARKS", 40)
    fit = fit_dense(vectors, truth, folds, seed=0)
    assert fit.scorer.weight.shape == (40, 3)
    assert len(fit.known) == 200
    assert (fit.held.argmax(1) == truth.argmax(1)).mean() > 0.75


def test_far_from_everything_no_label_is_supported() -> None:
    vectors, truth, _ = data()
    fit = fit_dense(vectors, truth, (), seed=0)
    away = fit.scorer.margins(np.full((1, len(vectors)), -30, dtype=np.float32))
    np.testing.assert_allclose(away, np.log(FLOOR), atol=1e-3)
