"""Mails that are owed: one row for each, written with its alert; see owed.py for their fate.

Besides what owed.py knows, a mail may wait in the state digest (for its reader's daily mail) or
offline (for the summary after a pause of the monitor); it is joined once it stands in such a mail.
"""

import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any

from sqlalchemy import Connection, Engine, Select, select, update
from sqlalchemy.exc import DBAPIError

from apps.news_monitor.broad import Portion, told_in
from apps.news_monitor.broad_mail import compose_broad
from apps.news_monitor.day_report import DayReport
from apps.news_monitor.delivery import Mailer
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert, broad, broad_member
from apps.news_monitor.links import AlertRef, Links, MailLinks, Reader
from apps.news_monitor.mail import Envelope, compose, sender_domain
from apps.news_monitor.occasion import Occasion
from apps.news_monitor.owed import (
    OPEN,
    DeliveryError,
    DeliveryReport,
    RefusedForGoodError,
    claim,
    due_rows,
    new_row,
    note_failed,
    note_sent,
)
from apps.news_monitor.report_mail import (
    Collected,
    compose_collected,
    compose_heartbeat,
    how_many,
)
from apps.news_monitor.telling import Subscription
from apps.news_monitor.telling_tables import outbox, recipient
from apps.news_monitor.thresholds import Severity
from shared.errors import ServiceError

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

    kind: "alert", or "broad" for a mail about many topics, of which alert_id is the lead, and of
    which each is told what that reader wants. number: of what the mail is about, where that is not
    the alert. alert_key tells it from one of the same number in another database. content: an
    Occasion, or the topics that a reminder of many is about, as JSON. late: it happened while the
    monitor was down, and waits for the summary.
    """
    ids = recipients_of(connection, [one.address for one in subscriptions])
    told = told_in(connection, alert_id, revision) if kind == "broad" else None
    firing = Portion.from_json(content).firing if told else ()
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
            "content_json": (Portion.of_reader(told, one, firing).to_json() if told else content),
            **new_row(now, one.not_before(now, severity)),
            "state": state_of(one, severity, late=late),
        }
        rows.append(row)
    insert_new(connection, outbox, rows)
    return len(rows)


def state_of(one: Subscription, severity: Severity, *, late: bool) -> str:
    """In which a mail to this reader begins."""
    if one.waits_for_digest(severity):
        return "digest"
    return "offline" if late else "queued"


def waiting_in(connection: Connection, alert_id: int) -> set[tuple[str, str]]:
    """(address, state) of the mails about an alert alone that have not been put together."""
    query = (
        select(recipient.c.email, outbox.c.state)
        .join(outbox, outbox.c.recipient_id == recipient.c.id)
        .where(
            outbox.c.kind == "alert",
            outbox.c.alert_id == alert_id,
            outbox.c.state.in_(("digest", "offline")),
        )
    )
    return {(email, state) for email, state in connection.execute(query)}


def told_of(connection: Connection, numbers: Collection[int]) -> dict[int, set[str]]:
    """alert -> addresses to which a mail about it has gone or is owed: alone, or with others."""
    found: dict[int, set[str]] = {number: set() for number in numbers}
    alone = (
        select(outbox.c.alert_id, recipient.c.email)
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
        .where(outbox.c.kind == "alert", outbox.c.alert_id.in_(numbers))
    )
    for number, email in connection.execute(alone):
        found[number].add(email)
    common = (
        _in_common(broad_member.c.alert_id, recipient.c.email, outbox.c.content_json)
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
        .where(broad_member.c.alert_id.in_(numbers))
    )
    for number, email, content in connection.execute(common):
        if Portion.from_json(content).holds(number):
            found[number].add(email)
    return found


def _in_common(*columns: Any) -> Select[Any]:
    """Mails about many alerts, once for each alert that had joined when they were owed."""
    return (
        select(*columns)
        .select_from(outbox)
        .join(broad, broad.c.lead_alert_id == outbox.c.alert_id)
        .join(broad_member, broad_member.c.broad_id == broad.c.id)
        .where(outbox.c.kind == "broad", outbox.c.revision >= broad_member.c.revision)
    )


def keep_told(connection: Connection, alert_id: int, evidence: str) -> None:
    """Let the mails about an alert that are owed already tell what they told so far: its evidence
    is about to be renewed."""
    alone = select(outbox.c.id, outbox.c.content_json, outbox.c.revision).where(
        outbox.c.kind == "alert", outbox.c.alert_id == alert_id, outbox.c.state.in_(OPEN)
    )
    kept = {
        number: Occasion.from_json(content, revision).before(evidence).to_json()
        for number, content, revision in connection.execute(alone)
    }
    common = _in_common(outbox.c.id, outbox.c.content_json).where(
        outbox.c.state.in_(OPEN), broad_member.c.alert_id == alert_id
    )
    for number, content in connection.execute(common):
        portion = Portion.from_json(content)
        if portion.holds(alert_id):
            kept[number] = portion.before(alert_id, evidence).to_json()
    for number, content in kept.items():
        row = outbox.c.id == number
        connection.execute(update(outbox).where(row).values(content_json=content))


def deliver_due(
    engine: Engine,
    mailer: Mailer,
    *,
    now: datetime,
    sender: str,
    dashboard_url: str,
    links: Links | None = None,
    limit: int = 100,
    clock: Callable[[], datetime] | None = None,
    until: datetime | None = None,
) -> DeliveryReport:
    """Send what is due, one mail at a time, each claimed first so that nobody else sends it.

    All go to one server: once its connection fails, the rest is left for the next round. clock: the
    moment of each attempt, from which its lease and its next one are counted; None takes `now`.
    until: when no further mail is begun.
    """
    report = DeliveryReport()
    clock = clock or (lambda: now)
    whole = (
        select(outbox, recipient.c.email, alert.c.evidence_json, alert.c.dedupe_key)
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
        .outerjoin(alert, alert.c.id == outbox.c.alert_id)
    )
    due = due_rows(engine, outbox, now, limit)
    for place, number in enumerate(due):
        if until is not None and clock() >= until:
            report.lines.append(_left(len(due) - place, "the time of a round is used up"))
            break
        row = claim(engine, outbox, whole, number, clock())
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
            _hand_over(engine, mailer, row, envelope)
        except DeliveryError as error:
            what = f"mail {row['message_id']} to {row['email']}"
            note_failed(engine, outbox, row, error, clock(), report, what)
            left = len(due) - place - 1
            if left and _connection_failed(error):
                report.lines.append(_left(left, "the mail server is not reached"))
                break
        else:
            note_sent(engine, outbox, number, clock(), report)
    return report


def going_on(now: datetime) -> Callable[[], datetime]:
    """A clock that goes on from `now`, whatever happens to the machine's."""
    begun = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - begun)


