"""`triptych benchmark news`: does the surge score find what the usual rules miss?

A labelled, dated stream is cut in two by time. Each rule gets the threshold that keeps the asked
false alarms per topic and week on the first half; on the second half its false alarms are counted,
and surges injected there (negative stories at c times the topic's usual number, for L days, at
random topics and days, weekends included) are found or not. Real events of the stream count as
false alarms, for every rule alike. What is no surge of bad news must stay quiet: a doubled volume
with the usual share, good news, what comes at once after an outage, one story that many copy, a
weekend or holiday, and another model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, poisson

from apps.news_monitor.surges import SurgeRule, scan
from apps.news_monitor.trends import share_interval
from pipelines.surge_scenarios import SCENARIOS, Floats, Scenario, Stream, first_day, inject

MERGE_DAYS = 3
BURN_IN_DAYS = 28
BUDGETS = (0.02, 0.05)


Score = Callable[[Stream, NDArray[np.int64]], Floats]
"""(stream, days) -> (len(days), I): alarming when high; a day's score uses nothing after it."""


@dataclass(frozen=True)
class SurgeRow:
    """One rule at one budget in one scenario; quiet: one in which every alarm is a false one.

    budget: false alarms per topic-week asked of the first half; false_alarms: what the second half
    gave, with a 95 % Poisson interval. recall: share of injected surges found, with a 95 %
    interval; of a quiet one the share of trials with an alarm. delay_days: mean, of those found.
    """

    rule: str
    budget: float
    threshold: float
    false_alarms: float
    false_low: float
    false_high: float
    scenario: str
    quiet: bool
    injected: int
    found: int
    recall: float
    recall_low: float
    recall_high: float
    delay_days: float | None


def triptych_score(stream: Stream, days: NDArray[np.int64]) -> Floats:
    """Ours: share and count against the topic's own past (section docs in surges)."""
    return scan(stream.counts, (days + 1) * 24, SurgeRule()).best


def z_mean_sentiment(stream: Stream, days: NDArray[np.int64]) -> Floats:
    """Fall of the day's mean sentiment against 30 days, in their standard deviations."""
    n, k, pos = stream.daily()
    with np.errstate(invalid="ignore"):
        mean = np.where(n > 0, (pos - k) / np.maximum(n, 1), np.nan)
    return -_z(mean, days, 30)


def z_volume(stream: Stream, days: NDArray[np.int64]) -> Floats:
    """The day's number of stories against 14 days (the news monitors' usual spike alert)."""
    return _z(stream.daily()[0], days, 14)


def z_negative_volume(stream: Stream, days: NDArray[np.int64]) -> Floats:
    """The day's number of negative stories against 14 days."""
    return _z(stream.daily()[1], days, 14)


def two_hundred_percent(stream: Stream, days: NDArray[np.int64]) -> Floats:
    """Share at 200 % of its 30-day mean and 15 points above it: both reached at a score of 1."""
    n, k, _ = stream.daily()
    with np.errstate(invalid="ignore"):
        share = np.where(n > 0, k / np.maximum(n, 1), np.nan)
    mean, _ = _window(share, days, 30)
    now = np.nan_to_num(share[days])
    return np.minimum(now / np.maximum(2.0 * mean, 1e-6), (now - mean) / 0.15)


def poisson_count(stream: Stream, days: NDArray[np.int64]) -> Floats:
    """-log10 of the chance of so many negative stories a day, given the mean of 12 weeks."""
    negative = stream.daily()[1]
    mean, _ = _window(negative, days, 84)
    tail = poisson.sf(negative[days] - 1, np.maximum(mean, 1e-3))
    result: Floats = -np.log10(np.maximum(tail, 1e-300))
    return result


RULES: dict[str, Score] = {
    "share + half count (triptych)": triptych_score,
    "Poisson count": poisson_count,
    "14-day z of negative volume": z_negative_volume,
    "14-day z of volume": z_volume,
    "200 % of the mean": two_hundred_percent,
    "30-day z of mean sentiment": z_mean_sentiment,
}


