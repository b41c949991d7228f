"""The alerts of one moment: their evidence, their rows, and who is told: alone or together.

Also of those that fire already: one that becomes more severe is told again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, or_, select

from apps.news_monitor.alerts import (
    Moment,
    gather,
    open_alert,
    renew_alert,
    severity_now,
    with_words,
)
from apps.news_monitor.broad import Joined, fires_broadly, grows, join, told_in
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.labels import LabelSource
from apps.news_monitor.outbox import enqueue, told_of
from apps.news_monitor.responses import note_silenced, silence_of
from apps.news_monitor.rising import keep_for_later, tell_rise
from apps.news_monitor.settings import LEAST_COVERAGE
from apps.news_monitor.telling import SEVERITIES, Subscription, Webhook
from apps.news_monitor.telling_tables import silenced
from apps.news_monitor.thresholds import Severity
from apps.news_monitor.webhooks import OPENED, owe_calls


@dataclass(frozen=True)
class Opened:
    """An alert as it opened."""

    alert_id: int
    evidence: Evidence


@dataclass(frozen=True)
class Desk:
    """Whose alerts these are. topics: how many are followed; labeller: tells the words that made
    a story negative; late_after: alerts of moments longer ago are told in the summary of what
    happened while the monitor was down; min_coverage: with less, no alert becomes more severe."""

    config_id: int
    config_key: str
    topics: int
    subscriptions: Sequence[Subscription]
    webhooks: Sequence[Webhook]
    sender: str
    labeller: LabelSource
    late_after: timedelta
    min_coverage: float = LEAST_COVERAGE


def open_alerts(
    connection: Connection,
    moment: Moment,
    opening: NDArray[np.bool_],
    desk: Desk,
    now: datetime,
) -> tuple[dict[int, Opened], int]:
    """The alerts of the topics in the mask `opening` (I,) by position, with their mails, in the
    caller's transaction: one for each, or a common one where many fire at once; then also how many
    alerts that one stands for, else 0. Those of silenced topics are told to nobody.

    Alerts that fire already and would open more severe now are renewed, and told again."""
    for topic, row in _risen(connection, moment, opening, desk):
        _rise(connection, moment, topic, row, desk, now)
    chosen = np.flatnonzero(opening).tolist()
    if not chosen:  # nearly always; a replay asks for every hour of years
        return {}, 0
    hushed = silence_of(connection, [moment.topic_ids[i] for i in chosen], moment.at, now)
    loud = [i for i in chosen if moment.topic_ids[i] not in hushed]
    together = fires_broadly(
        connection, desk.config_id, moment.at, opening=len(loud), topics=desk.topics
    )
    alone = () if together else desk.subscriptions
    found = {i: _open(connection, moment, i, desk, now, alone if i in loud else ()) for i in chosen}
    for i in chosen:
        if i in loud:
            owe_calls(connection, found[i].alert_id, OPENED, desk.webhooks, now)
        else:
            note_silenced(connection, found[i].alert_id, hushed[moment.topic_ids[i]])
    if not together:
        return found, 0
    told = [found[i] for i in loud]
    joined = join(
        connection,
        config_id=desk.config_id,
        config_key=desk.config_key,
        at=moment.at,
        opened=[opened.alert_id for opened in told],
        topics=desk.topics,
    )
    if joined.mails:
        _tell_together(connection, moment, joined, desk, now)
    else:
        _tell_apart(connection, moment, joined, told, desk, now)
    return found, joined.members


def _tell_together(
    connection: Connection, moment: Moment, joined: Joined, desk: Desk, now: datetime
) -> None:
    """The common mail, to whoever wants one of its alerts and was not told of it yet."""
    members = told_in(connection, joined.lead_alert_id, joined.revision)
    told = told_of(connection, joined.fresh)
    fresh = [
        (evidence, told[ref.id])
        for evidence, ref in zip(members.alerts, members.refs, strict=True)
        if ref.id in told
    ]
    enqueue(
        connection,
        kind="broad",
        number=joined.broad_id,
        alert_id=joined.lead_alert_id,
        alert_key=joined.key[:8],
        revision=joined.revision,
        topics=[(evidence.topic, evidence.severity) for evidence, _ in fresh],
        subscriptions=[
            one
            for one in desk.subscriptions
            if any(
                one.wants(evidence.topic, evidence.severity) and one.address not in readers
                for evidence, readers in fresh
            )
        ],
        sender=desk.sender,
        now=now,
        late=_is_late(moment, desk, now),
    )


def _tell_apart(
    connection: Connection,
    moment: Moment,
    joined: Joined,
    opened: Sequence[Opened],
    desk: Desk,
    now: datetime,
) -> None:
    """Alerts that joined without a common mail, alone: to readers who by what they were told so far
    would have had one. Critical ones to all, once no further mail comes."""
    members = told_in(connection, joined.lead_alert_id, joined.revision + 1)
    told = told_of(connection, [ref.id for ref in members.refs])
    readers: dict[int, list[Subscription]] = {one.alert_id: [] for one in opened}
    for reader in desk.subscriptions:
        known: list[Severity] = []
        fresh: list[Severity] = []
        for evidence, ref in zip(members.alerts, members.refs, strict=True):
            if reader.wants(evidence.topic, evidence.severity):
                (known if reader.address in told[ref.id] else fresh).append(evidence.severity)
        waits = not grows(known, fresh)
        for one in opened:
            if not waits or (joined.spent and one.evidence.severity == "critical"):
                readers[one.alert_id].append(reader)
    for one in opened:
        key = select(alert.c.dedupe_key).where(alert.c.id == one.alert_id)
        enqueue(
            connection,
            alert_id=one.alert_id,
            alert_key=connection.execute(key).scalar_one()[:8],
            revision=1,
            topics=[(one.evidence.topic, one.evidence.severity)],
            subscriptions=readers[one.alert_id],
            sender=desk.sender,
            now=now,
            late=_is_late(moment, desk, now),
        )


def _risen(
    connection: Connection, moment: Moment, opening: NDArray[np.bool_], desk: Desk
) -> list[tuple[int, Row[Any]]]:
    """(position, alert) of the topics whose alert fires, and would open more severe now."""
    t = moment.index
    above = (moment.scan.best[t] >= moment.threshold) & ~opening
    above &= ~moment.coverage.held(t, desk.min_coverage)
    severities = {i: severity_now(moment, i) for i in np.flatnonzero(above).tolist()}
    graver = {moment.topic_ids[i]: i for i, said in severities.items() if said != SEVERITIES[0]}
    if not graver:
        return []
    # One that ended so short a time ago has gone on at this moment; see EpisodeRule.cooldown_hours.
    cooled = moment.at - timedelta(hours=max(moment.scan.rule.windows_hours))
    rows = connection.execute(
        select(alert)
        .where(
            alert.c.topic_id.in_(graver),
            or_(alert.c.state == "firing", alert.c.resolved_at > cooled),
        )
        .order_by(alert.c.id)
    ).all()
    last = {graver[row.topic_id]: row for row in rows}
    return [
        (i, row)
        for i, row in sorted(last.items())
        if SEVERITIES.index(severities[i]) > SEVERITIES.index(row.severity)
    ]


def _rise(
    connection: Connection, moment: Moment, topic: int, row: Row[Any], desk: Desk, now: datetime
) -> None:
    """An alert that has become more severe: renewed, told again to those who know of it, and as new
    to those whom it now concerns, in the caller's transaction."""
    evidence, items = gather(connection, moment, topic)
    evidence = replace(with_words(evidence, desk.labeller), opened_at=row.opened_at)
    renew_alert(connection, row.id, evidence, items)
    hushed = select(silenced.c.alert_id).where(silenced.c.alert_id == row.id)
    if connection.scalar(hushed):
        return  # who is told once the silence is over is told of this
    if silence_of(connection, [row.topic_id], moment.at, now):
        keep_for_later(connection, row.id, row.severity)
        return
    tell_rise(
        connection,
        row.id,
        row.severity,
        subscriptions=desk.subscriptions,
        webhooks=desk.webhooks,
        sender=desk.sender,
        now=now,
        late=_is_late(moment, desk, now),
    )


def _is_late(moment: Moment, desk: Desk, now: datetime) -> bool:
    return now - moment.at > desk.late_after


def _open(
    connection: Connection,
    moment: Moment,
    topic: int,
    desk: Desk,
    now: datetime,
    subscriptions: Sequence[Subscription],
) -> Opened:
    evidence, items = gather(connection, moment, topic)
    evidence = with_words(evidence, desk.labeller)
    alert_id = open_alert(
        connection,
        evidence,
        items,
        topic_id=moment.topic_ids[topic],
        config_id=desk.config_id,
        config_key=desk.config_key,
        subscriptions=subscriptions,
        sender=desk.sender,
        now=now,
        late=_is_late(moment, desk, now),
    )
    return Opened(alert_id, evidence)
