"""Fine-tuning a classifier: labelled examples and an encoder in, a TextModel out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    EvalPrediction,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from shared.errors import DataError
from shared.modeling.encoder import Encoder
from shared.modeling.layer_split import LayerSplit
from shared.modeling.text_model import TextModel
from shared.pretrained import PretrainedEncoder
from shared.training import processes
from shared.training.adapters import save_trained
from shared.training.batches import (
    Collator,
    HeadColumns,
    HeadTask,
    LengthGroupedBatches,
    Rows,
    columns_of,
    encode,
    merge,
    tokenise,
)
from shared.training.budget import Share
from shared.training.checkpoints import LearnedCheckpoints
from shared.training.layer_cache import CachedRows, cached, upper_vectors
from shared.training.linear_probe import START_STRENGTH, choose_strength, fit_heads
from shared.training.machine import machine_of, training_conditions
from shared.training.method_choice import choose_method, has_few_labels, settled
from shared.training.methods import METHODS, apply_method, parameter_groups, recipe_for
from shared.training.objectives import HeadsObjective, head_scales, label_weights, measure
from shared.training.options import Evaluation, FineTuned, Method, TrainOptions
from shared.training.progress import Stopwatch
from shared.training.run_results import Outcome, checkpoints_of, conclude, count_parameters
from shared.training.runs import GivenGroups, fingerprint, run, training_arguments
from shared.training.supervised_contrastive import PairedBatches, pairing_keys

__all__ = [
    "Evaluation",
    "FineTuned",
    "HeadTask",
    "Method",
    "TrainOptions",
    "finetune_classifier",
]


def _silent(_: str) -> None:
    return


def finetune_classifier(
    tasks: Sequence[HeadTask],
    *,
    encoder: PretrainedEncoder,
    options: TrainOptions,
    folder: Path,
    say: Callable[[str], None] = _silent,
    clock: Callable[[], float] = time.monotonic,
    watchers: Sequence[TrainerCallback] = (),
    share: Share | None = None,
) -> FineTuned:
    """Train one encoder with a head for each task; write the TextModel into `folder`.

    The weights kept are those of the evaluation with the best `options.metric` on the tasks'
    validation parts, or the last ones (`options.keep`). A run that was cut off goes on from its
    last whole checkpoint when it is called again with the same tasks, options and folder, and ends
    with the same weights. The main process of a group calls this, the others `take_part`.
    watchers: told of every step and evaluation, unless the method is frozen and has none. share:
    what this run gets of a call, by default `minutes` of the options.

    Raises:
        DataError: no task, two heads of one name, an empty part, a label without training rows
            or one that the head does not have.
        ModelError: the encoder is broken, or the method does not know its architecture.
        SettingsError: `contrastive` asked for where it cannot be computed.
    """
    watch = Stopwatch(clock)
    check_tasks(tasks)
    share = share or Share.of(options)
    choice = choose_method(
        options.method, smallest_label=smallest_label(tasks), minutes=share.minutes
    )
    options = settled(options, few=few_labels(tasks), pairable=pairable(tasks))
    say(f"Method: {choice.method.value}, {choice.reason}")
    if few_labels(tasks) and processes.world_size() > 1 and not METHODS[choice.method].cached:
        say("Few rows a label: one process would pull rows of a label together, several do not")
    if options.contrastive and not METHODS[choice.method].cached:
        say(f"Rows of a label are pulled together as well, with weight {options.contrastive:g}")
    with training_conditions(options):
        model = new_model(tasks, encoder, choice.method, options)
        counts = count_parameters(model)
        lesson = prepare(model, tasks, options)
        if METHODS[choice.method].cached:
            outcome = learn_heads(lesson, options, say)
        else:
            place = checkpoints_of(folder, options)
            given = Assignment(tuple(tasks), encoder, choice.method, options, place, share)
            processes.from_main(lambda: given)
            outcome = teach(lesson, given, watch, say, watchers)
        save_trained(model, encoder, folder)
    return conclude(folder, choice, outcome, options, watch, options.metric, counts)


@dataclass(frozen=True)
class Assignment:
    """What the main process tells the others: everything they need to take part."""

    tasks: tuple[HeadTask, ...]
    encoder: PretrainedEncoder
    method: Method
    options: TrainOptions
    checkpoints: Path
    share: Share

    @property
    def in_silence(self) -> TrainOptions:
        """The options of a process that shows nothing and keeps no record."""
        return replace(self.options, logdir=None, journal=None, tracking="none", progress=False)


def take_part(clock: Callable[[], float] = time.monotonic) -> None:
    """In every process but the main one: its part of one fine-tuning after the other, until that
    has no more (`processes.from_main` of None)."""
    while True:
        given: Assignment | None = processes.from_main(_nothing)
        if given is None:
            return
        options = given.in_silence
        with training_conditions(options):
            model = new_model(given.tasks, given.encoder, given.method, options)
            lesson = prepare(model, given.tasks, options)
            teach(lesson, replace(given, options=options), Stopwatch(clock), _silent)


def _nothing() -> Assignment | None:
    return None


def teach(
    lesson: "Lesson",
    given: Assignment,
    watch: Stopwatch,
    say: Callable[[str], None],
    watchers: Sequence[TrainerCallback] = (),
) -> Outcome:
    """The steps, in every process."""
    options = given.options
    lesson = lesson.with_lower_states(options, say)
    trainer = new_trainer(lesson, given.method, options, given.checkpoints)
    return run(
        trainer,
        name=fingerprint(options, given.encoder.sha256, given.method, *tasks_content(given.tasks)),
        options=options,
        watch=watch,
        steps_per_epoch=len(trainer.batches()),
        begin=lambda: start_heads(lesson, options),
        say=say,
        watchers=watchers,
        share=given.share,
    )


@dataclass(frozen=True)
class Lesson:
    """What is taught and measured: rows of token ids with the targets of all heads."""

    objective: HeadsObjective
    train: Rows
    validation: Rows

    @property
    def encoder(self) -> Encoder:
        return self.objective.model.encoder

    def vectors(self, rows: Rows, options: TrainOptions) -> tuple[Tensor, Tensor]:
        """(n, dim) vectors of the encoder as it is now, and the (n, width) targets."""
        if isinstance(rows, CachedRows) and self.objective.split is not None:
            self.encoder.to(machine_of(options).device).eval()
            found = upper_vectors(self.objective.split, rows, machine=machine_of(options))
        else:
            vectors = encode(self.encoder, rows.inputs, machine=machine_of(options))
            found = torch.from_numpy(vectors)
        return found, torch.from_numpy(rows.targets)

    def with_lower_states(self, options: TrainOptions, say: Callable[[str], None]) -> "Lesson":
        """The same lesson, with the output of the layers that do not learn computed beforehand."""
        split = self.objective.split
        if split is None:
            return self
        machine = machine_of(options)
        self.encoder.to(machine.device)
        train, validation = cached(
            (self.train, self.validation),
            split,
            dim=self.encoder.dim,
            pad_token_id=int(self.encoder.tokenizer.pad_token_id),
            machine=machine,
            budget_mb=options.layer_cache_mb,
            say=say,
        )
        return replace(self, train=train, validation=validation)


class HeadsTrainer(GivenGroups, LearnedCheckpoints, Trainer):  # type: ignore[misc]
    """The library's trainer with batches of our own and a learning rate for each layer."""

    def __init__(self, objective: HeadsObjective, rows: Rows, **settings: Any) -> None:
        self.objective = objective
        self.rows = rows
        super().__init__(objective, train_dataset=rows, **settings)

    def batches(self) -> LengthGroupedBatches | PairedBatches:
        """Of one process or of all together; in pairs where the loss compares the rows."""
        lengths, size, seed = self.rows.lengths, self.args.train_batch_size, self.args.seed
        if not self.objective.contrastive:
            return LengthGroupedBatches(lengths, batch_size=size, seed=seed)
        keys = pairing_keys(self.objective.columns, self.rows.targets)
        return PairedBatches(keys, lengths, batch_size=size, seed=seed)

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        # Each process takes its rows of every batch.
        part = (processes.rank(), processes.world_size())
        collate = Collator(self.data_collator.pad_token_id, part=part)
        return self.loader(self.rows, self.batches(), collate)


