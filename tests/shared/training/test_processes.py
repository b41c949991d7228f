"""Fine-tuning by two processes: the same weights as by one, and what happens when one dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import distributed
from torch._C._distributed_c10d import TCPStore

from pipelines import training_processes
from pipelines.training_processes import LOOPBACK, main_process
from shared.device import Device
from shared.errors import ServiceError, SettingsError
from shared.training import processes
from shared.training.batches import Collator
from shared.training.processes import THERE, absent, join, tell_device

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


def started_as(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other processes are this shell script instead of themselves, run in `folder`."""
    program = folder / "other"
    program.write_text(f"#!/bin/sh\ncd {folder}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def refused(count: int, device: Device = "cpu") -> ServiceError:
    """What the main process says instead of running its block."""
    with pytest.raises(ServiceError) as caught, main_process(count, 1, device):
        pytest.fail("the group cannot stand")
    return caught.value


def test_a_process_that_dies_at_its_start_is_one_error_and_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_as(
        'if [ "$RANK" = 1 ]; then until [ -s pid ]; do sleep 0.1; done; exit 7; fi\n'
        "echo $$ > new; mv new pid; exec sleep 600",
        tmp_path,
        monkeypatch,
    )
    before = dict(os.environ)
    assert str(refused(3)) == (
        "process 2 of 3 ended before the training began (exit code 7): what it said stands above; "
        "try again with fewer processes, or without --processes"
    )
    assert not Path(f"/proc/{int((tmp_path / 'pid').read_text())}").exists()
    assert dict(os.environ) == before
    assert not distributed.is_initialized()


def test_a_process_that_never_comes_is_one_error_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_as("echo $$ > pid; exec sleep 600", tmp_path, monkeypatch)
    monkeypatch.setattr(training_processes, "START", timedelta(seconds=2))
    assert str(refused(2)) == (
        "process 2 of 2 is not there after 2 s: this machine may be too busy; try again with fewer "
        "processes, or without --processes"
    )
    assert not Path(f"/proc/{int((tmp_path / 'pid').read_text())}").exists()


def test_a_process_that_dies_while_the_group_is_made_is_one_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_as(
        'echo "$TRIPTYCH_GROUP_PORT" > new; mv new port; until [ -e said ]; do sleep 0.1; done; '
        "exit 7",
        tmp_path,
        monkeypatch,
    )
    monkeypatch.setattr(training_processes, "START", timedelta(seconds=4))

    def come_in_its_place() -> None:
        while not (tmp_path / "port").exists():
            time.sleep(0.02)
        TCPStore(LOOPBACK, int((tmp_path / "port").read_text()), 2).set(f"{THERE}/1", "")
        (tmp_path / "said").touch()

    double = threading.Thread(target=come_in_its_place)
    double.start()
    error = refused(2)
    double.join()
    assert str(error) == (
        "process 2 of 2 ended before the training began (exit code 7): what it said stands above; "
        "try again with fewer processes, or without --processes"
    )


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, as far as torch says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


@pytest.mark.parametrize("device", ["cuda", "auto"])
@pytest.mark.usefixtures("one_gpu")
def test_more_processes_than_gpus_are_refused_before_any_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    started_as("touch started", tmp_path, monkeypatch)
    with pytest.raises(SettingsError) as caught, main_process(2, 1, device):
        pytest.fail("there is a GPU for one of them alone")
    assert str(caught.value) == (
        "2 processes train on this machine and it has 1 GPU(s): each needs one of its own; start "
        "no more than there are, or train with --device cpu"
    )
    assert not (tmp_path / "started").exists()


@pytest.mark.usefixtures("one_gpu")
def test_processes_on_the_processor_are_started_whatever_the_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_as("touch started; exit 7", tmp_path, monkeypatch)
    assert "exit code 7" in str(refused(2, "cpu"))
    assert (tmp_path / "started").exists()


def lonely_store() -> TCPStore:
    """A place to meet, of this process."""
    return TCPStore(LOOPBACK, 0, 1, is_master=True, wait_for_workers=False)


@pytest.mark.usefixtures("one_gpu")
def test_a_group_on_the_processor_leaves_the_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: pytest.fail("a GPU was taken"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # torch puts its own there
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    join({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, lonely_store(), device="cpu")
    try:
        assert distributed.get_backend_config() == "cpu:gloo,cuda:gloo"
    finally:
        processes.leave()


def test_a_process_takes_the_gpu_of_its_number_where_the_main_one_trains_on_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As far as can be seen without a GPU: what torch is asked for."""
    taken: list[int] = []
    made: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(processes, "_set_pg_timeout", lambda _: None)
    monkeypatch.setattr(
        distributed, "init_process_group", lambda backend, **given: made.append((backend, given))
    )
    store = lonely_store()
    tell_device(store, "auto")
    assert absent(store, 2) == [1]
    join({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, store)
    assert absent(store, 2) == []
    assert taken == [1]
    assert [(backend, given["rank"], given["world_size"]) for backend, given in made] == [
        ("cpu:gloo,cuda:nccl", 1, 2)
    ]
    with pytest.raises(SettingsError) as caught:
        join({"RANK": "1", "WORLD_SIZE": "6", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "3"}, store)
    assert str(caught.value).startswith("3 processes train on this machine and it has 2 GPU(s)")
    assert len(made) == 1
