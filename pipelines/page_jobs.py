"""Commands that a page starts: they go on without it, and it says how they fare.

HOME/page_jobs/ID/  job.json (title, kind, words, started, pid)   log.txt   exit (the status, at its
end)   lock

A job holds the lock from its start to its end, so that it is known to run, or to have been killed,
whatever became of the page. What was killed goes on where the same command goes
on when it is given again.
"""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from threading import Thread
from types import FrameType
from uuid import uuid4

from shared.atomic import alone, write_text
from shared.errors import ServiceError
from shared.run_journal import is_locked

JOB, LOG, LOCK, EXIT, STOPPED = "job.json", "log.txt", "lock", "exit", "stopped"
STARTING = ".starting"
# Of a log, at its end; a page is no place for more.
SHOWN_BYTES = 20_000


class State(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    KILLED = "killed"


@dataclass(frozen=True)
class Job:
    """kind: what a page shows together. words: of the command, behind `triptych`. pid: of the
    group of processes."""

    folder: Path
    title: str
    kind: str
    words: tuple[str, ...]
    started: datetime
    pid: int
    state: State

    @property
    def command(self) -> str:
        return shlex.join(("triptych", *self.words))

    @property
    def log(self) -> str:
        """The end of what the command has said."""
        with (self.folder / LOG).open("rb") as file:
            file.seek(max(0, (self.folder / LOG).stat().st_size - SHOWN_BYTES))
            return file.read().decode("utf-8", "replace")


def start(
    jobs: Path,
    title: str,
    kind: str,
    words: Sequence[str],
    *,
    now: datetime,
    environ: Mapping[str, str],
) -> Job:
    """Start a command in the background. jobs: the folder of all of them.

    Raises: ServiceError: another job of this home is at work; two would each take twice as long.
    """
    jobs.mkdir(parents=True, exist_ok=True)
    with alone(jobs / STARTING):
        for other in jobs_of(jobs):
            if other.state is State.RUNNING:
                raise ServiceError(f"`{other.command}` is at work; wait for its end, or stop it")
        folder = jobs / f"{now:%Y%m%d-%H%M%S-%f}-{uuid4().hex[:4]}"
        folder.mkdir()
        # The lock is of the open file, which the command is given: it holds from the first moment.
        with (folder / LOCK).open("xb") as lock, (folder / LOG).open("xb") as log:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.page_jobs", str(folder), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock.fileno()],
                env={**environ, "PYTHONUNBUFFERED": "1"},
            )
        # Somebody must take note of its end, or it stays in the table of processes.
        Thread(target=process.wait, daemon=True).start()
        said = {
            "title": title, "kind": kind, "words": list(words), "started": now.isoformat(),
            "pid": process.pid,
        }  # fmt: skip
        write_text(folder / JOB, json.dumps(said))
        return _read(folder)


def stop(job: Job) -> None:
    """As Ctrl-C would; what can go on later does when it is started again."""
    if _state(job.folder) is State.RUNNING:
        write_text(job.folder / STOPPED, "")
        os.killpg(job.pid, signal.SIGINT)


def jobs_of(jobs: Path, kind: str | None = None) -> list[Job]:
    """The newest first; of one kind, or all."""
    folders = sorted(jobs.glob(f"*/{JOB}"), reverse=True)
    found = [_read(path.parent) for path in folders]
    return [job for job in found if kind in (None, job.kind)]


def _read(folder: Path) -> Job:
    said = json.loads((folder / JOB).read_text(encoding="utf-8"))
    return Job(
        folder,
        said["title"],
        said["kind"],
        tuple(said["words"]),
        datetime.fromisoformat(said["started"]),
        said["pid"],
        _state(folder),
    )


def _state(folder: Path) -> State:
    if is_locked(folder / LOCK):
        return State.RUNNING
    if (folder / STOPPED).exists():
        return State.STOPPED
    try:
        status = int((folder / EXIT).read_text())
    except FileNotFoundError:
        return State.KILLED
    return State.FAILED if status else State.FINISHED


def _ignored(_signal: int, _frame: FrameType | None) -> None:
    """The command is told too, and ends as it does."""


def main(folder: Path, words: Sequence[str]) -> None:
    """Run the command and write down its status."""
    signal.signal(signal.SIGINT, _ignored)
    status = subprocess.call([sys.executable, "-m", "pipelines.cli", *words])
    write_text(folder / EXIT, str(status))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
