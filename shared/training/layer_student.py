"""A student with a few of its teacher's layers, taught by the teacher's own vectors; no labels.

The layers kept are spread evenly, the last one among them, so that the student begins as an encoder
that already says something. What it must give is everything that a classifier reads of a text
(Encoder.features), not the one vector alone. It may also begin as another, narrower encoder, and
then learns the teacher's views in its own width (student_space.py).

Source: Sanh et al. 2019, DistilBERT, section 2, for the start; Reimers and Gurevych 2020, Making
Monolingual Sentence Embeddings Multilingual, for the squared error of vectors as the loss.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import EvalPrediction, Trainer, TrainingArguments

from shared.errors import ModelError, SettingsError
from shared.inference.runtime import load_embedder
from shared.modeling.encoder import FEATURE_BLOCKS as VIEWS
from shared.modeling.encoder import Encoder
from shared.pretrained import PretrainedEncoder
from shared.training.batches import Collator, LengthGroupedBatches, Rows, tokenise
from shared.training.checkpoints import LearnedCheckpoints
from shared.training.machine import Machine, machine_of
from shared.training.methods import MethodRecipe, parameter_groups
from shared.training.pretraining_stage import Figures, Stage, Trained
from shared.training.progress import Stopwatch
from shared.training.runs import GivenGroups
from shared.training.student_space import student_space

METRIC = "unexplained"
# The learning rate is the better of 3e-4 and 1e-3 (unexplained .258 and .226 after two epochs over
# 1,200 questions of BANKING77).
RECIPE = MethodRecipe(epochs=5, batch_size=32, learning_rate=1e-3, head_learning_rate=1e-3)
MEASURED_AT_ONCE = 128
# Their vectors are held for all epochs: four views of 384 numbers are 6 KB a text, 1.2 GB in all,
# and beside them, while they are turned, those of a teacher of 768 dimensions, 2.4 GB.
MOST_TEXTS = 200_000
# Texts from which the turn of a wider teacher's views is learned: eight for each of 768 dimensions.
SPACE_TEXTS = 6_000


def spread_layers(count: int, kept: int) -> tuple[int, ...]:
    """Which of `count` layers a student of `kept` has: evenly apart, the last one among them.

    >>> spread_layers(6, 3), spread_layers(12, 5)
    ((1, 3, 5), (1, 4, 6, 9, 11))
    """
    return tuple(round((at + 1) * count / kept) - 1 for at in range(kept))


def keep_layers(encoder: Encoder, kept: int, *, name: str | None = None) -> tuple[int, ...]:
    """Take all layers but `kept` out of the encoder, in place; the numbers of those that stay.

    name: of an encoder that is not the teacher itself; all of its layers may stay.

    Raises: SettingsError: there are not so many layers, or no more than that.
        ModelError: an architecture whose layers are not one list.
    """
    transformer: Any = encoder.model
    count = int(transformer.config.num_hidden_layers)
    most = count if name else count - 1
    if not 1 <= kept <= most:
        raise SettingsError(
            f"layers = {kept}: expected 1 to {most}, for {name or 'the teacher'} has {count}"
        )
    for module in transformer.modules():
        for name, inner in module.named_children():
            if isinstance(inner, nn.ModuleList) and len(inner) == count:
                chosen = spread_layers(count, kept)
                setattr(module, name, nn.ModuleList(inner[at] for at in chosen))
                transformer.config.num_hidden_layers = kept
                return chosen
    raise ModelError(f"encoder of the family {transformer.config.model_type!r}: no list of layers")


class DistilObjective(nn.Module):
    """How far the student's views of a text are from the teacher's.

    spread: (views,) mean squared distance of the teacher's views from their own mean over the
    training texts. The loss is the squared distance in that unit, averaged over the views: 0 for
    the teacher itself, 1 for a student that says the same of every text.
    """

    def __init__(self, encoder: Encoder, spread: NDArray[np.float32]) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("spread", torch.from_numpy(spread))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """labels: (batch, views * dim) of the teacher. told: (batch, 2), each text's loss and the
        cosine of its two vectors."""
        found = self.encoder.features(input_ids, attention_mask)
        shape = (len(labels), -1, self.encoder.dim)
        ours, theirs = found.view(shape), labels.view(shape)  # (batch, views, dim)
        errors = (ours - theirs).square().sum(2) / cast(Tensor, self.spread)
        cosines = functional.cosine_similarity(ours[:, 0], theirs[:, 0])
        told = torch.stack([errors.mean(1), cosines], 1).detach()
        return {"loss": errors.mean(), "told": told}


class DistilTrainer(GivenGroups, LearnedCheckpoints, Trainer):  # type: ignore[misc]
    """The library's trainer with batches of similar length."""

    def __init__(self, objective: DistilObjective, rows: Rows, **settings: Any) -> None:
        self.rows = rows
        super().__init__(objective, train_dataset=rows, **settings)

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        batches = LengthGroupedBatches(
            self.rows.lengths, batch_size=self.args.train_batch_size, seed=self.args.seed
        )
        return self.loader(self.rows, batches, self.data_collator)


