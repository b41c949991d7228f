"""What batch runs leave behind: a report of each, and the lists of the last one.

    HOME/batches/NAME/20260101T020000-1f3a/report.json   written last: a run without it is no run
    HOME/batches/NAME/20260101T020000-1f3a/lists.parquet  of the newest run over all users alone

Reads and writes files only; pages use it, so no torch.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from apps.recommender.additions import Stamp
from apps.recommender.list_figures import Drift, ListFigures
from shared.atomic import write_text
from shared.errors import DataError
from shared.settings import Home

FOLDER = "batches"
REPORT, LISTS = "report.json", "lists.parquet"
# Reports kept of a name; older ones go.
KEPT = 400
Scope = Literal["all", "changed", "file"]
NAME = re.compile(r"\d{8}T\d{6}-[0-9a-f]{4}")


@dataclass(frozen=True)
class BatchReport:
    """One run. model: NAME@VERSION. scope: all users, those who changed since the last run, or
    those of a file. users: asked for; made: of these newly listed; without: got no item, the first
    of them in without_first. state: names what the lists depend on beside the users' events;
    stamp: what had been added to the model. cost: of the shop's rules, in words, "" for none.
    """

    run: str
    model: str
    at: datetime
    scope: Scope
    users: int
    made: int
    rows: int
    k: int
    resumed: int
    without: int
    without_first: tuple[str, ...]
    figures: ListFigures
    drift: Drift | None
    seconds: float
    computing: float
    output: str
    state: str
    stamp: Stamp
    cost: str = ""
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """For a person."""
        f = self.figures
        told = [
            f"{f.items:,} items listed, {f.coverage:.1%} of the catalogue; Gini {f.gini:.2f}; "
            f"variety {'-' if f.diversity is None else f'{f.diversity:.2f}'}; novelty "
            f"{f.novelty:.1f} bits; {f.new:.1%} of the places for items nobody had",
        ]
        if self.without:
            first = ", ".join(self.without_first[:3])
            told.append(f"{self.without:,} users without a recommendation (first: {first})")
        if self.drift is not None:
            told.append(self.drift.line)
        return (*told, *self.notes)


def new_run(home: Home, name: str, now: datetime) -> Path:
    """The folder of a new run, not made yet."""
    return home.root / FOLDER / name / f"{now:%Y%m%dT%H%M%S}-{uuid4().hex[:4]}"


def finish_run(folder: Path, report: BatchReport, lists: Path | None) -> None:
    """Write a run's folder, the report last, and clear what it replaces.

    lists: a Parquet file of all users' lists, copied; None for a run over some users.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if lists is not None and lists != folder / LISTS:
        shutil.copyfile(lists, folder / LISTS)
    write_text(folder / REPORT, json.dumps(asdict(report), default=_plain, indent=2) + "\n")
    left_over = f"{report.at - timedelta(days=1):%Y%m%dT%H%M%S}"
    for old in _folders(folder.parent):
        if lists is not None and old.name < folder.name:
            (old / LISTS).unlink(missing_ok=True)
        if old.name < left_over and not (old / REPORT).is_file():
            shutil.rmtree(old, ignore_errors=True)  # of a run that was killed
    for old in [each for each in _folders(folder.parent) if (each / REPORT).is_file()][:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def read_batches(home: Home, name: str) -> list[BatchReport]:
    """The finished runs of a model's name, the newest first; a damaged report is passed over."""
    return [report for folder in reversed(_folders(home.root / FOLDER / name))
            for report in _read(folder / REPORT)]  # fmt: skip


def batch_names(home: Home) -> list[str]:
    """Models with a finished run."""
    root = home.root / FOLDER
    names = sorted(folder.name for folder in root.iterdir()) if root.is_dir() else []
    return [name for name in names if read_batches(home, name)]


def last_lists(home: Home, name: str) -> tuple[BatchReport, Path] | None:
    """The newest run over all users whose lists are there."""
    for report in read_batches(home, name):
        path = home.root / FOLDER / name / report.run / LISTS
        if path.is_file():
            return report, path
    return None


def _folders(root: Path) -> list[Path]:
    """Oldest first."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if NAME.fullmatch(path.name))


def _read(path: Path) -> Iterator[BatchReport]:
    try:
        yield report_from(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, DataError, ValueError):
        return


def report_from(data: Mapping[str, Any]) -> BatchReport:
    """What finish_run wrote. Raises: DataError: it is none."""
    try:
        moved = data["drift"]
        return BatchReport(
            **{
                **data,
                "at": datetime.fromisoformat(data["at"]),
                "without_first": tuple(data["without_first"]),
                "notes": tuple(data["notes"]),
                "figures": ListFigures(**data["figures"]),
                "drift": None if moved is None else Drift(**moved),
                "stamp": Stamp(**data["stamp"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"not a report of a batch run: {error}") from None


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
