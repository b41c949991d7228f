"""Several processes that train one model: which is the main one, and how they are kept in step.

The process of rank 0 is the main one: it runs the recipe, writes, publishes and speaks. The others
wait for fine-tuning to begin, compute their part of every batch, and write nothing but the state of
their random generator. A process alone is the main one, and everything here then does nothing.

A step of several processes is the step of one: they take the same batches in the same order, each
its share of the rows, and the gradients are added up over the whole batch. What differs is the
order of additions in floating point, and the dropout: each process draws masks of its own, so that
with dropout two runs agree as two seeds do. Where rows are few, one process also pulls rows of a
label together, which several leave out (`finetune.pairable`). Measured without dropout, in fp32, on
a small encoder: weights within 2e-6 after 45 steps. The figures of an evaluation are the same; its
loss, by which nothing is decided, is not: the library fills up the last batches with rows that
occur already.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed
from torch._C._distributed_c10d import Store  # torch.distributed's, where its types are
from torch.distributed.distributed_c10d import _set_pg_timeout
from torch.distributed.rendezvous import rendezvous
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from shared.device import Device
from shared.errors import SettingsError
from shared.torchrun_variables import refuse_several
from shared.training.machine import torch_device

T = TypeVar("T")
# What the main process does between two fine-tunings may take as long as it likes.
PATIENCE = timedelta(days=30)
# What processes tell each other before they are a group: on what they train, and who is there.
DEVICE, THERE = "triptych/device", "triptych/there"


def rank() -> int:
    """0 for the main process."""
    return int(distributed.get_rank()) if distributed.is_initialized() else 0


def world_size() -> int:
    """Processes in all."""
    return int(distributed.get_world_size()) if distributed.is_initialized() else 1


def is_main() -> bool:
    """Whether this process is the one that speaks and writes."""
    return rank() == 0


def check_alone(what: str, environ: Mapping[str, str], *, asked: int = 1) -> None:
    """Raises SettingsError under several processes.

    They count as well where only the environment speaks of them: nothing but the training of a
    classifier joins them, and they would wait for it for ever. asked: by --processes.
    """
    if world_size() > 1:
        raise SettingsError(f"{world_size()} processes: {what} runs in one; leave out torchrun")
    refuse_several(what, environ)
    if asked > 1:
        raise SettingsError(
            f"--processes {asked}: {what} runs in one process; leave the option out"
        )


def check_gpus(processes: int) -> None:
    """Raises SettingsError where this machine has not a GPU for each of its processes."""
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise SettingsError(
            f"{processes} processes train on this machine and it has {gpus} GPU(s): each needs one "
            "of its own; start no more than there are, or train with --device cpu"
        )


def on_gpus(wanted: Device) -> bool:
    """Whether a training with this option computes on CUDA.

    Raises SettingsError when the device asked for is not there.
    """
    return torch_device(wanted).type == "cuda"


def tell_device(store: Store, wanted: Device) -> None:
    """What the main process trains on, for those that `join`.

    Raises SettingsError when the device asked for is not there.
    """
    store.set(DEVICE, "cuda" if on_gpus(wanted) else "other")


def absent(store: Store, size: int) -> list[int]:
    """Ranks of the processes, the main one left out, that have not yet come to `join`."""
    return [other for other in range(1, size) if not store.check([f"{THERE}/{other}"])]


def join(
    environ: Mapping[str, str],
    store: Store | None = None,
    *,
    device: Device | None = None,
    within: timedelta = PATIENCE,
) -> None:
    """Become part of the group that torchrun's variables speak of.

    store: where the processes meet, by default at MASTER_ADDR and MASTER_PORT. device: for the main
    process to tell the others, unless it has; they hear it from there. within: how long the group
    may take to stand, which torchrun watches over and ends by itself.

    Raises:
        SettingsError: variables that are not those of torchrun, a device that is not there, or
            fewer GPUs than processes on this machine.
        RuntimeError: torch's, when the group does not stand in time.
    """
    try:
        own, size, local = (int(environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        on_machine = int(environ.get("LOCAL_WORLD_SIZE", local + 1))
    except (KeyError, ValueError) as error:
        raise SettingsError(
            f"environment: RANK, WORLD_SIZE and LOCAL_RANK belong together ({error}); start "
            "several processes with torchrun or --processes, which set them, or unset WORLD_SIZE"
        ) from error
    if device is not None and on_gpus(device):
        check_gpus(on_machine)  # before the others are waited for
    if store is None:
        store, _, _ = next(rendezvous("env://", timeout=within))
    if device is not None:
        tell_device(store, device)
    backend = "gloo"
    if store.get(DEVICE) == b"cuda":
        check_gpus(on_machine)
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    if own > 0:
        store.set(f"{THERE}/{own}", "")
    distributed.init_process_group(backend, timeout=within, store=store, rank=own, world_size=size)
    _set_pg_timeout(PATIENCE)


def leave() -> None:
    """The group is over."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def from_main(make: Callable[[], T]) -> T:
    """What the main process makes, in all of them; each must call this, in the same order."""
    if world_size() == 1:
        return make()
    given: list[Any] = [make() if is_main() else None]
    # Between processes of one training, started by one command: pickle goes no further.
    distributed.broadcast_object_list(given, src=0)
    value: T = given[0]
    return value


def wait() -> None:
    """Until every process is here."""
    if world_size() > 1:
        distributed.barrier()


def reseed(seed: int) -> None:
    """Dropout of its own for every process but the main one, which goes on as if it were alone."""
    if not is_main():
        torch.manual_seed(seed + rank())


class AllWritten(TrainerCallback):  # type: ignore[misc]
    """A checkpoint is whole once every process has written its part. Add before what seals it."""

    def on_save(self, *_: Any, **__: Any) -> None:
        wait()


class InStep(TrainerCallback):  # type: ignore[misc]
    """The clock of the main process decides for all when to stop and when to save. Add last."""

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,
        **_: Any,
    ) -> None:
        if world_size() == 1:
            return
        names = ("should_training_stop", "should_save", "should_log", "should_evaluate")
        wanted = torch.tensor([int(getattr(control, name)) for name in names])
        distributed.broadcast(wanted, src=0)
        for name, value in zip(names, wanted.tolist(), strict=True):
            setattr(control, name, bool(value))
