"""How many texts a second fine-tuning learns from, beside a plain recipe on the same data."""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, RandomSampler

from shared.pretrained import PretrainedEncoder
from shared.training.batches import Collator, HeadTask
from shared.training.finetune import HeadsTrainer, new_model, new_trainer, prepare
from shared.training.forecast import timed_step
from shared.training.machine import quiet_libraries, threads_limited
from shared.training.options import Method, TrainOptions

WARM_UP_STEPS = 2


@dataclass(frozen=True)
class TrainingRate:
    """One recipe. texts_per_second: learned from, optimiser step included, median over the steps
    of texts / seconds; padded_tokens: mean tokens of a text as computed, padding included.
    """

    name: str
    texts_per_second: float
    padded_tokens: float
    steps: int


@dataclass(frozen=True)
class TrainingThroughput:
    """Ours and the plain recipe: fp32, every text padded to the longest allowed, all weights."""

    ours: TrainingRate
    plain: TrainingRate

    @property
    def factor(self) -> float:
        return self.ours.texts_per_second / self.plain.texts_per_second


def measure_training_throughput(
    tasks: Sequence[HeadTask],
    *,
    encoder: PretrainedEncoder,
    options: TrainOptions,
    steps: int = 20,
    method: Method = Method.FULL,
) -> TrainingThroughput:
    """Time `steps` training steps of both recipes: same model, data, batch size and threads.

    The steps take turns, so that another job on the machine slows both alike. Ours draws its
    length-grouped batches in random order, as in training. Takes about `steps` times the seconds
    of a plain step, which on two cores and 128 tokens are 3 to 5.
    """
    options = replace(options, progress=False)
    plain_options = replace(options, bf16=False, freeze_embeddings=False, method=Method.FULL.value)
    with (
        threads_limited(options.threads),
        quiet_libraries(),
        tempfile.TemporaryDirectory() as work,
    ):
        ours = _trainer(tasks, encoder, method, options, Path(work) / "ours")
        plain = _trainer(tasks, encoder, Method.FULL, plain_options, Path(work) / "plain")
        plain.data_collator = Collator(
            plain.data_collator.pad_token_id, pad_to=options.max_length or _longest(plain)
        )
        count = steps + WARM_UP_STEPS
        own = list(islice(ours.get_train_dataloader(), count))
        padded = list(islice(_shuffled(plain), count))
        timed: dict[str, list[tuple[float, dict[str, Any]]]] = {"ours": [], "plain": []}
        for one, other in zip(own, padded, strict=False):
            timed["ours"].append((timed_step(ours, one), one))
            timed["plain"].append((timed_step(plain, other), other))
    return TrainingThroughput(_rate("ours", timed["ours"]), _rate("plain", timed["plain"]))


def _trainer(
    tasks: Sequence[HeadTask],
    encoder: PretrainedEncoder,
    method: Method,
    options: TrainOptions,
    checkpoints: Path,
) -> HeadsTrainer:
    model = new_model(tasks, encoder, method, options)
    trainer = new_trainer(prepare(model, tasks, options), method, options, checkpoints)
    trainer.create_optimizer()
    return trainer


def _longest(trainer: HeadsTrainer) -> int:
    return int(trainer.model.model.encoder.max_length)


def _shuffled(trainer: HeadsTrainer) -> DataLoader[dict[str, Any]]:
    """Batches as a plain recipe draws them: any rows together."""
    return DataLoader(
        trainer.rows,
        batch_size=trainer.args.train_batch_size,
        sampler=RandomSampler(trainer.rows),
        collate_fn=trainer.data_collator,
    )


def _rate(name: str, timed: Sequence[tuple[float, dict[str, Any]]]) -> TrainingRate:
    """From the median of seconds a padded token: one stalled step does not decide, and no batch,
    long or short, is left out of the mean number of tokens."""
    steps = timed[WARM_UP_STEPS:]
    tokens = [batch["input_ids"].numel() for _, batch in steps]
    texts = [len(batch["input_ids"]) for _, batch in steps]
    per_token = statistics.median(
        seconds / count for (seconds, _), count in zip(steps, tokens, strict=True)
    )
    mean = sum(tokens) / sum(texts)
    return TrainingRate(name, 1 / (per_token * mean), mean, len(steps))
