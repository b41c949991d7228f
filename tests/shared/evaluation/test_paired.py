"""The paired test against brute force and closed form; the interval against its promise."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from shared.evaluation.intervals import mcnemar
from shared.evaluation.paired import can_fail, holm, loss_of, sign_flip


def test_differences_of_one_size_give_the_exact_mcnemar_test() -> None:
    first = np.array([1] * 30 + [0] * 11 + [1] * 4 + [0] * 5, bool)
    second = np.array([1] * 30 + [1] * 11 + [0] * 4 + [0] * 5, bool)
    ours = loss_of(first, second)
    assert ours.n == 50
    assert ours.value == pytest.approx(7 / 50)
    # Two-sided McNemar doubles the one-sided tail of a symmetric distribution.
    assert 2 * ours.p == pytest.approx(mcnemar(second, first).p)


def test_differences_of_several_sizes_agree_with_all_sign_changes() -> None:
    d = np.array([0.4, -0.1, 0.3, 0.2, -0.25, 0.6, 0.05, 0.35, -0.15, 0.5])
    sums = np.array([np.dot(signs, np.abs(d)) for signs in product((-1, 1), repeat=len(d))])
    exact = (sums >= d.sum() - 1e-12).mean()
    assert sign_flip(d) == pytest.approx(exact, abs=4 * np.sqrt(exact / 9999))


def test_the_p_value_is_uniform_or_larger_for_alike_systems() -> None:
    rng = np.random.default_rng(0)
    d = rng.exponential(size=(400, 25)) * rng.choice([-1, 1], size=(400, 25))
    p = np.array([sign_flip(row, flips=299, seed=n) for n, row in enumerate(d)])
    for level in (0.05, 0.2, 0.5):
        assert stats.binomtest(int((p <= level).sum()), 400, level).pvalue > 0.001


def test_holm_is_as_worked_by_hand() -> None:
    assert holm([0.005, 0.4, 0.02, 0.011]).tolist() == pytest.approx([0.02, 0.4, 0.04, 0.033])
    assert holm([]).tolist() == []


@pytest.mark.parametrize(("won", "lost", "n"), [(0.0, 0.0, 10), (0.03, 0.03, 40), (0.1, 0.2, 60)])
def test_the_interval_covers_as_often_as_it_says(won: float, lost: float, n: int) -> None:
    rng = np.random.default_rng(1)
    kinds = rng.choice([1, -1, 0], size=(800, n), p=[lost, won, 1 - won - lost])
    losses = [loss_of((1 - d) / 2, (1 + d) / 2) for d in kinds]
    covered = np.mean([loss.low <= lost - won <= loss.high for loss in losses])
    assert covered > 0.93
    assert all(loss.high > loss.low for loss in losses)


def test_rows_that_say_the_same_do_not_count_as_many() -> None:
    first, second = np.zeros(40), np.r_[np.ones(20), np.zeros(20)]
    apart = loss_of(first, second)
    together = loss_of(first, second, groups=np.repeat(np.arange(4), 10))
    assert together.value == apart.value == 0.5
    assert (together.units, apart.units) == (4, 40)
    assert apart.p == pytest.approx(0.5**20)
    assert together.p == pytest.approx(0.5**2)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_no_rows_say_nothing() -> None:
    nothing = loss_of([], [])
    assert (nothing.n, nothing.p, nothing.low, nothing.high) == (0, 1.0, -1.0, 1.0)


def test_parts_that_cannot_fail_cost_the_others_nothing() -> None:
    # 0.5 ** 7 = .0078 <= .025 / 3 < 0.5 ** 6: of four parts with seven changes, and many with six
    assert can_fail([7, 7, 7], 0.025).tolist() == [True] * 3
    assert can_fail([7, 7, 7, 7], 0.025).tolist() == [False] * 4
    assert can_fail([10] + [2] * 100, 0.025).tolist() == [True] + [False] * 100
    assert can_fail([], 0.025).tolist() == []
