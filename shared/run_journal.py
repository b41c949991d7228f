"""What a training run leaves behind: a journal, one JSON line for each thing that happened.

A line is appended in one write and forced to disk, so that a process killed at any moment leaves
every line but perhaps half of the last, which readers pass over. The process that runs holds a lock
on its journal, and the kernel lets go of it however that process ends: that is how a run that is
running is told from one that broke off. No torch here: pages read this.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import uuid4

from shared.errors import DataError, ModelError

JOURNAL = "run.jsonl"
REPORT = "report.json"
CHECKPOINTS = "checkpoints"  # beside the runs of a name, until the run that made them is over
# A reader holds the lock for an instant while it looks whether somebody else does.
LOCK_TRIES, LOCK_PAUSE = 20, 0.05


class State(StrEnum):
    """running: its process is alive. stopped: interrupted by a person. broken: it raised an error,
    or was killed; the same command goes on from the last checkpoint of either."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    BROKEN = "broken"


@dataclass(frozen=True)
class Loss:
    """Mean loss of the training steps since the point before. seconds: since the run began."""

    step: int
    epoch: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class Measured:
    """The validation part after so many steps; metrics by name."""

    step: int
    epoch: float
    metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class RunRecord:
    """A run as its journal tells it.

    options: of the training. steps: planned. metric: the one that chooses the best weights.
    forecast_minutes, forecast_memory_mb: of fine-tuning, said before it began; fine_tuning: what it
    came to (keys of `FineTuned`), empty while it has not. attempts: 1, and one more for each time
    it went on. reason: why a run that is not finished ended. model: NAME@VERSION.
    """

    name: str
    run: str
    folder: Path
    app: str
    state: State
    started_at: datetime
    ended_at: datetime | None
    options: Mapping[str, Any]
    attempts: int = 1
    steps: int | None = None
    metric: str | None = None
    forecast_minutes: float | None = None
    forecast_memory_mb: float | None = None
    losses: tuple[Loss, ...] = ()
    evaluations: tuple[Measured, ...] = ()
    fine_tuning: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    model: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def key(self) -> str:
        return f"{self.name}/{self.run}"

    @property
    def step(self) -> int:
        """The last one that was written down."""
        known = [loss.step for loss in self.losses]
        return max(known + [measured.step for measured in self.evaluations], default=0)

    @property
    def minutes(self) -> float | None:
        """Of fine-tuning: all of it, or up to the last line of a run that is under way."""
        if "seconds" in self.fine_tuning:
            return float(self.fine_tuning["seconds"]) / 60
        known = [loss.seconds for loss in self.losses]
        known += [measured.seconds for measured in self.evaluations]
        return max(known) / 60 if known else None

    @property
    def best(self) -> Measured | None:
        """The evaluation with the best value of `metric`."""
        if self.metric is None or not self.evaluations:
            return None
        return max(self.evaluations, key=lambda e: e.metrics.get(self.metric or "", float("-inf")))


