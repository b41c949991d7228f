"""How often a score is reached without a reason to worry, and the threshold that keeps a budget.

A nominal p-value is not believed: hourly windows overlap, topics move together, and news is more
bursty than any null. The monitor replays its own past through the same state machine, counts the
episodes each threshold would have opened, and takes the one that opens no more than the budget of
false mails a week. Real events in that past count as false alarms, so the answer is on the safe
side. Where the past is short, the curve below, measured on two years of real headlines, stands in.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from apps.news_monitor.episodes import EpisodeRule, Episodes, advance

Severity = Literal["warning", "high", "critical"]

GRID = np.arange(1.0, 15.01, 0.25)
"""Thresholds at which episodes are counted."""

PRIOR_RATE = 0.02
PRIOR_SCORE = 4.0
PRIOR_SLOPE = 0.45 * np.log(10.0)
PRIOR_TOPIC_WEEKS = 50.0
"""The curve before any history: 0.02 episodes per topic and week at a score of 4, ten times fewer
for each 1 / 0.45 = 2.2 points above, worth 50 topic-weeks of own evidence."""

TAIL_COUNT = 8.0
"""Above the score that this many episodes reached, the curve is an exponential tail."""

LOWEST_THRESHOLD = 2.0
"""A score of 2 is one chance in a hundred for a single look: no budget, however lavish, goes below
it, because a mail about less than that is not worth opening."""


def prior_rate(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Episodes per topic-week at or above each score before any history is known."""
    rate: NDArray[np.float64] = PRIOR_RATE * np.exp(-PRIOR_SLOPE * (score - PRIOR_SCORE))
    return rate


@dataclass(frozen=True)
class FalseAlarmCurve:
    """Episodes per topic-week that open at each threshold, when nothing needs an alert.

    episodes (len(GRID),): counted in the past. topic_weeks: how much past.
    """

    episodes: NDArray[np.float64]
    topic_weeks: float

    @classmethod
    def unknown(cls) -> "FalseAlarmCurve":
        """No history: the prior curve alone."""
        return cls(np.zeros(len(GRID)), 0.0)

    @property
    def learning(self) -> bool:
        """Still leaning on the prior curve more than on the monitor's own past."""
        return self.topic_weeks < PRIOR_TOPIC_WEEKS

    def _evidence(self) -> tuple[NDArray[np.float64], float]:
        counts = self.episodes + PRIOR_TOPIC_WEEKS * prior_rate(GRID)
        # Merging by cool-down can make a lower threshold open fewer, longer episodes; a rate that
        # rises with the threshold would be an artefact, so each is at least those above it.
        return np.maximum.accumulate(counts[::-1])[::-1], self.topic_weeks + PRIOR_TOPIC_WEEKS

    def rate(self, score: float) -> float:
        """Episodes per topic-week that reach `score`.

        Between the grid's points log-linear; above the point that TAIL_COUNT episodes reached, an
        exponential tail whose slope is the inverse mean excess over it, itself shrunk to the prior
        slope with the weight of TAIL_COUNT episodes. Below the grid its first value.
        """
        counts, exposure = self._evidence()
        enough = np.flatnonzero(counts >= TAIL_COUNT)
        anchor = int(enough[-1]) if enough.size else 0
        if score <= GRID[anchor]:
            logs = np.log(counts[: anchor + 1] / exposure)
            return float(np.exp(np.interp(score, GRID[: anchor + 1], logs)))
        above = counts[anchor:]
        excess = float(((above[1:] + above[:-1]) / 2.0 * np.diff(GRID[anchor:])).sum())
        slope = (counts[anchor] + TAIL_COUNT) / (excess + TAIL_COUNT / PRIOR_SLOPE)
        base = counts[anchor] / exposure
        return float(base * np.exp(-slope * (score - GRID[anchor])))

    def threshold(self, per_week: float, topics: int) -> float:
        """The lowest score, not below LOWEST_THRESHOLD, at which all topics together open at most
        `per_week` episodes a week; found to 0.001 by halving."""
        low, high = LOWEST_THRESHOLD, 60.0
        wanted = per_week / max(topics, 1)
        if self.rate(low) <= wanted:
            return low
        while high - low > 0.001:
            middle = (low + high) / 2.0
            low, high = (low, middle) if self.rate(middle) <= wanted else (middle, high)
        return high

    def severity(self, score: float, negative: int, topics: int) -> Severity:
        """critical: at most one such a year over all topics, and 10 negative stories or more;
        high: at most one in 50 topic-weeks; else warning."""
        rate = self.rate(score)
        if rate * topics * 52.0 <= 1.0 and negative >= 10:
            return "critical"
        return "high" if rate <= 0.02 else "warning"


class Calibrator:
    """Counts, evaluation by evaluation, the episodes that every threshold of GRID would open.

    Cells are topics x thresholds; feeding it costs well under a millisecond an evaluation.
    """

    def __init__(self, topics: int, rule: EpisodeRule) -> None:
        self._topics = topics
        self._rule = rule
        self._state = Episodes.quiet(topics * len(GRID))
        self._threshold = np.tile(GRID, topics)
        self._opened = np.zeros(len(GRID))
        self._topic_hours = 0.0
        self._busy = False

    def add(
        self,
        score: NDArray[np.float64],
        calm: NDArray[np.bool_],
        hour: int,
        cadence_hours: float,
        held: NDArray[np.bool_] | None = None,
    ) -> None:
        """One evaluation of all topics: score and calm (I,), cadence_hours since the last. held
        (I,): topics of which too little was heard: for them it is as if it had not been."""
        heard = self._topics - (0 if held is None else int(held.sum()))
        self._topic_hours += cadence_hours * heard
        if not self._busy and float(score.max()) < GRID[0]:
            return  # nothing opens and nothing is open: most hours are like this
        repeat = len(GRID)
        self._state, change = advance(
            self._state,
            np.repeat(score, repeat),
            np.repeat(calm, repeat),
            hour,
            self._threshold,
            self._rule,
            None if held is None else np.repeat(held, repeat),
        )
        self._opened = self._opened + change.opened.reshape(self._topics, repeat).sum(axis=0)
        self._busy = bool(self._state.phase.any())

    def curve(self) -> FalseAlarmCurve:
        """What has been counted so far."""
        return FalseAlarmCurve(self._opened.copy(), self._topic_hours / 168.0)
