"""The forecast: arithmetic by hand, the model untouched, and the measured run near it."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.training.checkpoints import learned_state
from shared.training.examples import Examples
from shared.training.finetune import (
    HeadsTrainer,
    HeadTask,
    TrainOptions,
    finetune_classifier,
    new_model,
    new_trainer,
    prepare,
)
from shared.training.forecast import Forecast, forecast
from shared.training.options import Method

OPTIONS = TrainOptions(
    method="full", epochs=8, batch_size=16, patience=99, bf16=False, progress=False, threads=1
)


def task(rows: int) -> HeadTask:
    """Texts of 3 to 40 words, so that the steps differ in length by far."""
    rng = random.Random(2)
    words = ["tea", "cup", "bank", "the", "a"]
    texts = [" ".join(rng.choices(words, k=rng.randint(3, 40))) for _ in range(rows)]
    labels = tuple((rng.choice(["bad", "good"]),) for _ in range(rows))
    part = Examples(tuple(texts), labels, np.arange(rows))
    return HeadTask(
        HeadSpec("tone", "single", ("bad", "good")), part, part.take(np.arange(rows // 4))
    )


@pytest.fixture
def tiny(tiny_encoder: Path) -> PretrainedEncoder:
    return PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none")


@pytest.fixture
def trainer(tiny: PretrainedEncoder, tmp_path: Path) -> HeadsTrainer:
    model = new_model([task(160)], tiny, Method.FULL, OPTIONS)
    lesson = prepare(model, [task(160)], OPTIONS)
    return new_trainer(lesson, Method.FULL, OPTIONS, tmp_path / "checkpoints")


def known(steps: int) -> Forecast:
    return Forecast(
        steps=steps,
        steps_per_epoch=10,
        seconds_per_step=2.0,
        evaluation_seconds=5.0,
        peak_memory_mb=2048.0,
        probed=4,
    )


def test_minutes_count_the_steps_and_an_evaluation_for_each_epoch_begun() -> None:
    assert known(30).seconds == 30 * 2 + 3 * 5
    assert known(31).seconds == 31 * 2 + 4 * 5
    assert known(30).minutes == pytest.approx(75 / 60)


def test_the_line_says_minutes_steps_epochs_and_memory() -> None:
    assert known(25).line() == (
        "Forecast: 1.1 minutes for 25 steps (2.5 epochs), 2.0 GiB of memory at most"
    )


@pytest.mark.parametrize("seconds", [20, 40, 60, 74, 75, 500])
def test_what_is_fitted_into_a_budget_stays_inside_it(seconds: float) -> None:
    fitted = known(30).within(seconds)
    assert fitted.seconds <= seconds
    assert fitted.steps == 30 if seconds >= 75 else fitted.steps < 30


def test_a_hopeless_budget_leaves_one_step() -> None:
    assert known(30).within(0.1).steps == 1


def test_a_forecast_leaves_the_model_and_the_generators_as_they_were(
    trainer: HeadsTrainer,
) -> None:
    before = learned_state(trainer.model)
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    forecast(trainer, steps=80, steps_per_epoch=10)
    drawn = torch.rand(1).item(), random.random(), np.random.random()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    assert drawn == (torch.rand(1).item(), random.random(), np.random.random())
    after = learned_state(trainer.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert trainer.optimizer is None
    assert all(p.grad is None for p in trainer.model.parameters())


def test_a_forecast_measures_steps_and_memory(trainer: HeadsTrainer) -> None:
    found = forecast(trainer, steps=80, steps_per_epoch=10)
    assert found.probed == 4  # 5 % of the steps, and never fewer than four
    assert 0 < found.seconds_per_step < 1
    assert 0 < found.evaluation_seconds < 1
    assert found.peak_memory_mb > 50


def test_the_run_is_the_same_with_a_forecast_and_without(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with_one = finetune_classifier(
        [task(160)], encoder=tiny, options=OPTIONS, folder=tmp_path / "a", say=said.append
    )
    monkeypatch.setattr("shared.training.runs.FORECAST_FROM_STEPS", 10**9)
    without = finetune_classifier([task(160)], encoder=tiny, options=OPTIONS, folder=tmp_path / "b")
    assert said[1].startswith("Forecast: ")
    assert with_one.forecast_minutes is not None
    assert without.forecast_minutes is None
    losses = [e.loss for e in with_one.history]
    assert losses == [e.loss for e in without.history]


def test_a_budget_shortens_the_schedule_before_the_start(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Forecast(80, 10, 6.0, 3.0, 100.0, 4)
    monkeypatch.setattr("shared.training.runs.forecast", lambda *_, **__: slow)
    said: list[str] = []
    done = finetune_classifier(
        [task(160)],
        encoder=tiny,
        options=replace(OPTIONS, minutes=3.0),
        folder=tmp_path / "m",
        say=said.append,
        clock=lambda: 0.0,
    )
    fit = int((180 * 0.93 - 3) / 6.3)
    assert done.steps == fit
    assert done.stopped_because == f"all {fit} steps are done"
    assert f"Only {fit} steps fit into the budget of 3 minutes" in said
