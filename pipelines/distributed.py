"""Bulk jobs on a Ray cluster: `--engine ray`. The only file that knows Ray, which is an extra.

Each worker is a Ray actor that loads the model once and is given one shard at a time, so that no
more shards are on their way than there are workers; what is finished is written by the process that
asked. A worker that dies is replaced, on another machine where its own is gone, and its shard is
done again.

Without an address Ray runs on this machine for the time of the job, behind a token of its own
making. With one, the machines of that cluster need the same version of Triptych with the extra, and
the home on storage that all of them see under one path; Ray itself checks the versions of Python
and Ray.
"""

import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from types import ModuleType
from typing import Any

import pandas as pd

from shared.errors import ServiceError, SettingsError, TriptychError
from shared.shards import KEPT, Finished, Job, Shard, Work

# How often a shard may cost its worker the life before it is given up.
TRIES = 3
CONNECT_SECONDS = 5.0


class RayEngine:
    """See shared.shards.Engine. Safe to use again after it was used."""

    def __init__(
        self, *, address: str | None = None, workers: int | None = None, threads: int = 1
    ) -> None:
        """address: HOST:PORT of a cluster's head, or "auto" for the one this machine is part of;
        None: a cluster of this machine alone. workers: by default as many as the cluster has
        processors for. threads: of each worker, and the processors it is counted as.

        Raises SettingsError when Ray is not installed.
        """
        self._ray = imported_ray()
        self.address = address
        self.workers = workers
        self.threads = threads

    def compute(self, job: Job, shards: Sequence[Shard]) -> Iterator[Finished]:
        """Every shard once, as they finish.

        Raises:
            ServiceError: no cluster at the address; a shard that failed for good, and how.
            SettingsError: the cluster has not the processors asked for.
            TriptychError: what the job raised, such as a model that a worker does not find.
        """
        with self._cluster():
            yield from self._spread(job, shards, min(self._affordable(), len(shards)))

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """Connected to the cluster, which is left, or ended if it was started here."""
        if self._ray.is_initialized():  # by whoever holds a cluster open for several jobs
            yield
            return
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            if self.address is None:
                cores = len(os.sched_getaffinity(0))
                self._ray.init(
                    address="local",
                    num_cpus=max(cores, (self.workers or 1) * self.threads),
                    include_dashboard=False,
                    **quiet,
                )
            else:
                _answers(self.address)
                self._ray.init(address=self.address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            line = " ".join(str(error).split())
            where = self.address or "on this machine"
            raise ServiceError(
                f"--engine ray: no Ray cluster {where}: {line}; start one with `ray start --head` "
                "and name its HOST:PORT with --address, or leave --address out"
            ) from error
        try:
            yield
        finally:
            self._ray.shutdown()

    def _affordable(self) -> int:
        """Workers that the cluster has processors for."""
        processors = int(self._ray.cluster_resources().get("CPU", 0))
        room = processors // self.threads
        if room < 1 or (self.workers is not None and self.workers > room):
            raise SettingsError(
                f"--workers {self.workers or 1} with {self.threads} threads each: the cluster has "
                f"{processors} processors; ask for fewer workers or threads"
            )
        return room if self.workers is None else self.workers

    def _hired(self, job: Job) -> Any:
        actor = self._ray.remote(_Worker).options(
            num_cpus=self.threads,
            max_restarts=0,  # replaced here, which knows the shard and counts its tries
            runtime_env={"env_vars": _environment(self.threads)},
        )
        return actor.remote(job)

    def _spread(self, job: Job, shards: Sequence[Shard], workers: int) -> Iterator[Finished]:
        """Give each worker its next shard as soon as it has finished one."""
        waiting = iter(shards)
        tries: Counter[int] = Counter()
        out: dict[Any, tuple[Shard, Any]] = {}

        def give(shard: Shard | None, worker: Any) -> None:
            if shard is not None:
                out[worker.work.remote(shard.keys)] = (shard, worker)

        for shard in islice(waiting, workers):
            give(shard, self._hired(job))
        while out:
            ready, _ = self._ray.wait(list(out), num_returns=1)
            shard, worker = out.pop(ready[0])
            try:
                frame = self._result(ready[0], shard)
            except _WorkerDiedError as death:
                tries[shard.number] += 1
                if tries[shard.number] == TRIES:
                    raise ServiceError(
                        f"{shard.place} failed for good: its worker died {TRIES} times over it, "
                        f"most often for want of memory; {KEPT}, also with fewer --workers"
                    ) from death
                give(shard, self._hired(job))
            else:
                give(next(waiting, None), worker)
                yield Finished(shard, frame)

    def _result(self, reference: Any, shard: Shard) -> pd.DataFrame:
        failures = self._ray.exceptions
        try:
            frame: pd.DataFrame = self._ray.get(reference)
        except failures.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, TriptychError):
                raise type(cause)(f"on a worker: {cause}") from error
            raise ServiceError(
                f"{shard.place} failed for good: {type(cause).__name__}: "
                f"{' '.join(str(cause).split())}; {KEPT}"
            ) from error
        except (failures.RayActorError, failures.OutOfMemoryError) as error:
            raise _WorkerDiedError from error
        return frame


class _WorkerDiedError(Exception):
    """Between two functions of the engine; nobody else sees it."""


def _answers(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT; Ray would ask for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


class _Worker:
    """Lives in a process of its own. The model is loaded with the first shard, not before: what
    goes wrong then comes back as that shard's error."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._work: Work | None = None

    def work(self, keys: Sequence[str]) -> pd.DataFrame:
        if self._work is None:
            self._work = self._job.open()
        return self._work(keys)


def imported_ray() -> ModuleType:
    """Ray, and no word of it to its makers.

    Raises SettingsError when it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise SettingsError(
            "--engine ray: Ray is not installed; it comes with the extra: "
            'pip install "triptych[distributed]"'
        ) from error
    module: ModuleType = ray
    return module


def _environment(threads: int) -> dict[str, str]:
    """What workers need to know before torch and onnxruntime load, see pipelines/cli.py."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    return {
        **{name: str(count) for name, count in counts.items()},
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
    }
