"""Metrics against scikit-learn, brute force and closed forms; intervals against simulation."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from shared.evaluation import metrics


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(metrics).failed == 0


labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


@given(labels)
def test_per_label_figures_are_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(rows).T
    ours = metrics.per_label(truth, predicted, 5)
    precision, recall, f1, n = oracle.precision_recall_fscore_support(
        truth, predicted, labels=range(5), zero_division=np.nan
    )
    np.testing.assert_array_equal(ours.n, n)
    for mine, theirs in ((ours.precision, precision), (ours.recall, recall)):
        np.testing.assert_allclose(mine, theirs)
    present = np.isin(np.arange(5), np.concatenate([truth, predicted]))
    np.testing.assert_allclose(ours.f1[present], f1[present])
    assert metrics.macro_f1(truth, predicted, 5) == pytest.approx(
        oracle.f1_score(truth, predicted, average="macro")
    )


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=20),
    st.lists(st.integers(0, 6), min_size=1, max_size=20),
)
def test_auroc_is_the_share_of_pairs_won(positive: list[int], negative: list[int]) -> None:
    pairs = [1.0 if p > q else 0.5 if p == q else 0.0 for p in positive for q in negative]
    assert metrics.auroc(positive, negative) == pytest.approx(sum(pairs) / len(pairs))


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
)
def test_fpr_keeps_at_least_the_recall_asked_for(
    positive: list[float], negative: list[float]
) -> None:
    rate = metrics.fpr_at_recall(positive, negative, 0.95)
    kept = sorted(positive, reverse=True)[: math.ceil(0.95 * len(positive) - 1e-9)]
    assert rate == pytest.approx(np.mean([q >= kept[-1] for q in negative]))


def test_a_perfectly_calibrated_coin_has_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, 200_000)
    right = rng.uniform(0, 1, 200_000) < confidence
    assert metrics.expected_calibration_error(confidence, right) < 0.01
    assert metrics.expected_calibration_error(confidence / 2, right) == pytest.approx(
        0.25, abs=0.01
    )


def test_ranks_count_better_scores_and_half_of_the_ties() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.5], [0.3, 0.3, 0.3, 0.3]])
    assert metrics.ranks_of(scores, [2, 0]).tolist() == [3, 3]


def test_the_interval_of_a_mean_agrees_with_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(3, 2, 4000)
    got = metrics.mean_interval(values, seed=5)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert got.value == pytest.approx(values.mean())
    assert got.low == pytest.approx(values.mean() - half, abs=0.01)
    assert got.high == pytest.approx(values.mean() + half, abs=0.01)


def test_rows_of_one_group_are_drawn_together() -> None:
    """Copies of each row widen nothing when they are one group: the interval is of 50 units."""
    values = np.random.default_rng(2).normal(0, 1, 50)
    once = metrics.mean_interval(values, seed=5)
    copied = metrics.mean_interval(
        np.repeat(values, 20), groups=np.repeat(np.arange(50), 20), seed=5
    )
    naive = metrics.mean_interval(np.repeat(values, 20), seed=5)
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.1)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_macro_f1_of_a_sample_is_macro_f1_of_its_rows() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 60)
    predicted = np.where(rng.uniform(size=60) < 0.7, truth, rng.integers(0, 3, 60))
    fast = metrics.macro_f1_interval(truth, predicted, 3, seed=1, rounds=2000)
    slow = metrics.bootstrap_interval(
        lambda rows: metrics.macro_f1(truth[rows], predicted[rows], 3), 60, seed=1, rounds=2000
    )
    assert fast.value == pytest.approx(slow.value)
    assert fast.low == pytest.approx(slow.low, abs=0.03)
    assert fast.high == pytest.approx(slow.high, abs=0.03)


def test_a_difference_that_is_there_is_found_and_one_that_is_not_is_not() -> None:
    rng = np.random.default_rng(4)
    b = rng.uniform(size=2000) < 0.8
    a = b | (rng.uniform(size=2000) < 0.1)
    found = metrics.compare(a, b, seed=1)
    assert found.difference.low > 0
    assert found.p < 0.01
    assert metrics.compare(b, b, seed=1).difference.value == 0
    assert metrics.compare(b, b, seed=1).p == 1.0


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 0), (8, 3), (30, 28)])
def test_mcnemar_is_the_binomial_tail(only_a: int, only_b: int) -> None:
    right_a = [1] * only_a + [0] * only_b + [1, 0]
    right_b = [0] * only_a + [1] * only_b + [1, 0]
    n = only_a + only_b
    at_most = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1)) / 2**n
    assert metrics.mcnemar(right_a, right_b) == pytest.approx(min(1.0, 2 * at_most) if n else 1.0)
