"""Files of news dropped into a folder: taken once, or set aside with the reason.

A file that was taken goes to `taken/`, one that cannot be used to `refused/` with a `.reason.txt`
beside it. The table remembers the content by its sha256: the same bytes are taken once, also when
the monitor dies between storing and moving, and whatever the file is called the next time. Dates
are believed as they stand: an archive of two years is history, and raises no alert.
"""

import gzip
import hashlib
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet
from sqlalchemy import Engine, delete, select

from apps.news_monitor.articles import Article, articles_of
from apps.news_monitor.ingest import Ingested, ingest, insert_new
from apps.news_monitor.parsing import FIELD_LIMIT, Entry
from apps.news_monitor.replay import read_items
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import dropped_file
from shared.atomic import write_text
from shared.errors import DataError
from shared.table_rows import format_of

TAKEN, REFUSED = "taken", "refused"
STILL = timedelta(seconds=10)
"""A file that was written to so recently may not be whole."""
PER_ROUND = 20
LARGEST = 512 * 1024 * 1024
"""Bytes of a file, unpacked."""
MOST_ROWS = 2_000_000
ANY_AGE = timedelta(days=365 * 200)
PIECE = 1024 * 1024


@dataclass(frozen=True)
class Taken:
    """A file as it fared. problem: why it was set aside, "" if it was taken; rejected: its rows
    that could not be used."""

    name: str
    found: int
    new: int
    copies: int
    rejected: int
    problem: str


def take_files(
    engine: Engine,
    folder: Path,
    copies: CopyIndex,
    now: datetime,
    say: Callable[[str], None],
) -> list[Taken]:
    """Take in what lies in the folder and is whole, the oldest names first; each file and its
    articles in one transaction. `copies` learns them: if this raises, build it anew.

    Raises DataError for a folder that is not there or cannot be written to.
    """
    return [_take(engine, folder, path, copies, now, say) for path in _waiting(folder, now)]


def _waiting(folder: Path, now: datetime) -> list[Path]:
    """Whole files by their name; hidden ones, links, folders and other kinds are left alone."""
    try:
        names = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        found = []
        for path in names:
            about = path.lstat()
            age = abs(now.timestamp() - about.st_mtime)
            whole = stat.S_ISREG(about.st_mode) and age >= STILL.total_seconds()
            if whole and _is_table(path):
                found.append(path)
    except OSError as error:
        raise DataError(f"[news] folder {folder}: cannot be read: {error.strerror}") from None
    return found[:PER_ROUND]


def _is_table(path: Path) -> bool:
    """By its name."""
    try:
        format_of(path)
    except DataError:
        return False
    return True


def _take(
    engine: Engine,
    folder: Path,
    path: Path,
    copies: CopyIndex,
    now: datetime,
    say: Callable[[str], None],
) -> Taken:
    result, rejected, problem, key = Ingested(0, 0, 0), 0, "", ""
    articles: list[Article] = []
    try:
        _refuse_huge(path)
        key = _digest(path)
        frame, rejected = read_items(path, mapping={}, output=folder / REFUSED, say=say)
        articles = _articles(frame, now)
    except DataError as error:
        problem = str(error).replace(str(path), path.name)
    except OSError as error:
        problem = f"{path.name}: cannot be read: {error.strerror}"
    with engine.begin() as connection:
        same = dropped_file.c.sha256 == key
        # What was refused once may be good by now: the settings or the program have changed.
        connection.execute(delete(dropped_file).where(same, dropped_file.c.problem != ""))
        before = connection.execute(select(dropped_file.c.name).where(same)).scalar_one_or_none()
        if before is None and not problem:
            result = ingest(connection, articles, copies=copies, fetched=now)
        if before is None and key:
            row = {
                "sha256": key,
                "name": path.name,
                "taken_at": now,
                "found": result.found,
                "new": result.new,
                "rejected": rejected,
                "problem": problem,
            }
            insert_new(connection, dropped_file, [row])
    _put_away(folder / (REFUSED if problem else TAKEN), path, problem)
    return Taken(path.name, result.found, result.new, result.copies, rejected, problem)


def _articles(frame: pd.DataFrame, now: datetime) -> list[Article]:
    """As from a feed, so that the same article from a feed and a file is one."""
    rows: Iterator[Any] = frame.itertuples(index=False)
    entries = [
        Entry(
            url=str(row.url)[:FIELD_LIMIT],
            title=str(row.title)[:FIELD_LIMIT],
            summary=str(row.summary)[:FIELD_LIMIT],
            published=row.published_at.to_pydatetime().astimezone(UTC),
            publisher=str(row.source)[:FIELD_LIMIT],
        )
        for row in rows
    ]
    return articles_of(entries, publisher="", fetched=now, oldest=ANY_AGE)


def _refuse_huge(path: Path) -> None:
    """Raises DataError for a file that would unfold to more than LARGEST bytes or MOST_ROWS."""
    kind, zipped = format_of(path)
    size, rows = path.stat().st_size, 0
    if zipped and size <= LARGEST:
        try:
            size = 0
            with gzip.open(path) as packed:
                while size <= LARGEST and (piece := packed.read(PIECE)):
                    size += len(piece)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path}: is not a sound gzip file: {error}") from None
    if kind == "parquet" and size <= LARGEST:
        try:
            about = pyarrow.parquet.ParquetFile(path).metadata
        except (pyarrow.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{path}: is not a sound Parquet file: {reason}") from None
        rows = about.num_rows
        size = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
    if size > LARGEST:
        raise DataError(f"{path}: holds more than {LARGEST // 1024 // 1024} MiB; cut it in parts")
    if rows > MOST_ROWS:
        raise DataError(f"{path}: holds more than {MOST_ROWS:,} rows; cut it in parts")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put_away(target: Path, path: Path, problem: str) -> None:
    """Move the file; one of the same name that lies there keeps its place. Raises DataError where
    the folder cannot be written to."""
    try:
        target.mkdir(exist_ok=True)
        place, number = target / path.name, 1
        while place.exists():
            number += 1
            place = target / f"{number}-{path.name}"
        path.rename(place)
        if problem:
            write_text(place.with_name(place.name + ".reason.txt"), problem + "\n")
    except OSError as error:
        raise DataError(
            f"[news] folder {target.parent}: {path.name} cannot be moved to {target.name}/: "
            f"{error.strerror}"
        ) from None
