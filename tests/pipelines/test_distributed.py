"""Bulk jobs on a real Ray cluster of two workers: the same output, and what happens to the dead."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.distributed import Arrivals, Machine, Places, RayEngine, fewest_to_a_gpu
from pipelines.embed import embed_table
from shared.device import Device
from shared.errors import DataError, ServiceError, SettingsError
from shared.settings import Home
from shared.shards import Finished, Job, LocalEngine, Shard, ShardsDone, Work, run_shards

KEYS = [f"key {number}" for number in range(60)]


def silent(_: str) -> None:
    return


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Ray on this machine with two processors, open for all tests of this file; it believes in two
    GPUs, which nobody computes on."""
    ray = pytest.importorskip("ray", reason="the extra `distributed` is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    # Workers cannot import this file.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield ray
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    ray.shutdown()


def test_an_address_where_nobody_listens_is_one_line_at_once() -> None:
    pytest.importorskip("ray", reason="the extra `distributed` is not installed")
    engine = RayEngine(address="127.0.0.1:1")
    with pytest.raises(ServiceError) as caught:
        list(engine.compute(Traced(Path()), [Shard(0, 0, ("a",))]))
    assert str(caught.value) == (
        "--engine ray: no Ray cluster 127.0.0.1:1: [Errno 111] Connection refused; start one with "
        "`ray start --head` and name its HOST:PORT with --address, or leave --address out"
    )


@dataclass(frozen=True)
class Traced:
    """Lengths of keys. Notes in `folder` each process that opens it and each shard begun.

    seconds: that a shard takes. deaths: how often the process kills itself over `fatal`. wrong:
    the key that raises.
    """

    folder: Path
    seconds: float = 0.0
    fatal: str = ""
    deaths: int = 0
    wrong: str = ""
    missing: str = ""

    def open(self) -> Work:
        if self.missing:
            raise DataError(f"{self.missing}: no such file")
        self._note("opened", str(os.getpid()))

        def work(keys: Sequence[str]) -> pd.DataFrame:
            self._note("begun", keys[0])
            time.sleep(self.seconds)
            if self.fatal in keys and self.begun.count(self.fatal) <= self.deaths:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.wrong in keys:
                raise ValueError(f"cannot read {self.wrong!r}")
            return pd.DataFrame({"key": list(keys), "letters": [len(key) for key in keys]})

        return work

    def _note(self, what: str, value: str) -> None:
        with (self.folder / what).open("a") as file:
            file.write(f"{value}\n")

    @property
    def begun(self) -> list[str]:
        """First keys of the shards, once for each time that one was begun."""
        return (self.folder / "begun").read_text().splitlines()

    @property
    def opened(self) -> list[str]:
        return (self.folder / "opened").read_text().splitlines()


def write(job: Job, output: Path, engine: RayEngine | LocalEngine, shard_keys: int) -> ShardsDone:
    return run_shards(
        job, KEYS, plan={}, output=output, shard_keys=shard_keys, say=silent, engine=engine
    )


def test_ray_writes_the_bytes_of_one_process_and_opens_a_job_once_for_each_worker(
    cluster: Any,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    write(Traced(tmp_path), tmp_path / "near.parquet", LocalEngine(), 7)
    (tmp_path / "far").mkdir()
    job = Traced(tmp_path / "far", seconds=0.05)
    write(job, tmp_path / "far.parquet", RayEngine(workers=2), 7)
    assert (tmp_path / "far.parquet").read_bytes() == (tmp_path / "near.parquet").read_bytes()
    assert len(job.opened) == len(set(job.opened)) == 2
    assert sorted(job.begun) == sorted(KEYS[::7])


def test_no_more_shards_are_on_their_way_than_workers(
    cluster: Any,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    shards = [Shard(n, n, (key,)) for n, key in enumerate(KEYS[:20])]
    job = Traced(tmp_path)
    taken: list[Finished] = []
    for finished in RayEngine(workers=2).compute(job, shards):
        taken.append(finished)
        if len(taken) == 3:
            time.sleep(0.7)  # a slow disk
            assert len(job.begun) <= 3 + 2
    assert sorted(f.shard.number for f in taken) == list(range(20))


def test_a_worker_killed_from_outside_is_replaced_and_its_shard_done_again(
    cluster: Any,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    job = Traced(tmp_path, seconds=0.3)

    def kill_one() -> None:
        while not (tmp_path / "begun").exists() or len(job.begun) < 4:
            time.sleep(0.02)
        os.kill(int(job.opened[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    done = write(job, tmp_path / "out.parquet", RayEngine(workers=2), 5)
    killer.join()
    assert done.rows == 60
    assert pd.read_parquet(tmp_path / "out.parquet")["key"].tolist() == KEYS
    assert len(job.opened) == 3
    assert len(job.begun) == 13  # twelve shards, one of them twice


def test_a_shard_that_kills_its_worker_every_time_is_one_error_and_can_be_gone_on_from(
    cluster: Any,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    job = Traced(tmp_path, fatal="key 40", deaths=99)
    output = tmp_path / "out.parquet"
    with pytest.raises(ServiceError) as caught:
        write(job, output, RayEngine(workers=1), 10)
    assert str(caught.value) == (
        "shard 5 (rows 41 to 50) failed for good: its worker died 3 times over it, most often for "
        "want of memory; what is finished is kept, and the same command goes on from there, also "
        "with fewer --workers"
    )
    assert job.begun.count("key 40") == 3
    assert not output.exists()
    done = write(Traced(tmp_path), output, RayEngine(workers=2), 10)
    assert (done.resumed, done.rows) == (40, 60)
    assert pd.read_parquet(output)["key"].tolist() == KEYS


def test_an_exception_in_a_shard_is_one_line_with_its_place(
    cluster: Any,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    job = Traced(tmp_path, wrong="key 12")
    with pytest.raises(ServiceError) as caught:
        write(job, tmp_path / "out.parquet", RayEngine(workers=2), 10)
    assert str(caught.value) == (
        "shard 2 (rows 11 to 20) failed for good: ValueError: cannot read 'key 12'; what is "
        "finished is kept, and the same command goes on from there"
    )


def test_what_the_user_can_mend_comes_back_as_what_it_is(
    cluster: Any,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError) as caught:
        write(Traced(tmp_path, missing="/m"), tmp_path / "out.csv", RayEngine(workers=1), 10)
    assert str(caught.value) == "on a worker: /m: no such file"


def test_more_workers_than_processors_is_an_error(
    cluster: Any,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError) as caught:
        write(Traced(tmp_path), tmp_path / "out.csv", RayEngine(workers=2, threads=2), 10)
    assert str(caught.value) == (
        "--workers 2 with 2 threads each: the cluster has 2 processors; ask for fewer workers or "
        "threads"
    )


@dataclass(frozen=True)
class OnDevice(Traced):
    """Notes the GPUs that a process sees, too."""

    device: Device = "auto"

    def open(self) -> Work:
        work = super().open()
        self._note("gpus", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
        return work

    @property
    def gpus(self) -> list[str]:
        return sorted((self.folder / "gpus").read_text().splitlines())


@pytest.mark.parametrize(
    ("device", "seen"), [("cuda", ["0", "1"]), ("auto", ["0", "1"]), ("cpu", ["all", "all"])]
)
def test_each_worker_of_a_job_on_gpus_sees_the_one_it_was_given(
    cluster: Any,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: Device,
    seen: list[str],
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    job = OnDevice(tmp_path, seconds=0.05, device=device)
    write(job, tmp_path / "out.parquet", RayEngine(workers=2), 5)
    assert job.gpus == seen


@pytest.mark.parametrize(
    ("machines", "workers", "threads", "sharing", "part"),
    [
        ([Machine(8, 8)], 4, 1, 1, 1.0),
        ([Machine(16, 2)], 3, 1, 2, 0.5),  # of 2/3 each GPU holds one, and the third worker waits
        ([Machine(6, 1)], 6, 1, 6, 0.1666),  # 0.1667 six times is more than one
        # Four threads are two workers, so that the other machine's GPU holds six.
        ([Machine(4, 1), Machine(16, 1)], 8, 2, 6, 0.1666),
        ([Machine(64, 4), Machine(64, 1)], 10, 1, 2, 0.5),
    ],
)
def test_the_parts_of_gpus_that_workers_ask_for_fit(
    machines: list[Machine], workers: int, threads: int, sharing: int, part: float
) -> None:
    assert fewest_to_a_gpu(machines, workers, threads) == sharing
    assert Places(workers, sharing).gpu == part


def test_a_job_on_processors_asks_for_no_gpu() -> None:
    assert Places(2, None).gpu == 0.0


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "Resources": resources}


SMALL = [node(CPU=2.0, GPU=1.0), node(CPU=8.0), node(alive=False, CPU=64.0, GPU=8.0)]


@pytest.mark.parametrize(
    ("nodes", "device", "threads", "message"),
    [
        (
            [node(CPU=8.0), node(alive=False, CPU=64.0, GPU=8.0)], "cuda", 1,
            "device = 'cuda': the cluster has no GPU; add a machine with one, or use auto or cpu",
        ),
        (
            SMALL, "auto", 1,
            "--workers 3 with 1 threads each: the machines with a GPU, on which device = 'auto' "
            "computes, have 2 processors; ask for fewer workers or threads, or --device cpu",
        ),
        (
            # Each has room for one worker of three threads, though together they have nine.
            [node(CPU=5.0), node(CPU=4.0)], "auto", 3,
            "--workers 3 with 3 threads each: the cluster has 9 processors; ask for fewer workers "
            "or threads",
        ),
    ],
)  # fmt: skip
def test_workers_that_would_wait_for_ever_are_refused(
    cluster: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nodes: list[dict[str, Any]],
    device: Device,
    threads: int,
    message: str,
) -> None:
    monkeypatch.setattr(cluster, "nodes", lambda: nodes)
    job = OnDevice(tmp_path, device=device)
    with pytest.raises(SettingsError) as caught:
        write(job, tmp_path / "out.csv", RayEngine(workers=3, threads=threads), 10)
    assert str(caught.value) == message


class Idle:
    """Takes a place."""


def test_workers_that_find_no_room_are_told_of_once_and_waited_for(
    cluster: Any, tmp_path: Path
) -> None:
    others = cluster.remote(Idle).options(num_cpus=2).remote()
    cluster.get(others.__ray_ready__.remote())
    said: list[str] = []

    def make_room() -> None:
        while not said:
            time.sleep(0.05)
        time.sleep(2.5)
        cluster.kill(others)

    leaver = threading.Thread(target=make_room)
    leaver.start()
    engine = RayEngine(workers=2, patience=1.0, say=said.append)
    done = write(Traced(tmp_path), tmp_path / "out.parquet", engine, 10)
    leaver.join()
    assert done.rows == 60
    assert said == [
        "2 worker(s) not begun after 1 s: the cluster may have no room left for them "
        "(`ray status` shows it); waiting goes on"
    ]


def test_a_worker_that_has_begun_is_not_told_of_however_long_it_takes(cluster: Any) -> None:
    said: list[str] = []
    arrivals = Arrivals(cluster, 0.2, said.append)
    worker = arrivals.of(cluster.remote(Idle).remote())
    cluster.get(worker.__ray_ready__.remote())
    time.sleep(0.3)
    arrivals.look()
    assert said == []


def test_vectors_by_ray_are_those_of_one_process(
    cluster: Any,  # noqa: ARG001
    tmp_path: Path,
    tiny_encoder: Path,
) -> None:
    texts = [f"my card {n} is lost" if n % 3 else "" for n in range(50)]
    pd.DataFrame({"text": texts}).to_csv(tmp_path / "in.csv", index=False)
    found = []
    for name, engine in (("near", LocalEngine()), ("far", RayEngine(workers=2))):
        output = tmp_path / f"{name}.parquet"
        done = embed_table(
            str(tiny_encoder),
            tmp_path / "in.csv",
            output,
            {},
            Home(tmp_path / "home"),
            threads=1,
            engine=engine,
            shard_texts=16,
        )
        assert (done.rows, done.dim) == (50, 32)
        found.append(output.read_bytes())
    assert found[0] == found[1]
    assert pd.read_parquet(tmp_path / "far.parquet")["text"].tolist() == texts


def test_without_ray_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError) as caught:
        RayEngine()
    assert str(caught.value) == (
        "--engine ray: Ray is not installed; it comes with the extra: "
        'pip install "triptych[distributed]"'
    )
