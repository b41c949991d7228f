"""Throughput: what is compared is what is said, and a figure comes out."""

import random
from pathlib import Path

import numpy as np
import pytest

from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.training.examples import Examples
from shared.training.finetune import HeadTask, TrainOptions
from shared.training.throughput import (
    TrainingRate,
    TrainingThroughput,
    measure_training_throughput,
)


def test_the_factor_is_texts_per_second_against_the_plain_recipe() -> None:
    found = TrainingThroughput(
        TrainingRate("ours", 60.0, 17.0, 10), TrainingRate("plain", 12.0, 128.0, 10)
    )
    assert found.factor == 5.0


def test_the_plain_recipe_pads_to_the_longest_allowed_and_ours_does_not(
    tiny_encoder: Path,
) -> None:
    rng = random.Random(1)
    texts = tuple(" ".join(["tea"] * rng.randint(2, 12)) for _ in range(96))
    labels = tuple((rng.choice(["bad", "good"]),) for _ in texts)
    part = Examples(texts, labels, np.arange(96))
    found = measure_training_throughput(
        [HeadTask(HeadSpec("tone", "single", ("bad", "good")), part, part)],
        encoder=PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none"),
        options=TrainOptions(batch_size=16, max_length=40, threads=1),
        steps=4,
    )
    assert found.plain.padded_tokens == pytest.approx(40)
    assert 4 <= found.ours.padded_tokens <= 14
    assert found.ours.steps == found.plain.steps == 4
    assert found.ours.texts_per_second > 0
    assert found.plain.texts_per_second > 0
