"""Is bad news about a topic surging? The score of every topic at a moment, and why it is 0.

For each trailing window L the stories n and the negative ones K are held against the topic's own
baseline: the share of negatives given the volume (beta-binomial) and their number (negative
binomial). The score of a window is

    S_L = -log10 min(1, W * p_share) + w * max(0, -log10 min(1, W * p_count)),

W the number of windows and w = 1/2, if every gate lets it pass, else 0; the topic's score is the
largest S_L. Share and number say different things: a doubled volume with the usual share is no bad
news, and a single bad story on a quiet Sunday is no surge.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from apps.news_monitor.baseline import Baseline, Floats, History, estimate
from apps.news_monitor.tails import beta_binomial_mid_p, negative_binomial_mid_p
from apps.news_monitor.trends import Counts

SUNDAY = 6

Publishers = Callable[[int, int, int], tuple[int, int]]
"""(topic index, first hour, end hour) -> publishers of its negative stories, active publishers."""


class Gate(IntEnum):
    """The first gate that stops a score, in the order they are asked; OPEN stops nothing."""

    OPEN = 0
    LEARNING = 1
    FEW_NEGATIVE = 2
    NOT_NEW = 3
    SMALL_RISE = 4
    USUAL_VOLUME = 5
    FEW_PUBLISHERS = 6


@dataclass(frozen=True)
class SurgeRule:
    """What is tested, and how careful. Hours and days are UTC; shares lie in [0, 1]. holidays: days
    whose volume is that of a Sunday, whatever weekday they fall on.

    Windows of 1, 2 and 3 days: against 1 and 3 alone, with thresholds refitted to the same false
    alarms, the middle one found 5 to 6 more of 100 injected two-day surges of five times the usual,
    on two simulated streams and on one of real headlines.
    """

    windows_hours: tuple[int, ...] = (24, 48, 72)
    baseline_days: int = 84
    min_history_days: int = 14
    # Not refitted: thresholds are counted on scores of this rho and absorb what it is wrong by, and
    # scores of another one would be on another scale than those they were counted on.
    overdispersion: float = 0.02
    min_negative: int = 4
    newest_hours: int = 24
    newest_negative: int = 2
    share_ratio: float = 1.3
    share_rise: float = 0.10
    max_count_chance: float = 0.25
    min_publishers: int = 3
    count_weight: float = 0.5
    holidays: tuple[date, ...] = ()

    @property
    def guard_days(self) -> int:
        """Days before the current one that no baseline uses: the longest window."""
        return -(-max(self.windows_hours) // 24)

    @property
    def needed(self) -> timedelta:
        """The past without which no topic is judged."""
        return timedelta(days=self.min_history_days + self.guard_days)

    @property
    def reach(self) -> timedelta:
        """The past that any judgement reads: the baseline, what lies behind its guard, and the days
        that are begun at either end."""
        return timedelta(days=self.baseline_days + self.guard_days + 2)

    @property
    def described(self) -> dict[str, object]:
        """The values, for JSON; without holidays as before there were any."""
        values = asdict(self)
        days = [day.isoformat() for day in values.pop("holidays")]
        return values | ({"holidays": days} if days else {})

    @property
    def fingerprint(self) -> str:
        """Changes with any value above: evaluations of two rules are never mixed."""
        text = json.dumps(self.described, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Scan:
    """Scores of T moments, I topics, W windows.

    ends (T,): hours from counts.start to each moment. stories, negative, p_share, p_count,
    p_volume, score, and the usual expected_count (of negatives) and expected_stories: (T, I, W);
    gate: (T, I, W) of Gate. share, rho: (T, I), the expected share and the correlation of its
    predictive distribution. days (T,): history behind them.
    """

    rule: SurgeRule
    ends: NDArray[np.int64]
    stories: NDArray[np.int64]
    negative: NDArray[np.int64]
    share: Floats
    rho: Floats
    expected_count: Floats
    expected_stories: Floats
    p_share: Floats
    p_count: Floats
    p_volume: Floats
    gate: NDArray[np.int8]
    score: Floats
    days: NDArray[np.int64]

    @cached_property
    def best(self) -> Floats:
        """(T, I): each topic's score, the largest of its windows."""
        best: Floats = self.score.max(axis=2)
        return best

    @cached_property
    def calm(self) -> NDArray[np.bool_]:
        """(T, I): in every window the share lies no higher than 9 of 10 usual ones would.

        The upper end of the 80 % band of the share: beyond it less than a tenth remains.
        """
        windows = len(self.rule.windows_hours)
        single = self.p_share / windows
        return np.asarray((single > 0.10).all(axis=2))


