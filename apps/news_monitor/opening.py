"""The alerts of one moment: their evidence, their rows, and who is told: alone or together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from apps.news_monitor.alerts import Moment, gather, open_alert, with_words
from apps.news_monitor.broad import fires_broadly, join
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.outbox import enqueue


@dataclass(frozen=True)
class Opened:
    """An alert as it opened."""

    alert_id: int
    evidence: Evidence


@dataclass(frozen=True)
class Desk:
    """Whose alerts these are. topics: how many are followed; labeller: tells the words that made
    a story negative."""

    config_id: int
    config_key: str
    topics: int
    recipients: Sequence[str]
    sender: str
    labeller: LabelTexts


def open_alerts(
    connection: Connection,
    moment: Moment,
    opening: NDArray[np.bool_],
    desk: Desk,
    now: datetime,
) -> tuple[dict[int, Opened], int]:
    """The alerts of the topics in the mask `opening` (I,) by position, with their mails, in the
    caller's transaction: one for each, or a common one where many fire at once; then also how many
    alerts that one stands for, else 0."""
    together = fires_broadly(
        connection, desk.config_id, moment.at, opening=int(opening.sum()), topics=desk.topics
    )
    found = {
        i: _open(connection, moment, i, desk, now, alone=not together)
        for i in np.flatnonzero(opening).tolist()
    }
    if not together:
        return found, 0
    joined = join(
        connection,
        config_id=desk.config_id,
        config_key=desk.config_key,
        at=moment.at,
        opened=[opened.alert_id for opened in found.values()],
        topics=desk.topics,
    )
    if joined.mails:
        enqueue(
            connection,
            kind="broad",
            number=joined.broad_id,
            alert_id=joined.lead_alert_id,
            alert_key=joined.key[:8],
            revision=joined.revision,
            addresses=desk.recipients,
            sender=desk.sender,
            now=now,
        )
    return found, joined.members


def _open(
    connection: Connection, moment: Moment, topic: int, desk: Desk, now: datetime, *, alone: bool
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
        addresses=desk.recipients if alone else (),
        sender=desk.sender,
        now=now,
    )
    return Opened(alert_id, evidence)
