"""How a run of a trainer ended, and what it leaves beside its model."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import Trainer, TrainerControl

from shared.run_journal import Journal
from shared.training.checkpoints import PREFIX, Checkpoint
from shared.training.forecast import Forecast
from shared.training.machine import machine_of, peak_memory_mb
from shared.training.method_choice import Choice
from shared.training.options import Evaluation, FineTuned, TrainOptions
from shared.training.progress import MeanLoss, Stopwatch, TimeBudget

RESULT_FILE = "training.json"


@dataclass(frozen=True)
class Outcome:
    """How a run ended. The model it trained holds the weights of best_step, the last one where
    those are to be kept."""

    best_metric: float
    best_step: int
    steps: int
    stopped_because: str
    history: tuple[Evaluation, ...]
    forecast: Forecast | None
    resumed_at_step: int | None


def outcome_of(
    trainer: Trainer, budget: TimeBudget, start: Checkpoint | None, expected: Forecast | None
) -> Outcome:
    state = trainer.state
    best = state.best_model_checkpoint
    stopped = start.stopped if start is not None else ""
    history = _history(state.log_history)
    value, step = float(state.best_metric), state.global_step
    if not trainer.args.load_best_model_at_end:
        value = history[-1].metrics[str(trainer.args.metric_for_best_model)]
    elif best:
        step = int(Path(best).name[len(PREFIX) :])
    return Outcome(
        best_metric=value,
        best_step=step,
        steps=state.global_step,
        stopped_because=stopped or budget.stopped(state, _ENDED),
        history=history,
        forecast=expected,
        resumed_at_step=None if start is None else start.step,
    )


_ENDED = TrainerControl(should_training_stop=True)


def _history(log: Sequence[dict[str, float]]) -> tuple[Evaluation, ...]:
    """The evaluations of a run, each with the mean loss of the training steps before it."""
    found: list[Evaluation] = []
    losses = MeanLoss()
    for entry in log:
        losses.add(entry, int(entry["step"]))
        metrics = {key[len("eval_") :]: v for key, v in entry.items() if key.startswith("eval_")}
        if metrics:
            step, epoch = int(entry["step"]), float(entry["epoch"])
            found.append(Evaluation(step, epoch, losses.take(), metrics))
    return tuple(found)


def checkpoints_of(folder: Path, options: TrainOptions) -> Path:
    """Where an attempt leaves its state: never inside the result, which is published as it is."""
    return options.checkpoints or folder.with_name(f"{folder.name}.training")


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(learned, all)"""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, learns in sizes if learns), sum(n for n, _ in sizes)


def conclude(
    folder: Path,
    choice: Choice,
    outcome: Outcome,
    options: TrainOptions,
    watch: Stopwatch,
    metric: str,
    counts: tuple[int, int],
) -> FineTuned:
    """The model is saved in `folder`: write its history beside it, and let go of the checkpoints
    beside it. Those that the options have a place for stay: whoever named it makes more of the
    model before it is safe, and need not train again should that be cut off.

    counts: (learned, all) parameters.
    """
    result = FineTuned(
        folder=folder,
        method=choice.method.value,
        reason=choice.reason,
        metric=metric,
        best_metric=outcome.best_metric,
        best_step=outcome.best_step,
        steps=outcome.steps,
        seconds=watch.spent(),
        stopped_because=outcome.stopped_because,
        trained_parameters=counts[0],
        parameters=counts[1],
        history=outcome.history,
        forecast_minutes=None if outcome.forecast is None else outcome.forecast.minutes,
        forecast_memory_mb=None if outcome.forecast is None else outcome.forecast.peak_memory_mb,
        peak_memory_mb=peak_memory_mb(machine_of(options).device),
        resumed_at_step=outcome.resumed_at_step,
    )
    (folder / RESULT_FILE).write_text(result.to_json(), encoding="utf-8")
    if options.journal is not None:
        values = json.loads(result.to_json())
        del values["history"]
        Journal(options.journal).write("trained", **values)
    if options.checkpoints is None:
        shutil.rmtree(checkpoints_of(folder, options), ignore_errors=True)
    return result
