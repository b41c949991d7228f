"""What watches a run: its stopwatch, its time budget, and how it shows itself."""

from collections.abc import Callable
from typing import Any

from tqdm import tqdm
from transformers import (
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from shared.training.forecast import Forecast


class Stopwatch:
    """Seconds spent on a run, those of an interrupted attempt included."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self.earlier = 0.0

    def spent(self) -> float:
        return self.earlier + self._clock() - self._started


class TimeBudget(TrainerCallback):  # type: ignore[misc]
    """Ends the run while there is time left to measure and save what was learned since."""

    def __init__(self, minutes: float | None, watch: Stopwatch, expected: Forecast | None) -> None:
        self.minutes = minutes
        self.watch = watch
        self.used_up = False
        self._reserve = 0.0 if expected is None else expected.evaluation_seconds
        self._epoch_ended = 0.0

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,
        **_: Any,
    ) -> None:
        if self.minutes is not None and self.watch.spent() + self._reserve >= self.minutes * 60:
            self.used_up = True
            control.should_training_stop = True

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self._epoch_ended = self.watch.spent()

    def on_save(self, *_: Any, **__: Any) -> None:
        if self._epoch_ended:
            self._reserve = self.watch.spent() - self._epoch_ended
            self._epoch_ended = 0.0

    def stopped(self, state: TrainerState, control: TrainerControl) -> str:
        """Why training is over at this moment, "" where it is not."""
        if self.used_up:
            return f"the budget of {self.minutes:g} minutes is used up"
        if state.global_step >= state.max_steps:
            return f"all {state.max_steps} steps are done"
        if control.should_training_stop:
            return "the validation part has stopped improving"
        return ""


class EpochLines(TrainerCallback):  # type: ignore[misc]
    """One plain line an evaluation."""

    def __init__(self, metric: str, watch: Stopwatch, say: Callable[[str], None]) -> None:
        self.metric = metric
        self.watch = watch
        self.say = say
        self._loss = float("nan")

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        self._loss = (logs or {}).get("loss", self._loss)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        value = metrics[f"eval_{self.metric}"]
        best = state.best_metric is None or value > state.best_metric
        with tqdm.external_write_mode():
            self.say(
                f"epoch {state.epoch or 0:.3g} of {args.num_train_epochs:.3g}: "
                f"loss {self._loss:.3f}, {self.metric} {value:.3f}"
                f"{' (best)' if best else ''}, {self.watch.spent():.0f} s"
            )


class Bar(ProgressCallback):  # type: ignore[misc]
    """The library's progress bar without its dumps of dictionaries."""

    def on_log(self, *_: Any, **__: Any) -> None:
        return
