"""Mails that fall due by the clock: heartbeat, digests, the summary after a pause.

Each is found due by what the database says and written with the note that it is, in one
transaction: whenever the process dies, each is owed once, under one Message-ID.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from apps.news_monitor.broad import Portion, told_in
from apps.news_monitor.day_report import TICK, read_day
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert, decision
from apps.news_monitor.mail import sender_domain
from apps.news_monitor.memos import database_key, forget, note, note_once, recall
from apps.news_monitor.occasion import Occasion
from apps.news_monitor.outbox import enqueue, recipients_of
from apps.news_monitor.owed import new_row
from apps.news_monitor.report_mail import Collected, how_many
from apps.news_monitor.rising import owe_rises_after_silence
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.tables import job_run
from apps.news_monitor.telling import Subscription, last_due
from apps.news_monitor.telling_tables import (
    acknowledgement,
    outbox,
    recipient,
    silence,
    silenced,
)
from apps.news_monitor.webhooks import OPENED, owe_calls

PAUSE, PAUSE_AT, HEARTBEAT = "pause", "pause noted at", "heartbeat"


def note_pause(connection: Connection, now: datetime, pause: timedelta) -> None:
    """Remember since when the monitor did not run, if it has not run for long: until the hours
    missed are judged and their summary is owed.

    Rounds of a clock that ran ahead lie after `now`: the time they took was no pause, and a pause
    that they noted is none any more. A clock that jumps ahead cannot be told from a pause, nor
    from a machine that was halted, before it is put right.
    """
    at = recall(connection, PAUSE_AT)
    if at is not None and datetime.fromisoformat(at) > now:
        forget(connection, PAUSE)
    away = _away(connection, now)
    if away > pause and recall(connection, PAUSE) is None:
        note(connection, PAUSE, (now - away).isoformat())
        note(connection, PAUSE_AT, now.isoformat())


def _away(connection: Connection, now: datetime) -> timedelta:
    """How long no round has run, by what their clock showed; 0 before any has."""
    rounds = select(job_run.c.id, job_run.c.started_at).where(job_run.c.job == TICK)
    last = connection.execute(
        rounds.where(job_run.c.started_at <= now)
        .order_by(job_run.c.started_at.desc(), job_run.c.id.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return timedelta(0)
    ahead = connection.execute(
        select(func.min(job_run.c.started_at), func.max(job_run.c.started_at)).where(
            job_run.c.job == TICK, job_run.c.started_at > now, job_run.c.id > last.id
        )
    ).one()
    ran = timedelta(0) if ahead[0] is None else ahead[1] - ahead[0]
    away: timedelta = now - last.started_at - ran
    return away


def owe_summary(connection: Connection, settings: NewsSettings, now: datetime) -> str:
    """The summary after a pause, once the hours missed are judged; a line about it, or "".

    It tells of alerts that opened, or became more severe, in moments too long past to be mailed as
    news; readers of a digest have theirs there, except what would not have waited for it.
    """
    noted = recall(connection, PAUSE)
    waiting = _waiting(connection)
    if noted is None and not waiting:
        return ""
    begins = min(one.moment for one in waiting) if noted is None else datetime.fromisoformat(noted)
    oldest = min([begins, *(one.moment for one in waiting)])
    hushed = select(silenced.c.alert_id).where(silenced.c.alert_id == alert.c.id)
    missed = connection.execute(
        select(alert.c.id, alert.c.resolved_at, alert.c.evidence_json)
        .where(
            or_(
                and_(alert.c.opened_at >= oldest, alert.c.opened_at < now - settings.late_after),
                alert.c.id.in_({number for one in waiting for number in one.alerts}),
            ),
            ~hushed.exists(),
        )
        .order_by(alert.c.id)
    ).all()
    moments = connection.execute(
        select(func.count(decision.c.at.distinct())).where(
            decision.c.at > begins, decision.c.at <= now
        )
    ).scalar_one()
    audience = {
        one.address: one
        for one in map(settings.subscription, settings.recipients)
        if one.mode == "instant"
    }
    for address in settings.reports.to:  # those who run the monitor are told of all
        audience[address] = Subscription(address=address)
    told_of_all = set(audience)
    for each in waiting:
        audience.setdefault(each.email, settings.subscription(each.email))
    evidence = {row.id: Evidence.from_json(row.evidence_json) for row in missed}
    for one in audience.values():
        owed = {number for each in waiting if each.email == one.address for number in each.alerts}
        mine = tuple(
            (row.id, row.resolved_at)
            for row in missed
            if row.id in owed
            or (
                one.address in told_of_all
                and one.wants(evidence[row.id].topic, evidence[row.id].severity)
            )
        )
        content = Collected("offline", begins, now, int(moments), mine)
        _owe(connection, settings, one, content.kind, f"{begins:%Y%m%dT%H%M%S}",
             content.to_json(), now)  # fmt: skip
    told = update(outbox).where(outbox.c.state == "offline").values(state="joined")
    connection.execute(told)
    forget(connection, PAUSE)
    hours = (now - begins).total_seconds() / 3600
    return (
        f"back after {hours:.0f} hours: {how_many(moments, 'hour')} judged late, "
        f"{how_many(len(missed), 'alert')} meanwhile, told in one summary"
    )


@dataclass(frozen=True)
class _Waiting:
    """A mail that waits for the summary. moment: which it is of; alerts: that it tells of."""

    email: str
    moment: datetime
    alerts: tuple[int, ...]


def _waiting(connection: Connection) -> list[_Waiting]:
    rows = connection.execute(
        select(outbox, recipient.c.email, alert.c.opened_at, alert.c.evidence_json)
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
        .join(alert, alert.c.id == outbox.c.alert_id)
        .where(outbox.c.state == "offline")
        .order_by(outbox.c.id)
    ).all()
    found = []
    for row in rows:
        moment: datetime = row.opened_at
        numbers: tuple[int, ...] = (row.alert_id,)
        if row.kind == "broad":
            told = told_in(connection, row.alert_id, row.revision)
            numbers = tuple(ref.id for ref in Portion.from_json(row.content_json).of(told).refs)
        elif row.revision > 1:  # it has become more severe then
            moment = Evidence.from_json(row.evidence_json).evaluated_at
        found.append(_Waiting(row.email, moment, numbers))
    return found


def owe_after_silence(connection: Connection, settings: NewsSettings, now: datetime) -> None:
    """What opened, or became more severe, while its topic was silenced, once the silence is over:
    told as it would have been, if it still fires and nobody has acknowledged it."""
    held = select(silence.c.id).where(
        silence.c.topic_id == alert.c.topic_id, silence.c.begins_at <= now, silence.c.ends_at > now
    )
    seen = select(acknowledgement.c.alert_id).where(acknowledgement.c.alert_id == alert.c.id)
    rows = connection.execute(
        select(alert.c.id, alert.c.dedupe_key, alert.c.revision, alert.c.evidence_json)
        .join(silenced, silenced.c.alert_id == alert.c.id)
        .where(alert.c.state == "firing", ~held.exists(), ~seen.exists())
        .order_by(alert.c.id)
    ).all()
    for row in rows:
        evidence = Evidence.from_json(row.evidence_json)
        # From now on it is as any other alert, and is not found here again.
        connection.execute(delete(silenced).where(silenced.c.alert_id == row.id))
        owe_calls(connection, row.id, OPENED, settings.webhooks, now)
        enqueue(
            connection,
            alert_id=row.id,
            alert_key=row.dedupe_key[:8],
            revision=row.revision,
            topics=[(evidence.topic, evidence.severity)],
            subscriptions=[settings.subscription(one) for one in settings.recipients],
            sender=settings.mail_from,
            now=now,
            content=Occasion(hushed=True).to_json(),
        )
    owe_rises_after_silence(
        connection,
        subscriptions=[settings.subscription(one) for one in settings.recipients],
        webhooks=settings.webhooks,
        sender=settings.mail_from,
        now=now,
    )


def owe_heartbeat(connection: Connection, settings: NewsSettings, now: datetime) -> None:
    """The day's heartbeat, once its hour has come; a new monitor begins at the next one."""
    reports = settings.reports
    if not reports.to:
        return
    due = last_due(reports.heartbeat, reports.time_zone, now)
    if note_once(connection, HEARTBEAT, due.isoformat()) == due.isoformat():
        return
    note(connection, HEARTBEAT, due.isoformat())
    report = read_day(connection, due - timedelta(days=1), due, settings.fetch.overdue)
    for address in reports.to:
        _owe(connection, settings, Subscription(address=address), HEARTBEAT,
             f"{due:%Y%m%dT%H%M}", report.to_json(), now)  # fmt: skip


