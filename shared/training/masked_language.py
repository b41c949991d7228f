"""Masked language modelling: an encoder learns the words of a house from its unlabelled texts.

An encoder for sentence vectors comes without the head that guesses words. A fresh one is put on,
its output layer tied to the encoder's token table, and learns alone first: without that, its random
weights would first undo the encoder, and the figures before would be those of a head that knows
nothing. They are those of the encoder as it was under a head that has learned for a while.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import EvalPrediction, Trainer, TrainingArguments

from shared.errors import DataError, ModelError
from shared.modeling.encoder import Encoder
from shared.training.checkpoints import LearnedCheckpoints
from shared.training.machine import Machine, machine_of
from shared.training.masking import (
    IGNORED,
    MaskedBatches,
    MaskedCollator,
    MaskedRows,
    Vocabulary,
    word_rows,
)
from shared.training.methods import MethodRecipe, parameter_groups
from shared.training.options import TrainOptions
from shared.training.pretraining_stage import Figures, Stage, Trained
from shared.training.progress import Stopwatch
from shared.training.runs import GivenGroups

METRIC = "masked_loss"
# The field's customs (Gururangan et al. 2020, Don't Stop Pretraining, table 14), not measured here.
RECIPE = MethodRecipe(epochs=3, batch_size=32, learning_rate=1e-4, head_learning_rate=1e-3)
HEAD_STEPS = 300  # of the head alone, at most
HEAD_RATE = 3e-3
HEAD_SHARE = 0.15  # of the budget of minutes, at most
# Logits are (masked pieces, vocabulary): of 32 texts of 128 pieces 75 MB with 30,000 words.
MEASURED_AT_ONCE = 32


class WordHead(nn.Module):
    """Token states -> logits over the vocabulary, by the encoder's own token table.

    Source: Devlin et al. 2019, as in the authors' release: dense, GELU, normalisation, table.
    """

    def __init__(self, dim: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """(n, dim) and (vocabulary, dim) -> (n, vocabulary)"""
        shaped = self.norm(functional.gelu(self.dense(states)))
        return functional.linear(shaped, table, self.bias)


class MaskedObjective(nn.Module):
    """The encoder, its head, and the mean loss in nats of the pieces to guess."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        table = self.table
        if table.shape[1] != encoder.dim:
            raise ModelError(
                f"the encoder's token table is {table.shape[1]} wide and its states "
                f"{encoder.dim}: masked language modelling needs equal widths; use the objective "
                "contrastive"
            )
        # Under this name the head learns at its own rate (methods.parameter_groups).
        self.heads = WordHead(encoder.dim, table.shape[0])

    @property
    def table(self) -> Tensor:
        """(vocabulary, width)"""
        transformer: Any = self.encoder.model
        return cast(Tensor, transformer.get_input_embeddings().weight)

    def states(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        """(m, dim) of the m pieces to guess, row by row."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        states: Tensor = self.encoder.model(**given).last_hidden_state
        return states[labels != IGNORED]

    def losses(self, states: Tensor, labels: Tensor) -> Tensor:
        """(m,) of each piece to guess."""
        logits = self.heads(states, self.table)  # (m, vocabulary)
        return functional.cross_entropy(logits.float(), labels[labels != IGNORED], reduction="none")

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """All (batch, length). sums: (batch, 2), of each row's losses and of its guesses."""
        losses = self.losses(self.states(input_ids, attention_mask, labels), labels)
        row = (labels != IGNORED).nonzero()[:, 0]  # (m,)
        told = torch.stack([losses.detach(), torch.ones_like(losses)], 1)  # (m, 2)
        sums = told.new_zeros(len(labels), 2).index_add(0, row, told)
        return {"loss": losses.mean(), "sums": sums}


class MaskedTrainer(GivenGroups, LearnedCheckpoints, Trainer):  # type: ignore[misc]
    """The library's trainer over rows whose words are hidden anew in each epoch."""

    def __init__(self, objective: MaskedObjective, rows: MaskedRows, **settings: Any) -> None:
        self.rows = rows
        super().__init__(objective, train_dataset=rows, **settings)

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        batches = MaskedBatches(
            self.rows.lengths, batch_size=self.args.train_batch_size, seed=self.args.seed
        )
        return self.loader(self.rows, batches, self.data_collator)


def pretrain_masked(stage: Stage) -> Trained:
    """Teach the stage's encoder to guess hidden words; write it, without the head, into the
    stage's folder.

    Raises: DataError: texts without words. ModelError: no mask token, or a factorised token table.
    """
    options = stage.options
    watch = Stopwatch(stage.clock)
    body = stage.encoder()
    vocabulary = Vocabulary.of(body)
    objective = MaskedObjective(body)
    train, held = (
        MaskedRows(word_rows(body, texts), vocabulary, seed=options.seed)
        for texts in (stage.corpus.train, stage.corpus.held_out)
    )
    if not len(train) or not len(held):
        raise DataError("the texts hold no word that the encoder's tokenizer knows")
    machine = machine_of(options)
    trainer = MaskedTrainer(
        objective,
        train,
        args=stage.arguments(
            TrainingArguments,
            label_names=["labels"],
            remove_unused_columns=False,
            per_device_eval_batch_size=MEASURED_AT_ONCE,
        ),
        groups=parameter_groups(objective, stage.recipe, options),
        eval_dataset=held,
        data_collator=MaskedCollator(int(body.tokenizer.pad_token_id)),
        compute_metrics=_figures_of,
    )

    def start() -> Figures:
        limit = math.inf if options.minutes is None else HEAD_SHARE * 60 * options.minutes
        steps = warm_head(objective, train, options, going_on=lambda: watch.spent() < limit)
        figures = measure_masked(objective, held, machine)
        stage.say(
            f"{steps} steps of the fresh head alone: held-out loss {figures[METRIC]:.3f}, "
            f"perplexity {figures['perplexity']:.1f}"
        )
        return figures

    return stage.run(
        trainer,
        objective,
        body,
        watch=watch,
        steps_per_epoch=math.ceil(len(train) / trainer.args.train_batch_size),
        start=start,
        measure=lambda: measure_masked(objective, held, machine),
    )


def warm_head(
    objective: MaskedObjective,
    rows: MaskedRows,
    options: TrainOptions,
    *,
    going_on: Callable[[], bool] = lambda: True,
) -> int:
    """Teach the head alone on the encoder as it is; the number of steps, HEAD_STEPS at most.

    going_on: asked after each step.
    """
    machine = machine_of(options)
    objective.to(machine.device).eval()
    optimiser = torch.optim.AdamW(objective.heads.parameters(), lr=HEAD_RATE)
    collate = MaskedCollator(int(objective.encoder.tokenizer.pad_token_id))
    batches = MaskedBatches(
        rows.lengths, batch_size=options.batch_size or RECIPE.batch_size, seed=options.seed
    )
    steps = 0
    while steps < HEAD_STEPS:
        for keys in batches:
            batch = _moved(collate([rows[key] for key in keys]), machine)
            with torch.no_grad(), machine.autocast():
                states = objective.states(**batch)
            with machine.autocast():
                loss = objective.losses(states, batch["labels"]).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            steps += 1
            if steps == HEAD_STEPS or not going_on():
                break
        else:
            batches.set_epoch(batches.epoch + 1)
            continue
        break
    objective.zero_grad(set_to_none=True)
    return steps


def measure_masked(objective: MaskedObjective, rows: MaskedRows, machine: Machine) -> Figures:
    """Mean loss in nats of a hidden piece, always the same ones, and perplexity = exp(loss)."""
    objective.to(machine.device).eval()
    collate = MaskedCollator(int(objective.encoder.tokenizer.pad_token_id))
    sums = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad(), machine.autocast():
        for start in range(0, len(rows), MEASURED_AT_ONCE):
            keys = range(start, min(start + MEASURED_AT_ONCE, len(rows)))
            batch = _moved(collate([rows[key] for key in keys]), machine)
            sums += objective(**batch)["sums"].double().sum(0).cpu()
    return _figures(float(sums[0] / sums[1]))


def _moved(batch: dict[str, Tensor], machine: Machine) -> dict[str, Tensor]:
    return {name: value.to(machine.device) for name, value in batch.items()}


def _figures_of(prediction: EvalPrediction) -> Figures:
    losses, guesses = prediction.predictions.sum(0)
    return _figures(float(losses / guesses))


def _figures(loss: float) -> Figures:
    return {METRIC: loss, "perplexity": math.exp(loss)}