def distil_layers(
    stage: Stage, layers: int, start: PretrainedEncoder | None = None, space: Path | None = None
) -> Trained:
    """Teach a student of `layers` layers what the stage's encoder says of the stage's texts; write
    it into the stage's folder.

    start: another encoder for the student to begin as; it then learns the teacher's views in its
    own width, and what brings them there is written into the file `space`.

    Raises SettingsError and ModelError as keep_layers and student_space do.
    """
    options = stage.options
    watch = Stopwatch(stage.clock)
    body = stage.encoder() if start is None else replace(stage, pretrained=start).encoder()
    name = None if start is None else start.name
    kept = keep_layers(body, layers, name=name)
    without_dropout(body)
    stage.say(f"Layers {', '.join(str(at + 1) for at in kept)} of {name or 'the teacher'} are kept")
    texts = stage.corpus.train[:MOST_TEXTS]  # in random order
    if len(texts) < len(stage.corpus.train):
        stage.say(f"{len(texts)} of {len(stage.corpus.train)} texts teach it")
    taught, asked = (teacher_features(stage, some) for some in (texts, stage.corpus.held_out))
    if start is not None:
        found = student_space(taught[:SPACE_TEXTS], own_features(body, texts), VIEWS)
        stage.say(
            f"Its {body.dim} dimensions hold {found.kept[0]:.1%} of the spread of the teacher's "
            "vectors"
        )
        taught, asked = found(taught), found(asked)
        if space is not None:
            space.parent.mkdir(parents=True, exist_ok=True)
            found.save(space)
    train = Rows(tokenise(body, texts), taught).by_length()
    held = Rows(tokenise(body, stage.corpus.held_out), asked).by_length()
    objective = DistilObjective(body, view_spread(train.targets, body.dim))
    machine = machine_of(options)
    trainer = DistilTrainer(
        objective,
        train,
        args=stage.arguments(
            TrainingArguments, label_names=["labels"], remove_unused_columns=False
        ),
        groups=parameter_groups(objective, stage.recipe, options),
        eval_dataset=held,
        data_collator=Collator(int(body.tokenizer.pad_token_id)),
        compute_metrics=_figures_of,
    )

    def measured() -> Figures:
        return measure_student(objective, held, machine)

    return stage.run(
        trainer,
        objective,
        body,
        watch=watch,
        steps_per_epoch=math.ceil(len(train) / trainer.args.train_batch_size),
        start=measured,
        measure=measured,
    )


def without_dropout(encoder: Encoder) -> None:
    """The teacher's vectors are without noise, and noise is all that dropout would add here."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def teacher_features(stage: Stage, texts: Sequence[str]) -> NDArray[np.float32]:
    """(len(texts), views * dim) of the teacher, computed here, once."""
    teacher = load_embedder(
        stage.pretrained.path,
        precision="fp32",
        threads=stage.options.threads,
        prefix=stage.pretrained.prefix,
        max_length=stage.options.max_length,
        device=stage.options.device,
    )
    return teacher.features(texts)


def own_features(student: Encoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """(SPACE_TEXTS or fewer, views * dim) of the first texts by a student that has learned
    nothing."""
    student.eval()
    found = []
    with torch.inference_mode():
        for at in range(0, min(SPACE_TEXTS, len(texts)), MEASURED_AT_ONCE):
            batch = student.tokens(list(texts[at : min(at + MEASURED_AT_ONCE, SPACE_TEXTS)]))
            found.append(student.features(**batch).numpy())
    return np.concatenate(found)


def view_spread(features: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """(n, views * dim) -> (views,): mean squared distance of each view from its mean.

    >>> view_spread(np.float32([[1, 5], [3, 9]]), 1).tolist()
    [1.0, 4.0]
    """
    views = features.reshape(len(features), -1, dim)
    spread = np.square(views - views.mean(0)).sum(2).mean(0)
    return np.asarray(np.maximum(spread, 1e-12), dtype=np.float32)


def measure_student(objective: DistilObjective, rows: Rows, machine: Machine) -> Figures:
    """unexplained: mean loss of a text; cosine: mean of the two vectors of a text."""
    objective.to(machine.device).eval()
    collate = Collator(int(objective.encoder.tokenizer.pad_token_id))
    told: list[NDArray[np.float32]] = []
    with torch.no_grad(), machine.autocast():
        for start in range(0, len(rows), MEASURED_AT_ONCE):
            some = [rows[at] for at in range(start, min(start + MEASURED_AT_ONCE, len(rows)))]
            batch = {name: value.to(machine.device) for name, value in collate(some).items()}
            told.append(objective(**batch)["told"].float().cpu().numpy())
    return _figures(np.concatenate(told))


def _figures_of(prediction: EvalPrediction) -> Figures:
    return _figures(np.asarray(prediction.predictions))


def _figures(told: NDArray[np.float32]) -> Figures:
    loss, cosine = told.mean(0, dtype=np.float64)
    return {METRIC: float(loss), "cosine": float(cosine)}
