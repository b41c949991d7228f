"""Thresholds found by replay keep the budget on data they have not seen."""

import itertools

import numpy as np
import pytest

from apps.news_monitor.episodes import EpisodeRule
from apps.news_monitor.thresholds import (
    GRID,
    LOWEST_THRESHOLD,
    Calibrator,
    FalseAlarmCurve,
    prior_rate,
)

DAILY = EpisodeRule(confirmations=1, calm=1, cooldown_hours=0)


def exponential(rng: np.random.Generator, days: int, topics: int) -> np.ndarray:
    """Null scores whose tail falls tenfold in 1 / 0.6 points; most days score 0."""
    scores = rng.exponential(1 / (0.6 * np.log(10)), (days, topics))
    return np.asarray(np.where(rng.random((days, topics)) < 0.3, scores, 0.0))


def calibrated(scores: np.ndarray) -> FalseAlarmCurve:
    calibrator = Calibrator(scores.shape[1], DAILY)
    for day, row in enumerate(scores):
        calibrator.add(row, row < 0.5, day * 24, 24.0)
    return calibrator.curve()


def test_counted_episodes_are_those_of_a_direct_count() -> None:
    scores = exponential(np.random.default_rng(0), 400, 5)
    curve = calibrated(scores)
    assert curve.topic_weeks == pytest.approx(400 * 5 / 7)
    for j in (0, 4, 8, 12):
        opened = 0
        for column in scores.T:
            firing = False
            for value in column:
                if not firing and value >= GRID[j]:
                    opened, firing = opened + 1, True
                elif firing and value < min(GRID[j] / 2, 0.5):
                    firing = False
        assert curve.episodes[j] == opened


@pytest.mark.parametrize("budget", [0.02, 0.05, 0.2])
def test_the_budget_holds_on_the_next_years(budget: float) -> None:
    rng = np.random.default_rng(3)
    curve = calibrated(exponential(rng, 730, 10))
    limit = curve.threshold(budget * 10, 10)
    later = calibrated(exponential(rng, 7300, 10))
    got = float(np.interp(limit, GRID, later.episodes)) / later.topic_weeks
    assert budget / 2 < got < budget * 2


def test_without_a_past_the_general_curve_decides() -> None:
    curve = FalseAlarmCurve.unknown()
    assert curve.learning
    assert curve.rate(4.0) == pytest.approx(0.02, rel=0.05)
    assert curve.rate(4.0 + 1 / 0.45) == pytest.approx(0.002, rel=0.05)
    assert curve.threshold(0.2, 10) == pytest.approx(4.0, abs=0.1)


def test_more_topics_or_a_smaller_budget_ask_for_more() -> None:
    curve = FalseAlarmCurve.unknown()
    assert curve.threshold(0.5, 10) < curve.threshold(0.1, 10) < curve.threshold(0.1, 40)
    assert curve.threshold(100.0, 3) == LOWEST_THRESHOLD


def test_rates_never_rise_with_the_score() -> None:
    episodes = np.where(GRID < 3, 5.0, np.where(GRID < 4, 20.0, 1.0))
    curve = FalseAlarmCurve(episodes, 300.0)
    rates = [curve.rate(float(score)) for score in np.arange(1.0, 20.0, 0.1)]
    assert all(a >= b - 1e-15 for a, b in itertools.pairwise(rates))


def test_an_own_past_of_a_year_outweighs_the_general_curve() -> None:
    quiet = FalseAlarmCurve(np.zeros(len(GRID)), 520.0)
    assert not quiet.learning
    assert quiet.threshold(0.2, 10) < FalseAlarmCurve.unknown().threshold(0.2, 10)


def test_severity_follows_the_return_period() -> None:
    curve = FalseAlarmCurve.unknown()
    assert curve.severity(3.5, 12, 10) == "warning"
    assert curve.severity(4.1, 12, 10) == "high"
    # Once a year over ten topics is 1 / 520 a topic-week: a score of about 6.3.
    assert curve.severity(6.5, 12, 10) == "critical"
    assert curve.severity(6.5, 9, 10) == "high"


def test_the_prior_is_the_rate_measured_on_headlines() -> None:
    np.testing.assert_allclose(prior_rate(np.array([4.0])), [0.02])


def test_quiet_hours_cost_nothing_and_still_count() -> None:
    calibrator = Calibrator(3, EpisodeRule())
    for hour in range(168):
        calibrator.add(np.zeros(3), np.ones(3, dtype=bool), hour, 1.0)
    curve = calibrator.curve()
    assert curve.topic_weeks == pytest.approx(3.0)
    assert not curve.episodes.any()


def test_hours_of_an_outage_are_no_exposure_and_open_nothing() -> None:
    scores = exponential(np.random.default_rng(1), 300, 4)
    down = np.zeros((300, 4), dtype=bool)
    down[100:180] = True
    down[200:240, 1] = True
    with_outage = Calibrator(4, DAILY)
    for day, row in enumerate(scores):
        row = np.where(down[day], 9.0, row)
        with_outage.add(row, row < 0.5, day * 24, 24.0, down[day])
    # As if those days had not been, topic by topic: the cool-down of DAILY is none.
    episodes, weeks = np.zeros(len(GRID)), 0.0
    for topic in range(4):
        curve = calibrated(scores[~down[:, topic], topic : topic + 1])
        episodes, weeks = episodes + curve.episodes, weeks + curve.topic_weeks
    found = with_outage.curve()
    assert found.topic_weeks == pytest.approx(weeks) == pytest.approx((4 * 220 - 40) / 7)
    np.testing.assert_array_equal(found.episodes, episodes)
