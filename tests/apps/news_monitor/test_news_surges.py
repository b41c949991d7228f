"""The score against a brute-force computation, and each gate by itself."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from apps.news_monitor.baseline import History, estimate
from apps.news_monitor.surges import Gate, Scan, SurgeRule, scan
from apps.news_monitor.tails import beta_binomial_mid_p, negative_binomial_mid_p
from apps.news_monitor.trends import Counts

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 100


def made(seed: int = 0, topics: int = 4, rate: float = 12.0, share: float = 0.15) -> Counts:
    rng = np.random.default_rng(seed)
    stories = rng.poisson(rate / 24, (DAYS * 24, topics))
    return Counts(
        tuple(f"topic {i}" for i in range(topics)),
        MONDAY,
        stories,
        rng.binomial(stories, share),
        np.ones(stories.shape, dtype=bool),
    )


def at_end(counts: Counts, rule: SurgeRule = SurgeRule(), **kwargs: object) -> Scan:
    return scan(counts, [DAYS * 24], rule, **kwargs)  # type: ignore[arg-type]


def test_figures_equal_those_computed_one_by_one() -> None:
    counts = made()
    rule = SurgeRule(windows_hours=(24, 72))
    end = 95 * 24 + 7
    result = scan(counts, [end], rule)
    day = (end - 1) // 24
    first, last = max(day - 3 - 84, 0), day - 3
    daily_n = counts.stories.reshape(-1, 24, 4).sum(1)[first:last].astype(float)
    daily_k = counts.negative.reshape(-1, 24, 4).sum(1)[first:last].astype(float)
    hourly = counts.stories.reshape(-1, 24, 4)[first:last].sum((0, 2)).astype(float)
    weekday = np.arange(first, last) % 7
    usual = estimate(History(daily_n, daily_k, np.ones_like(daily_n), weekday, hourly), 0.02)
    for w, hours in enumerate((24, 72)):
        for i in range(4):
            n = int(counts.stories[end - hours : end, i].sum())
            k = int(counts.negative[end - hours : end, i].sum())
            assert (result.stories[0, i, w], result.negative[0, i, w]) == (n, k)
            exposure = sum(
                usual.week[i, (h // 24) % 7] * usual.hours[h % 24] for h in range(end - hours, end)
            )
            mean = usual.negative_rate[i] * exposure
            phi = usual.negative_dispersion[i] * (1 + mean / usual.negative_history[i])
            share_p = 2 * float(beta_binomial_mid_p(k, n, usual.share[i], usual.rho[i]))
            count_p = 2 * float(negative_binomial_mid_p(k, mean, phi))
            assert result.expected_count[0, i, w] == pytest.approx(mean)
            assert result.p_share[0, i, w] == pytest.approx(min(share_p, 1.0))
            assert result.p_count[0, i, w] == pytest.approx(min(count_p, 1.0))


def test_a_holiday_is_expected_to_be_as_quiet_as_a_sunday() -> None:
    counts = made()
    free = [MONDAY.date() + timedelta(days=day) for day in (60, 95)]  # both a Friday
    rule = SurgeRule(windows_hours=(24,), holidays=tuple(free))
    first, last = 95 - 1 - 84, 95 - 1
    daily_n = counts.stories.reshape(-1, 24, 4).sum(1)[first:last].astype(float)
    daily_k = counts.negative.reshape(-1, 24, 4).sum(1)[first:last].astype(float)
    hourly = counts.stories.reshape(-1, 24, 4)[first:last].sum((0, 2)).astype(float)
    weekday = np.arange(first, last) % 7
    weekday[60 - first] = 6
    usual = estimate(History(daily_n, daily_k, np.ones_like(daily_n), weekday, hourly), 0.02)
    stories = scan(counts, [96 * 24], rule).expected_stories[0, :, 0]
    assert stories == pytest.approx(usual.story_rate * usual.week[:, 6])
    ordinary = scan(counts, [96 * 24], SurgeRule(windows_hours=(24,))).expected_stories[0, :, 0]
    assert (abs(stories - ordinary) > 1e-6).all()
    # A monitor that knows of none goes on as it was.
    assert "holidays" not in SurgeRule().described
    assert rule.described["holidays"] == ["2024-03-01", "2024-04-05"]


def test_the_score_is_share_plus_half_count() -> None:
    counts = made().with_added(1, DAYS * 24 - 5, 12, 12)
    result = at_end(counts)
    assert result.gate[0, 1, 0] == Gate.OPEN
    expected = -np.log10(result.p_share[0, 1, 0]) - 0.5 * np.log10(result.p_count[0, 1, 0])
    assert result.score[0, 1, 0] == pytest.approx(expected)
    assert result.best[0, 1] == result.score[0, 1].max()
    assert result.best[0, 1] > 5
    assert result.best[0, 0] == 0.0


def test_a_doubled_volume_with_the_usual_share_scores_nothing() -> None:
    counts = made()
    end = DAYS * 24
    for hour in range(end - 48, end):
        counts = counts.with_added(
            2, hour, int(counts.stories[hour, 2]), int(counts.negative[hour, 2])
        )
    assert at_end(counts).best[0, 2] == 0.0


def test_good_news_is_no_surge() -> None:
    counts = made().with_added(0, DAYS * 24 - 3, 40, 0)
    result = at_end(counts)
    assert result.best[0, 0] == 0.0
    assert result.p_volume[0, 0, 0] < 0.001


def test_what_comes_later_changes_nothing() -> None:
    counts = made()
    later = counts.with_added(1, 80 * 24 + 1, 50, 50)
    ends = [80 * 24, 80 * 24 + 1]
    np.testing.assert_array_equal(
        scan(counts, ends, SurgeRule()).p_share, scan(later, ends, SurgeRule()).p_share
    )


def test_a_surge_does_not_feed_its_own_baseline() -> None:
    surged = made()
    for day in (DAYS - 3, DAYS - 2, DAYS - 1):
        surged = surged.with_added(1, day * 24 + 3, 20, 20)
    usual, now = at_end(made()), at_end(surged)
    assert now.share[0, 1] == pytest.approx(usual.share[0, 1])


def test_hours_that_do_not_count_are_in_neither_side() -> None:
    counts = made()
    end = DAYS * 24
    counts.usable[end - 24 : end, 0] = False
    result = at_end(counts)
    assert result.stories[0, 0, 0] == 0
    assert result.expected_count[0, 0, 0] == pytest.approx(0.0, abs=1e-12)
    assert result.expected_count[0, 1, 0] > 0.5


@pytest.mark.parametrize(
    ("added", "negative", "expected"),
    [
        (2, 2, Gate.FEW_NEGATIVE),
        (60, 9, Gate.SMALL_RISE),
        (12, 12, Gate.OPEN),
    ],
)
def test_gates_name_the_first_reason(added: int, negative: int, expected: Gate) -> None:
    counts = made(rate=0.5, share=0.15).with_added(0, DAYS * 24 - 2, added, negative)
    assert at_end(counts).gate[0, 0, 0] == expected


def test_old_bad_news_is_not_new() -> None:
    counts = made(rate=0.2, share=0.1).with_added(0, DAYS * 24 - 60, 10, 10)
    result = at_end(counts)
    assert result.negative[0, 0, 2] >= 10
    assert result.gate[0, 0, 2] == Gate.NOT_NEW


def test_many_negatives_are_nothing_new_where_they_are_usual() -> None:
    counts = made(rate=40.0, share=0.5)
    quiet = counts.negative[DAYS * 24 - 24 :, 0]
    for hour in np.flatnonzero(quiet == 0).tolist():
        counts.stories[DAYS * 24 - 24 + hour, 0] = 0
    for hour in range(DAYS * 24 - 24, DAYS * 24):
        counts.stories[hour, 0] = counts.negative[hour, 0]
    assert at_end(counts).gate[0, 0, 0] == Gate.USUAL_VOLUME


def test_a_young_history_only_learns() -> None:
    counts = made().with_added(0, 10 * 24 - 1, 30, 30)
    result = scan(counts, [10 * 24], SurgeRule())
    assert (result.gate == Gate.LEARNING).all()
    assert result.days[0] == 10 - 1 - 3


def test_one_publishers_campaign_is_stopped_where_many_publish() -> None:
    counts = made().with_added(0, DAYS * 24 - 2, 15, 15)
    asked: list[tuple[int, int, int]] = []

    def alone(topic: int, start: int, stop: int) -> tuple[int, int]:
        asked.append((topic, start, stop))
        return 1, 10

    assert at_end(counts, publishers=alone).gate[0, 0, 0] == Gate.FEW_PUBLISHERS
    assert (0, DAYS * 24 - 24, DAYS * 24) in asked
    assert at_end(counts, publishers=lambda *_: (3, 10)).gate[0, 0, 0] == Gate.OPEN
    # Where only two papers are read at all, one must do.
    assert at_end(counts, publishers=lambda *_: (1, 2)).gate[0, 0, 0] == Gate.OPEN


def test_moments_outside_the_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ends must lie in 1\.\.2400, got 0\.\.0"):
        scan(made(), [0], SurgeRule())


def test_any_change_of_the_rule_changes_its_fingerprint() -> None:
    assert SurgeRule().fingerprint == SurgeRule().fingerprint
    assert SurgeRule(min_negative=5).fingerprint != SurgeRule().fingerprint