def owe_digests(connection: Connection, settings: NewsSettings, now: datetime) -> None:
    """What waits for a reader's digest, once its hour has come (at once for a reader who wants none
    any more)."""
    rows = connection.execute(
        select(outbox, recipient.c.email)
        .join(recipient, recipient.c.id == outbox.c.recipient_id)
        .where(outbox.c.state == "digest")
        .order_by(outbox.c.id)
    ).all()
    for email in dict.fromkeys(row.email for row in rows):
        one = settings.subscription(email)
        due = last_due(one.digest_at, one.time_zone, now) if one.mode == "digest" else now
        mine = [row for row in rows if row.email == email and row.created_at <= due]
        if not mine:
            continue
        numbers: set[int] = set()
        for row in mine:
            if row.kind == "broad":
                told = told_in(connection, row.alert_id, row.revision)
                numbers |= {
                    ref.id
                    for ref, evidence in zip(told.refs, told.alerts, strict=True)
                    if one.wants(evidence.topic, evidence.severity)
                }
            else:
                numbers.add(row.alert_id)
        begins = min(row.created_at for row in mine)
        content = Collected("digest", begins, due, 0, _ends(connection, numbers))
        _owe(connection, settings, one, content.kind, f"{due:%Y%m%dT%H%M%S}",
             content.to_json(), now)  # fmt: skip
        told_there = outbox.c.id.in_([row.id for row in mine])
        connection.execute(update(outbox).where(told_there).values(state="joined"))


def _ends(
    connection: Connection, numbers: Iterable[int]
) -> tuple[tuple[int, datetime | None], ...]:
    mine = alert.c.id.in_(numbers)
    query = select(alert.c.id, alert.c.resolved_at).where(mine).order_by(alert.c.id)
    return tuple((row.id, row.resolved_at) for row in connection.execute(query))


def _owe(
    connection: Connection,
    settings: NewsSettings,
    one: Subscription,
    kind: str,
    about: str,
    content: str,
    now: datetime,
) -> None:
    """One mail to one reader; nothing for who is unsubscribed."""
    found = recipients_of(connection, [one.address])
    for number in found.values():
        identity = f"{kind}-{about}.r1.u{number}.{database_key(connection)}"
        row = {
            "kind": kind,
            "alert_id": None,
            "revision": 1,
            "recipient_id": number,
            "message_id": f"<{identity}@{sender_domain(settings.mail_from)}>",
            "content_json": content,
            **new_row(now, one.not_before(now, "warning")),
        }
        insert_new(connection, outbox, [row])
