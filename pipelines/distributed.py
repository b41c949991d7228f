"""Bulk jobs on a Ray cluster: `--engine ray`. The only file that knows Ray, which is an extra.

Each worker is a Ray actor that loads the model once and is given one shard at a time, so that no
more shards are on their way than there are workers; what is finished is written by the process that
asked. A worker that dies is replaced, on another machine where its own is gone, and its shard is
done again. Where the job computes on a GPU, a worker asks the cluster for its part of one: Ray then
puts it on a machine that has one, and spreads the workers over several.

Without an address Ray runs on this machine for the time of the job, behind a token of its own
making. With one, the machines of that cluster need the same version of Triptych with the extra, and
the home on storage that all of them see under one path; Ray itself checks the versions of Python
and Ray.
"""

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from shared.device import Device
from shared.errors import ServiceError, SettingsError, TriptychError
from shared.shards import KEPT, Finished, Job, Shard, Work

# How often a shard may cost its worker the life before it is given up.
TRIES = 3
CONNECT_SECONDS = 5.0
# For a worker to begin, before it is said that it has not.
PATIENCE_SECONDS = 60.0
# Ray counts parts of a GPU in these.
PARTS_OF_A_GPU = 10_000


@runtime_checkable
class Placed(Protocol):
    """A job that says where its model computes."""

    @property
    def device(self) -> Device: ...


@dataclass(frozen=True)
class Machine:
    """What a machine of the cluster has, used or not."""

    processors: int
    gpus: int

    def room(self, threads: int, sharing: int | None) -> int:
        """Workers that fit, with so many threads each and so many to a GPU; None: without one."""
        room = self.processors // threads
        return room if sharing is None else min(room, self.gpus * sharing)


@dataclass(frozen=True)
class Places:
    """For the workers of a job. sharing: workers to a GPU, None where they need none."""

    workers: int
    sharing: int | None

    @property
    def gpu(self) -> float:
        """The part of a GPU that a worker asks for, rounded down: all of them must fit."""
        return 0.0 if self.sharing is None else PARTS_OF_A_GPU // self.sharing / PARTS_OF_A_GPU


class RayEngine:
    """See shared.shards.Engine. Safe to use again after it was used."""

    def __init__(
        self,
        *,
        address: str | None = None,
        workers: int | None = None,
        threads: int = 1,
        say: Callable[[str], None] = lambda _: None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """address: HOST:PORT of a cluster's head, or "auto" for the one this machine is part of;
        None: a cluster of this machine alone. workers: by default as many as the cluster has
        processors for, on the machines with a GPU where the job computes there. threads: of each
        worker, and the processors it is counted as. patience: seconds for a worker to begin, before
        it is said that it has not.

        Raises SettingsError when Ray is not installed.
        """
        self._ray = imported_ray()
        self.address = address
        self.workers = workers
        self.threads = threads
        self.say = say
        self.patience = patience

    def compute(self, job: Job, shards: Sequence[Shard]) -> Iterator[Finished]:
        """Every shard once, as they finish.

        Raises:
            ServiceError: no cluster at the address; a shard that failed for good, and how.
            SettingsError: the cluster has not the processors or the GPU asked for.
            TriptychError: what the job raised, such as a model that a worker does not find.
        """
        with self._cluster():
            yield from self._spread(job, shards, self._places(job, len(shards)))

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

    def _places(self, job: Job, shards: int) -> Places:
        """For no more workers than shards.

        Raises SettingsError where the cluster has no room for them.
        """
        machines = self._machines()
        device = job.device if isinstance(job, Placed) else "cpu"
        gpus = sum(machine.gpus for machine in machines)
        if device == "cuda" and not gpus:
            raise SettingsError(
                "device = 'cuda': the cluster has no GPU; add a machine with one, or use auto or "
                "cpu"
            )
        on_gpus = gpus > 0 and device in ("auto", "cuda")
        usable = [machine for machine in machines if machine.gpus or not on_gpus]
        room = sum(machine.room(self.threads, None) for machine in usable)
        if room < 1 or (self.workers is not None and self.workers > room):
            where = "the cluster has"
            if on_gpus:
                where = f"the machines with a GPU, on which device = {device!r} computes, have"
            raise SettingsError(
                f"--workers {self.workers or 1} with {self.threads} threads each: {where} "
                f"{sum(machine.processors for machine in usable)} processors; ask for fewer "
                f"workers or threads{', or --device cpu' if on_gpus else ''}"
            )
        workers = min(room if self.workers is None else self.workers, shards)
        return Places(workers, fewest_to_a_gpu(usable, workers, self.threads) if on_gpus else None)

    def _machines(self) -> list[Machine]:
        """Those of the cluster that are up."""
        has = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return [Machine(int(one.get("CPU", 0)), int(one.get("GPU", 0))) for one in has]

    def _hired(self, job: Job, places: Places) -> Any:
        actor = self._ray.remote(_Worker).options(
            num_cpus=self.threads,
            num_gpus=places.gpu,
            max_restarts=0,  # replaced here, which knows the shard and counts its tries
            runtime_env={"env_vars": _environment(self.threads)},
        )
        return actor.remote(job)

    def _spread(self, job: Job, shards: Sequence[Shard], places: Places) -> Iterator[Finished]:
        """Give each worker its next shard as soon as it has finished one."""
        waiting = iter(shards)
        tries: Counter[int] = Counter()
        out: dict[Any, tuple[Shard, Any]] = {}
        arrivals = Arrivals(self._ray, self.patience, self.say)

        def give(shard: Shard | None, worker: Any) -> None:
            if shard is not None:
                out[worker.work.remote(shard.keys)] = (shard, worker)

        for shard in islice(waiting, places.workers):
            give(shard, arrivals.of(self._hired(job, places)))
        while out:
            ready, _ = self._ray.wait(list(out), num_returns=1, timeout=self.patience)
            arrivals.look()
            if not ready:
                continue
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
                give(shard, arrivals.of(self._hired(job, places)))
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


class Arrivals:
    """Which workers have not begun: a cluster without room for one keeps it waiting and says
    nothing."""

    def __init__(self, ray: ModuleType, patience: float, say: Callable[[str], None]) -> None:
        self._ray, self._patience, self._say = ray, patience, say
        self._expected: dict[Any, float] = {}  # what is ready once it has begun -> hired when

    def of(self, worker: Any) -> Any:
        """The worker, who is expected from now on."""
        self._expected[worker.__ray_ready__.remote()] = time.monotonic()
        return worker

    def look(self) -> None:
        """Say so where one has not begun in time, once for each."""
        if not self._expected:
            return
        begun, _ = self._ray.wait(list(self._expected), num_returns=len(self._expected), timeout=0)
        for one in begun:
            del self._expected[one]
        now = time.monotonic()
        late = [one for one, hired in self._expected.items() if now - hired >= self._patience]
        for one in late:
            del self._expected[one]
        if late:
            self._say(
                f"{len(late)} worker(s) not begun after {self._patience:.0f} s: the cluster may "
                "have no room left for them (`ray status` shows it); waiting goes on"
            )


class _WorkerDiedError(Exception):
    """Between two functions of the engine; nobody else sees it."""


def fewest_to_a_gpu(machines: Sequence[Machine], workers: int, threads: int) -> int:
    """Workers to share a GPU so that all fit, where they fit by their threads.

    Two GPUs and three workers: 2, for of three parts of 2/3 only two would fit.
    """
    return next(
        sharing
        for sharing in count(1)
        if sum(machine.room(threads, sharing) for machine in machines) >= workers
    )


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
