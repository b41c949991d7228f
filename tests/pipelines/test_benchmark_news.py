"""The surge benchmark on a made-up stream, with limits that guard the detector."""

from datetime import UTC, datetime

import numpy as np
import pytest

from apps.news_monitor.trends import Counts
from pipelines.benchmark_news import RULES, benchmark_surges, episodes, threshold_for
from pipelines.benchmark_power import WEEKDAYS, WEEKS, drawn_stream
from pipelines.surge_scenarios import (
    NEW_FALSE_RATE,
    NEW_RECALL,
    QUIET,
    SATURDAY,
    SURGES,
    Scenario,
    Stream,
    first_day,
    inject,
    stories_told,
    tellings,
)


def stream(days: int = 420, topics: int = 8, rate: float = 5.0) -> Stream:
    """Bursty volumes with a week, shares that vary from day to day, and no surge at all."""
    rng = np.random.default_rng(4)
    week = np.array([1.1, 1.3, 1.4, 1.4, 1.2, 0.2, 0.4])[np.arange(days) % 7]
    stories = rng.poisson(rate * week[:, None] * rng.gamma(8, 1 / 8, (days, topics)))
    share = rng.beta(0.2 * 49, 0.8 * 49, (days, topics))
    negative = rng.binomial(stories, share)
    positive = rng.binomial(stories - negative, 0.3)

    def hourly(cells: np.ndarray) -> np.ndarray:
        spread = np.zeros((days, 24, topics), dtype=np.int64)
        spread[:, 12] = cells
        return spread.reshape(-1, topics)

    counts = Counts(
        tuple(f"topic {i}" for i in range(topics)),
        datetime(2024, 1, 1, tzinfo=UTC),
        hourly(stories),
        hourly(negative),
        np.ones((days * 24, topics), dtype=bool),
    )
    return Stream(counts, hourly(positive))


def test_episodes_merge_alarms_close_together() -> None:
    scores = np.zeros((20, 2))
    scores[[2, 3, 5, 12], 0] = 5
    scores[4, 1] = 5
    assert episodes(scores, 4.0) == 3
    assert episodes(scores, 6.0) == 0


def test_the_threshold_is_the_lowest_that_keeps_the_budget() -> None:
    scores = np.random.default_rng(0).exponential(1.0, (140, 5))
    limit = threshold_for(scores, 0.1)
    allowed = 0.1 * 140 * 5 / 7
    assert episodes(scores, limit) <= allowed
    below = scores[scores < limit].max()
    assert episodes(scores, float(below)) > allowed