@dataclass(frozen=True)
class Expected:
    """What the baseline of the day expects in each window of one moment: (I, W) each."""

    negative: Floats
    stories: Floats
    negative_dispersion: Floats
    story_dispersion: Floats


def weekdays(counts: Counts, days: NDArray[np.int64], rule: SurgeRule) -> NDArray[np.int64]:
    """Of days counted from counts.start: Monday = 0, holidays as Sundays."""
    start = counts.start.date()
    free = [(day - start).days for day in rule.holidays]
    return np.where(np.isin(days, free), SUNDAY, (days + start.weekday()) % 7)


def history_before(counts: Counts, day: int, rule: SurgeRule) -> History:
    """The whole days before the guard of a day (counted from counts.start), as the rule has it."""
    end = max(day - rule.guard_days, 0)
    begin = max(end - rule.baseline_days, 0)
    span = slice(begin * 24, end * 24)
    topics = len(counts.topics)
    usable = counts.usable[span]
    stories = np.where(usable, counts.stories[span], 0).reshape(-1, 24, topics)
    negative = np.where(usable, counts.negative[span], 0).reshape(-1, 24, topics)
    return History(
        stories=stories.sum(axis=1).astype(np.float64),
        negative=negative.sum(axis=1).astype(np.float64),
        usable=usable.reshape(-1, 24, topics).mean(axis=1),
        weekday=weekdays(counts, np.arange(begin, end), rule),
        hourly=stories.sum(axis=(0, 2)).astype(np.float64),
    )


