"""One run of a library's trainer: forecast, budget, early stop, and going on after a kill."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from accelerate.data_loader import prepare_data_loader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations import TensorBoardCallback

from shared.atomic import write_text
from shared.run_journal import Journal
from shared.training import processes
from shared.training.budget import Share
from shared.training.checkpoints import (
    STATE,
    WEIGHTS,
    Checkpoint,
    Sealing,
    find_newest_valid,
    go_back_to,
    load_learned_state,
)
from shared.training.forecast import Forecast, forecast
from shared.training.machine import machine_of, on_terminal
from shared.training.methods import MethodRecipe, adapter_callbacks, orthogonality
from shared.training.options import TrainOptions
from shared.training.progress import (
    Bar,
    EpochLines,
    JournalLines,
    Logging,
    Stopwatch,
    TimeBudget,
)
from shared.training.run_results import Outcome, outcome_of

Arguments = TypeVar("Arguments", bound=TrainingArguments)

PLAN = "plan.json"
# Below so many steps a run is over before a forecast of it would be.
FORECAST_FROM_STEPS = 60
EVALUATION_BATCH = 128
# Options that do not change what is learned; every other one is part of a run's fingerprint.
_IMMATERIAL = {
    "logdir", "journal", "tracking", "checkpoints", "checkpoint_minutes", "resume", "progress",
    "threads", "began",
}  # fmt: skip


def training_arguments(
    kind: type[Arguments],
    recipe: MethodRecipe,
    options: TrainOptions,
    *,
    folder: Path,
    metric: str,
    **more: Any,
) -> Arguments:
    """The trainer's settings for these options. folder: of the checkpoints."""
    machine = machine_of(options)
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": options.epochs or recipe.epochs,
        "per_device_train_batch_size": options.batch_size or recipe.batch_size,
        "per_device_eval_batch_size": EVALUATION_BATCH,
        "learning_rate": options.learning_rate or recipe.learning_rate,
        "warmup_steps": options.warmup,
        "weight_decay": options.weight_decay,
        "bf16": machine.bf16,
        "use_cpu": machine.device.type == "cpu",
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_strategy": "epoch",
        "load_best_model_at_end": options.keep != "last",
        "metric_for_best_model": metric,
        "greater_is_better": True,
        "restore_callback_states_from_checkpoint": True,
        "seed": options.seed,
        # TensorBoard's writer is ours, for its folder (_tensorboard).
        "report_to": options.tracking if options.tracking in ("mlflow", "wandb") else "none",
        "disable_tqdm": True,  # our own bar is added where there is a terminal
        "dataloader_pin_memory": machine.device.type == "cuda",
        "ddp_find_unused_parameters": False,  # every head is in every loss
        "optim": "adamw_torch_fused",
    }
    made: Arguments = kind(**(settings | more))
    if machine.device.type == "cuda":
        # Else the library would give each of several GPUs a batch of its own, which is another run.
        made._n_gpu = min(made.n_gpu, 1)
    return made


