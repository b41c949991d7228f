"""What a run will take, measured before it starts: a few real steps here, then undone."""

import math
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Trainer

from shared.training.checkpoints import WEIGHTS, flush_and_hash, learned_state
from shared.training.machine import peak_memory_mb

# Batches looked at for their sizes, of which the probe times a few from the smallest to the
# largest: the time of a step is close to linear in the tokens of its batch. So many that the mean
# of their sizes is within a few per cent of the epoch's.
SAMPLED_BATCHES = 256
MOST_STEPS, FEWEST_STEPS = 30, 4
WARM_UP_STEPS = 2  # the first steps compile kernels and make the optimiser's state
PROBED_SHARE = 0.08  # of the run, at most
PROBED_BUDGET = 0.1  # of a budget: its minutes are for learning, so slow steps are timed less often
EVALUATION_BATCHES = 3  # timed of one evaluation, the first of them twice
BUDGET_MARGIN = 0.93  # a budget is met rather than just missed


@dataclass(frozen=True)
class Forecast:
    """steps: of the whole run. evaluation_seconds: one pass over the validation part.

    peak_memory_mb: MiB this process holds at most while it trains, on the device that trains.
    probed: steps that were timed. checkpoint_seconds: one, written, flushed and hashed; there is
    one after each evaluation. spent_seconds: of the run before its first step, probe included.
    """

    steps: int
    steps_per_epoch: int
    seconds_per_step: float
    evaluation_seconds: float
    peak_memory_mb: float
    probed: int
    checkpoint_seconds: float = 0.0
    spent_seconds: float = 0.0

    @property
    def evaluations(self) -> int:
        return math.ceil(self.steps / self.steps_per_epoch)

    @property
    def seconds(self) -> float:
        """Of the whole run, from the call to the model it hands back."""
        stops = self.evaluations * (self.evaluation_seconds + self.checkpoint_seconds)
        return self.spent_seconds + self.steps * self.seconds_per_step + stops

    @property
    def minutes(self) -> float:
        return self.seconds / 60

    def within(self, seconds: float) -> "Forecast":
        """The same run with as many steps as fit into `seconds` in all, at least one."""
        if self.seconds <= seconds:
            return self
        stop = self.evaluation_seconds + self.checkpoint_seconds
        each = self.seconds_per_step + stop / self.steps_per_epoch
        fit = int(((seconds - self.spent_seconds) * BUDGET_MARGIN - stop) / each)
        return replace(self, steps=min(self.steps, max(1, fit)))

    def line(self) -> str:
        epochs = self.steps / self.steps_per_epoch
        return (
            f"Forecast of fine-tuning: {self.minutes:.1f} minutes for {self.steps} steps "
            f"({epochs:.3g} epochs), {self.peak_memory_mb / 1024:.1f} GiB of memory at most"
        )


def forecast(
    trainer: Trainer,
    *,
    steps: int,
    steps_per_epoch: int,
    spent: Callable[[], float] = lambda: 0.0,
    budget: float | None = None,
) -> Forecast:
    """Time steps, evaluation batches and a checkpoint of `trainer`; the model is as before.

    The trainer must not have begun to train. Weights, random generators and the trainer's
    optimiser are put back, so that the run is the same with a forecast and without.
    spent: seconds since the run began. budget: seconds that the run may take in all.
    """
    probed = min(MOST_STEPS, max(FEWEST_STEPS, int(steps * PROBED_SHARE)))
    with _undone(trainer):
        batches = sorted(islice(trainer.get_train_dataloader(), SAMPLED_BATCHES), key=_tokens)
        mean = float(np.mean([_tokens(batch) for batch in batches]))
        trainer.create_optimizer()
        # The largest first, which warms up, and again in what the others leave of the heap: that
        # is the memory which the run will need.
        slowest = [timed_step(trainer, batches[-1]) for _ in range(WARM_UP_STEPS)][-1]
        if budget is not None:
            probed = min(probed, max(1, int(PROBED_BUDGET * budget / slowest)))
        # One of each part of the sizes, the middle one: together they are as large as all are.
        chosen = [batches[int((at + 0.5) / probed * len(batches))] for at in range(probed)]
        timed = [timed_step(trainer, batch) for batch in chosen]
        timed_step(trainer, batches[-1])
        evaluation = _evaluation_seconds(trainer, batches)
        checkpoint = _checkpoint_seconds(trainer)
        memory = peak_memory_mb(trainer.args.device)
    per_step = float(np.mean(timed)) * mean / float(np.mean([_tokens(b) for b in chosen]))
    return Forecast(
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        seconds_per_step=per_step,
        evaluation_seconds=evaluation,
        peak_memory_mb=memory,
        probed=probed,
        checkpoint_seconds=checkpoint,
        spent_seconds=spent(),
    )


def _evaluation_seconds(trainer: Trainer, batches: list[dict[str, Any]]) -> float:
    """One evaluation, from the time a token takes in a few of its batches.

    batches: of training; one of them is timed where an evaluator encodes texts in its own way.
    """
    rows = getattr(trainer, "evaluation_rows", None)
    if rows is not None:
        chosen = batches[len(batches) // 2]
        mean = float(np.mean([_tokens(batch) for batch in batches]))
        passes = int(rows) / _texts(chosen)
        return _timed_evaluation(trainer, chosen) * mean / _tokens(chosen) * passes
    loader = trainer.get_eval_dataloader()
    held = list(islice(loader, SAMPLED_BATCHES))
    places = np.linspace(len(held) - 1, 0, min(EVALUATION_BATCHES, len(held))).round().astype(int)
    _timed_evaluation(trainer, held[places[0]])  # warms up
    seconds = sum(_timed_evaluation(trainer, held[place]) for place in places)
    tokens = sum(_tokens(held[place]) for place in places)
    whole = float(np.mean([_tokens(batch) for batch in held])) * len(loader)
    return seconds / tokens * whole


def _checkpoint_seconds(trainer: Trainer) -> float:
    """One checkpoint: learned weights and the optimiser's state to disk, flushed and hashed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        started = perf_counter()
        save_file(learned_state(trainer.model), root / WEIGHTS)
        torch.save(trainer.optimizer.state_dict(), root / "optimizer.pt")
        flush_and_hash(root)
        return perf_counter() - started


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


def _timed_evaluation(trainer: Trainer, batch: dict[str, Any]) -> float:
    """Seconds of one batch without gradients."""
    started = perf_counter()
    trainer.model.eval()
    inputs = trainer._prepare_inputs(dict(batch))
    with (
        torch.no_grad(),
        torch.autocast(trainer.args.device.type, torch.bfloat16, enabled=trainer.args.bf16),
    ):
        trainer.compute_loss(trainer.model, inputs)
    _wait_for(trainer.args.device)
    return perf_counter() - started


def _tokens(batch: dict[str, Any]) -> int:
    """Padded tokens of a batch, over all its columns of texts; rows where it holds vectors."""
    ids = [value.numel() for name, value in batch.items() if name.endswith("input_ids")]
    return sum(ids) or max(len(v) for v in batch.values() if isinstance(v, Tensor))


def _texts(batch: dict[str, Any]) -> int:
    """Texts of a batch, over all its columns; rows where its columns are not token ids."""
    ids = [len(value) for name, value in batch.items() if name.endswith("input_ids")]
    return sum(ids) or max(len(value) for value in batch.values() if isinstance(value, Tensor))


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
