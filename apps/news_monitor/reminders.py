"""Further mails about alerts that still fire and that nobody has acknowledged.

Alerts that were told in one mail are reminded of in one, in its thread. Each reminder is written
together with the note that it is owed, in the caller's transaction.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, Select, func, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from apps.news_monitor.broad import MAX_MAILS, told_in
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.judging_tables import alert, broad, broad_member
from apps.news_monitor.outbox import enqueue, told_of
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.telling import Subscription
from apps.news_monitor.telling_tables import acknowledgement, outbox, silence

MOST_MAILS = 3
"""About one alert: the first, and two reminders."""


def owe_reminders(connection: Connection, settings: NewsSettings, now: datetime) -> None:
    """A further mail about each alert that still fires, that nobody has acknowledged for
    remind_hours, and whose topic is not silenced; two at most."""
    if not settings.remind_hours:
        return
    _of_one(connection, settings, now)
    _of_many(connection, settings, now)


def _of_one(connection: Connection, settings: NewsSettings, now: datetime) -> None:
    """Also of one that fired with others: who was told of it alone, and of it by no common mail, is
    reminded of it alone, unless one will still tell of it."""
    joined = select(broad_member.c.alert_id).where(broad_member.c.alert_id == alert.c.id)
    query = (
        select(alert.c.id, alert.c.dedupe_key, alert.c.revision, alert.c.evidence_json)
        .add_columns(joined.exists().label("joined"))
        .join(outbox, outbox.c.alert_id == alert.c.id)
        .where(
            *_wants_an_answer(now),
            alert.c.revision < MOST_MAILS,
            outbox.c.kind == "alert",
            ~_in_common().exists(),
        )
        .group_by(alert.c.id)
        .having(_long_ago(settings, now))
        .order_by(alert.c.id)
    )
    for row in connection.execute(query).all():
        evidence = Evidence.from_json(row.evidence_json)
        revision = row.revision + 1
        readers = _readers(settings, [evidence])
        if row.joined:
            # To the others it was worth no mail of its own when it joined.
            told = told_of(connection, [row.id])[row.id]
            readers = [one for one in readers if one.address in told]
        connection.execute(update(alert).where(alert.c.id == row.id).values(revision=revision))
        enqueue(
            connection,
            alert_id=row.id,
            alert_key=row.dedupe_key[:8],
            revision=revision,
            topics=[(evidence.topic, evidence.severity)],
            subscriptions=readers,
            sender=settings.mail_from,
            now=now,
        )


def _in_common() -> Select[tuple[int]]:
    """Of an alert: mails about many that tell of it, or that are to be followed by one that will.
    One that fired with others may be in none: nobody wanted more of them than was told already, or
    the last common mail had gone before it joined."""
    mail = outbox.alias()
    return (
        select(mail.c.id)
        .join(broad, broad.c.lead_alert_id == mail.c.alert_id)
        .join(broad_member, broad_member.c.broad_id == broad.c.id)
        .where(
            mail.c.kind == "broad",
            broad_member.c.alert_id == alert.c.id,
            or_(
                mail.c.revision >= broad_member.c.revision,
                broad.c.revision < MAX_MAILS,
            ),
        )
    )


def _of_many(connection: Connection, settings: NewsSettings, now: datetime) -> None:
    """Those who joined since the last mail are told of in the reminder."""
    query = (
        select(broad.c.id, broad.c.dedupe_key, broad.c.lead_alert_id, broad.c.revision)
        .join(outbox, outbox.c.alert_id == broad.c.lead_alert_id)
        .where(broad.c.revision < MAX_MAILS, outbox.c.kind == "broad")
        .group_by(broad.c.id)
        .having(_long_ago(settings, now))
        .order_by(broad.c.id)
    )
    for row in connection.execute(query).all():
        members = select(broad_member.c.alert_id).where(broad_member.c.broad_id == row.id)
        open_ones = select(alert.c.id).where(*_wants_an_answer(now), alert.c.id.in_(members))
        numbers = set(connection.execute(open_ones).scalars())
        revision = row.revision + 1
        told = told_in(connection, row.lead_alert_id, revision)
        left = [e for e, ref in zip(told.alerts, told.refs, strict=True) if ref.id in numbers]
        if not left:
            continue
        connection.execute(update(broad).where(broad.c.id == row.id).values(revision=revision))
        enqueue(
            connection,
            kind="broad",
            number=row.id,
            alert_id=row.lead_alert_id,
            alert_key=row.dedupe_key[:8],
            revision=revision,
            topics=[(evidence.topic, evidence.severity) for evidence in left],
            subscriptions=_readers(settings, left),
            sender=settings.mail_from,
            now=now,
            content=json.dumps([evidence.topic for evidence in left]),
        )


def _wants_an_answer(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Of an alert: it fires, is not acknowledged, and its topic is not silenced."""
    seen = select(acknowledgement.c.alert_id).where(acknowledgement.c.alert_id == alert.c.id)
    hushed = select(silence.c.id).where(
        silence.c.topic_id == alert.c.topic_id, silence.c.begins_at <= now, silence.c.ends_at > now
    )
    return alert.c.state == "firing", ~seen.exists(), ~hushed.exists()


def _long_ago(settings: NewsSettings, now: datetime) -> ColumnElement[bool]:
    return func.max(outbox.c.created_at) <= now - timedelta(hours=settings.remind_hours)


def _readers(settings: NewsSettings, alerts: Sequence[Evidence]) -> list[Subscription]:
    """Who reads a digest has it there, once."""
    return [
        one
        for one in map(settings.subscription, settings.recipients)
        if not all(one.waits_for_digest(evidence.severity) for evidence in alerts)
    ]
