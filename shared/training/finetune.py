"""Fine-tuning a classifier: labelled examples and an encoder in, the best checkpoint out."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from transformers import EvalPrediction, Trainer, TrainingArguments, set_seed

from shared.errors import DataError
from shared.modeling.encoder import Encoder
from shared.modeling.text_model import TextModel
from shared.pretrained import PretrainedEncoder
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
from shared.training.checkpoints import LearnedCheckpoints
from shared.training.machine import quiet_libraries, threads_limited
from shared.training.methods import (
    METHODS,
    apply_method,
    choose_method,
    merge_adapter,
    parameter_groups,
)
from shared.training.objectives import HeadsObjective, head_scales, label_weights, measure
from shared.training.options import Evaluation, FineTuned, Method, TrainOptions
from shared.training.runs import (
    GivenGroups,
    Stopwatch,
    checkpoints_of,
    conclude,
    count_parameters,
    fingerprint,
    run,
    training_arguments,
)

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
) -> FineTuned:
    """Train one encoder with a head for each task; write the best TextModel into `folder`.

    The weights kept are those of the evaluation with the best `options.metric` on the tasks'
    validation parts. A run that was cut off goes on from its last whole checkpoint when it is
    called again with the same tasks, options and folder, and ends with the same weights.

    Raises:
        DataError: no task, two heads of one name, an empty part, a label without training rows
            or one that the head does not have.
        ModelError: the encoder is broken, or the method does not know its architecture.
    """
    watch = Stopwatch(clock)
    check_tasks(tasks)
    choice = choose_method(
        options.method, smallest_label=smallest_label(tasks), minutes=options.minutes
    )
    say(f"Method: {choice.method.value}, {choice.reason}")
    with threads_limited(options.threads), quiet_libraries(bars=False):
        model = new_model(tasks, encoder, choice.method, options)
        counts = count_parameters(model)
        trainer = new_trainer(model, tasks, choice.method, options, checkpoints_of(folder, options))
        outcome = run(
            trainer,
            name=fingerprint(options, encoder.sha256, choice.method, *tasks_content(tasks)),
            options=options,
            watch=watch,
            steps_per_epoch=math.ceil(len(trainer.rows) / trainer.args.train_batch_size),
            probe=not METHODS[choice.method].cached,
            say=say,
        )
        merge_adapter(model.encoder)
        model.to("cpu").save(folder)
    return conclude(folder, choice, outcome, options, watch, options.metric, counts)


class HeadsTrainer(GivenGroups, LearnedCheckpoints, Trainer):  # type: ignore[misc]
    """The library's trainer with length-grouped batches and a learning rate for each layer."""

    def __init__(self, objective: HeadsObjective, rows: Rows, **settings: Any) -> None:
        self.rows = rows
        super().__init__(objective, train_dataset=rows, **settings)

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        batches = LengthGroupedBatches(
            self.rows.lengths, batch_size=self.args.train_batch_size, seed=self.args.seed
        )
        loader = DataLoader(
            self.rows,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)


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


def new_model(
    tasks: Sequence[HeadTask], encoder: PretrainedEncoder, method: Method, options: TrainOptions
) -> TextModel:
    """The pretrained encoder, prepared for the method, with a fresh head for each task."""
    set_seed(options.seed)
    body = Encoder.from_pretrained(encoder.path, encoder.prefix, options.max_length)
    apply_method(body, method, options)
    return TextModel(body, [task.spec for task in tasks])


def new_trainer(
    model: TextModel,
    tasks: Sequence[HeadTask],
    method: Method,
    options: TrainOptions,
    checkpoints: Path,
) -> HeadsTrainer:
    """A trainer over the tasks' rows, ready to run."""
    recipe = METHODS[method]
    columns = columns_of([task.spec for task in tasks])
    arguments = training_arguments(
        TrainingArguments,
        recipe,
        options,
        folder=checkpoints,
        metric=options.metric,
        label_names=["labels"],
        remove_unused_columns=False,
    )
    train = _rows(model.encoder, columns, [task.train for task in tasks], arguments, recipe.cached)
    held = _rows(
        model.encoder, columns, [task.validation for task in tasks], arguments, recipe.cached
    )
    objective = HeadsObjective(
        model,
        columns,
        scales=head_scales(columns, train.targets, [task.weight for task in tasks]),
        label_weights=[label_weights(h, train.targets, options.class_weights) for h in columns],
        label_smoothing=options.label_smoothing,
    )
    return HeadsTrainer(
        objective,
        train,
        args=arguments,
        groups=parameter_groups(objective, recipe, options),
        eval_dataset=held.by_length(),
        data_collator=Collator(int(model.encoder.tokenizer.pad_token_id)),
        compute_metrics=_metrics_of(columns),
    )


def _rows(
    encoder: Encoder,
    columns: Sequence[HeadColumns],
    parts: Sequence[Any],
    arguments: TrainingArguments,
    cached: bool,
) -> Rows:
    """Token ids with targets; vectors in their place where the encoder will not change."""
    texts, targets = merge(columns, parts)
    ids = tokenise(encoder, texts)
    if not cached:
        return Rows(ids, targets)
    return Rows(encode(encoder, ids, device=arguments.device, bf16=arguments.bf16), targets)


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
