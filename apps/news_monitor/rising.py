"""An alert that has become more severe: told again to who knows of it, as new to whom it concerns
now; of a silenced topic once the silence is over."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, delete, or_, select, update

from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert, broad_member
from apps.news_monitor.occasion import Occasion
from apps.news_monitor.outbox import enqueue, state_of, told_of, waiting_in
from apps.news_monitor.reminders import MOST_MAILS
from apps.news_monitor.telling import Subscription, Webhook
from apps.news_monitor.telling_tables import acknowledgement, silence, silenced_rise
from apps.news_monitor.thresholds import Severity
from apps.news_monitor.webhooks import owe_risen


def tell_rise(
    connection: Connection,
    alert_id: int,
    was: Severity,
    *,
    subscriptions: Sequence[Subscription],
    webhooks: Sequence[Webhook],
    sender: str,
    now: datetime,
    late: bool = False,
) -> None:
    """Owe what there is to tell of an alert that is stored as it is now, in the caller's
    transaction. was: the severity before, or the one before a silence in which it rose already.
    late: see outbox.enqueue."""
    kept = select(silenced_rise.c.was).where(silenced_rise.c.alert_id == alert_id)
    was = connection.scalar(kept) or was
    _forget(connection, alert_id)
    row = connection.execute(select(alert).where(alert.c.id == alert_id)).one()
    evidence = Evidence.from_json(row.evidence_json)
    again = _told_again(connection, alert_id, evidence.severity)
    owe_risen(connection, alert_id, was, webhooks, now, again=again)
    counted = row.revision < MOST_MAILS
    known = told_of(connection, [alert_id])[alert_id]
    owe = partial(
        enqueue,
        connection,
        alert_id=alert_id,
        alert_key=row.dedupe_key[:8],
        revision=row.revision + counted,
        topics=[(evidence.topic, evidence.severity)],
        sender=sender,
        now=now,
        late=late,
    )
    fresh = [one for one in subscriptions if one.address not in known]
    owed = owe(subscriptions=fresh, content=Occasion().to_json())
    if counted and again:
        # Whose mail about it has yet to be put together is told there what is known by then.
        waits = waiting_in(connection, alert_id)
        others = [
            one
            for one in subscriptions
            if one.address in known
            and (one.address, state_of(one, evidence.severity, late=late)) not in waits
        ]
        owed += owe(subscriptions=others, content=Occasion(was=was).to_json())
    if owed and counted:
        connection.execute(
            update(alert).where(alert.c.id == alert_id).values(revision=row.revision + 1)
        )


def keep_for_later(connection: Connection, alert_id: int, was: Severity) -> None:
    """Its topic is silenced: it is told once that is over. Of several rises the first stands, for
    that is from what was told."""
    insert_new(connection, silenced_rise, [{"alert_id": alert_id, "was": was}])


def owe_rises_after_silence(
    connection: Connection,
    *,
    subscriptions: Sequence[Subscription],
    webhooks: Sequence[Webhook],
    sender: str,
    now: datetime,
) -> None:
    """What rose while its topic was silenced, once the silence is over, if it still fires."""
    holds = select(silence.c.id).where(
        silence.c.topic_id == alert.c.topic_id, silence.c.begins_at <= now, silence.c.ends_at > now
    )
    rows = connection.execute(
        select(alert.c.id, alert.c.state, silenced_rise.c.was)
        .join(silenced_rise, silenced_rise.c.alert_id == alert.c.id)
        .where(or_(alert.c.state != "firing", ~holds.exists()))
        .order_by(alert.c.id)
    ).all()
    for row in rows:
        if row.state == "firing":
            tell_rise(
                connection,
                row.id,
                row.was,
                subscriptions=subscriptions,
                webhooks=webhooks,
                sender=sender,
                now=now,
            )
        else:
            _forget(connection, row.id)


def _forget(connection: Connection, alert_id: int) -> None:
    connection.execute(delete(silenced_rise).where(silenced_rise.c.alert_id == alert_id))


def _told_again(connection: Connection, alert_id: int, severity: Severity) -> bool:
    """Whether a rise is told to those who know of the alert: nobody has acknowledged it, and it is
    critical if a common mail told of it, or a market that falls step by step would send two further
    mails for each of its topics."""
    seen = select(acknowledgement.c.alert_id).where(acknowledgement.c.alert_id == alert_id)
    common = select(broad_member.c.alert_id).where(broad_member.c.alert_id == alert_id)
    if connection.scalar(seen) is not None:
        return False
    return severity == "critical" or connection.scalar(common) is None
