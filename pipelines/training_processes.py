"""`triptych train … --processes N`, and the same under torchrun for several machines.

    triptych train chatbot … --processes 2
    torchrun --nproc-per-node 2 -m pipelines.cli train chatbot …
    torchrun --nnodes 2 --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m pipelines.cli train chatbot …       (the same on both machines)

With --processes the command starts the others itself, on this machine. Under torchrun every process
is started alike; those of rank above 0 take part in the fine-tuning and do nothing else. On several
machines the home must be on storage that all of them see under one path.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch._C._distributed_c10d import TCPStore  # torch.distributed's, where its types are

from shared.errors import ServiceError
from shared.training import processes
from shared.training.finetune import take_part

PORT, RANK = "TRIPTYCH_GROUP_PORT", "RANK"
LOOPBACK = "127.0.0.1"
# For a process to be there: importing torch and transformers takes 5 to 20 seconds.
START = timedelta(minutes=5)


@contextmanager
def main_process(count: int, threads: int | None) -> Iterator[None]:
    """Run the block as the main process of `count`, or of those that torchrun has started.

    threads: of each process; by default the processors are shared out.
    Raises ServiceError when one of the others dies; the same command goes on from the last
    checkpoint.
    """
    if processes.several(os.environ):
        processes.join(os.environ)
        yield
        processes.from_main(lambda: None)
        processes.leave()
    elif count > 1:
        with _started(count, threads or max(1, len(os.sched_getaffinity(0)) // count)):
            yield
    else:
        yield


def other_process() -> None:
    """What every process but the main one does, from its start to its end."""
    store = None
    if PORT in os.environ:
        size = int(os.environ["WORLD_SIZE"])
        store = TCPStore(LOOPBACK, int(os.environ[PORT]), size, timeout=START)
    processes.join(os.environ, store)
    take_part()
    processes.leave()


@contextmanager
def _started(count: int, threads: int) -> Iterator[None]:
    """The others run, and this process is one of them, until the block is over."""
    store = TCPStore(LOOPBACK, 0, count, is_master=True, timeout=START, wait_for_workers=False)
    before, threads_before = dict(os.environ), torch.get_num_threads()
    # accelerate learns from the environment, and from nothing else, that it is not alone.
    os.environ.update(_variables(count, threads, store.port))
    torch.set_num_threads(threads)
    command = [sys.executable, "-m", "pipelines.training_processes"]
    others = [
        subprocess.Popen(
            command, env={**os.environ, RANK: str(rank), "LOCAL_RANK": str(rank)},
            stdin=subprocess.DEVNULL,
        )
        for rank in range(1, count)
    ]  # fmt: skip
    try:
        processes.join(os.environ, store)
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
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": LOOPBACK,
        "MASTER_PORT": str(port),
        PORT: str(port),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": str(threads),
    }


if __name__ == "__main__":
    other_process()
