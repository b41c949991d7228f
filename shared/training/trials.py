"""What a search over recipes may take, and what it has tried."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import SettingsError

# Trials that a budget is cut into where nothing else is said.
TRIALS_OF_A_BUDGET = 8


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried. state: complete, pruned or fail. value: of the metric, None where
    it was not learned to the end. recipe: values of TrainOptions. seconds: a killed attempt's too.
    """

    number: int
    state: str
    value: float | None
    recipe: Mapping[str, Any]
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Searched:
    """rows: of the development part. seconds: of all trials, earlier calls included.
    trial_minutes: what one was given."""

    best: Trial
    trials: tuple[Trial, ...]
    metric: str
    rows: int
    seconds: float
    trial_minutes: float

    @property
    def standard_error(self) -> float:
        """Of the best value, as if it were a share of the rows: differences below are noise."""
        value = self.best.value or 0.0
        return math.sqrt(value * (1 - value) / self.rows)


@dataclass(frozen=True)
class Budget:
    """minutes: of the whole search. trial_minutes: of one trial at most; None: those of the search
    that is gone on with, and an eighth of the whole where there is none."""

    minutes: float
    trial_minutes: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.a_trial <= self.minutes:
            raise SettingsError(
                f"trials of {self.a_trial:g} minutes in a search of {self.minutes:g}: "
                "expected more than 0 and no more than the whole"
            )

    @property
    def a_trial(self) -> float:
        """Minutes of a trial where nothing is gone on with."""
        if self.trial_minutes is not None:
            return self.trial_minutes
        return self.minutes / TRIALS_OF_A_BUDGET


def line_of(trial: Trial, metric: str) -> str:
    """A trial in a line."""
    said = trial.note if trial.value is None else f"{metric} {trial.value:.4f}"
    values = ", ".join(f"{name} {_short(value)}" for name, value in trial.recipe.items())
    return f"trial {trial.number}: {said}, {trial.seconds:.0f} s ({values})"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