def test_injected_stories_are_all_negative_unless_only_the_volume_doubles() -> None:
    rng = np.random.default_rng(0)
    before = stream(60, 3)
    surged = inject(before, Scenario("s", 5.0, 2), 1, 30, rng)
    added = surged.counts.stories - before.counts.stories
    bad = surged.counts.negative - before.counts.negative
    assert added.sum() == bad.sum() > 0
    assert set(np.nonzero(added)[0] // 24) <= {30, 31}
    assert set(np.nonzero(added)[1]) == {1}
    louder = inject(before, Scenario("v", 2.0, 2, "volume"), 1, 30, rng)
    more = int((louder.counts.stories - before.counts.stories).sum())
    assert 0 <= int((louder.counts.negative - before.counts.negative).sum()) < more
    happy = inject(before, Scenario("g", 5.0, 2, "good news"), 1, 30, rng)
    assert (happy.counts.negative == before.counts.negative).all()
    added = happy.counts.stories - before.counts.stories
    assert (added == happy.positive - before.positive).all()
    assert added.sum() > 0


def test_an_outage_loses_nothing_and_tells_it_all_at_once() -> None:
    before = stream(60, 3)
    after = inject(
        before, Scenario("o", 1.0, 2, "outage", after=1), 1, 30, np.random.default_rng(0)
    )
    for was, now in (
        (before.counts.stories, after.counts.stories),
        (before.counts.negative, after.counts.negative),
        (before.positive, after.positive),
    ):
        assert now.sum() == was.sum()
        assert now[30 * 24 : 32 * 24, 1].sum() == 0
        assert now[32 * 24, 1] == was[30 * 24 : 32 * 24 + 1, 1].sum()
        assert (now[:, [0, 2]] == was[:, [0, 2]]).all()
    assert after.counts.stories[32 * 24, 1] > 0
    assert Scenario("o", 1.0, 2, "outage", after=1).watched == 3


def test_a_wire_story_that_ten_publishers_take_over_is_one_or_two_stories() -> None:
    rng = np.random.default_rng(0)
    before = stream(60, 3)
    counted = []
    for _ in range(30):
        told = tellings(10, rng)
        assert len({publisher for _, publisher in told}) == 10
        counted.append(stories_told(told, before, 30))
    assert max(counted) <= 2
    assert np.mean(counted) < 1.2
    copies = inject(before, Scenario("c", 10.0, 1, "copies"), 1, 30, rng)
    assert 1 <= (copies.counts.negative - before.counts.negative).sum() <= 2
    each = inject(before, Scenario("c", 10.0, 1, "each copy"), 1, 30, rng)
    assert (each.counts.negative - before.counts.negative).sum() == 10


def test_a_holiday_is_as_quiet_as_a_sunday_and_begins_on_a_working_day() -> None:
    before = stream(140, 40)
    days = [first_day(before, Scenario("h", 1, 1, "holiday"), day, 28) for day in range(28, 42)]
    assert all(before.weekday(day) < SATURDAY for day in days)
    ends = [first_day(before, Scenario("w", 1, 2, "weekend"), day, 28) for day in range(28, 42)]
    assert {before.weekday(day) for day in ends} == {SATURDAY}
    assert min(*days, *ends) >= 28
    assert max(abs(a - b) for a, b in zip(ends, range(28, 42), strict=True)) <= 6
    after = inject(before, Scenario("h", 1, 1, "holiday"), 0, 30, np.random.default_rng(0))
    stories, negative, positive = after.daily()
    was = before.daily()[0]
    assert stories[30].sum() == pytest.approx(was[30].sum() * 0.4 / 1.4, rel=0.25)
    assert (stories >= negative + positive).all()
    assert (stories[[29, 31]] == was[[29, 31]]).all()


def test_another_model_changes_the_labels_of_all_stories_or_only_of_those_after_it() -> None:
    before = stream(200, 20)
    whole, mixed = (
        inject(before, Scenario("m", 1, 7, kind), 0, 100, np.random.default_rng(0))
        for kind in ("new model", "mixed models")
    )
    n, k, _ = before.daily()
    for found, since in ((whole, 0), (mixed, 100)):
        assert (found.counts.stories == before.counts.stories).all()
        assert (found.daily()[1][:since] == k[:since]).all()
        expected = k[since:].sum() * NEW_RECALL + (n - k)[since:].sum() * NEW_FALSE_RATE
        assert found.daily()[1][since:].sum() == pytest.approx(expected, rel=0.03)
        assert (found.counts.negative + found.positive <= found.counts.stories).all()


def test_ours_finds_surges_the_usual_rules_miss_at_the_same_false_alarms() -> None:
    scenarios = (*SURGES, *QUIET[:4])
    rows = benchmark_surges(stream(), injections=40, budgets=(0.05,), seed=3, scenarios=scenarios)
    table = {(row.rule, row.scenario): row for row in rows}
    assert len(rows) == len(RULES) * 7
    ours = "share + half count (triptych)"
    assert table[ours, "5x, 2 days"].recall >= 0.6
    assert table[ours, "3x, 4 days"].recall >= 0.4
    for quiet in QUIET[:4]:
        assert table[ours, quiet.name].recall <= 0.1
    assert {row.quiet for row in rows if row.scenario[0] in "35"} == {False}
    assert table[ours, "5x, 2 days"].false_alarms <= 0.10
    for rival in ("Poisson count", "30-day z of mean sentiment", "200 % of the mean"):
        assert table[ours, "5x, 2 days"].recall > table[rival, "5x, 2 days"].recall
    row = table[ours, "5x, 2 days"]
    assert row.recall_low < row.recall < row.recall_high
    assert row.recall == pytest.approx(row.found / row.injected)
    assert row.false_low <= row.false_alarms <= row.false_high
    assert row.delay_days is not None
    assert 0 <= row.delay_days <= 1


def test_a_drawn_stream_has_the_size_the_week_and_the_share_that_were_asked_for() -> None:
    drawn = drawn_stream(10, seed=3)
    stories, negative, _ = drawn.daily()
    assert stories.shape == (WEEKS * 7, 10)
    assert stories.mean() == pytest.approx(10, rel=0.03)
    by_weekday = stories.reshape(WEEKS, 7, 10).mean(axis=(0, 2)) / 10
    assert by_weekday == pytest.approx(WEEKDAYS, rel=0.12)
    assert negative.sum() / stories.sum() == pytest.approx(0.2, abs=0.01)
    # Gamma-Poisson: the variance of a day is so many times its mean.
    mondays = stories[::7]
    assert mondays.var() / mondays.mean() == pytest.approx(2.0, rel=0.15)
    again = drawn_stream(10, seed=3)
    assert (again.counts.negative == drawn.counts.negative).all()
