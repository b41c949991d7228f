"""What the outbox page shows, read from the tables."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from apps.news_monitor.tables import dropped_file, job_run, lease
from apps.news_monitor.telling_tables import outbox, recipient, webhook_call
from apps.news_monitor.webhooks import place_of

LISTED = 200
ROUNDS = 50
KINDS = {
    "alert": "alert {0}",
    "broad": "alert {0} and others",
    "digest": "digest",
    "offline": "summary after a pause",
    "heartbeat": "heartbeat",
}


@dataclass(frozen=True)
class Owed:
    """A mail or a webhook call. what: in a reader's words; next_try_at: None unless it waits."""

    id: int
    what: str
    to: str
    state: str
    attempts: int
    created_at: datetime
    next_try_at: datetime | None
    sent_at: datetime | None
    last_error: str


def owed_mails(connection: Connection) -> list[Owed]:
    """The newest first."""
    query = (
        select(outbox, recipient.c.email)
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
        .order_by(outbox.c.id.desc())
        .limit(LISTED)
    )
    return [
        _owed(row, KINDS[row.kind].format(row.alert_id), row.email)
        for row in connection.execute(query)
    ]


def owed_calls(connection: Connection) -> list[Owed]:
    """The newest first; of an address the host alone, for the rest may be a secret."""
    query = select(webhook_call).order_by(webhook_call.c.id.desc()).limit(LISTED)
    return [
        _owed(row, f"{row.event} of alert {row.alert_id}", place_of(row.url))
        for row in connection.execute(query)
    ]


def recipients(connection: Connection) -> list[tuple[int, str, bool]]:
    """(number, address, whether mails go there), by address."""
    query = select(recipient).order_by(recipient.c.email)
    return [(row.id, row.email, row.enabled) for row in connection.execute(query)]


def dropped_files(connection: Connection) -> list[dict[str, Any]]:
    """The newest first."""
    query = select(dropped_file).order_by(dropped_file.c.taken_at.desc()).limit(LISTED)
    return [
        {
            "read": row.taken_at,
            "file": row.name,
            "articles": row.found,
            "new": row.new,
            "rows rejected": row.rejected,
            "set aside because": row.problem,
        }
        for row in connection.execute(query)
    ]


def last_rounds(connection: Connection) -> list[dict[str, Any]]:
    """What the monitor did in its last rounds, the newest first."""
    query = select(job_run).order_by(job_run.c.started_at.desc()).limit(ROUNDS)
    return [
        _round(row.job, row.started_at, json.loads(row.report_json))
        for row in connection.execute(query)
    ]


def _round(job: str, at: datetime, report: dict[str, Any]) -> dict[str, Any]:
    sources = report.get("sources", [])
    return {
        "began": at,
        "job": job,
        "seconds": report.get("seconds"),
        "feeds asked": len(sources),
        "of these failed": sum(bool(one["problem"]) for one in sources),
        "new articles": report.get("new"),
        "labelled": report.get("labelled"),
        "hours judged": report.get("evaluated"),
        "alerts": len(report.get("alerts", [])),
        "to know": "; ".join(report.get("lines", [])),
    }


def running(connection: Connection) -> str:
    """Which monitor holds the database, in a sentence; "" where none does, or none ever did."""
    row = connection.execute(select(lease).order_by(lease.c.until.desc()).limit(1)).one_or_none()
    if row is None:
        return ""
    return (
        f"{row.holder} runs the monitor since {row.since:%Y-%m-%d %H:%M} UTC, and last said so at "
        f"{row.renewed_at:%H:%M:%S}."
    )


def _owed(row: Any, what: str, to: str) -> Owed:
    waits = row.state in ("queued", "unknown")
    return Owed(
        row.id,
        what,
        to,
        row.state,
        row.attempts,
        row.created_at,
        row.next_try_at if waits else None,
        row.sent_at,
        row.last_error,
    )
