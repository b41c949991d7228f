"""When many topics fire at once: one alert mail for all of them, not one for each.

Each topic keeps its own alert with its evidence; only the mails are joined. A market-wide shock
otherwise sends as many mails as topics are followed, and buries what it tells. Each reader is told
of the topics of that reader's choice, and of no others.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from apps.news_monitor.evidence import Evidence
from apps.news_monitor.judging_tables import alert, broad, broad_member
from apps.news_monitor.links import AlertRef
from apps.news_monitor.telling import SEVERITIES, Subscription
from apps.news_monitor.telling_tables import silenced
from apps.news_monitor.thresholds import Severity

SPAN = timedelta(hours=6)
"""Topics that fire within so long of one another fire at once."""
LEAST_TOPICS = 3
LEAST_PART = 0.25
GROWTH = 1.5
MAX_MAILS = 3


@dataclass(frozen=True)
class Told:
    """What a common mail tells: the evidence of its alerts, the highest score first; topics: how
    many are followed; refs: which alerts they are, () where it does not matter; firing: of a
    reminder, the topics that still fire and wait for an answer."""

    alerts: tuple[Evidence, ...]
    topics: int
    refs: tuple[AlertRef, ...] = ()
    firing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Portion:
    """What of a common mail one reader is told, kept with the mail that is owed. alerts: their ids,
    None for all; topics: how many the reader follows, None for as many as the desk; firing: see
    Told; evidence: alert -> its evidence as it was told, of those that have been renewed since."""

    alerts: tuple[int, ...] | None = None
    topics: int | None = None
    firing: tuple[str, ...] = ()
    evidence: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_reader(cls, told: Told, one: Subscription, firing: Sequence[str]) -> "Portion":
        """What this reader wants of it."""
        pairs = zip(told.refs, told.alerts, strict=True)
        wanted = [(ref, e) for ref, e in pairs if one.wants(e.topic, e.severity)]
        return cls(
            tuple(ref.id for ref, _ in wanted),
            max(len(one.topics), len(wanted)) if one.topics else None,
            tuple(e.topic for _, e in wanted if e.topic in firing),
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None) -> "Portion":
        raw = json.loads(text) if text else {}
        if isinstance(raw, list):  # a reminder of an earlier version
            return cls(firing=tuple(raw))
        chosen = raw.get("alerts")
        return cls(
            None if chosen is None else tuple(chosen),
            raw.get("topics"),
            tuple(raw.get("firing", ())),
            raw.get("evidence", {}),
        )

    def holds(self, alert_id: int) -> bool:
        return self.alerts is None or alert_id in self.alerts

    def before(self, alert_id: int, evidence: str) -> "Portion":
        """Still with this evidence of an alert that is now renewed."""
        return replace(self, evidence={str(alert_id): evidence, **self.evidence})

    def of(self, told: Told) -> Told:
        """The part of what the mail tells to all."""
        found = [
            (Evidence.from_json(self.evidence[str(ref.id)]), ref)
            if str(ref.id) in self.evidence
            else (evidence, ref)
            for evidence, ref in zip(told.alerts, told.refs, strict=True)
            if self.holds(ref.id)
        ]
        alerts, refs = _in_order(found)
        return Told(alerts, self.topics or told.topics, refs, self.firing)


@dataclass(frozen=True)
class Joined:
    """A common alert after others joined it. key: tells it from one of another database; members:
    how many alerts it stands for; mails: whether its `revision` is a mail now owed; fresh: the
    alerts that no earlier one told of."""

    broad_id: int
    lead_alert_id: int
    key: str
    revision: int
    members: int
    mails: bool
    fresh: tuple[int, ...] = ()

    @property
    def spent(self) -> bool:
        """No further mail comes of it."""
        return not self.mails and self.revision >= MAX_MAILS


def at_once(topics: int) -> int:
    """How many topics must fire within SPAN to be told together: 3, and a quarter of those
    followed."""
    return max(LEAST_TOPICS, math.ceil(LEAST_PART * topics))


def fires_broadly(
    connection: Connection, config_id: int, at: datetime, *, opening: int, topics: int
) -> bool:
    """Whether alerts that open now belong into one mail: enough of them within SPAN, or such a
    mail has gone out for others within it. opening: how many topics fire at this moment."""
    if not opening:
        return False
    if _current(connection, config_id, at) is not None:
        return True
    return opening + len(_recent(connection, config_id, at)) >= at_once(topics)


def join(
    connection: Connection,
    *,
    config_id: int,
    config_key: str,
    at: datetime,
    opened: Sequence[int],
    topics: int,
) -> Joined:
    """Join the alerts just opened with those of the last hours, in the caller's transaction.

    Those who join later are told in a further mail of the same thread once they make it half as
    many again, or are more severe; at most MAX_MAILS in all. After these SPAN is counted from the
    last of them, or topics would go on to join what tells of nothing any more.
    """
    current = _current(connection, config_id, at)
    if current is None:
        return _begin(connection, config_id, config_key, at, opened, topics)
    rows = [
        {"alert_id": number, "broad_id": current.broad_id, "revision": current.revision + 1}
        for number in opened
    ]
    connection.execute(insert(broad_member), rows)
    members = connection.execute(
        select(broad_member.c.alert_id, broad_member.c.revision, alert.c.severity)
        .join(alert, alert.c.id == broad_member.c.alert_id)
        .where(broad_member.c.broad_id == current.broad_id)
    ).all()
    told = [row.severity for row in members if row.revision <= current.revision]
    fresh = [row.severity for row in members if row.revision > current.revision]
    mails = grows(told, fresh) and current.revision < MAX_MAILS
    revision = current.revision + 1 if mails else current.revision
    values = {"revision": revision} | ({"joined_at": at} if current.revision < MAX_MAILS else {})
    connection.execute(update(broad).where(broad.c.id == current.broad_id).values(**values))
    return replace(
        current,
        revision=revision,
        members=len(members),
        mails=mails,
        fresh=tuple(row.alert_id for row in members if row.revision > current.revision),
    )


def grows(told: Sequence[Severity], fresh: Sequence[Severity]) -> bool:
    """Whether alerts that join those told are worth a further mail: they make them half as many
    again, or are more severe."""
    if not told or not fresh:
        return bool(fresh)
    if len(told) + len(fresh) >= GROWTH * len(told):
        return True
    return max(map(SEVERITIES.index, fresh)) > max(map(SEVERITIES.index, told))


def told_in(connection: Connection, lead_alert_id: int, revision: int) -> Told:
    """What a common mail tells, to whoever wants all of it. A member keeps the revision that told
    of it; evidence is renewed where an alert becomes more severe, see Portion."""
    rows = connection.execute(
        select(alert.c.id, alert.c.dedupe_key, alert.c.evidence_json, broad.c.topics)
        .join(broad_member, broad_member.c.alert_id == alert.c.id)
        .join(broad, broad.c.id == broad_member.c.broad_id)
        .where(broad.c.lead_alert_id == lead_alert_id, broad_member.c.revision <= revision)
    ).all()
    found = [
        (Evidence.from_json(row.evidence_json), AlertRef(row.id, row.dedupe_key[:8]))
        for row in rows
    ]
    alerts, refs = _in_order(found)
    return Told(alerts, rows[0].topics, refs)


def _in_order(
    found: Sequence[tuple[Evidence, AlertRef]],
) -> tuple[tuple[Evidence, ...], tuple[AlertRef, ...]]:
    ordered = sorted(found, key=lambda one: (-one[0].score, one[0].topic))
    return tuple(evidence for evidence, _ in ordered), tuple(ref for _, ref in ordered)


def _begin(
    connection: Connection,
    config_id: int,
    config_key: str,
    at: datetime,
    opened: Sequence[int],
    topics: int,
) -> Joined:
    members = [*_recent(connection, config_id, at), *opened]
    lead = connection.execute(
        select(alert.c.id)
        .where(alert.c.id.in_(opened))
        .order_by(alert.c.peak_score.desc(), alert.c.id)
        .limit(1)
    ).scalar_one()
    described = f"broad|{at.astimezone(UTC).isoformat()}|{config_key}"
    key = hashlib.sha256(described.encode()).hexdigest()
    broad_id = connection.execute(
        insert(broad)
        .values(
            dedupe_key=key,
            config_id=config_id,
            lead_alert_id=lead,
            topics=topics,
            opened_at=at,
            joined_at=at,
            revision=1,
        )
        .returning(broad.c.id)
    ).scalar_one()
    connection.execute(
        insert(broad_member),
        [{"alert_id": number, "broad_id": broad_id, "revision": 1} for number in members],
    )
    return Joined(broad_id, lead, key, 1, len(members), True, tuple(opened))


def _current(connection: Connection, config_id: int, at: datetime) -> Joined | None:
    """The common alert that others may still join."""
    row = connection.execute(
        select(broad.c.id, broad.c.lead_alert_id, broad.c.dedupe_key, broad.c.revision)
        .where(broad.c.config_id == config_id, broad.c.joined_at > at - SPAN)
        .order_by(broad.c.joined_at.desc(), broad.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Joined(*row, members=0, mails=False)


def _recent(connection: Connection, config_id: int, at: datetime) -> list[int]:
    """Alerts of the last hours before this moment that were told, and alone."""
    joined = select(broad_member.c.alert_id).where(broad_member.c.alert_id == alert.c.id)
    hushed = select(silenced.c.alert_id).where(silenced.c.alert_id == alert.c.id)
    query = (
        select(alert.c.id)
        .where(
            alert.c.config_id == config_id,
            alert.c.opened_at > at - SPAN,
            alert.c.opened_at < at,
            ~joined.exists(),
            ~hushed.exists(),
        )
        .order_by(alert.c.id)
    )
    return list(connection.execute(query).scalars())
