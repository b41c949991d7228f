"""Metrics against scikit-learn, brute force and simulation."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from shared.evaluation import metrics
from shared.evaluation.metrics import one_hot

pairs_of_labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)
scores = st.lists(st.integers(0, 6), min_size=1, max_size=20)


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(metrics).failed == 0


@given(pairs_of_labels)
def test_figures_of_each_label_are_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(rows).T
    actual, claimed = one_hot(truth, 5), one_hot(predicted, 5)
    ours = metrics.label_scores(actual, claimed)
    precision, recall, f1, n = oracle.precision_recall_fscore_support(
        truth, predicted, labels=range(5), zero_division=np.nan
    )
    np.testing.assert_array_equal(ours.support, n)
    np.testing.assert_allclose(ours.precision, precision)
    np.testing.assert_allclose(ours.recall, recall)
    np.testing.assert_allclose(ours.f1[n > 0], f1[n > 0])
    assert np.isnan(ours.f1[n == 0]).all()
    assert metrics.macro_f1(actual, claimed) == pytest.approx(
        oracle.f1_score(truth, predicted, average="macro")
    )
    assert metrics.micro_f1(actual, claimed) == pytest.approx(metrics.accuracy(truth, predicted))


@given(scores, scores)
def test_auroc_is_the_share_of_pairs_won(positive: list[int], negative: list[int]) -> None:
    pairs = [1.0 if p > q else 0.5 if p == q else 0.0 for p in positive for q in negative]
    flags = [True] * len(positive) + [False] * len(negative)
    assert metrics.auroc(positive + negative, flags) == pytest.approx(sum(pairs) / len(pairs))


def test_auroc_needs_both_kinds() -> None:
    assert math.isnan(metrics.auroc([1.0, 2.0], [True, True]))


@given(scores, scores)
def test_fpr_is_counted_at_the_highest_cut_that_keeps_enough(
    positive: list[int], negative: list[int]
) -> None:
    kept = sorted(positive, reverse=True)[: math.ceil(0.95 * len(positive) - 1e-9)]
    flags = [True] * len(positive) + [False] * len(negative)
    assert metrics.fpr_at_tpr(positive + negative, flags) == pytest.approx(
        np.mean([q >= kept[-1] for q in negative])
    )


def test_weights_count_rows_as_often_as_copies_of_them_would() -> None:
    rng = np.random.default_rng(3)
    truth, predicted = rng.integers(0, 4, 30), rng.integers(0, 4, 30)
    sure, positive = rng.uniform(size=30).round(1), rng.uniform(size=30) < 0.5
    weights = rng.integers(0, 4, size=(3, 30))
    actual, claimed = one_hot(truth, 4), one_hot(predicted, 4)
    for row in range(3):
        at = np.repeat(np.arange(30), weights[row])
        for weighted, copied in (
            (metrics.macro_f1(actual, claimed, weights), metrics.macro_f1(actual[at], claimed[at])),
            (metrics.micro_f1(actual, claimed, weights), metrics.micro_f1(actual[at], claimed[at])),
            (metrics.auroc(sure, positive, weights), metrics.auroc(sure[at], positive[at])),
            (
                metrics.fpr_at_tpr(sure, positive, 0.9, weights),
                metrics.fpr_at_tpr(sure[at], positive[at], 0.9),
            ),
            (
                metrics.calibration_error(sure, positive, weights=weights),
                metrics.calibration_error(sure[at], positive[at]),
            ),
        ):
            assert weighted[row] == pytest.approx(copied)


def test_a_calibrated_coin_has_no_calibration_error_and_half_its_confidence_has_a_quarter() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, 200_000)
    right = rng.uniform(0, 1, 200_000) < confidence
    assert metrics.calibration_error(confidence, right) < 0.01
    assert metrics.calibration_error(confidence / 2, right) == pytest.approx(0.25, abs=0.01)


def test_ndcg_is_that_of_scikit_learn_when_everything_is_ranked() -> None:
    rng = np.random.default_rng(1)
    hits = rng.uniform(size=(20, 12)) < 0.3
    hits[:, 0] |= ~hits.any(1)
    order = np.tile(np.arange(12, 0, -1), (20, 1))
    ours = metrics.ndcg_at(hits, hits.sum(1), 5)
    for row in range(20):
        theirs = oracle.ndcg_score(hits[row : row + 1].astype(int), order[row : row + 1], k=5)
        assert ours[row] == pytest.approx(theirs)


def test_rows_without_a_relevant_item_are_not_measured() -> None:
    nothing = np.zeros((1, 3), dtype=bool)
    assert np.isnan(metrics.recall_at(nothing, [0], 3)).all()
    assert np.isnan(metrics.ndcg_at(nothing, [0], 3)).all()
