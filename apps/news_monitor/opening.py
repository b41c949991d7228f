"""The alerts of one moment: their evidence, their rows, and who is told: alone or together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from apps.news_monitor.alerts import Moment, gather, open_alert, with_words
from apps.news_monitor.broad import fires_broadly, join, told_in
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.labels import LabelSource
from apps.news_monitor.outbox import enqueue
from apps.news_monitor.responses import note_silenced, silence_of
from apps.news_monitor.telling import Subscription, Webhook
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
    happened while the monitor was down."""

    config_id: int
    config_key: str
    topics: int
    subscriptions: Sequence[Subscription]
    webhooks: Sequence[Webhook]
    sender: str
    labeller: LabelSource
    late_after: timedelta


def open_alerts(
    connection: Connection,
    moment: Moment,
    opening: NDArray[np.bool_],
    desk: Desk,
    now: datetime,
) -> tuple[dict[int, Opened], int]:
    """The alerts of the topics in the mask `opening` (I,) by position, with their mails, in the
    caller's transaction: one for each, or a common one where many fire at once; then also how many
    alerts that one stands for, else 0. Those of silenced topics are told to nobody."""
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
        members = told_in(connection, joined.lead_alert_id, joined.revision)
        enqueue(
            connection,
            kind="broad",
            number=joined.broad_id,
            alert_id=joined.lead_alert_id,
            alert_key=joined.key[:8],
            revision=joined.revision,
            topics=[(evidence.topic, evidence.severity) for evidence in members.alerts],
            subscriptions=desk.subscriptions,
            sender=desk.sender,
            now=now,
            late=_is_late(moment, desk, now),
        )
    return found, joined.members


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
