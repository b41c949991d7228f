"""An alert: its evidence gathered, its rows and its mails written in one transaction."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import Connection, Select, and_, func, select, update

from apps.news_monitor.archives import counted
from apps.news_monitor.coverage import Coverage
from apps.news_monitor.evidence import (
    DataHealth,
    DayPoint,
    Evidence,
    MovingTopic,
    StoryLine,
)
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert, alert_item
from apps.news_monitor.labels import LabelSource
from apps.news_monitor.outbox import enqueue, keep_told
from apps.news_monitor.surges import Scan
from apps.news_monitor.tables import (
    item,
    item_topic,
    prediction,
    said_negative,
    said_p_negative,
    source,
)
from apps.news_monitor.tails import beta_binomial_range
from apps.news_monitor.telling import Subscription
from apps.news_monitor.thresholds import FalseAlarmCurve, Severity
from apps.news_monitor.trends import Counts

CHART_DAYS = 28
KEPT_STORIES = 20
# Some 130 encodings, while the transaction is open: 2.8 s on a processor shared by five jobs.
EXPLAINED_STORIES = 10
MOVING_CHANCE = 0.05


@dataclass(frozen=True)
class Moment:
    """One evaluation as the detector saw it: row `index` of a scan over `counts`.

    at: the moment judged. threshold, curve: in force then. topic_ids: by position in counts.topics.
    coverage: whether the usual sources delivered, by `index` too.
    """

    scan: Scan
    index: int
    counts: Counts
    at: datetime
    threshold: float
    curve: FalseAlarmCurve
    topic_ids: tuple[int, ...]
    model_id: int
    model_name: str
    coverage: Coverage


@dataclass(frozen=True)
class Stored:
    """A story of the evidence with its item's id."""

    item_id: int
    line: StoryLine


def severity_now(moment: Moment, topic: int) -> Severity:
    """Of an alert about this topic (its position) that would open at the moment."""
    scan, t = moment.scan, moment.index
    window = int(scan.score[t, topic].argmax())
    score, negative = float(scan.score[t, topic, window]), int(scan.negative[t, topic, window])
    return moment.curve.severity(score, negative, len(moment.counts.topics))


def gather(connection: Connection, moment: Moment, topic: int) -> tuple[Evidence, list[int]]:
    """The evidence of one topic (its position) and the ids of the stories that carry it."""
    scan, t = moment.scan, moment.index
    window = int(scan.score[t, topic].argmax())
    hours = scan.rule.windows_hours[window]
    n, k = int(scan.stories[t, topic, window]), int(scan.negative[t, topic, window])
    share, rho = float(scan.share[t, topic]), float(scan.rho[t, topic])
    low, high = beta_binomial_range(n, share, rho, 0.95)
    score = float(scan.score[t, topic, window])
    stored = _stories(connection, moment, topic, hours)
    evidence = Evidence(
        topic=moment.counts.topics[topic],
        severity=severity_now(moment, topic),
        opened_at=moment.at,
        evaluated_at=moment.at,
        score=score,
        threshold=moment.threshold,
        window_hours=hours,
        stories=n,
        negative=k,
        usual_share=share,
        expected=n * share,
        low=low,
        high=high,
        usual_stories=float(scan.expected_stories[t, topic, window]),
        p_share=float(scan.p_share[t, topic, window]),
        p_count=float(scan.p_count[t, topic, window]),
        p_volume=float(scan.p_volume[t, topic, window]),
        false_rate=moment.curve.rate(score),
        history_days=int(scan.days[t]),
        learning=moment.curve.learning,
        days=_chart(moment, topic, share, rho),
        headlines=tuple(story.line for story in stored),
        moving=_moving(moment, topic, window),
        health=_health(connection, moment, topic),
        model=moment.model_name,
    )
    return evidence, [story.item_id for story in stored]


def with_words(evidence: Evidence, labeller: LabelSource) -> Evidence:
    """The evidence with the words that make its first stories negative to the labeller. Told once
    and stored: the pages and the mail load no model."""
    lines = evidence.headlines[:EXPLAINED_STORIES]
    words = labeller.words_for_negative([line.title for line in lines])
    told = [replace(line, words=found) for line, found in zip(lines, words, strict=True)]
    return replace(evidence, headlines=(*told, *evidence.headlines[EXPLAINED_STORIES:]))


