"""Story counts of each topic by hour, and what is shown of them: daily shares with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import beta

Counted = NDArray[np.int64]
TREND_COLUMNS = ("topic", "start", "stories", "negative", "share", "low", "high")
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Counts:
    """Stories after collapse, by UTC hour and topic.

    start: midnight UTC of the first day. stories, negative: (H, I), H a multiple of 24.
    usable: (H, I) bool; hours that are no evidence (an outage, a silence) are False and belong
    neither to the counts nor to what was expected of them.
    """

    topics: tuple[str, ...]
    start: datetime
    stories: Counted
    negative: Counted
    usable: NDArray[np.bool_]

    @classmethod
    def from_stories(
        cls,
        topics: Sequence[str],
        topic: NDArray[np.int64],
        at: NDArray[np.int64],
        negative: NDArray[np.bool_],
        *,
        until: datetime,
        since: datetime | None = None,
    ) -> "Counts":
        """Counts (story, topic) pairs: topic index, time in epoch seconds, negative or not.

        Covers the days from `since` (or the first story) through the one that `until` lies in;
        pairs outside are left out.
        """
        last = midnight(until - timedelta(microseconds=1)) + timedelta(days=1)
        first = last - timedelta(days=1)
        if since is not None:
            first = midnight(since)
        elif at.size:
            first = min(midnight(datetime.fromtimestamp(int(at.min()), UTC)), first)
        hours = int((last - first) / HOUR)
        hour = (at - int(first.timestamp())) // 3600
        inside = (hour >= 0) & (hour < hours) & (at < until.timestamp())
        size = hours * len(topics)
        cell = hour[inside] * len(topics) + topic[inside]
        stories = np.bincount(cell, minlength=size).reshape(hours, len(topics))
        bad = np.bincount(cell[negative[inside]], minlength=size).reshape(hours, len(topics))
        return cls(tuple(topics), first, stories, bad, np.ones_like(stories, dtype=bool))

    def __post_init__(self) -> None:
        if self.stories.shape[0] % 24 or self.stories.shape != self.negative.shape:
            raise ValueError(
                f"Counts need whole days and equal shapes, got stories {self.stories.shape} "
                f"and negative {self.negative.shape}"
            )

    @property
    def hours(self) -> int:
        return int(self.stories.shape[0])

    def hour_of(self, at: datetime) -> int:
        """Hours from `start` to `at`, rounded down: the exclusive end of a window that ends there.

        Raises ValueError for a time outside the counted days.
        """
        hour = int((at - self.start) / HOUR)
        if not 0 < hour <= self.hours:
            raise ValueError(f"{at.isoformat()} lies outside the counted hours")
        return hour

    def with_added(self, topic: int, hour: int, stories: int, negative: int) -> "Counts":
        """A copy with stories added in one cell (for injected surges)."""
        n, k = self.stories.copy(), self.negative.copy()
        n[hour, topic] += stories
        k[hour, topic] += negative
        return replace(self, stories=n, negative=k)


def midnight(at: datetime) -> datetime:
    """The UTC midnight at or before a time-zone-aware moment."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def share_interval(
    negative: NDArray[np.int64], stories: NDArray[np.int64], coverage: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Jeffreys interval of negative / stories; [0, 1] where there is no story.

    Its end is exactly 0 (or 1) where nothing (or everything) is negative. Source: Brown, Cai,
    DasGupta 2001, Statistical Science 16:101, section 3.1.3.
    """
    tail = (1.0 - coverage) / 2.0
    k, n = negative.astype(np.float64), stories.astype(np.float64)
    low = np.where(k > 0, beta.ppf(tail, k + 0.5, n - k + 0.5), 0.0)
    high = np.where(k < n, beta.ppf(1.0 - tail, k + 0.5, n - k + 0.5), 1.0)
    return low, np.where(n > 0, high, 1.0)


def trend_frame(counts: Counts, *, bucket_hours: int = 24) -> pd.DataFrame:
    """One row for each topic and bucket (TREND_COLUMNS); bucket_hours divides 24.

    share is missing where there is no story; low and high are its 95 % interval.
    """
    if 24 % bucket_hours:
        raise ValueError(f"bucket_hours must divide 24, got {bucket_hours}")
    n = counts.stories.reshape(-1, bucket_hours, len(counts.topics)).sum(axis=1)  # (B, I)
    k = counts.negative.reshape(-1, bucket_hours, len(counts.topics)).sum(axis=1)
    low, high = share_interval(k, n)
    starts = pd.date_range(counts.start, periods=len(n), freq=f"{bucket_hours}h")
    with np.errstate(invalid="ignore"):
        share = np.where(n > 0, k / np.maximum(n, 1), np.nan)
    frame = pd.DataFrame(
        {
            "topic": np.repeat(np.asarray(counts.topics, dtype=object), len(n)),
            "start": np.tile(starts, len(counts.topics)),
            "stories": n.T.ravel(),
            "negative": k.T.ravel(),
            "share": share.T.ravel(),
            "low": low.T.ravel(),
            "high": high.T.ravel(),
        }
    )
    return frame[list(TREND_COLUMNS)]


def with_corrected(frame: pd.DataFrame, recall: float, false_positive_rate: float) -> pd.DataFrame:
    """The frame with a column `corrected`: its `share` as `corrected_share` makes it."""
    corrected = [
        share if np.isnan(share) else corrected_share(share, recall, false_positive_rate)
        for share in frame["share"]
    ]
    return frame.assign(corrected=corrected)


def corrected_share(share: float, recall: float, false_positive_rate: float) -> float:
    """The true share behind one counted by a labeller that finds `recall` of the negative stories
    and calls `false_positive_rate` of the others negative: (share - f) / (r - f), in [0, 1].

    Rogan and Gladen 1978, American Journal of Epidemiology 107:71. A labeller no better than
    chance (r <= f) corrects nothing: the share comes back as it is.
    """
    if recall <= false_positive_rate:
        return share
    return float(np.clip((share - false_positive_rate) / (recall - false_positive_rate), 0.0, 1.0))