def _left(mails: int, why: str) -> str:
    return f"{how_many(mails, 'more mail')} left for the next round: {why}"


def _connection_failed(error: DeliveryError) -> bool:
    """Not this mail is at fault: the error was raised while one of the connection was handled. An
    answer that refuses has none behind it."""
    refused = isinstance(error, RefusedForGoodError)
    return not refused and isinstance(error.__context__, OSError)


def _hand_over(engine: Engine, mailer: Mailer, row: dict[str, Any], envelope: Envelope) -> None:
    """Raises DeliveryError, also for a mail that cannot be written: the others go on."""
    try:
        message = _message(engine, row, envelope)
    except (DBAPIError, ServiceError):
        raise  # of the database: no fault of the mail's
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise RefusedForGoodError(
            f"it cannot be written ({type(error).__name__}: {said})"
        ) from None
    try:
        mailer.send(message)
    except UnicodeError:
        # smtplib sends its commands in ASCII; the mail itself has not gone.
        raise RefusedForGoodError(
            f"no mail server takes the address {row['email']}: it is not ASCII"
        ) from None


def _message(engine: Engine, row: dict[str, Any], envelope: Envelope) -> EmailMessage:
    kind, at = row["kind"], row["created_at"]
    if kind == "broad":
        with engine.begin() as connection:
            told = told_in(connection, row["alert_id"], row["revision"])
        told = Portion.from_json(row["content_json"]).of(told)
        if len(told.alerts) > 1:
            return compose_broad(told, envelope, at)
        # Who wants one topic of many is told as if it were alone.
        alone = Occasion(reminder=bool(told.firing))
        return compose(told.alerts[0], envelope, at, told.refs[0], alone)
    if kind == "heartbeat":
        return compose_heartbeat(DayReport.from_json(row["content_json"]), envelope, at)
    if kind in ("digest", "offline"):
        with engine.begin() as connection:
            content = Collected.from_json(row["content_json"])
            return compose_collected(connection, content, envelope, at)
    occasion = Occasion.from_json(row["content_json"], row["revision"])
    return compose(
        Evidence.from_json(occasion.evidence or row["evidence_json"]),
        envelope,
        at,
        AlertRef(row["alert_id"], row["dedupe_key"][:8]),
        occasion,
    )


def _thread_id(message_id: str) -> str:
    """The same for all mails about one alert, whatever their revision and recipient."""
    local, _, domain = message_id.strip("<>").partition("@")
    about, *_, key = local.split(".")
    return f"<{about}.{key}@{domain}>"
