"""What watches a run: its stopwatch, its time budget, how it shows itself and what it leaves."""

from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm
from transformers import (
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from shared.run_journal import Journal
from shared.training.forecast import Forecast

# Losses logged over a run, beside the one at each evaluation: enough for a curve.
LOGGED_LOSSES = 60


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

    def __init__(self, seconds: float | None, watch: Stopwatch, expected: Forecast | None) -> None:
        self.seconds = seconds
        self.watch = watch
        self.used_up = False
        self._reserve = 0.0
        if expected is not None:
            self._reserve = expected.evaluation_seconds + expected.checkpoint_seconds
        self._epoch_ended = 0.0

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,
        **_: Any,
    ) -> None:
        if self.seconds is not None and self.watch.spent() + self._reserve >= self.seconds:
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
        if self.used_up and self.seconds is not None:
            return f"the {self.seconds / 60:.3g} minutes for fine-tuning are used up"
        if state.global_step >= state.max_steps:
            return f"all {state.max_steps} steps are done"
        if control.should_training_stop:
            return "the validation part has stopped improving"
        return ""


class MeanLoss:
    """The mean loss of the training steps since the last evaluation, from the trainer's log.

    The trainer logs the mean of the steps since it last logged, which may be a part of an epoch.
    """

    def __init__(self) -> None:
        self._sum = 0.0
        self._from = self._at = 0

    def add(self, entry: Mapping[str, float], step: int) -> None:
        if "loss" in entry:
            self._sum += entry["loss"] * (step - self._at)
            self._at = step

    def take(self) -> float | None:
        """The mean, None where no step was logged; the next one begins here."""
        steps = self._at - self._from
        mean = self._sum / steps if steps else None
        self._sum, self._from = 0.0, self._at
        return mean


class Logging(TrainerCallback):  # type: ignore[misc]
    """Has the loss logged often enough for a curve, at the same steps in every attempt."""

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        if state.global_step % max(1, state.max_steps // LOGGED_LOSSES) == 0:
            control.should_log = True


class JournalLines(TrainerCallback):  # type: ignore[misc]
    """Writes each loss and each evaluation into the run's journal."""

    def __init__(self, journal: Journal, watch: Stopwatch) -> None:
        self.journal = journal
        self.watch = watch

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs and state.is_world_process_zero:
            self.journal.write("loss", loss=float(logs["loss"]), **self._place(state))

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        if state.is_world_process_zero:
            values = {
                name.removeprefix("eval_"): float(value)
                for name, value in metrics.items()
                if isinstance(value, int | float)
            }
            self.journal.write("evaluation", metrics=values, **self._place(state))

    def _place(self, state: TrainerState) -> dict[str, float]:
        spent = round(self.watch.spent(), 3)
        return {"step": state.global_step, "epoch": float(state.epoch or 0.0), "seconds": spent}


class EpochLines(TrainerCallback):  # type: ignore[misc]
    """One plain line an evaluation."""

    def __init__(self, metric: str, watch: Stopwatch, say: Callable[[str], None]) -> None:
        self.metric = metric
        self.watch = watch
        self.say = say
        self._losses = MeanLoss()

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        self._losses.add(logs or {}, state.global_step)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        value = metrics[f"eval_{self.metric}"]
        gain = 0.0 if state.best_metric is None else value - state.best_metric
        best = state.best_metric is None or (gain if args.greater_is_better else -gain) > 0
        loss = self._losses.take()
        with tqdm.external_write_mode():
            self.say(
                f"epoch {state.epoch or 0:.3g} of {args.num_train_epochs:.3g}: "
                f"loss {float('nan') if loss is None else loss:.3f}, {self.metric} {value:.3f}"
                f"{' (best)' if best else ''}, {self.watch.spent():.0f} s"
            )


class Bar(ProgressCallback):  # type: ignore[misc]
    """The library's progress bar without its dumps of dictionaries."""

    def on_log(self, *_: Any, **__: Any) -> None:
        return
