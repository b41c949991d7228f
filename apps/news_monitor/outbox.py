"""Mails that are owed: one row for each, written with its alert; see owed.py for their fate.

Besides what owed.py knows, a mail may wait in the state digest (for its reader's daily mail) or
offline (for the summary after a pause of the monitor); it is joined once it stands in such a mail.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from email.message import EmailMessage
from typing import Any

from sqlalchemy import Connection, Engine, select

from apps.news_monitor.broad import told_in
from apps.news_monitor.broad_mail import compose_broad
from apps.news_monitor.day_report import DayReport
from apps.news_monitor.delivery import Mailer
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.links import AlertRef, Links, MailLinks, Reader
from apps.news_monitor.mail import Envelope, compose, sender_domain
from apps.news_monitor.owed import (
    DeliveryError,
    DeliveryReport,
    claim,
    due_rows,
    new_row,
    note_failed,
    note_sent,
)
from apps.news_monitor.report_mail import Collected, compose_collected, compose_heartbeat
from apps.news_monitor.telling import Subscription
from apps.news_monitor.telling_tables import outbox, recipient
from apps.news_monitor.thresholds import Severity

Topics = Sequence[tuple[str, Severity]]
"""What a mail is about: (topic, severity) of each alert in it."""


def recipients_of(connection: Connection, addresses: Sequence[str]) -> dict[str, int]:
    """address -> id of each, made if they are new; those switched off are left out."""
    insert_new(connection, recipient, [{"email": a, "enabled": True} for a in addresses])
    rows = connection.execute(
        select(recipient.c.id, recipient.c.email).where(recipient.c.enabled.is_(True))
    )
    ids = {row.email: row.id for row in rows}
    return {address: ids[address] for address in addresses if address in ids}


def enqueue(
    connection: Connection,
    *,
    alert_id: int,
    alert_key: str,
    revision: int,
    topics: Topics,
    subscriptions: Sequence[Subscription],
    sender: str,
    now: datetime,
    kind: str = "alert",
    number: int | None = None,
    late: bool = False,
    content: str | None = None,
) -> int:
    """One row for each recipient who wants it, in the caller's transaction; rows already there stay
    one.

    kind: "alert", or "broad" for a mail about many topics, of which alert_id is the lead. number:
    of what the mail is about, where that is not the alert. alert_key tells it from one of the same
    number in another database. content: the topics that a reminder of many is about, as JSON.
    late: it happened while the monitor was down, and waits for the
    summary.
    """
    ids = recipients_of(connection, [one.address for one in subscriptions])
    rows: list[dict[str, Any]] = []
    for one in subscriptions:
        wanted = [severity for topic, severity in topics if one.wants(topic, severity)]
        if one.address not in ids or not wanted:
            continue
        severity: Severity = "critical" if "critical" in wanted else wanted[0]
        about = f"{kind}-{alert_id if number is None else number}"
        identity = f"{about}.r{revision}.u{ids[one.address]}.{alert_key}"
        row = {
            "kind": kind,
            "alert_id": alert_id,
            "revision": revision,
            "recipient_id": ids[one.address],
            "message_id": f"<{identity}@{sender_domain(sender)}>",
            "content_json": content,
            **new_row(now, one.not_before(now, severity)),
        }
        if one.waits_for_digest(severity):
            row["state"] = "digest"
        elif late:
            row["state"] = "offline"
        rows.append(row)
    insert_new(connection, outbox, rows)
    return len(rows)


def deliver_due(
    engine: Engine,
    mailer: Mailer,
    *,
    now: datetime,
    sender: str,
    dashboard_url: str,
    links: Links | None = None,
    limit: int = 100,
) -> DeliveryReport:
    """Send what is due, one mail at a time, each claimed first so that nobody else sends it."""
    report = DeliveryReport()
    whole = (
        select(outbox, recipient.c.email, alert.c.evidence_json, alert.c.dedupe_key)
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
        .outerjoin(alert, alert.c.id == outbox.c.alert_id)
    )
    for number in due_rows(engine, outbox, now, limit):
        row = claim(engine, outbox, whole, number, now)
        if row is None:
            continue
        reader = Reader(row["recipient_id"], row["email"])
        envelope = Envelope(
            sender=sender,
            recipient=row["email"],
            message_id=row["message_id"],
            thread_id=_thread_id(row["message_id"]),
            dashboard_url=dashboard_url,
            links=None if links is None else MailLinks(links, reader, row["created_at"]),
        )
        try:
            mailer.send(_message(engine, row, envelope))
        except DeliveryError as error:
            what = f"mail {row['message_id']} to {row['email']}"
            note_failed(engine, outbox, row, error, now, report, what)
        else:
            note_sent(engine, outbox, number, now, report)
    return report


def _message(engine: Engine, row: dict[str, Any], envelope: Envelope) -> EmailMessage:
    kind, at = row["kind"], row["created_at"]
    if kind == "broad":
        with engine.begin() as connection:
            told = told_in(connection, row["alert_id"], row["revision"])
        firing = json.loads(row["content_json"]) if row["content_json"] else ()
        return compose_broad(replace(told, firing=tuple(firing)), envelope, at)
    if kind == "heartbeat":
        return compose_heartbeat(DayReport.from_json(row["content_json"]), envelope, at)
    if kind in ("digest", "offline"):
        with engine.begin() as connection:
            content = Collected.from_json(row["content_json"])
            return compose_collected(connection, content, envelope, at)
    return compose(
        Evidence.from_json(row["evidence_json"]),
        envelope,
        at,
        AlertRef(row["alert_id"], row["dedupe_key"][:8]),
        row["revision"],
    )


def _thread_id(message_id: str) -> str:
    """The same for all mails about one alert, whatever their revision and recipient."""
    local, _, domain = message_id.strip("<>").partition("@")
    about, *_, key = local.split(".")
    return f"<{about}.{key}@{domain}>"
