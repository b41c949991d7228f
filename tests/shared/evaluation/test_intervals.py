"""Bootstrap intervals and paired tests against closed forms."""

import doctest
import math

import numpy as np
import pytest

from shared.evaluation import intervals
from shared.evaluation.intervals import bootstrap, mcnemar, mean_of, paired_bootstrap


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(intervals).failed == 0


def test_the_interval_of_a_mean_agrees_with_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(3, 2, 2000)
    got = bootstrap(mean_of(values), 2000, seed=5)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert got.value == pytest.approx(values.mean())
    assert got.low == pytest.approx(values.mean() - half, abs=0.02)
    assert got.high == pytest.approx(values.mean() + half, abs=0.02)


def test_rows_of_one_group_are_drawn_together() -> None:
    values = np.random.default_rng(2).normal(0, 1, 50)
    copies, groups = np.repeat(values, 20), np.repeat(np.arange(50), 20)
    once = bootstrap(mean_of(values), 50, seed=5)
    grouped = bootstrap(mean_of(copies), 1000, groups=groups, seed=5)
    naive = bootstrap(mean_of(copies), 1000, seed=5)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.1)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_a_difference_that_is_there_is_found_and_one_that_is_not_is_not() -> None:
    rng = np.random.default_rng(4)
    b = rng.uniform(size=1000) < 0.8
    a = b | (rng.uniform(size=1000) < 0.1)
    found = paired_bootstrap(mean_of(a), mean_of(b), 1000, seed=1)
    assert found.low > 0
    assert found.p < 0.01
    same = paired_bootstrap(mean_of(b), mean_of(b), 1000, seed=1)
    assert (same.value, same.p) == (0.0, 1.0)


@pytest.mark.parametrize(("ahead", "behind"), [(0, 0), (5, 0), (8, 3), (30, 28)])
def test_mcnemar_is_the_binomial_tail(ahead: int, behind: int) -> None:
    first = [True] * ahead + [False] * behind + [True, False]
    second = [False] * ahead + [True] * behind + [True, False]
    n = ahead + behind
    tail = sum(math.comb(n, k) for k in range(min(ahead, behind) + 1)) / 2**n
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (ahead, behind)
    assert found.p == pytest.approx(min(1.0, 2 * tail) if n else 1.0)
