"""The usual state of a topic, by hand and against what made the data."""

import numpy as np
import pytest

from apps.news_monitor.baseline import (
    History,
    down_weight,
    estimate,
    prior_strength,
    week_profile,
)


def history(stories: np.ndarray, negative: np.ndarray) -> History:
    days = len(stories)
    return History(
        stories=stories.astype(float),
        negative=negative.astype(float),
        usable=np.ones(stories.shape),
        weekday=np.arange(days) % 7,
        hourly=np.ones(24),
    )


def test_weights_fall_with_the_square_beyond_the_cut() -> None:
    np.testing.assert_allclose(down_weight(np.array([-5.0, 0.0, 2.58, 5.16])), [1, 1, 1, 0.25])


def test_shares_and_rates_of_steady_topics_are_their_own() -> None:
    stories = np.tile([[10.0, 20.0]], (84, 1))
    negative = np.tile([[2.0, 4.0]], (84, 1))
    usual = estimate(history(stories, negative), 0.02)
    np.testing.assert_allclose(usual.share, [0.2, 0.2], atol=0.001)
    np.testing.assert_allclose(usual.story_rate, [10, 20], rtol=0.01)
    np.testing.assert_allclose(usual.negative_rate, [2, 4], rtol=0.01)
    assert usual.days == 84
    # Counts that never vary are still taken to vary a little.
    np.testing.assert_allclose(usual.story_dispersion, 1.05)


def test_a_past_crisis_hardly_moves_what_is_usual() -> None:
    rng = np.random.default_rng(0)
    stories = rng.poisson(15, (84, 4))
    negative = rng.binomial(stories, 0.15)
    calm = estimate(history(stories, negative), 0.02)
    negative[40:44, 0] += 25
    stories[40:44, 0] += 25
    after = estimate(history(stories, negative), 0.02)
    raw = negative[:, 0].sum() / stories[:, 0].sum()
    assert raw - calm.share[0] > 0.05
    assert abs(after.share[0] - calm.share[0]) < 0.03
    assert after.negative_rate[0] < calm.negative_rate[0] * 1.3


def test_the_week_is_learnt_and_shrunk_to_the_week_of_all_topics() -> None:
    weekday = np.arange(84) % 7
    week = np.array([1.2, 1.2, 1.2, 1.2, 1.2, 0.5, 0.5])
    stories = np.stack([week[weekday] * 40, week[weekday] * 0.5], axis=1)
    factors = week_profile(stories, np.ones_like(stories), weekday)
    assert factors.shape == (2, 7)
    np.testing.assert_allclose(factors.mean(axis=1), 1.0)
    np.testing.assert_allclose(factors[0] / factors[0, 0], week / 1.2, atol=0.03)
    # The small topic alone could not know its week; it borrows it.
    np.testing.assert_allclose(factors[1], factors[0], atol=0.05)


def test_an_empty_history_is_one_average_day_like_another() -> None:
    usual = estimate(history(np.zeros((0, 3)), np.zeros((0, 3))), 0.02)
    np.testing.assert_allclose(usual.week, 1.0)
    np.testing.assert_allclose(usual.hours.sum(), 1.0)
    assert usual.days == 0


def test_short_histories_are_less_sure_of_their_share() -> None:
    rng = np.random.default_rng(0)
    stories = rng.poisson(10, (84, 3))
    negative = rng.binomial(stories, 0.2)
    long = estimate(history(stories, negative), 0.02)
    short = estimate(history(stories[:7], negative[:7]), 0.02)
    assert (short.rho > long.rho).all()
    assert (long.rho > 0.02).all()


def test_hours_that_do_not_count_are_left_out_of_the_rates() -> None:
    stories = np.full((84, 1), 10.0)
    stories[20:40] = 0.0
    data = history(stories, stories / 5)
    data.usable[20:40] = 0.0
    assert estimate(data, 0.02).story_rate[0] == pytest.approx(10, rel=0.01)


def test_topics_that_agree_lend_each_other_more() -> None:
    n = np.array([100.0, 100.0, 100.0])
    assert prior_strength(np.array([20.0, 21.0, 19.0]), n) == 200.0
    assert prior_strength(np.array([2.0, 50.0, 20.0]), n) < 20.0
    assert prior_strength(np.array([20.0]), np.array([100.0])) == 5.0