def expected_counts(counts: Counts, usual: Baseline, end: int, rule: SurgeRule) -> Expected:
    """What a baseline expects in the rule's windows that end at an hour after counts.start."""
    longest = max(rule.windows_hours)
    hours = np.arange(end - longest, end)
    weekday = weekdays(counts, hours // 24, rule)
    exposure = usual.week[:, weekday].T * usual.hours[hours % 24][:, None]  # (hours, I)
    known = hours >= 0
    exposure = np.where(known[:, None] & counts.usable[np.maximum(hours, 0)], exposure, 0.0)
    reach = np.cumsum(exposure[::-1], axis=0)  # trailing exposure of 1, 2, ... hours
    days = np.stack([reach[w - 1] for w in rule.windows_hours], axis=1)  # (I, W)
    negative = usual.negative_rate[:, None] * days
    stories = usual.story_rate[:, None] * days
    # The rates are estimates: var(count) = phi * m + m^2 * phi / M, M the count they rest on.
    negative_phi = usual.negative_dispersion[:, None] * (
        1.0 + negative / np.maximum(usual.negative_history[:, None], 0.5)
    )
    story_phi = usual.story_dispersion[:, None] * (
        1.0 + stories / np.maximum(usual.story_history[:, None], 0.5)
    )
    return Expected(negative, stories, negative_phi, story_phi)


def _trailing(cells: NDArray[np.int64], ends: NDArray[np.int64], hours: int) -> NDArray[np.int64]:
    """Sums (T, I) of the `hours` cells before each end; hours before the first count as empty."""
    total = np.vstack([np.zeros((1, cells.shape[1]), dtype=np.int64), np.cumsum(cells, axis=0)])
    sums: NDArray[np.int64] = total[ends] - total[np.maximum(ends - hours, 0)]
    return sums


def _gates(
    rule: SurgeRule,
    days: NDArray[np.int64],
    stories: NDArray[np.int64],
    negative: NDArray[np.int64],
    newest: NDArray[np.int64],
    share: Floats,
    p_count: Floats,
) -> NDArray[np.int8]:
    rate = negative / np.maximum(stories, 1)
    usual = share[:, :, None]
    rises = (rate >= rule.share_ratio * usual) & (rate >= usual + rule.share_rise)
    stops = [
        (np.broadcast_to((days < rule.min_history_days)[:, None, None], rate.shape), Gate.LEARNING),
        (negative < rule.min_negative, Gate.FEW_NEGATIVE),
        (np.broadcast_to((newest < rule.newest_negative)[:, :, None], rate.shape), Gate.NOT_NEW),
        (~rises, Gate.SMALL_RISE),
        (p_count >= rule.max_count_chance, Gate.USUAL_VOLUME),
    ]
    gate = np.zeros(rate.shape, dtype=np.int8)
    for stopped, reason in reversed(stops):
        gate = np.where(stopped, np.int8(reason), gate)
    return gate


def _gate_publishers(
    gate: NDArray[np.int8], ends: NDArray[np.int64], rule: SurgeRule, publishers: Publishers
) -> NDArray[np.int8]:
    """One outlet's own campaign is no surge; but where few outlets are read, few must do."""
    gate = gate.copy()
    for moment, topic, window in zip(*np.nonzero(gate == Gate.OPEN), strict=True):
        end = int(ends[moment])
        found, active = publishers(int(topic), end - rule.windows_hours[window], end)
        if found < min(rule.min_publishers, max(active // 2, 1)):
            gate[moment, topic, window] = Gate.FEW_PUBLISHERS
    return gate


def scan(
    counts: Counts,
    ends: Sequence[int] | NDArray[np.int64],
    rule: SurgeRule,
    publishers: Publishers | None = None,
) -> Scan:
    """Scores every topic at the moments `ends` (hours after counts.start, 1 to counts.hours).

    Only what lies before a moment is used for it. Without `publishers` breadth is not asked.
    """
    at = np.asarray(ends, dtype=np.int64)
    if at.size and (at.min() < 1 or at.max() > counts.hours):
        raise ValueError(f"ends must lie in 1..{counts.hours}, got {at.min()}..{at.max()}")
    stories = np.where(counts.usable, counts.stories, 0)
    negative = np.where(counts.usable, counts.negative, 0)
    n = np.stack([_trailing(stories, at, w) for w in rule.windows_hours], axis=2)  # (T, I, W)
    k = np.stack([_trailing(negative, at, w) for w in rule.windows_hours], axis=2)
    newest = _trailing(negative, at, rule.newest_hours)  # (T, I)
    days = (at - 1) // 24
    usual: dict[int, Baseline] = {}
    for day in np.unique(days):
        usual[int(day)] = estimate(history_before(counts, int(day), rule), rule.overdispersion)
    today = [usual[int(day)] for day in days]
    expected = [
        expected_counts(counts, base, int(end), rule) for base, end in zip(today, at, strict=True)
    ]
    shape = n.shape
    share = np.array([base.share for base in today]).reshape(shape[:2])
    rho = np.array([base.rho for base in today]).reshape(shape[:2])
    history = np.array([base.days for base in today], dtype=np.int64)
    mean = np.array([e.negative for e in expected]).reshape(shape)
    windows = len(rule.windows_hours)
    p_share = windows * beta_binomial_mid_p(k, n, share[:, :, None], rho[:, :, None])
    phi = np.array([e.negative_dispersion for e in expected]).reshape(shape)
    p_count = windows * negative_binomial_mid_p(k, mean, phi)
    volume_mean = np.array([e.stories for e in expected]).reshape(shape)
    volume_phi = np.array([e.story_dispersion for e in expected]).reshape(shape)
    p_volume = windows * negative_binomial_mid_p(n, volume_mean, volume_phi)
    p_share, p_count, p_volume = (np.minimum(p, 1.0) for p in (p_share, p_count, p_volume))
    gate = _gates(rule, history, n, k, newest, share, p_count)
    if publishers is not None:
        gate = _gate_publishers(gate, at, rule, publishers)
    raw = -np.log10(np.maximum(p_share, 1e-300)) - rule.count_weight * np.log10(
        np.maximum(p_count, 1e-300)
    )
    return Scan(
        rule=rule,
        ends=at,
        stories=n,
        negative=k,
        share=share,
        rho=rho,
        expected_count=mean,
        expected_stories=volume_mean,
        p_share=p_share,
        p_count=p_count,
        p_volume=p_volume,
        gate=gate,
        score=np.where(gate == Gate.OPEN, raw, 0.0),
        days=history,
    )
