"""What the monitor did in a day, for the daily heartbeat: a monitor that is quiet and one that is
dead look the same to who waits for alerts."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, func, select

from apps.news_monitor.coverage import silent_feeds
from apps.news_monitor.decisions import WORDS
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.judging_tables import alert, decision, detector_config
from apps.news_monitor.label_drift import LabelDrift, drift_lines, read_drift
from apps.news_monitor.mail import in_words, subject
from apps.news_monitor.owed import OPEN
from apps.news_monitor.settings import FetchSettings
from apps.news_monitor.tables import item, job_run, model_version, source, topic
from apps.news_monitor.telling_tables import outbox, webhook_call

TICK = "tick"


@dataclass(frozen=True)
class Post:
    """Mails or webhook calls: sent within the day; still waiting, and given up, as it stands."""

    sent: int
    waiting: int
    dead: int


@dataclass(frozen=True)
class DayReport:
    """Counts of [begins, ends). rounds: ticks of the monitor. failing: feeds without a good answer
    of late; silent: those that answer and have brought nothing new for longer than chance; both
    with since when. moments:
    hours judged; decisions: (what was decided, of how many topics and moments), the most frequent
    first. thinnest: the topic with the least coverage in the day, and that, None while nothing is
    usual. alerts: their subjects. model: "" before anything was judged. parts: of its labels, that
    were looked at for drift; drift: a line for each that moved.
    """

    begins: datetime
    ends: datetime
    rounds: int
    feeds: int
    failing: tuple[str, ...]
    stories: int
    copies: int
    moments: int
    decisions: tuple[tuple[str, int], ...]
    thinnest: tuple[str, float] | None
    alerts: tuple[str, ...]
    mails: Post
    calls: Post
    model: str
    parts: int = 0
    drift: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=datetime.isoformat, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "DayReport":
        raw: dict[str, Any] = json.loads(text)
        for name in ("begins", "ends"):
            raw[name] = datetime.fromisoformat(raw[name])
        for name in ("failing", "alerts", "drift", "silent"):
            raw[name] = tuple(raw.get(name, ()))  # an earlier version wrote less
        raw["decisions"] = tuple((said, number) for said, number in raw["decisions"])
        raw["thinnest"] = None if raw["thinnest"] is None else tuple(raw["thinnest"])
        raw["mails"], raw["calls"] = Post(**raw["mails"]), Post(**raw["calls"])
        return cls(**raw)


def read_day(
    connection: Connection,
    begins: datetime,
    ends: datetime,
    overdue: timedelta = FetchSettings().overdue,
) -> DayReport:
    """The report of a period, read from the tables. overdue: see FetchSettings."""

    def number(query: Any) -> int:
        return int(connection.execute(query).scalar_one())

    feeds = connection.execute(
        select(source.c.id, source.c.url, source.c.title, source.c.error_count, source.c.last_ok_at)
        .where(source.c.enabled.is_(True))
        .order_by(source.c.url)
    ).all()
    failing = {
        row.id: _since(row, row.last_ok_at)
        for row in feeds
        if row.error_count or row.last_ok_at is None or row.last_ok_at < ends - overdue
    }
    silent = silent_feeds(connection, ends, overdue)
    inside = (item.c.hour >= epoch_hour(begins), item.c.hour < epoch_hour(ends))
    judged = (decision.c.at >= begins, decision.c.at < ends)
    decided = connection.execute(
        select(decision.c.verdict, func.count().label("n"))
        .where(*judged)
        .group_by(decision.c.verdict)
        .order_by(func.count().desc(), decision.c.verdict)
    ).all()
    thinnest = connection.execute(
        select(topic.c.name, func.min(decision.c.coverage))
        .join(decision, decision.c.topic_id == topic.c.id)
        .where(*judged, decision.c.coverage.is_not(None))
        .group_by(topic.c.name)
        .order_by(func.min(decision.c.coverage), topic.c.name)
        .limit(1)
    ).one_or_none()
    opened = connection.execute(
        select(alert.c.evidence_json)
        .where(alert.c.opened_at >= begins, alert.c.opened_at < ends)
        .order_by(alert.c.opened_at, alert.c.id)
    ).scalars()
    model = connection.execute(
        select(model_version.c.id, model_version.c.name)
        .join(detector_config, detector_config.c.model_id == model_version.c.id)
        .where(detector_config.c.evaluated_until.is_not(None))
        .order_by(detector_config.c.evaluated_until.desc())
        .limit(1)
    ).one_or_none()
    moved = LabelDrift(0, ()) if model is None else read_drift(connection, model.id, ends)
    ticks = (job_run.c.job == TICK, job_run.c.started_at >= begins, job_run.c.started_at < ends)
    items = select(func.count()).select_from(item).where(*inside)
    return DayReport(
        begins=begins,
        ends=ends,
        rounds=number(select(func.count()).select_from(job_run).where(*ticks)),
        feeds=len(feeds),
        failing=tuple(failing.values()),
        stories=number(items.where(item.c.story_id == item.c.id)),
        copies=number(items.where(item.c.story_id != item.c.id)),
        moments=number(select(func.count(decision.c.at.distinct())).where(*judged)),
        decisions=tuple((WORDS[row.verdict], row.n) for row in decided),
        thinnest=None if thinnest is None else (thinnest[0], float(thinnest[1])),
        alerts=tuple(subject(Evidence.from_json(text)) for text in opened),
        mails=_post(connection, outbox, begins, ends),
        calls=_post(connection, webhook_call, begins, ends),
        model="" if model is None else model.name,
        parts=moved.parts,
        drift=drift_lines(moved.found),
        silent=tuple(
            _since(row, silent[row.id])
            for row in feeds
            if row.id in silent and row.id not in failing
        ),
    )


def _since(feed: Any, at: datetime | None) -> str:
    """A feed, and the last time that it did what it should."""
    return f"{feed.title or feed.url} ({'never' if at is None else f'since {in_words(at)}'})"


def _post(connection: Connection, table: Table, begins: datetime, ends: datetime) -> Post:
    states = {
        row.state: row.n
        for row in connection.execute(
            select(table.c.state, func.count().label("n")).group_by(table.c.state)
        )
    }
    sent = connection.execute(
        select(func.count()).where(table.c.sent_at >= begins, table.c.sent_at < ends)
    ).scalar_one()
    return Post(sent, sum(states.get(state, 0) for state in OPEN), states.get("dead", 0))
