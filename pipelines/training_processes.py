"""`triptych train … --processes N`, and the same under torchrun for several machines.

    triptych train chatbot … --processes 2
    torchrun --nproc-per-node 2 -m pipelines.cli train chatbot …
    torchrun --nnodes 2 --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m pipelines.cli train chatbot …       (the same on both machines)

With --processes the command starts the others itself, on this machine. Under torchrun every process
is started alike; those of rank above 0 take part in the fine-tuning and do nothing else. On several
machines the home must be on storage that all of them see under one path. On CUDA each process
trains on a GPU of its own.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch._C._distributed_c10d import TCPStore  # torch.distributed's, where its types are

from shared.device import Device
from shared.errors import ServiceError
from shared.torchrun_variables import RANK, WORLD_SIZE, several
from shared.training import processes
from shared.training.finetune import take_part

PORT = "TRIPTYCH_GROUP_PORT"
LOOPBACK = "127.0.0.1"
# For a process to be there: importing torch and transformers takes 5 to 20 seconds, on a machine
# with other work a minute.
START = timedelta(minutes=5)
LOOK_SECONDS = 0.1
WAY_OUT = "try again with fewer processes, or without --processes"


@contextmanager
def main_process(count: int, threads: int | None, device: Device) -> Iterator[None]:
    """Run the block as the main process of `count`, or of those that torchrun has started.

    threads: of each process; by default the processors are shared out. device: of the training.

    Raises:
        SettingsError: the device is not there, or has not a GPU for each process.
        ServiceError: one of the others is not there after START, or dies; once there are
            checkpoints the same command goes on from the last one.
    """
    if several(os.environ):
        processes.join(os.environ, device=device)
        yield
        processes.from_main(lambda: None)
        processes.leave()
    elif count > 1:
        if processes.on_gpus(device):
            processes.check_gpus(count)
        with _started(count, threads or max(1, len(os.sched_getaffinity(0)) // count), device):
            yield
    else:
        yield


def other_process() -> None:
    """What every process but the main one does, from its start to its end."""
    if PORT in os.environ:
        size = int(os.environ[WORLD_SIZE])
        store = TCPStore(LOOPBACK, int(os.environ[PORT]), size, timeout=START)
        processes.join(os.environ, store, within=START)
    else:
        processes.join(os.environ)
    take_part()
    processes.leave()


@contextmanager
def _started(count: int, threads: int, device: Device) -> Iterator[None]:
    """The others run, and this process is one of them, until the block is over."""
    store = TCPStore(LOOPBACK, 0, count, is_master=True, timeout=START, wait_for_workers=False)
    processes.tell_device(store, device)
    before, threads_before = dict(os.environ), torch.get_num_threads()
    command = [sys.executable, "-m", "pipelines.training_processes"]
    others: list[subprocess.Popen[bytes]] = []
    try:
        # accelerate learns from the environment, and from nothing else, that it is not alone.
        os.environ.update(_variables(count, threads, store.port))
        torch.set_num_threads(threads)
        for rank in range(1, count):
            own = {RANK: str(rank), "LOCAL_RANK": str(rank)}
            others.append(
                subprocess.Popen(command, env={**os.environ, **own}, stdin=subprocess.DEVNULL)
            )
        _meet(others, store)
        yield
        processes.from_main(lambda: None)
        for other in others:
            other.wait()
    except RuntimeError as error:
        dead = next((other for other in others if _ended(other)), None)
        if dead is None:
            raise
        raise ServiceError(
            f"process {others.index(dead) + 2} of {count} ended early (exit code "
            f"{dead.returncode}); the same command goes on from the last checkpoint"
        ) from error
    finally:
        for other in others:
            other.kill()
            other.wait()
        processes.leave()
        torch.set_num_threads(threads_before)
        os.environ.clear()
        os.environ.update(before)


def _meet(others: Sequence[subprocess.Popen[bytes]], store: TCPStore) -> None:
    """Until the group stands.

    Raises ServiceError where another process ends first, or START passes. torch waits in one call
    that watches nobody, so it is called when all are there: one that ends within that call, which
    takes a moment, costs as much as START.
    """
    count = len(others) + 1
    deadline = time.monotonic() + START.total_seconds()
    while absent := processes.absent(store, count):
        _check_running(others)
        if time.monotonic() > deadline:
            raise ServiceError(
                f"process {absent[0] + 1} of {count} is not there after "
                f"{START.total_seconds():.0f} s: this machine may be too busy; {WAY_OUT}"
            )
        time.sleep(LOOK_SECONDS)
    try:
        processes.join(os.environ, store, within=START)
    except RuntimeError as error:
        _check_running(others)
        line = " ".join(str(error).split())
        raise ServiceError(
            f"{count} processes do not reach each other: {line}; {WAY_OUT}"
        ) from error


def _check_running(others: Sequence[subprocess.Popen[bytes]]) -> None:
    """Raises ServiceError where one has ended, before there is anything to do."""
    for number, other in enumerate(others, start=2):
        if other.poll() is not None:
            raise ServiceError(
                f"process {number} of {len(others) + 1} ended before the training began (exit code "
                f"{other.returncode}): what it said stands above; {WAY_OUT}"
            )


def _ended(other: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended early; its connections close a little before it is gone."""
    try:
        return other.wait(timeout=2) != 0
    except subprocess.TimeoutExpired:
        return False


def _variables(count: int, threads: int, port: int) -> dict[str, str]:
    """What torchrun would set, for the main process."""
    return {
        RANK: "0",
        "LOCAL_RANK": "0",
        WORLD_SIZE: str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": LOOPBACK,
        "MASTER_PORT": str(port),
        PORT: str(port),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": str(threads),
    }


if __name__ == "__main__":
    other_process()