def fingerprint(options: TrainOptions, *parts: object) -> str:
    """Of everything that decides the weights: options, data, encoder, library versions."""
    values = {k: str(v) for k, v in asdict(options).items() if k not in _IMMATERIAL}
    libraries = [
        version(name) for name in ("torch", "transformers", "sentence-transformers", "peft")
    ]
    text = json.dumps([values, libraries, [repr(part) for part in parts]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class GivenGroups:
    """Trainer mixin: the optimiser gets the parameter groups handed to the constructor, the loss
    AdaLoRA's part, and batches of our own are learned as they are."""

    args: TrainingArguments
    accelerator: Any
    model: Any
    optimizer: Any
    get_optimizer_cls_and_kwargs: Callable[..., tuple[Any, dict[str, Any]]]

    def __init__(self, *args: Any, groups: list[dict[str, Any]], **settings: Any) -> None:
        self.groups = groups
        super().__init__(*args, **settings)

    def create_optimizer(self, model: Any = None) -> Any:  # noqa: ARG002
        if self.optimizer is None:
            kind, settings = Trainer.get_optimizer_cls_and_kwargs(self.args, self.model)
            # The optimiser writes into its groups: hand it copies, so that it can be made again.
            self.optimizer = kind([dict(group) for group in self.groups], **settings)
        return self.optimizer

    def compute_loss(self, model: Any, *given: Any, **named: Any) -> Any:
        """The library's; in training, where the loss alone is asked for, with AdaLoRA's part."""
        found = super().compute_loss(model, *given, **named)  # type: ignore[misc]
        term = orthogonality(self.model) if model.training else None
        return found if term is None else found + term

    def loader(
        self,
        rows: Dataset[Any],
        batches: Sampler[list[int]],
        collate: Callable[[Any], dict[str, Tensor]],
    ) -> DataLoader[Any]:
        """Over the rows in these batches, the same in every process: the library would deal batches
        out, and fill up the last ones with rows from the first."""
        loader: DataLoader[Any] = DataLoader(
            rows,
            batch_sampler=batches,
            collate_fn=collate,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[Any] = prepare_data_loader(
            loader, self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared


def run(
    trainer: Trainer,
    *,
    name: str,
    options: TrainOptions,
    watch: Stopwatch,
    steps_per_epoch: int,
    begin: Callable[[], None],
    say: Callable[[str], None],
    watchers: Sequence[TrainerCallback] = (),
    share: Share | None = None,
) -> Outcome:
    """Train to the end, or go on where an attempt of the same name was cut off.

    Called by every process of a group; see processes.py for what the main one alone does.

    name: fingerprint of the run. begin: what is done to the model before the first step, and
    not when an attempt goes on. watchers: told of every step and evaluation; what one of them
    raises ends the run. share: what the run gets of a call, by default `minutes` of the options.
    The checkpoints' folder is left to the caller, who removes it once the model is safe.
    """
    root = Path(str(trainer.args.output_dir))
    start = processes.from_main(lambda: _opened(root, name, options.resume, say))
    if start is not None:
        watch.earlier = start.seconds
        say(f"Going on from step {start.step}, where an earlier attempt was cut off")
    elif processes.is_main():
        begin()

    def planned() -> Plan:
        if start is not None:
            return Plan.read(root)
        made = _planned(trainer, share or Share.of(options), watch, steps_per_epoch, say)
        made.write(root)
        return made

    plan = processes.from_main(planned)
    expected, trainer.args.max_steps = plan.forecast, plan.steps
    budget = TimeBudget(plan.seconds, watch, expected)
    if options.journal is not None:
        Journal(options.journal).write(
            "training",
            from_step=0 if start is None else start.step,
            steps=trainer.args.max_steps,
            metric=trainer.args.metric_for_best_model,
            forecast_minutes=None if expected is None else expected.minutes,
            forecast_memory_mb=None if expected is None else expected.peak_memory_mb,
        )
    _watched(trainer, name, options, watch, budget, say)
    for watcher in watchers:
        trainer.add_callback(watcher)
    trainer.add_callback(processes.InStep())
    processes.reseed(options.seed)
    if start is not None and start.stopped:
        _restore(trainer, start)
    else:
        trainer.train(resume_from_checkpoint=None if start is None else str(start.folder))
    processes.wait()  # the caller may remove checkpoints that another process is still reading
    return outcome_of(trainer, budget, start, expected)


def _opened(root: Path, name: str, resume: bool, say: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint to go on from; what cannot be gone on from is removed."""
    if not root.is_dir():
        return None
    found = find_newest_valid(root, run=name, say=say) if resume else None
    if found is None:
        shutil.rmtree(root)
        return None
    go_back_to(found)
    return found


@dataclass(frozen=True)
class Plan:
    """steps: in all. seconds: that the run may take, None without a limit.

    The schedule of the learning rate hangs on the steps, so an attempt that goes on must not
    measure anew and come to another number.
    """

    steps: int
    forecast: Forecast | None
    seconds: float | None

    @classmethod
    def read(cls, root: Path) -> "Plan":
        """Of the attempt that left its checkpoints in `root`."""
        found = json.loads((root / PLAN).read_text())
        expected = None if found["forecast"] is None else Forecast(**found["forecast"])
        # An attempt of an earlier version of the house noted no seconds.
        return cls(found["steps"], expected, found.get("seconds"))

    def write(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        write_text(root / PLAN, json.dumps(asdict(self)))


def _planned(
    trainer: Trainer,
    share: Share,
    watch: Stopwatch,
    steps_per_epoch: int,
    say: Callable[[str], None],
) -> Plan:
    """As many steps as asked for, or as fit into what the run gets of a call."""
    steps = steps_per_epoch * int(trainer.args.num_train_epochs)
    budget = share.seconds
    if budget is None and steps < FORECAST_FROM_STEPS:
        return Plan(steps, None, None)
    if budget is not None and watch.spent() >= budget:
        # To time steps would take longer than the one that there is.
        say(f"The {budget / 60:.3g} minutes for fine-tuning are over already: it takes one step")
        return Plan(1, None, budget)
    expected = forecast(
        trainer, steps=steps, steps_per_epoch=steps_per_epoch, spent=watch.spent, budget=budget
    )
    say(expected.line())
    if budget is not None:
        fitted = expected.within(budget)
        if fitted.steps < steps:
            say(
                f"The {budget / 60:.3g} minutes for fine-tuning end it at step {fitted.steps} of "
                f"{steps}"
            )
        expected = fitted
    outlook = share.outlook(expected.seconds)
    if outlook is not None:
        say(outlook)
    return Plan(expected.steps, expected, budget)


def _watched(
    trainer: Trainer,
    name: str,
    options: TrainOptions,
    watch: Stopwatch,
    budget: TimeBudget,
    say: Callable[[str], None],
) -> None:
    """Add what stops, saves, shows and records the run."""
    trainer.remove_callback(PrinterCallback)
    for callback in adapter_callbacks(trainer.model):
        trainer.add_callback(callback)
    if trainer.args.load_best_model_at_end:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=options.patience))
    trainer.add_callback(budget)
    trainer.add_callback(processes.AllWritten())
    trainer.add_callback(
        Sealing(
            run=name,
            every=options.checkpoint_minutes * 60,
            spent=watch.spent,
            stopped=budget.stopped,
        )
    )
    trainer.add_callback(Logging())
    trainer.add_callback(EpochLines(str(trainer.args.metric_for_best_model), watch, say))
    if options.journal is not None:
        trainer.add_callback(JournalLines(Journal(options.journal), watch))
    if options.progress if options.progress is not None else on_terminal():
        trainer.add_callback(Bar())
    if options.logdir is not None:
        trainer.add_callback(_tensorboard(options.logdir))


def _tensorboard(logdir: Path) -> TrainerCallback:
    from torch.utils.tensorboard import SummaryWriter  # imports TensorBoard: only where asked for

    return TensorBoardCallback(SummaryWriter(log_dir=str(logdir)))


def _restore(trainer: Trainer, finished: Checkpoint) -> None:
    """Nothing is left to train: take up the state, and the weights of the best checkpoint."""
    trainer.state = TrainerState.load_from_json(str(finished.folder / STATE))
    best = finished.best if trainer.args.load_best_model_at_end else None
    load_learned_state(trainer.model, (best or finished.folder) / WEIGHTS)
