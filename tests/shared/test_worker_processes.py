"""Shards by several processes: the same rows, errors told, and no worker outlives its master."""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from shared.errors import DataError, ServiceError
from shared.shards import Engine, Job, LocalEngine, run_shards
from shared.worker_processes import ProcessEngine

KEYS = [f"key {number}" for number in range(50)]


def silent(_: str) -> None:
    return


# In a file of its own: a worker process imports it by name, and does not know the tests by theirs.
JOBS = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
import pandas as pd
from shared.errors import DataError

@dataclass(frozen=True)
class Marked:
    # A row for each key, with the process that made it. broken: a key it stumbles over; deadly:
    # one that is the death of any process but `master`. met: a folder where each process waits for
    # a second one, so that the quicker does not do it all.
    broken: str = ""
    deadly: str = ""
    master: int = 0
    met: str = ""

    def open(self):
        def work(keys):
            if self.broken in keys:
                raise DataError(f"{self.broken} cannot be used")
            if self.deadly in keys and os.getpid() != self.master:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.met:
                Path(self.met, str(os.getpid())).touch()
                while len(os.listdir(self.met)) < 2:
                    time.sleep(0.01)
            return pd.DataFrame({"key": list(keys), "process": os.getpid()})
        return work
"""


@pytest.fixture
def marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Job]]:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "marked_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("marked_jobs").Marked
    del sys.modules["marked_jobs"]


def run(job: Job, output: Path, engine: Engine) -> pd.DataFrame:
    run_shards(job, KEYS, plan={}, output=output, shard_keys=7, say=silent, engine=engine)
    return pd.read_parquet(output)


def test_several_processes_write_what_one_does(tmp_path: Path, marked: Callable[..., Job]) -> None:
    one = run(marked(), tmp_path / "one.parquet", LocalEngine())
    met = tmp_path / "met"
    met.mkdir()
    two = run(marked(met=str(met)), tmp_path / "two.parquet", ProcessEngine(2))
    assert one["key"].tolist() == two["key"].tolist() == KEYS
    assert one["process"].unique().tolist() == [os.getpid()]
    assert len(two["process"].unique()) == 2
    assert os.getpid() not in two["process"].tolist()


def test_what_the_job_raises_is_raised(tmp_path: Path, marked: Callable[..., Job]) -> None:
    with pytest.raises(DataError) as caught:
        run(marked(broken="key 20"), tmp_path / "out.parquet", ProcessEngine(2))
    assert str(caught.value) == "key 20 cannot be used"


def test_a_dead_worker_is_told_and_what_was_finished_is_kept(
    tmp_path: Path, marked: Callable[..., Job]
) -> None:
    job = marked(deadly="key 49", master=os.getpid())
    output = tmp_path / "out.parquet"
    with pytest.raises(ServiceError) as caught:
        run(job, output, ProcessEngine(2))
    assert str(caught.value) == (
        "a worker process died, most often for want of memory; what is finished is kept, and the "
        "same command goes on from there, also with fewer --workers"
    )
    assert not output.exists()
    said: list[str] = []
    done = run_shards(
        job, KEYS, plan={}, output=output, shard_keys=7, say=said.append, engine=LocalEngine()
    )
    assert (done.rows, done.resumed > 0) == (50, True)
    assert pd.read_parquet(output)["key"].tolist() == KEYS


MASTER = """
import os, sys, time
from dataclasses import dataclass
from pathlib import Path
from shared.shards import Shard
from shared.worker_processes import ProcessEngine
@dataclass(frozen=True)
class Slow:
    folder: str
    def open(self):
        (Path(self.folder) / str(os.getpid())).touch()
        time.sleep(600)
if __name__ == "__main__":
    list(ProcessEngine(2).compute(Slow(sys.argv[1]), [Shard(0, 0, ("a",)), Shard(1, 1, ("b",))]))
"""


def test_workers_end_with_a_killed_master(tmp_path: Path) -> None:
    program, begun = tmp_path / "master.py", tmp_path / "begun"
    program.write_text(MASTER)
    begun.mkdir()
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    master = subprocess.Popen([sys.executable, str(program), str(begun)], env=paths)
    until = time.monotonic() + 60
    while len(list(begun.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    workers = [int(path.name) for path in begun.iterdir()]
    assert len(workers) == 2
    master.kill()
    master.wait()
    while any(alive(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)


def alive(pid: int) -> bool:
    """Not gone, and no zombie that nobody asks for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
