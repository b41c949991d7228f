"""What an alert rests on: frozen when it opens, renewed when it becomes more severe, stored
with it, shown in mail and page."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from apps.news_monitor.thresholds import Severity


@dataclass(frozen=True)
class StoryLine:
    """A story that carries the surge. p_negative in [0, 1]; publishers: all who ran it. words: of
    the title, those that speak most for its being negative, the strongest first."""

    title: str
    url: str
    publishers: tuple[str, ...]
    p_negative: float
    at: datetime
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class DayPoint:
    """One trailing day of the chart: counts, and the usual range of negatives given the stories."""

    end: datetime
    stories: int
    negative: int
    low: int
    high: int


@dataclass(frozen=True)
class MovingTopic:
    """Another topic whose share is up at the same time."""

    topic: str
    negative: int
    stories: int
    usual_share: float


@dataclass(frozen=True)
class DataHealth:
    """sources_ok of sources_total answered at their last check; items: read in the last 24 hours;
    None where there is no such thing (a replay reads a file). coverage in [0, 1]: the part of the
    topic's usual items whose outlets deliver, None while nothing is usual yet; missing: those that
    do not, the weightiest first."""

    sources_ok: int | None
    sources_total: int | None
    items: int
    copies: int
    coverage: float | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Figures of one evaluation of one topic, over the trailing window that carries the score.

    expected: negative stories that `stories` of them usually hold; low, high: 95 % range of that.
    usual_stories: the usual volume of such a window. p_share, p_count, p_volume: mid p-values
    of the share, the number of negatives and the volume, over all windows looked at.
    false_rate: episodes per topic-week that reach this score without a reason. learning: the
    threshold still leans on the general curve more than on the own past.
    """

    topic: str
    severity: Severity
    opened_at: datetime
    evaluated_at: datetime
    score: float
    threshold: float
    window_hours: int
    stories: int
    negative: int
    usual_share: float
    expected: float
    low: int
    high: int
    usual_stories: float
    p_share: float
    p_count: float
    p_volume: float
    false_rate: float
    history_days: int
    learning: bool
    days: tuple[DayPoint, ...]
    headlines: tuple[StoryLine, ...]
    moving: tuple[MovingTopic, ...]
    health: DataHealth
    model: str

    @property
    def share(self) -> float:
        return self.negative / self.stories if self.stories else 0.0

    @property
    def topic_weeks(self) -> float:
        """Luck alone reaches this score about once in so many topic-weeks."""
        return 1.0 / max(self.false_rate, 1e-12)

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=_iso, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Evidence":
        raw: dict[str, Any] = json.loads(text)
        for name in ("opened_at", "evaluated_at"):
            raw[name] = datetime.fromisoformat(raw[name])
        raw["days"] = tuple(
            DayPoint(**{**day, "end": datetime.fromisoformat(day["end"])}) for day in raw["days"]
        )
        raw["headlines"] = tuple(
            StoryLine(
                **{
                    **line,
                    "publishers": tuple(line["publishers"]),
                    "at": datetime.fromisoformat(line["at"]),
                    # Alerts of before have none.
                    "words": tuple(line.get("words", ())),
                }
            )
            for line in raw["headlines"]
        )
        raw["moving"] = tuple(MovingTopic(**topic) for topic in raw["moving"])
        health = raw["health"]
        # Alerts of before know nothing of coverage.
        raw["health"] = DataHealth(**{**health, "missing": tuple(health.get("missing", ()))})
        return cls(**raw)


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")
