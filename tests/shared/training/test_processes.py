"""Fine-tuning by two processes: the same weights as by one, and what happens when one dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shared.errors import SettingsError
from shared.training.batches import Collator
from shared.training.processes import join

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("group_run.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ENVIRONMENT = {
    **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
}  # fmt: skip
# Of fp32 sums taken in another order over 45 steps; 2e-6 was measured.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def still_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder without dropout, which no two processes could share."""
    folder = tmp_path_factory.mktemp("still_encoder")
    for file in tiny_encoder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def command(encoder: Path, folder: Path, *, launcher: tuple[str, ...], count: int) -> list[str]:
    return [sys.executable, *launcher, str(SCRIPT), str(encoder), str(folder), str(count)]


def finetuned(
    encoder: Path, folder: Path, *, launcher: tuple[str, ...] = (), count: int = 1
) -> str:
    """What the run says on standard output."""
    done = subprocess.run(
        command(encoder, folder, launcher=launcher, count=count),
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def alone(still_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "model"
    finetuned(still_encoder, folder)
    return folder


def farthest(one: Path, other: Path) -> float:
    """The largest difference of any weight of two models."""
    worst = 0.0
    for name in ("model.safetensors", "heads.safetensors"):
        left, right = load_file(one / name), load_file(other / name)
        assert left.keys() == right.keys()
        worst = max(worst, *(float((left[k] - right[k]).abs().max()) for k in left))
    return worst


def history(folder: Path) -> list[tuple[float, float]]:
    """(training loss, macro-F1 on the validation part) of each epoch."""
    said = json.loads((folder / "training.json").read_text())["history"]
    return [(entry["loss"], entry["metrics"]["macro_f1"]) for entry in said]


@pytest.mark.parametrize(("launcher", "count"), [(TORCHRUN, 1), ((), 2)], ids=["torchrun", "own"])
def test_two_processes_learn_what_one_does(
    alone: Path, still_encoder: Path, tmp_path: Path, launcher: tuple[str, ...], count: int
) -> None:
    folder = tmp_path / "model"
    said = finetuned(still_encoder, folder, launcher=launcher, count=count)
    assert farthest(alone, folder) < TOLERANCE
    assert [f1 for _, f1 in history(folder)] == [f1 for _, f1 in history(alone)]
    losses = [loss for loss, _ in history(folder)]
    assert losses == pytest.approx([loss for loss, _ in history(alone)], abs=TOLERANCE)
    # One process speaks and writes.
    assert said.count("epoch 1 of 9") == said.count("steps 45") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_process_that_is_killed_is_one_error_and_the_run_goes_on_from_its_checkpoint(
    alone: Path, still_encoder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    checkpoints = tmp_path / "model.training"
    main = subprocess.Popen(
        command(still_encoder, folder, launcher=(), count=2),
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(checkpoints.glob("checkpoint-*/manifest.json")):
        assert main.poll() is None, main.communicate()[1]
        time.sleep(0.01)
    children = Path(f"/proc/{main.pid}/task/{main.pid}/children").read_text().split()
    named = [pid for pid in children if "training_processes" in _command_line(pid)]
    os.kill(int(named[0]), signal.SIGKILL)
    error = main.communicate(timeout=120)[1]
    assert main.returncode == 1
    assert error.splitlines()[-1].removeprefix("[rank0]: ") == (
        "shared.errors.ServiceError: process 2 of 2 ended early (exit code -9); the same command "
        "goes on from the last checkpoint"
    )
    assert not folder.exists()
    said = finetuned(still_encoder, folder, count=2)
    assert "Going on from step" in said
    assert farthest(alone, folder) < TOLERANCE


def _command_line(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


@pytest.mark.parametrize("rows", [1, 2, 5, 16])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_parts_of_a_batch_add_up_to_the_batch(rows: int, processes: int) -> None:
    """With a loss that is each row's target, the mean of the parts is the mean of the batch."""
    batch = [
        {"inputs": [7] * (n + 1), "targets": np.array([float(n)], np.float32)} for n in range(rows)
    ]
    means = []
    taken: list[float] = []
    for rank in range(processes):
        own = Collator(0, part=(rank, processes))(batch)
        known = own["labels"][~torch.isnan(own["labels"])]
        taken += known.tolist()
        means.append(float(known.sum() / own.get("divisor", torch.tensor(rows))))
        assert own["input_ids"].shape == own["attention_mask"].shape
    assert sorted(taken) == list(range(rows))
    assert sum(means) / processes == pytest.approx((rows - 1) / 2)


def test_half_of_torchruns_variables_is_an_error() -> None:
    with pytest.raises(SettingsError) as caught:
        join({"WORLD_SIZE": "2", "RANK": "1"})
    assert str(caught.value) == (
        "environment: RANK, WORLD_SIZE and LOCAL_RANK belong together ('LOCAL_RANK'); start "
        "several processes with torchrun or --processes, which set them, or unset WORLD_SIZE"
    )