def check_tasks(tasks: Sequence[HeadTask]) -> None:
    """Raises DataError for what cannot be learned or measured."""
    if not tasks:
        raise DataError("nothing to learn: at least one head with examples is needed")
    names = [task.spec.name for task in tasks]
    for task in tasks:
        name = task.spec.name
        if names.count(name) > 1:
            raise DataError(f"two heads are called {name!r}: each needs a name of its own")
        if not len(task.train) or not len(task.validation):
            part = "validation" if len(task.train) else "training"
            raise DataError(f"head {name!r} has an empty {part} part")
        missing = sorted(set(task.spec.labels) - set(task.train.names))
        if missing:
            raise DataError(
                f"head {name!r}: the label {missing[0]!r} has no row in the training part; "
                "leave it out of the head or give it examples"
            )


def smallest_label(tasks: Sequence[HeadTask]) -> int:
    """Training rows of the rarest label of any head."""
    return min(int(task.train.targets(task.spec.labels).sum(0).min()) for task in tasks)


def few_labels(tasks: Sequence[HeadTask]) -> bool:
    """Whether every head has few training rows a label."""
    return all(has_few_labels(len(task.train), len(task.spec.labels)) for task in tasks)


def pairable(tasks: Sequence[HeadTask]) -> bool:
    """Whether rows can be told to be of one label, in one process that sees the whole batch."""
    return processes.world_size() == 1 and any(task.spec.kind == "single" for task in tasks)


