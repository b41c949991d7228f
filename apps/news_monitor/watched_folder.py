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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet
from sqlalchemy import Engine, delete, select
from sqlalchemy.exc import OperationalError

from apps.news_monitor.archives import last_item, note_file
from apps.news_monitor.articles import Article, articles_of
from apps.news_monitor.feeds import reason_of
from apps.news_monitor.ingest import Ingested, ingest, insert_new, read_back
from apps.news_monitor.parsing import FIELD_LIMIT, Entry
from apps.news_monitor.replay import read_items
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import dropped_file
from shared.atomic import write_text
from shared.errors import DataError, ServiceError
from shared.table_rows import format_of
from shared.text import normalise

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


@dataclass(frozen=True)
class _Content:
    """What was read of a file. key: its sha256, "" where it could not be read."""

    name: str
    key: str
    articles: Sequence[Article] = ()
    rejected: int = 0
    problem: str = ""


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
    content = _read(folder, path, now, say)
    try:
        result = _store(engine, content, copies, now)
    except (ServiceError, OperationalError):
        raise  # the database is locked or away, which is no file's fault
    except Exception as error:
        # Whatever a file holds, it must cost this file only.
        problem = f"{content.name}: cannot be stored: {reason_of(error)}"
        content = replace(content, problem=problem)
        with engine.begin() as connection:
            read_back(connection, copies, now)
        result = _store(engine, content, copies, now)
    problem = content.problem
    _put_away(folder / (REFUSED if problem else TAKEN), path, problem)
    return Taken(content.name, result.found, result.new, result.copies, content.rejected, problem)


def _read(folder: Path, path: Path, now: datetime, say: Callable[[str], None]) -> _Content:
    name = path.name.encode("utf-8", "replace").decode("utf-8")
    key = ""
    try:
        if name != path.name:
            raise DataError(f"{path}: its name is not UTF-8")
        _refuse_huge(path)
        key = _digest(path)
        frame, rejected = read_items(path, mapping={}, output=folder / REFUSED, say=say)
        return _Content(name, key, _articles(frame, now), rejected)
    except DataError as error:
        problem = str(error).replace(str(path), name)
    except OSError as error:
        problem = f"{name}: cannot be read: {error.strerror}"
    except Exception as error:
        # A file can hold what no reader thought of: it must cost this file only, and it is told.
        problem = f"{name}: cannot be read: {reason_of(error)}"
    return _Content(name, key, problem=normalise(problem))


def _store(engine: Engine, content: _Content, copies: CopyIndex, now: datetime) -> Ingested:
    """Its articles, unless it has a problem, and its row, in one transaction."""
    result = Ingested(0, 0, 0)
    with engine.begin() as connection:
        same = dropped_file.c.sha256 == content.key
        # What was refused once may be good by now: the settings or the program have changed.
        connection.execute(delete(dropped_file).where(same, dropped_file.c.problem != ""))
        before = connection.execute(select(dropped_file.c.name).where(same)).scalar_one_or_none()
        if before is None and not content.problem:
            last = last_item(connection)
            result = ingest(connection, content.articles, copies=copies, fetched=now)
            if result.new:
                note_file(connection, last)
        if before is None and content.key:
            row = {
                "sha256": content.key,
                "name": content.name,
                "taken_at": now,
                "found": result.found,
                "new": result.new,
                "rejected": content.rejected,
                "problem": content.problem,
            }
            insert_new(connection, dropped_file, [row])
    return result


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