class Journal:
    """Appends to a journal; several writers of one process do not disturb each other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **values: Any) -> None:
        """One line, on disk when this returns. values: anything JSON knows, paths as text."""
        line = json.dumps({"event": event, **values}, ensure_ascii=False, default=str) + "\n"
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            os.write(handle, ("\n" * torn + line).encode())
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def open_run(
    folder: Path, *, app: str, options: Mapping[str, Any], clock: Callable[[], datetime]
) -> Iterator[Journal]:
    """The journal of a new run of the model `folder.name`, or of one that broke off and goes on.

    A run goes on where the last one of this name was made by the same application with the same
    options and did not finish. How the block ends is written down, an interruption and an error
    too.

    Raises ModelError while another process trains this name.
    """
    fingerprint = hashlib.sha256(
        json.dumps([app, options], sort_keys=True, default=str).encode()
    ).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", folder.name):
        last = max((p.parent for p in folder.glob(f"*/{JOURNAL}")), default=None)
        goes_on = last is not None and _unfinished(last, fingerprint)
        run = last if last is not None and goes_on else folder / _new_id(clock())
        run.mkdir(exist_ok=True)
        journal = Journal(run / JOURNAL)
        journal.write(
            "resumed" if goes_on else "started",
            at=clock().isoformat(),
            app=app,
            fingerprint=fingerprint,
            options=dict(options),
        )
        try:
            with locked(run / JOURNAL, folder.name):
                yield journal
        except KeyboardInterrupt:
            journal.write("stopped", at=clock().isoformat(), reason="interrupted")
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            journal.write("failed", at=clock().isoformat(), reason=reason)
            raise


def read_runs(root: Path) -> tuple[RunRecord, ...]:
    """Every run below `root` (the home's `runs`), the newest first; what is no journal is left."""
    found = [read_run(path.parent) for path in root.glob(f"*/*/{JOURNAL}")]
    runs = [run for run in found if run is not None]
    return tuple(sorted(runs, key=lambda run: run.started_at, reverse=True))


def find_run(root: Path, wanted: str) -> RunRecord:
    """`NAME/RUN`, or the newest run of `NAME`. Raises DataError where there is none."""
    runs = read_runs(root)
    for run in runs:
        if wanted in (run.key, run.name):
            return run
    known = ", ".join(sorted({run.name for run in runs})) or "none yet"
    raise DataError(f"no run {wanted!r} below {root}; names with runs: {known}")


def read_run(folder: Path) -> RunRecord | None:
    """The run of a folder; None where its journal holds no first line."""
    events = _events(folder / JOURNAL)
    starts = [event for event in events if event["event"] == "started"]
    if not starts:
        return None
    record = RunRecord(
        name=folder.parent.name,
        run=folder.name,
        folder=folder,
        app=str(starts[0]["app"]),
        state=State.RUNNING,
        started_at=datetime.fromisoformat(starts[0]["at"]),
        ended_at=None,
        options=starts[0]["options"],
        attempts=sum(event["event"] in ("started", "resumed") for event in events),
        **_fine_tuning(events),
    )
    return _ended(record, events[-1])


def _ended(record: RunRecord, last: Mapping[str, Any]) -> RunRecord:
    """How the run stands: its last line says it, or the lock does."""
    endings = {"finished": State.FINISHED, "stopped": State.STOPPED, "failed": State.BROKEN}
    if last["event"] in endings:
        return replace(
            record,
            state=endings[last["event"]],
            ended_at=datetime.fromisoformat(last["at"]),
            reason=str(last.get("reason", "")),
            model=last.get("model"),
            figures=last.get("figures", {}),
            seconds=last.get("seconds"),
        )
    if is_locked(record.folder / JOURNAL):
        return record
    reason = "its process ended without a word, as when it is killed"
    return replace(record, state=State.BROKEN, reason=reason)


def _fine_tuning(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the trainer wrote; an attempt that goes on from a step replaces what came after it."""
    losses: list[Loss] = []
    evaluations: list[Measured] = []
    values: dict[str, Any] = {}
    for event in events:
        kind = event["event"]
        if kind == "training":
            losses = [point for point in losses if point.step <= event["from_step"]]
            evaluations = [point for point in evaluations if point.step <= event["from_step"]]
            wanted = ("steps", "metric", "forecast_minutes", "forecast_memory_mb")
            values |= {name: event[name] for name in wanted}
        elif kind == "loss":
            losses.append(Loss(event["step"], event["epoch"], event["loss"], event["seconds"]))
        elif kind == "evaluation":
            evaluations.append(
                Measured(event["step"], event["epoch"], event["metrics"], event["seconds"])
            )
        elif kind == "trained":
            values["fine_tuning"] = {k: v for k, v in event.items() if k != "event"}
    return {**values, "losses": tuple(losses), "evaluations": tuple(evaluations)}


def _events(path: Path) -> list[dict[str, Any]]:
    """The lines that can be read; half a line, left by a kill, cannot."""
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            found.append(event)
    return found


def _unfinished(folder: Path, fingerprint: str) -> bool:
    events = _events(folder / JOURNAL)
    begun = [e for e in events if e["event"] in ("started", "resumed")]
    return (
        bool(begun)
        and begun[-1]["fingerprint"] == fingerprint
        and not any(event["event"] == "finished" for event in events)
    )


def _new_id(now: datetime) -> str:
    """Sorts by time; two of one second differ."""
    return f"{now:%Y%m%d-%H%M%S}-{uuid4().hex[:4]}"


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock of this file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(file, fcntl.LOCK_UN)
        return False


@contextmanager
def locked(path: Path, name: str) -> Iterator[None]:
    """Hold the lock of a file, which is made if absent. name: what is locked, for the message.

    Raises ModelError while another process holds it.
    """
    with path.open("ab") as file:
        for left in range(LOCK_TRIES - 1, -1, -1):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise ModelError(
                        f"another process trains {name!r} at this moment; wait for it "
                        "(`triptych runs list`), or choose another --name"
                    ) from None
                time.sleep(LOCK_PAUSE)
        yield
