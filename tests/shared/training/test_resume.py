"""A real training process killed with SIGKILL at a random step ends as an unbroken one does."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import Trainer

from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.training.examples import Examples
from shared.training.finetune import FineTuned, HeadTask, TrainOptions, finetune_classifier
from shared.training.run_results import RESULT_FILE

# The job each process runs. Saving after every step makes every step a place to go on from;
# slowed down, so that the kill falls inside the run.
JOB = """
import sys, time
from pathlib import Path
from shared.training import runs
sys.path.insert(0, sys.argv[1])
from test_resume import train

class Slow(runs.EpochLines):
    def on_step_end(self, *args, **kwargs):
        time.sleep(float(sys.argv[5]))

runs.EpochLines = Slow
train(Path(sys.argv[2]), Path(sys.argv[3]), method=sys.argv[4], checkpoint_minutes=0.0)
"""
STEPS = 6 * 4  # 96 rows in batches of 16, 4 epochs


def train(
    tiny_encoder: Path, folder: Path, *, method: str, checkpoint_minutes: float, epochs: int = 4
) -> FineTuned:
    """One run of 24 steps that uses every generator: dropout, shuffled batches, smoothing."""
    rng = random.Random(1)
    words = {"bad": "loss", "good": "profit", "dull": "tea"}
    labels = [rng.choice(sorted(words)) for _ in range(136)]
    texts = [" ".join(rng.choices(["the", "a", "my", words[label]], k=7)) for label in labels]
    rows = Examples(tuple(texts), tuple((label,) for label in labels), np.arange(136))
    task = HeadTask(
        HeadSpec("tone", "single", tuple(sorted(words))),
        rows.take(np.arange(96)),
        rows.take(np.arange(96, 136)),
    )
    options = TrainOptions(
        method=method,
        epochs=epochs,
        batch_size=16,
        learning_rate=2e-3,
        patience=epochs,
        checkpoint_minutes=checkpoint_minutes,
        threads=1,
        progress=False,
    )
    base = PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none")
    return finetune_classifier([task], encoder=base, options=options, folder=folder)


def steps_saved(folder: Path) -> list[int]:
    """Steps of the sealed checkpoints of a run that writes `folder`."""
    sealed = folder.with_name(f"{folder.name}.training").glob("checkpoint-*/manifest.json")
    return sorted(int(path.parent.name.split("-")[1]) for path in sealed)


def largest_difference(one: Path, two: Path) -> float:
    """Between any two weights of the same name and place; inf where a name is missing."""
    largest = 0.0
    for file in ("model.safetensors", "heads.safetensors"):
        first, second = load_file(one / file), load_file(two / file)
        if first.keys() != second.keys():
            return float("inf")
        for name in first:
            largest = max(largest, float((first[name] - second[name]).abs().max()))
    return largest


@pytest.fixture(scope="module")
def unbroken(
    tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], FineTuned]:
    """The run of a method that nothing disturbs, trained once for the module."""
    root = tmp_path_factory.mktemp("unbroken")

    @cache
    def run(method: str) -> FineTuned:
        return train(tiny_encoder, root / method, method=method, checkpoint_minutes=3.0)

    return run


def apart(tiny_encoder: Path, folder: Path, method: str, *, pause: float) -> list[str]:
    """The command of a run in a process of its own, which no other test has touched: the last bits
    of a sum depend on what a process has set its numeric libraries to."""
    arguments = [Path(__file__).parent, tiny_encoder, folder, method, pause]
    return [sys.executable, "-c", JOB, *map(str, arguments)]


@pytest.mark.parametrize("method", ["full", "lora", "adalora"])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    tiny_encoder: Path, tmp_path: Path, method: str
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(apart(tiny_encoder, whole, method, pause=0), check=True)
    stop_after = random.SystemRandom().randint(1, STEPS - 8)
    process = subprocess.Popen(apart(tiny_encoder, killed, method, pause=0.03))
    try:
        deadline = time.monotonic() + 120
        while not any(step >= stop_after for step in steps_saved(killed)):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    saved = steps_saved(killed)
    assert not killed.exists()
    assert saved

    subprocess.run(apart(tiny_encoder, killed, method, pause=0), check=True)
    first, second = (json.loads((f / RESULT_FILE).read_text()) for f in (whole, killed))
    assert second["resumed_at_step"] == saved[-1]
    assert first["steps"] == second["steps"] == STEPS
    assert largest_difference(killed, whole) == 0
    assert [e["metrics"]["macro_f1"] for e in second["history"]] == [
        e["metrics"]["macro_f1"] for e in first["history"]
    ]
    assert not killed.with_name("killed.training").exists()


class CutError(Exception):
    """Stands for whatever ends a process between two lines."""


def cut_off(
    tiny_encoder: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    *,
    method: str = "full",
    step: int = 10,
) -> None:
    """Run until the model is about to be saved, or until this step has been."""

    def cut(*_: object, **__: object) -> None:
        if where == "at the end" or step in steps_saved(folder):
            raise CutError

    target = (
        "shared.training.finetune.save_trained"
        if where == "at the end"
        else "shared.training.progress.EpochLines.on_step_end"
    )
    with monkeypatch.context() as patched:
        patched.setattr(target, cut)
        with pytest.raises(CutError):
            train(tiny_encoder, folder, method=method, checkpoint_minutes=0.0)


@pytest.mark.parametrize("step", [1, 8, 16, 20])
def test_adalora_goes_on_in_each_of_its_phases(
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unbroken: Callable[[str], FineTuned],
    step: int,
) -> None:
    """At full rank, while ranks are taken away, at the step that fixes them, and after it."""
    whole = unbroken("adalora")
    cut_off(tiny_encoder, tmp_path / "cut", monkeypatch, "on", method="adalora", step=step)
    done = train(tiny_encoder, tmp_path / "cut", method="adalora", checkpoint_minutes=0.0)
    assert done.resumed_at_step == step
    assert largest_difference(tmp_path / "cut", whole.folder) == 0


def test_a_run_cut_off_after_its_last_step_trains_no_further(
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unbroken: Callable[[str], FineTuned],
) -> None:
    whole = unbroken("full")
    cut_off(tiny_encoder, tmp_path / "cut", monkeypatch, "at the end")
    monkeypatch.setattr("transformers.Trainer.train", lambda *_, **__: pytest.fail("trained again"))
    done = train(tiny_encoder, tmp_path / "cut", method="full", checkpoint_minutes=0.0)
    assert done.resumed_at_step == STEPS
    assert done.stopped_because == whole.stopped_because == f"all {STEPS} steps are done"
    assert (done.best_metric, done.best_step) == (whole.best_metric, whole.best_step)
    assert largest_difference(tmp_path / "cut", whole.folder) == 0


def test_a_run_cut_off_in_an_evaluation_makes_up_for_it(
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unbroken: Callable[[str], FineTuned],
) -> None:
    """A checkpoint between the last step of an epoch and its evaluation would skip the latter."""
    evaluate, calls = Trainer.evaluate, count(1)

    def cut(trainer: Trainer, *given: object, **named: object) -> object:
        if next(calls) == 2:
            raise CutError
        return evaluate(trainer, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "evaluate", cut)
        with pytest.raises(CutError):
            train(tiny_encoder, tmp_path / "cut", method="full", checkpoint_minutes=0.0)
    assert steps_saved(tmp_path / "cut")[-1] == 11
    done = train(tiny_encoder, tmp_path / "cut", method="full", checkpoint_minutes=0.0)
    assert [e.step for e in done.history] == [6, 12, 18, 24]
    assert largest_difference(tmp_path / "cut", unbroken("full").folder) == 0


def test_a_torn_newest_checkpoint_costs_a_step_and_nothing_else(
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unbroken: Callable[[str], FineTuned],
) -> None:
    folder = tmp_path / "cut"
    cut_off(tiny_encoder, folder, monkeypatch, "in the middle")
    newest = folder.with_name("cut.training") / f"checkpoint-{steps_saved(folder)[-1]}"
    optimizer = (newest / "optimizer.pt").read_bytes()
    (newest / "optimizer.pt").write_bytes(optimizer[: len(optimizer) // 2])
    done = train(tiny_encoder, folder, method="full", checkpoint_minutes=0.0)
    assert done.resumed_at_step == 9
    assert largest_difference(folder, unbroken("full").folder) == 0


def test_other_options_start_anew(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(tiny_encoder, tmp_path / "cut", monkeypatch, "in the middle")
    done = train(tiny_encoder, tmp_path / "cut", method="full", checkpoint_minutes=0.0, epochs=2)
    assert done.resumed_at_step is None
    assert done.steps == 12
    record = json.loads((tmp_path / "cut" / "training.json").read_text())
    assert record["resumed_at_step"] is None
