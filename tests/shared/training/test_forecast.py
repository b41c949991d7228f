"""The forecast: arithmetic by hand, the model untouched, and the measured run near it."""

import random
import re
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import TrainerCallback, TrainerControl

from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.run_journal import open_run, read_run
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
from shared.training.progress import Stopwatch, TimeBudget

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
        "Forecast of fine-tuning: 1.1 minutes for 25 steps (2.5 epochs), 2.0 GiB of memory at most"
    )


def test_minutes_count_what_came_before_the_first_step_and_the_checkpoints() -> None:
    whole = replace(known(31), checkpoint_seconds=1.5, spent_seconds=20.0)
    assert whole.seconds == 20 + 31 * 2 + 4 * (5 + 1.5)
    fitted = whole.within(60)
    assert fitted.steps == int(((60 - 20) * 0.93 - 6.5) / (2 + 6.5 / 10))
    assert fitted.seconds <= 60


@pytest.mark.parametrize("seconds", [20, 40, 60, 74, 75, 500])
def test_what_is_fitted_into_a_budget_stays_inside_it(seconds: float) -> None:
    fitted = known(30).within(seconds)
    assert fitted.seconds <= seconds
    assert fitted.steps == 30 if seconds >= 75 else fitted.steps < 30


def test_a_hopeless_budget_leaves_one_step() -> None:
    assert known(30).within(0.1).steps == 1


def test_an_evaluation_is_forecast_from_all_its_batches(
    trainer: HeadsTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that counts a second a token, the seconds are the tokens of all batches."""
    batches = list(trainer.get_eval_dataloader())
    tokens = sum(batch["input_ids"].numel() for batch in batches)
    monkeypatch.setattr(
        "shared.training.forecast._timed_evaluation",
        lambda _, batch: float(batch["input_ids"].numel()),
    )
    found = forecast(trainer, steps=80, steps_per_epoch=10)
    assert found.evaluation_seconds == pytest.approx(tokens)


@pytest.mark.parametrize(("budget", "probed"), [(None, 6), (1e6, 6), (60.0, 3), (0.5, 1)])
def test_a_budget_bounds_the_steps_that_are_timed(
    trainer: HeadsTrainer, monkeypatch: pytest.MonkeyPatch, budget: float | None, probed: int
) -> None:
    """Steps of two seconds may be timed for a tenth of the budget; one always is."""
    monkeypatch.setattr("shared.training.forecast.timed_step", lambda *_: 2.0)
    assert forecast(trainer, steps=80, steps_per_epoch=10, budget=budget).probed == probed


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
    assert found.probed == 6  # 8 % of the steps, and never fewer than four
    assert 0 < found.seconds_per_step < 1
    assert 0 < found.evaluation_seconds < 1
    assert 0 < found.checkpoint_seconds < 1
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
    assert said[1].startswith("Forecast of fine-tuning: ")
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
    expected = rf"The 3 minutes for fine-tuning end it at step {fit} of \d+"
    assert any(re.fullmatch(expected, line) for line in said)


class Slow(TrainerCallback):  # type: ignore[misc]
    """A machine that becomes slower than its probe was, as when another job begins."""

    def on_step_end(self, *_: object, **__: object) -> None:
        time.sleep(0.05)


def test_a_budget_below_one_epoch_still_measures_and_keeps_what_was_learned(
    tiny: PretrainedEncoder, tmp_path: Path
) -> None:
    """On the true clock: 200 steps are an epoch and take ten seconds, of which five are given."""
    done = finetune_classifier(
        [task(3200)],
        encoder=tiny,
        options=replace(OPTIONS, minutes=5 / 60, batch_size=16, warm_start=False),
        folder=tmp_path / "m",
        watchers=[Slow()],
    )
    assert 1 <= done.steps < 200
    assert done.stopped_because == "the 0.0833 minutes for fine-tuning are used up"
    assert [e.step for e in done.history] == [done.steps]
    assert done.best_step == done.steps
    assert (tmp_path / "m" / "heads.safetensors").is_file()
    assert done.seconds < 5 * 1.1  # evaluated and saved in time


def test_the_budget_holds_back_the_time_of_an_evaluation() -> None:
    now = [0.0]
    watch = Stopwatch(lambda: now[0])
    expected = replace(known(100), checkpoint_seconds=1.0)  # evaluation: 5 s
    budget = TimeBudget(60.0, watch, expected)
    for second in range(61):
        now[0] = float(second)
        control = TrainerControl()
        budget.on_step_end(None, None, control)
        assert control.should_training_stop == (second >= 60 - 5 - 1)


def test_the_journal_holds_the_curves_and_the_result(
    tiny: PretrainedEncoder, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "tone"
    with open_run(run, app="chatbot", options={}, clock=lambda: datetime(2026, 3, 1)) as journal:
        done = finetune_classifier(
            [task(160)],
            encoder=tiny,
            options=replace(OPTIONS, journal=journal.path),
            folder=tmp_path / "m",
        )
    record = read_run(journal.path.parent)
    assert record is not None
    assert record.steps == done.steps == 80
    assert [(e.step, e.metrics["macro_f1"]) for e in record.evaluations] == [
        (e.step, e.metrics["macro_f1"]) for e in done.history
    ]
    assert [point.step for point in record.losses] == list(range(1, 81))
    # The loss of an evaluation is the mean of the steps since the one before.
    for at, evaluation in enumerate(done.history):
        mean = np.mean([p.loss for p in record.losses[at * 10 : at * 10 + 10]])
        assert evaluation.loss == pytest.approx(mean)
    assert record.forecast_minutes == done.forecast_minutes
    assert record.fine_tuning["best_metric"] == done.best_metric
    assert record.fine_tuning["peak_memory_mb"] == done.peak_memory_mb
    assert record.metric == "macro_f1"
