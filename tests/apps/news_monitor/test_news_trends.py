from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.stats import beta

from apps.news_monitor.trends import (
    TREND_COLUMNS,
    Counts,
    corrected_share,
    share_interval,
    trend_frame,
)

START = datetime(2024, 5, 1, tzinfo=UTC)


def counted() -> Counts:
    base = int(START.timestamp())
    at = np.array([base + 60, base + 3 * 3600, base + 3 * 3600 + 1, base + 25 * 3600, base + 10**7])
    return Counts.from_stories(
        ["oil", "banks"],
        np.array([0, 0, 1, 0, 1]),
        at,
        np.array([True, False, True, True, True]),
        until=START + timedelta(hours=30),
    )


def test_stories_fall_into_their_hour_and_topic() -> None:
    counts = counted()
    assert counts.start == START
    assert counts.hours == 48
    assert counts.stories[0].tolist() == [1, 0]
    assert counts.stories[3].tolist() == [1, 1]
    assert counts.negative[3].tolist() == [0, 1]
    assert counts.stories.sum() == 4  # the one after `until` is left out
    assert counts.hour_of(START + timedelta(hours=30)) == 30


def test_a_moment_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="lies outside the counted hours"):
        counted().hour_of(START)


def test_the_trend_has_a_row_for_each_topic_and_day() -> None:
    frame = trend_frame(counted())
    assert tuple(frame.columns) == TREND_COLUMNS
    assert frame["topic"].tolist() == ["oil", "oil", "banks", "banks"]
    assert frame["stories"].tolist() == [2, 1, 1, 0]
    assert frame["share"].tolist()[:3] == [0.5, 1.0, 1.0]
    assert np.isnan(frame["share"].iloc[3])
    assert (frame["low"].iloc[3], frame["high"].iloc[3]) == (0.0, 1.0)


def test_hourly_trends_add_up_to_daily_ones() -> None:
    hourly = trend_frame(counted(), bucket_hours=6)
    assert len(hourly) == 16
    daily = trend_frame(counted())
    assert hourly.groupby("topic")["stories"].sum().to_dict() == {"oil": 3, "banks": 1}
    assert daily["stories"].sum() == hourly["stories"].sum()
    with pytest.raises(ValueError, match="bucket_hours must divide 24, got 5"):
        trend_frame(counted(), bucket_hours=5)


def test_the_interval_is_jeffreys() -> None:
    low, high = share_interval(np.array([4, 0, 7]), np.array([20, 5, 7]))
    assert low[0] == pytest.approx(beta.ppf(0.025, 4.5, 16.5))
    assert high[0] == pytest.approx(beta.ppf(0.975, 4.5, 16.5))
    assert (low[1], high[2]) == (0.0, 1.0)


def test_the_corrected_share_undoes_the_labellers_errors() -> None:
    true = 0.3
    seen = true * 0.8 + (1 - true) * 0.1
    assert corrected_share(seen, 0.8, 0.1) == pytest.approx(true)
    assert corrected_share(0.05, 0.8, 0.1) == 0.0
    assert corrected_share(0.4, 0.1, 0.1) == 0.4


def test_counts_need_whole_days() -> None:
    cells = np.zeros((25, 1), dtype=np.int64)
    with pytest.raises(ValueError, match="Counts need whole days and equal shapes"):
        Counts(("a",), START, cells, cells, cells > 0)
