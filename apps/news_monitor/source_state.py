"""What is kept of a feed after it was asked: when next, with what to ask, and how it went."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, update

from apps.news_monitor.feeds import Fetched, FetchStatus, next_check
from apps.news_monitor.ingest import Ingested
from apps.news_monitor.parsing import ParsedFeed
from apps.news_monitor.settings import FetchSettings
from apps.news_monitor.tables import fetch_log, source


@dataclass(frozen=True)
class Reading:
    """A feed that was asked. row: its source as it was before. failed: nothing came of it."""

    row: Mapping[str, Any]
    fetched: Fetched
    parsed: ParsedFeed
    failed: bool
    result: Ingested


def note_source(
    connection: Connection,
    reading: Reading,
    settings: FetchSettings,
    *,
    now: datetime,
    jitter: float,
) -> None:
    """The feed's row and a line of its log. jitter: see next_check."""
    row, fetched, parsed = reading.row, reading.fetched, reading.parsed
    errors = row["error_count"] + 1 if reading.failed else 0
    own = parsed.own_minutes if fetched.status is FetchStatus.OK else row["own_minutes"]
    pause = None if own is None else timedelta(minutes=own)
    values: dict[str, Any] = {
        "last_status": fetched.status.value if fetched.error or not reading.failed else "malformed",
        "last_error": fetched.error or parsed.problem,
        "error_count": errors,
        "own_minutes": own,
        "next_check_at": next_check(fetched, errors, settings, now=now, jitter=jitter, own=pause),
    }
    if not reading.failed:
        values["last_ok_at"] = now
        # A 304 may leave them out; then the old ones still hold.
        values["etag"] = fetched.etag or (row["etag"] if fetched.code == 304 else None)
        values["last_modified"] = fetched.last_modified or (
            row["last_modified"] if fetched.code == 304 else None
        )
    if parsed.title:
        values["title"] = parsed.title[:200]
    connection.execute(update(source).where(source.c.id == row["id"]).values(**values))
    connection.execute(
        insert(fetch_log).values(
            source_id=row["id"],
            started_at=now,
            status=values["last_status"],
            milliseconds=fetched.milliseconds,
            bytes=len(fetched.body),
            n_items=reading.result.found,
            n_new=reading.result.new,
            error=values["last_error"],
        )
    )
