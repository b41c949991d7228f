"""What a run will take, measured before it starts: a few real steps here, then undone."""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Trainer

from shared.training.machine import peak_memory_mb

# Batches looked at for their sizes, of which the probe times a few from the smallest to the
# largest: the time of a step is close to linear in the tokens of its batch.
SAMPLED_BATCHES = 64
MOST_STEPS, FEWEST_STEPS = 30, 4
WARM_UP_STEPS = 2  # the first steps compile kernels and make the optimiser's state
PROBED_SHARE = 0.05  # of the run, at most
# A checkpoint's share of an evaluation's time is small; a budget is met rather than just missed.
BUDGET_MARGIN = 0.93


@dataclass(frozen=True)
class Forecast:
    """steps: of the whole run. evaluation_seconds: one pass over the validation part.

    peak_memory_mb: MiB this process holds at most while it trains, on the device that trains.
    probed: steps that were timed.
    """

    steps: int
    steps_per_epoch: int
    seconds_per_step: float
    evaluation_seconds: float
    peak_memory_mb: float
    probed: int

    @property
    def evaluations(self) -> int:
        return math.ceil(self.steps / self.steps_per_epoch)

    @property
    def seconds(self) -> float:
        return self.steps * self.seconds_per_step + self.evaluations * self.evaluation_seconds

    @property
    def minutes(self) -> float:
        return self.seconds / 60

    def within(self, seconds: float) -> "Forecast":
        """The same run with as many steps as fit into `seconds`, at least one."""
        if self.seconds <= seconds:
            return self
        each = self.seconds_per_step + self.evaluation_seconds / self.steps_per_epoch
        fit = int((seconds * BUDGET_MARGIN - self.evaluation_seconds) / each)
        return replace(self, steps=min(self.steps, max(1, fit)))

    def line(self) -> str:
        epochs = self.steps / self.steps_per_epoch
        return (
            f"Forecast: {self.minutes:.1f} minutes for {self.steps} steps ({epochs:.3g} epochs), "
            f"{self.peak_memory_mb / 1024:.1f} GiB of memory at most"
        )


def forecast(trainer: Trainer, *, steps: int, steps_per_epoch: int) -> Forecast:
    """Time a few training steps and an evaluation batch of `trainer`; the model is as before.

    The trainer must not have begun to train. Weights, random generators and the trainer's
    optimiser are put back, so that the run is the same with a forecast and without.
    """
    probed = min(MOST_STEPS, max(FEWEST_STEPS, int(steps * PROBED_SHARE)))
    device = trainer.args.device
    with _undone(trainer):
        batches = sorted(islice(trainer.get_train_dataloader(), SAMPLED_BATCHES), key=_tokens)
        mean = float(np.mean([_tokens(batch) for batch in batches]))
        # The largest first: it warms up, and shows the memory that the run will need.
        chosen = [batches[i] for i in np.linspace(len(batches) - 1, 0, probed).round().astype(int)]
        trainer.create_optimizer()
        timed = [timed_step(trainer, batch) for batch in [batches[-1]] * WARM_UP_STEPS + chosen]
        memory = peak_memory_mb(device)
        started = perf_counter()
        _evaluate_batch(trainer, chosen[len(chosen) // 2])
        evaluation = perf_counter() - started
    share = _tokens(chosen[len(chosen) // 2]) / mean
    per_step = _at_mean([_tokens(b) for b in chosen], timed[WARM_UP_STEPS:], mean)
    rows = trainer.args.per_device_train_batch_size
    passes = _evaluation_rows(trainer) / rows
    return Forecast(steps, steps_per_epoch, per_step, evaluation / share * passes, memory, probed)


def timed_step(trainer: Trainer, batch: dict[str, Any]) -> float:
    """Seconds of one training step: forward, backward, clipping, optimiser.

    The trainer's optimiser must have been created.
    """
    started = perf_counter()
    trainer.model.train()
    inputs = trainer._prepare_inputs(dict(batch))
    with torch.autocast(trainer.args.device.type, torch.bfloat16, enabled=trainer.args.bf16):
        loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
    trainer.optimizer.step()
    trainer.model.zero_grad()
    _wait_for(trainer.args.device)
    return perf_counter() - started


def _evaluate_batch(trainer: Trainer, batch: dict[str, Any]) -> None:
    trainer.model.eval()
    inputs = trainer._prepare_inputs(dict(batch))
    with (
        torch.no_grad(),
        torch.autocast(trainer.args.device.type, torch.bfloat16, enabled=trainer.args.bf16),
    ):
        trainer.compute_loss(trainer.model, inputs)
    _wait_for(trainer.args.device)


def _at_mean(tokens: list[int], seconds: list[float], mean: float) -> float:
    """Seconds of a step with the mean number of tokens, from a line through the timed steps."""
    level = float(np.mean(seconds))
    if len(set(tokens)) < 2:
        return level
    slope = max(0.0, float(np.polyfit(tokens, seconds, 1)[0]))
    return max(min(seconds), level + slope * (mean - float(np.mean(tokens))))


def _tokens(batch: dict[str, Any]) -> int:
    """Padded tokens of a batch, over all its columns of texts; rows where it holds vectors."""
    ids = [value.numel() for name, value in batch.items() if name.endswith("input_ids")]
    return sum(ids) or max(len(v) for v in batch.values() if isinstance(v, Tensor))


def _evaluation_rows(trainer: Trainer) -> int:
    """Rows of one evaluation: of the validation part, or as many texts as an evaluator encodes."""
    rows = getattr(trainer, "evaluation_rows", None)
    return int(rows) if rows is not None else len(trainer.eval_dataset or ())


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _undone(trainer: Trainer) -> Iterator[None]:
    """Put weights, random generators, mode and optimiser back when the block is over."""
    learned = {
        n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad
    }
    generators = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    mode = trainer.model.training
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in trainer.model.named_parameters():
                if name in learned:
                    parameter.copy_(learned[name])
        trainer.optimizer = None
        trainer.model.zero_grad(set_to_none=True)
        trainer.model.train(mode)
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        torch.set_rng_state(generators[2])
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)