def new_model(
    tasks: Sequence[HeadTask], encoder: PretrainedEncoder, method: Method, options: TrainOptions
) -> TextModel:
    """The pretrained encoder, prepared for the method, with a fresh head for each task."""
    set_seed(options.seed)
    body = Encoder.from_pretrained(encoder.path, encoder.prefix, options.max_length)
    apply_method(body, method, options)
    return TextModel(body, [task.spec for task in tasks], dropout=options.dropout)


def prepare(model: TextModel, tasks: Sequence[HeadTask], options: TrainOptions) -> Lesson:
    """Tokenise the tasks' rows, each distinct text once for all heads, and weigh the losses."""
    columns = columns_of([task.spec for task in tasks])
    train, held = (
        Rows(tokenise(model.encoder, texts), targets)
        for texts, targets in (
            merge(columns, [task.train for task in tasks]),
            merge(columns, [task.validation for task in tasks]),
        )
    )
    objective = HeadsObjective(
        model,
        columns,
        scales=head_scales(columns, train.targets, [task.weight for task in tasks]),
        label_weights=[label_weights(h, train.targets, options.class_weights) for h in columns],
        label_smoothing=options.label_smoothing,
        split=LayerSplit(model.encoder, options.freeze_layers) if options.freeze_layers else None,
        contrastive=options.contrastive or 0.0,
    )
    return Lesson(objective, train, held.by_length())


def start_heads(lesson: Lesson, options: TrainOptions) -> None:
    """Begin the heads where the pretrained vectors separate the labels."""
    if options.warm_start:
        fit_heads(lesson.objective, *lesson.vectors(lesson.train, options), strength=START_STRENGTH)


def learn_heads(lesson: Lesson, options: TrainOptions, say: Callable[[str], None]) -> Outcome:
    """The whole of the method frozen: vectors once, then the best strength for each head."""
    fits = choose_strength(
        lesson.objective,
        lesson.vectors(lesson.train, options),
        lesson.vectors(lesson.validation, options),
        metric=options.metric,
    )
    for fit in fits:
        say(f"strength {fit.strength:g}: {options.metric} {fit.metrics[options.metric]:.3f}")
    best = max(range(len(fits)), key=lambda at: fits[at].metrics[options.metric])
    return Outcome(
        best_metric=fits[best].metrics[options.metric],
        best_step=best + 1,
        steps=len(fits),
        stopped_because=f"all {len(fits)} strengths are solved",
        history=tuple(
            Evaluation(at, 0.0, fit.loss, fit.metrics | {"strength": fit.strength})
            for at, fit in enumerate(fits, start=1)
        ),
        forecast=None,
        resumed_at_step=None,
    )


def new_trainer(
    lesson: Lesson, method: Method, options: TrainOptions, checkpoints: Path
) -> HeadsTrainer:
    """A trainer over the lesson's rows, ready to run."""
    recipe = recipe_for(method, lesson.encoder.dim)
    arguments = training_arguments(
        TrainingArguments,
        recipe,
        options,
        folder=checkpoints,
        metric=options.metric,
        label_names=["labels"],
        remove_unused_columns=False,
    )
    return HeadsTrainer(
        lesson.objective,
        lesson.train,
        args=arguments,
        groups=parameter_groups(lesson.objective, recipe, options),
        eval_dataset=lesson.validation,
        data_collator=Collator(int(lesson.encoder.tokenizer.pad_token_id)),
        compute_metrics=_metrics_of(lesson.objective.columns),
    )


def _metrics_of(columns: Sequence[HeadColumns]) -> Callable[[EvalPrediction], dict[str, float]]:
    def metrics(prediction: EvalPrediction) -> dict[str, float]:
        return measure(columns, prediction.predictions, prediction.label_ids)

    return metrics


def tasks_content(tasks: Sequence[HeadTask]) -> list[object]:
    """What of the tasks decides the weights."""
    return [
        (task.spec, task.weight, part.texts, part.labels)
        for task in tasks
        for part in (task.train, task.validation)
    ]