def _window(values: Floats, days: NDArray[np.int64], length: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the `length` days before each day, NaN left out."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)

    def total(x: Floats) -> Floats:
        running = np.vstack([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
        result: Floats = running[days] - running[np.maximum(days - length, 0)]
        return result

    count = np.maximum(total(known.astype(np.float64)), 1.0)
    mean = total(filled) / count
    return mean, np.sqrt(np.maximum(total(filled**2) / count - mean**2, 0.0))


def _z(values: Floats, days: NDArray[np.int64], length: int) -> Floats:
    mean, deviation = _window(values, days, length)
    return np.nan_to_num((values[days] - mean) / np.maximum(deviation, 1e-6))


def episodes(scores: Floats, threshold: float) -> int:
    """Alarms of (days, I) scores, those of a topic less than MERGE_DAYS apart taken as one."""
    count = 0
    for column in (scores >= threshold).T:
        at = np.flatnonzero(column)
        count += int(at.size > 0) + int((np.diff(at) > MERGE_DAYS).sum())
    return count


def threshold_for(scores: Floats, budget: float) -> float:
    """The lowest score at which (days, I) scores alarm at most `budget` times a topic-week."""
    allowed = budget * scores.size / 7.0
    for value in np.unique(scores)[::-1]:
        if episodes(scores, float(value)) > allowed:
            return float(np.nextafter(value, np.inf))
    return float(scores.min())


def benchmark_surges(
    stream: Stream,
    *,
    seed: int = 13,
    injections: int = 240,
    budgets: Sequence[float] = BUDGETS,
    scenarios: Sequence[Scenario] = SCENARIOS,
    rules: dict[str, Score] | None = None,
    burn_in: int = BURN_IN_DAYS,
) -> list[SurgeRow]:
    """Every rule, budget and scenario; the same injections for all rules.

    stream: at least half a year. burn_in: days before the first that is judged. Needs no model: its
    labels are given.
    """
    chosen = RULES if rules is None else rules
    half = (burn_in + stream.days) // 2
    first = np.arange(burn_in, half)
    second = np.arange(half, stream.days)
    weeks = second.size * len(stream.counts.topics) / 7.0
    thresholds: dict[tuple[str, float], tuple[float, int]] = {}
    for name, rule in chosen.items():
        calm, later = rule(stream, first), rule(stream, second)
        for budget in budgets:
            limit = threshold_for(calm, budget)
            thresholds[name, budget] = limit, episodes(later, limit)
    rows = []
    for scenario in scenarios:
        peaks = _injected_scores(stream, scenario, chosen, second, injections, seed)
        for (name, budget), (limit, false) in thresholds.items():
            rows.append(_row(name, budget, limit, false, weeks, scenario, peaks[name]))
    return rows


def _injected_scores(
    stream: Stream,
    scenario: Scenario,
    rules: dict[str, Score],
    days: NDArray[np.int64],
    injections: int,
    seed: int,
) -> dict[str, Floats]:
    """rule -> (injections, scenario.watched): the topic's score on each day of its surge."""
    rng = np.random.default_rng(seed)
    scores = {name: np.zeros((injections, scenario.watched)) for name in rules}
    for number in range(injections):
        topic = int(rng.integers(len(stream.counts.topics)))
        drawn = int(rng.integers(days[0], days[-1] - scenario.watched))
        onset = first_day(stream, scenario, drawn, int(days[0]))
        surged = inject(stream, scenario, topic, onset, rng)
        span = np.arange(onset, onset + scenario.watched)
        for name, rule in rules.items():
            scores[name][number] = rule(surged, span)[:, topic]
    return scores


def _row(
    name: str,
    budget: float,
    limit: float,
    false: int,
    weeks: float,
    scenario: Scenario,
    scores: Floats,
) -> SurgeRow:
    hit = scores >= limit
    found = hit.any(axis=1)
    delay = float(hit.argmax(axis=1)[found].mean()) if found.any() else None
    low, high = share_interval(np.array([int(found.sum())]), np.array([len(scores)]))
    return SurgeRow(
        rule=name,
        budget=budget,
        threshold=limit,
        false_alarms=false / weeks,
        false_low=float(chi2.ppf(0.025, 2 * false)) / 2 / weeks if false else 0.0,
        false_high=float(chi2.ppf(0.975, 2 * false + 2)) / 2 / weeks,
        scenario=scenario.name,
        quiet=scenario.quiet,
        injected=len(scores),
        found=int(found.sum()),
        recall=float(found.mean()),
        recall_low=float(low[0]),
        recall_high=float(high[0]),
        delay_days=delay,
    )
