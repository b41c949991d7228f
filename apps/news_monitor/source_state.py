"""What is kept of a feed after it was asked: when next, with what to ask, and how it went."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, insert, update

from apps.news_monitor.articles import NAME_LIMIT, Article, articles_of, plain_text
from apps.news_monitor.feeds import Fetched, FetchStatus, next_check
from apps.news_monitor.ingest import Ingested
from apps.news_monitor.parsing import ParsedFeed
from apps.news_monitor.settings import FetchSettings
from apps.news_monitor.tables import fetch_log, source
from shared.text import normalise

NOTHING = Ingested(0, 0, 0)


@dataclass(frozen=True)
class Reading:
    """A feed that was asked. row: its source as it was before; result: of its articles."""

    row: Mapping[str, Any]
    fetched: Fetched
    parsed: ParsedFeed
    result: Ingested = NOTHING

    @property
    def failed(self) -> bool:
        """Nothing came of it."""
        return bool(self.fetched.error) or (bool(self.parsed.problem) and not self.parsed.entries)

    @property
    def problem(self) -> str:
        """One line, "" where all went well."""
        return normalise(self.fetched.error or self.parsed.problem)

    @property
    def status(self) -> str:
        fine = bool(self.fetched.error) or not self.failed
        return self.fetched.status.value if fine else "malformed"

    @property
    def title(self) -> str:
        """Of the feed, as it says."""
        return plain_text(self.parsed.title, NAME_LIMIT)

    def articles(self, now: datetime) -> list[Article]:
        """Its entries. What has no date is news only once the feed has answered well before."""
        return articles_of(
            self.parsed.entries,
            publisher=self.title or self.row["title"] or urlsplit(self.row["url"]).hostname or "",
            fetched=now,
            first_read=self.row["last_ok_at"] is None,
        )


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
        "last_status": reading.status,
        "last_error": reading.problem,
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
    if reading.title:
        values["title"] = reading.title
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
