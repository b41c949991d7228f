"""Mails that are owed: one row for each, written with its alert, sent at least once, told apart.

queued -> sending -> sent; refused mails go back to queued with a later time; a mail whose fate is
unknown waits and is tried once more with the same Message-ID, by which mail programs drop a second
copy; what cannot be delivered ends as dead and stays to be seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any

from sqlalchemy import Connection, Engine, and_, or_, select, update

from apps.news_monitor.broad import told_in
from apps.news_monitor.broad_mail import compose_broad
from apps.news_monitor.delivery import (
    DeliveryError,
    Mailer,
    RefusedForGoodError,
    UnknownOutcomeError,
)
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.mail import Envelope, compose, sender_domain
from apps.news_monitor.tables import alert, outbox, recipient

RETRY_MINUTES = (1, 5, 15, 60)
REFUSED_RETRY_HOURS = (1, 6, 24)
UNKNOWN_WAIT = timedelta(minutes=10)
GIVE_UP_AFTER = timedelta(days=5)
LEASE = timedelta(minutes=20)
"""Longer than a mail can take: connecting, 30 seconds a command, 10 minutes for the last answer."""


@dataclass
class DeliveryReport:
    """Counts of this round; lines: one for each mail that did not go, in plain words."""

    sent: int = 0
    waiting: int = 0
    unknown: int = 0
    dead: int = 0
    lines: list[str] = field(default_factory=list)


def recipients_of(connection: Connection, addresses: Sequence[str]) -> list[int]:
    """The ids of these addresses, made if they are new; those switched off are left out."""
    insert_new(connection, recipient, [{"email": a, "enabled": True} for a in addresses])
    rows = connection.execute(
        select(recipient.c.id, recipient.c.email).where(recipient.c.enabled.is_(True))
    )
    ids = {row.email: row.id for row in rows}
    return [ids[address] for address in addresses if address in ids]


def enqueue(
    connection: Connection,
    *,
    alert_id: int,
    alert_key: str,
    revision: int,
    addresses: Sequence[str],
    sender: str,
    now: datetime,
    kind: str = "alert",
    number: int | None = None,
) -> int:
    """One row for each recipient, in the caller's transaction; rows already there stay one.

    kind: "alert", or "broad" for a mail about many topics, of which alert_id is the lead. number:
    of what the mail is about, where that is not the alert. alert_key tells it from one of the same
    number in another database.
    """
    domain = sender_domain(sender)
    rows: list[dict[str, Any]] = []
    for recipient_id in recipients_of(connection, addresses):
        about = f"{kind}-{alert_id if number is None else number}"
        identity = f"{about}.r{revision}.u{recipient_id}.{alert_key}"
        rows.append(
            {
                "kind": kind,
                "alert_id": alert_id,
                "revision": revision,
                "recipient_id": recipient_id,
                "message_id": f"<{identity}@{domain}>",
                "state": "queued",
                "attempts": 0,
                "created_at": now,
                "next_try_at": now,
                "last_error": "",
            }
        )
    insert_new(connection, outbox, rows)
    return len(rows)


def deliver_due(
    engine: Engine,
    mailer: Mailer,
    *,
    now: datetime,
    sender: str,
    dashboard_url: str,
    limit: int = 100,
) -> DeliveryReport:
    """Send what is due, one mail at a time, each claimed first so that nobody else sends it."""
    report = DeliveryReport()
    due = or_(
        and_(outbox.c.state.in_(("queued", "unknown")), outbox.c.next_try_at <= now),
        # Whoever was sending it has died: its fate is unknown, and it is tried again.
        and_(outbox.c.state == "sending", outbox.c.lease_until <= now),
    )
    query = select(outbox.c.id).where(due).order_by(outbox.c.next_try_at, outbox.c.id).limit(limit)
    with engine.begin() as connection:
        ids = list(connection.execute(query).scalars())
    for number in ids:
        row = _claim(engine, number, now)
        if row is None:
            continue
        envelope = Envelope(
            sender=sender,
            recipient=row["email"],
            message_id=row["message_id"],
            thread_id=_thread_id(row["message_id"]),
            dashboard_url=dashboard_url,
        )
        try:
            mailer.send(_message(engine, row, envelope))
        except DeliveryError as error:
            _settle(engine, row, error, now, report)
        else:
            _mark(engine, number, state="sent", sent_at=now, lease_until=None, last_error="")
            report.sent += 1
    return report


def _message(engine: Engine, row: dict[str, Any], envelope: Envelope) -> EmailMessage:
    if row["kind"] == "broad":
        with engine.begin() as connection:
            told = told_in(connection, row["alert_id"], row["revision"])
        return compose_broad(told, envelope, row["created_at"])
    return compose(Evidence.from_json(row["evidence_json"]), envelope, row["created_at"])


def _thread_id(message_id: str) -> str:
    """The same for all mails about one alert, whatever their revision and recipient."""
    local, _, domain = message_id.strip("<>").partition("@")
    about, *_, key = local.split(".")
    return f"<{about}.{key}@{domain}>"


def _claim(engine: Engine, number: int, now: datetime) -> dict[str, Any] | None:
    """Take a mail over: the row as it now is, or None if somebody else was quicker."""
    query = (
        select(
            outbox,
            recipient.c.email,
            alert.c.evidence_json,
            alert.c.dedupe_key,
        )
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
        .join(alert, alert.c.id == outbox.c.alert_id)
        .where(outbox.c.id == number)
    )
    with engine.begin() as connection:
        row = dict(connection.execute(query).mappings().one())
        claimed = connection.execute(
            update(outbox)
            .where(
                outbox.c.id == number,
                outbox.c.state == row["state"],
                outbox.c.attempts == row["attempts"],
            )
            .values(state="sending", attempts=row["attempts"] + 1, lease_until=now + LEASE)
        ).rowcount
    row["attempts"] += 1
    return row if claimed == 1 else None


def _settle(
    engine: Engine, row: dict[str, Any], error: DeliveryError, now: datetime, report: DeliveryReport
) -> None:
    """A mail that did not go: when it is tried again, or that it is given up."""
    attempts: int = row["attempts"]
    old = now - row["created_at"] > GIVE_UP_AFTER
    state, wait = "queued", timedelta(minutes=RETRY_MINUTES[min(attempts, 4) - 1])
    if isinstance(error, UnknownOutcomeError):
        # Sent once more, then left to a person: a third copy helps nobody.
        state, wait = ("dead" if row["state"] == "unknown" else "unknown"), UNKNOWN_WAIT
    elif isinstance(error, RefusedForGoodError):
        if attempts > len(REFUSED_RETRY_HOURS):
            state = "dead"
        else:
            wait = timedelta(hours=REFUSED_RETRY_HOURS[attempts - 1])
    if old:
        state = "dead"
    line = f"mail {row['message_id']} to {row['email']} not sent: {error}"
    if state == "dead":
        report.dead += 1
        line += "; given up, see the outbox"
    else:
        report.unknown += state == "unknown"
        report.waiting += state == "queued"
        line += f"; kept, next attempt {now + wait:%Y-%m-%d %H:%M} UTC"
    report.lines.append(line)
    _mark(
        engine,
        row["id"],
        state=state,
        next_try_at=now + wait,
        lease_until=None,
        last_error=str(error),
    )


def _mark(engine: Engine, number: int, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(outbox).where(outbox.c.id == number).values(**values))
