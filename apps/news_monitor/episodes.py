"""From scores to episodes: quiet, pending, firing, resolved, with hysteresis and cool-down.

One vectorised step serves the running monitor (one cell for each topic) and the calibration of
thresholds (one cell for each topic and threshold), so that what is calibrated is what runs.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Phase(IntEnum):
    QUIET = 0
    PENDING = 1
    FIRING = 2
    COOLING = 3


@dataclass(frozen=True)
class EpisodeRule:
    """When an episode opens and ends.

    confirmations: evaluations in a row at or above the threshold before it fires (1 at a daily
    cadence, 2 at an hourly one). jump: this far above the threshold it fires at once. calm:
    evaluations in a row below half the threshold, with the share back in its usual band, before it
    is resolved. cooldown_hours: a return within this time continues the same episode; with the
    longest window as its length, no story ever opens a second alert.
    """

    confirmations: int = 2
    jump: float = 2.0
    calm: int = 2
    cooldown_hours: int = 72


@dataclass(frozen=True)
class Episodes:
    """State of N cells after an evaluation: phase, evaluations in a row (above while pending, calm
    while firing), and the hour at which cooling ends; each (N,)."""

    phase: NDArray[np.int8]
    streak: NDArray[np.int64]
    cool_until: NDArray[np.int64]

    @classmethod
    def quiet(cls, cells: int) -> "Episodes":
        zeros = np.zeros(cells, dtype=np.int64)
        return cls(np.zeros(cells, dtype=np.int8), zeros, zeros.copy())

    @property
    def cooling(self) -> NDArray[np.bool_]:
        """(N,): resolved, and not yet cooled down."""
        return np.asarray(self.phase == Phase.COOLING)


@dataclass(frozen=True)
class Change:
    """What one evaluation did to each cell: (N,) masks. reopened continues the last episode."""

    opened: NDArray[np.bool_]
    resolved: NDArray[np.bool_]
    reopened: NDArray[np.bool_]


def advance(
    state: Episodes,
    score: NDArray[np.float64],
    calm: NDArray[np.bool_],
    hour: int,
    threshold: NDArray[np.float64],
    rule: EpisodeRule,
    held: NDArray[np.bool_] | None = None,
) -> tuple[Episodes, Change]:
    """One evaluation at `hour` (of any fixed clock): score, calm, threshold are (N,).

    held (N,): cells of which too little is known at this moment: they stay as they are, neither
    opened nor calmed.
    """
    phase = state.phase
    above = score >= threshold
    jump = score >= threshold + rule.jump
    cooled = (phase == Phase.COOLING) & (hour >= state.cool_until)
    waiting = (phase == Phase.QUIET) | (phase == Phase.PENDING) | cooled
    streak = np.where(waiting & above, np.where(phase == Phase.PENDING, state.streak, 0) + 1, 0)
    opened = waiting & above & (jump | (streak >= rule.confirmations))
    reopened = (phase == Phase.COOLING) & ~cooled & above
    firing = phase == Phase.FIRING
    settled = firing & calm & (score < threshold / 2.0)
    streak = np.where(settled, state.streak + 1, streak)
    resolved = settled & (streak >= rule.calm)

    after = np.full_like(phase, Phase.QUIET)
    after = np.where(waiting & above, np.int8(Phase.PENDING), after)
    after = np.where((phase == Phase.COOLING) & ~cooled, np.int8(Phase.COOLING), after)
    after = np.where((firing & ~resolved) | opened | reopened, np.int8(Phase.FIRING), after)
    after = np.where(resolved, np.int8(Phase.COOLING), after)
    streak = np.where(opened | reopened | resolved, 0, streak)
    cool_until = np.where(resolved, hour + rule.cooldown_hours, state.cool_until)
    if held is not None:
        after = np.where(held, phase, after)
        streak = np.where(held, state.streak, streak)
        cool_until = np.where(held, state.cool_until, cool_until)
        opened, resolved, reopened = opened & ~held, resolved & ~held, reopened & ~held
    return (
        replace(state, phase=after.astype(np.int8), streak=streak, cool_until=cool_until),
        Change(opened=opened, resolved=resolved, reopened=reopened),
    )