def _chart(moment: Moment, topic: int, share: float, rho: float) -> tuple[DayPoint, ...]:
    """Trailing days that end at the moment, oldest first, as far back as there are counts."""
    end = int(moment.scan.ends[moment.index])
    points = []
    for back in range(min(CHART_DAYS, end // 24) - 1, -1, -1):
        stop = end - 24 * back
        cells = slice(stop - 24, stop)
        n = int(moment.counts.stories[cells, topic].sum())
        k = int(moment.counts.negative[cells, topic].sum())
        low, high = beta_binomial_range(n, share, rho, 0.95)
        points.append(DayPoint(moment.at - timedelta(days=back), n, k, low, high))
    return tuple(points)


def _moving(moment: Moment, topic: int, window: int) -> tuple[MovingTopic, ...]:
    """Up to three other topics with three or more negatives, rarer than one window in twenty."""
    scan, t = moment.scan, moment.index
    chance = scan.p_share[t, :, window] / len(scan.rule.windows_hours)
    found = []
    for other in np.argsort(chance, kind="stable"):
        negative = int(scan.negative[t, other, window])
        if other == topic or chance[other] >= MOVING_CHANCE or negative < 3:
            continue
        found.append(
            MovingTopic(
                topic=moment.counts.topics[other],
                negative=negative,
                stories=int(scan.stories[t, other, window]),
                usual_share=float(scan.share[t, other]),
            )
        )
    return tuple(found[:3])


def _window_hours(at: datetime, hours: int) -> tuple[int, int]:
    end = int(at.timestamp() // 3600)
    return end - hours, end


def negative_stories(
    model_id: int, topic_id: int, first_hour: int, end_hour: int
) -> Select[tuple[int]]:
    """Ids of the first items of the topic's negative stories in [first_hour, end_hour)."""
    return (
        select(item.c.id)
        .join(prediction, prediction.c.item_id == item.c.id)
        .join(
            item_topic,
            and_(
                item_topic.c.item_id == item.c.id,
                item_topic.c.model_id == prediction.c.model_id,
            ),
        )
        .where(
            item.c.hour >= first_hour,
            item.c.hour < end_hour,
            item.c.story_id == item.c.id,
            prediction.c.model_id == model_id,
            said_negative(),
            item_topic.c.topic_id == topic_id,
        )
    )


def _stories(connection: Connection, moment: Moment, topic: int, hours: int) -> list[Stored]:
    """The negative stories of the window: most publishers first, then the most surely negative."""
    first, end = _window_hours(moment.at, hours)
    negative = negative_stories(moment.model_id, moment.topic_ids[topic], first, end)
    ids = negative.where(counted(connection)).scalar_subquery()
    rows = connection.execute(
        select(item.c.id, item.c.title, item.c.summary, item.c.url, item.c.effective_at)
        .add_columns(said_p_negative().label("p_negative"))
        .join(prediction, prediction.c.item_id == item.c.id)
        .join(
            item_topic,
            and_(
                item_topic.c.item_id == item.c.id,
                item_topic.c.model_id == prediction.c.model_id,
            ),
        )
        .where(
            item.c.id.in_(ids),
            prediction.c.model_id == moment.model_id,
            item_topic.c.topic_id == moment.topic_ids[topic],
        )
    ).all()
    spread: dict[int, set[str]] = {}
    query = select(item.c.story_id, item.c.publisher).where(
        item.c.story_id.in_(ids), item.c.hour < end
    )
    for story_id, publisher in connection.execute(query):
        if publisher:
            spread.setdefault(story_id, set()).add(publisher)
    stories = [
        Stored(
            row.id,
            StoryLine(
                title=row.title or row.summary,
                url=row.url,
                publishers=tuple(sorted(spread.get(row.id, ()))),
                p_negative=row.p_negative,
                at=row.effective_at,
            ),
        )
        for row in rows
    ]
    stories.sort(key=lambda s: (-len(s.line.publishers), -s.line.p_negative, s.line.at, s.item_id))
    return stories[:KEPT_STORIES]


def _health(connection: Connection, moment: Moment, topic: int) -> DataHealth:
    first, end = _window_hours(moment.at, 24)
    covered = float(moment.coverage.share[moment.index, topic])
    inside = and_(item.c.hour >= first, item.c.hour < end)
    items = connection.execute(
        select(func.count(), func.count().filter(item.c.story_id != item.c.id))
        .select_from(item)
        .where(inside)
    ).one()
    sources = connection.execute(
        select(source.c.last_ok_at, source.c.error_count).where(source.c.enabled.is_(True))
    ).all()
    healthy = sum(row.last_ok_at is not None and row.error_count == 0 for row in sources)
    return DataHealth(
        sources_ok=healthy if sources else None,
        sources_total=len(sources) if sources else None,
        items=int(items[0]) - int(items[1]),
        copies=int(items[1]),
        coverage=None if np.isnan(covered) else covered,
        missing=moment.coverage.missing(moment.index, topic),
    )


def open_alert(
    connection: Connection,
    evidence: Evidence,
    item_ids: Sequence[int],
    *,
    topic_id: int,
    config_id: int,
    config_key: str,
    subscriptions: Sequence[Subscription],
    sender: str,
    now: datetime,
    late: bool = False,
) -> int:
    """The alert, its items and its mails, in the caller's transaction; twice called, made once.

    subscriptions: () where the alert is told together with others, or to nobody. late: see enqueue.
    """
    key = f"{evidence.topic}|{evidence.opened_at.astimezone(UTC).isoformat()}|{config_key}"
    dedupe = hashlib.sha256(key.encode()).hexdigest()
    row = {
        "dedupe_key": dedupe,
        "topic_id": topic_id,
        "config_id": config_id,
        "state": "firing",
        "severity": evidence.severity,
        "opened_at": evidence.opened_at,
        "peak_score": evidence.score,
        "revision": 1,
        "evidence_json": evidence.to_json(),
    }
    insert_new(connection, alert, [row])
    alert_id = int(
        connection.execute(select(alert.c.id).where(alert.c.dedupe_key == dedupe)).scalar_one()
    )
    _keep_items(connection, alert_id, item_ids)
    enqueue(
        connection,
        alert_id=alert_id,
        alert_key=dedupe[:8],
        revision=1,
        topics=[(evidence.topic, evidence.severity)],
        subscriptions=subscriptions,
        sender=sender,
        now=now,
        late=late,
    )
    return alert_id


def renew_alert(
    connection: Connection, alert_id: int, evidence: Evidence, item_ids: Sequence[int]
) -> None:
    """An alert that has become more severe: what is now known of it stands in place of what was
    known when it opened; the stories that carried it before stay with it. What is owed about it
    already still tells what was known then."""
    rows = connection.execute(select(alert.c.evidence_json).where(alert.c.id == alert_id))
    keep_told(connection, alert_id, rows.scalar_one())
    connection.execute(
        update(alert)
        .where(alert.c.id == alert_id)
        .values(severity=evidence.severity, evidence_json=evidence.to_json())
    )
    _keep_items(connection, alert_id, item_ids)


def _keep_items(connection: Connection, alert_id: int, item_ids: Sequence[int]) -> None:
    ranked = [
        {"alert_id": alert_id, "item_id": number, "rank": rank}
        for rank, number in enumerate(item_ids, start=1)
    ]
    if ranked:
        insert_new(connection, alert_item, ranked)


def follow_alert(
    connection: Connection, alert_id: int, score: float, *, resolved_at: datetime | None
) -> None:
    """What became of an open alert: its peak, and whether it is over (None: it is not)."""
    values = {
        "state": "firing" if resolved_at is None else "resolved",
        "resolved_at": resolved_at,
    }
    connection.execute(update(alert).where(alert.c.id == alert_id).values(**values))
    connection.execute(
        update(alert)
        .where(alert.c.id == alert_id, alert.c.peak_score < score)
        .values(peak_score=score)
    )
