"""Tails against scipy, the closed form and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, binom, nbinom

from apps.news_monitor.tails import (
    beta_binomial_mid_p,
    beta_binomial_range,
    beta_shapes,
    negative_binomial_mid_p,
    overdispersion,
)


def test_the_beta_binomial_tail_is_scipys_on_a_grid() -> None:
    n, k = np.meshgrid(np.arange(0, 60, 7), np.arange(0, 60, 5), indexing="ij")
    k = np.minimum(k, n)
    for mean in (0.02, 0.13, 0.5, 0.9):
        for rho in (0.005, 0.02, 0.2):
            a, b = beta_shapes(mean, rho)
            expected = betabinom.sf(k, n, a, b) + 0.5 * betabinom.pmf(k, n, a, b)
            np.testing.assert_allclose(
                beta_binomial_mid_p(k, n, mean, rho), expected, rtol=1e-7, atol=1e-11
            )


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 200),
    part=st.floats(0, 1),
    mean=st.floats(0.01, 0.99),
    rho=st.floats(0.003, 0.5),
)
def test_the_tail_lies_between_nothing_and_all_and_falls_with_k(
    n: int, part: float, mean: float, rho: float
) -> None:
    k = int(part * n)
    tail = float(beta_binomial_mid_p(k, n, mean, rho))
    assert 0.0 <= tail <= 1.0
    if k < n:
        assert float(beta_binomial_mid_p(k + 1, n, mean, rho)) <= tail + 1e-12


def test_far_tails_keep_their_digits() -> None:
    # scipy's sf is 1 - cdf here and gives 0 or noise; the sum of the pmf by hand does not.
    a, b = beta_shapes(0.05, 0.005)
    k = np.arange(90, 101)
    terms = betabinom.pmf(k, 100, a, b)
    expected = terms[0] / 2 + terms[1:].sum()
    assert expected < 1e-20
    assert float(beta_binomial_mid_p(90, 100, 0.05, 0.005)) == pytest.approx(expected, rel=1e-9)


def test_without_correlation_it_is_the_binomial() -> None:
    expected = binom.sf(5, 30, 0.1) + 0.5 * binom.pmf(5, 30, 0.1)
    assert float(beta_binomial_mid_p(5, 30, 0.1, 1e-7)) == pytest.approx(expected, rel=1e-4)


def test_no_stories_say_nothing() -> None:
    assert float(beta_binomial_mid_p(0, 0, 0.2, 0.02)) == 0.5


def test_the_negative_binomial_has_the_mean_and_variance_asked_for() -> None:
    mean, phi = 4.0, 1.8
    k = np.arange(0, 400)
    # A mid-p tail differs from the next by half of each pmf: undone, it is the pmf.
    size, success = mean / (phi - 1), 1 / phi
    pmf = nbinom.pmf(k, size, success)
    assert (k * pmf).sum() == pytest.approx(mean)
    assert ((k - mean) ** 2 * pmf).sum() == pytest.approx(phi * mean)
    expected = nbinom.sf(7, size, success) + 0.5 * nbinom.pmf(7, size, success)
    assert float(negative_binomial_mid_p(7, mean, phi)) == pytest.approx(expected)


def test_the_range_is_the_smallest_that_holds_its_share() -> None:
    low, high = beta_binomial_range(30, 0.134, 0.02, 0.95)
    a, b = beta_shapes(0.134, 0.02)
    assert betabinom.cdf(low - 1, 30, a, b) <= 0.025 < betabinom.cdf(low, 30, a, b)
    assert betabinom.cdf(high - 1, 30, a, b) < 0.975 <= betabinom.cdf(high, 30, a, b)


def test_mid_p_is_uniform_on_average_under_its_own_null() -> None:
    rng = np.random.default_rng(1)
    a, b = beta_shapes(0.2, 0.02)
    k = rng.binomial(25, rng.beta(a, b, 20_000))
    p = beta_binomial_mid_p(k, 25, 0.2, 0.02)
    assert float(p.mean()) == pytest.approx(0.5, abs=0.01)
    assert float((p < 0.05).mean()) == pytest.approx(0.05, abs=0.02)


def test_overdispersion_is_found_again() -> None:
    rng = np.random.default_rng(2)
    a, b = beta_shapes(0.25, 0.05)
    n = rng.integers(5, 40, 3000).astype(float)
    k = rng.binomial(n.astype(int), rng.beta(a, b, 3000)).astype(float)
    found = overdispersion(k, n, np.full(3000, 0.25), np.ones(3000))
    assert found == pytest.approx(0.05, abs=0.01)


def test_little_history_has_the_usual_overdispersion() -> None:
    few = np.full(5, 10.0)
    assert overdispersion(few / 2, few, np.full(5, 0.5), np.ones(5)) == 0.02
