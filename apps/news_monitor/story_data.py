"""Stories as they are shown: what each says by the model, who carries it, what readers said."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, inspect, select

from apps.news_monitor.judging_tables import alert, alert_item
from apps.news_monitor.labels import said_of_best
from apps.news_monitor.mail import web_link
from apps.news_monitor.page_data import Detector
from apps.news_monitor.tables import (
    by_one_reading,
    company,
    correction,
    item,
    item_topic,
    prediction,
    said_label,
    said_p_negative,
    topic,
)
from apps.news_monitor.telling_tables import mark

STORIES_SHOWN = 100
QUEUE = 20
DOUBT_SPAN = timedelta(days=7)
DOUBTED_AMONG = 5000
PROBABILITIES = ("p_negative", "p_neutral", "p_positive")


@dataclass(frozen=True)
class Story:
    """A story with its copies. sentiment, p_negative: what it says, of a company where it was asked
    for one; p_best: the probability of that sentiment; own: the model was asked for that company
    alone, for others are named beside it. publishers: who carries it, by name; tellings: how many
    items are counted as this one. corrected: a reader said what it is."""

    id: int
    title: str
    url: str
    publisher: str
    at: datetime
    sentiment: str
    p_negative: float
    p_best: float
    own: bool
    publishers: tuple[str, ...]
    tellings: int
    corrected: bool

    @property
    def said(self) -> str:
        """The sentiment, or that the model is unsure."""
        return said_of_best(self.sentiment, self.p_best)


def newest_stories(
    connection: Connection, model_id: int, limit: int = STORIES_SHOWN
) -> list[Story]:
    """Of whatever topic, the newest first; those without a label left out."""
    newest = _newest(limit)
    query = (
        _labelled(model_id)
        .where(item.c.id.in_(newest))
        .order_by(item.c.effective_at.desc(), item.c.id.desc())
    )
    return _read(connection, query)


def topic_stories(
    connection: Connection, model_id: int, topic_id: int, limit: int = STORIES_SHOWN
) -> list[Story]:
    """Of a topic or company: those stored last, the newest first."""
    query = (
        select(item.c.id, item.c.title, item.c.summary, item.c.url, item.c.publisher)
        .add_columns(item.c.effective_at)
        .add_columns(said_label().label("sentiment"), said_p_negative().label("p_negative"))
        .add_columns(_largest(*(_said(name) for name in PROBABILITIES)).label("p_best"))
        .add_columns(item_topic.c.label.is_not(None).label("own"))
        .select_from(item_topic)
        .join(item, item.c.id == item_topic.c.item_id)
        .join(prediction, by_one_reading())
        .where(
            item_topic.c.topic_id == topic_id,
            item_topic.c.model_id == model_id,
            item.c.story_id == item.c.id,
        )
        .order_by(item_topic.c.item_id.desc())
        .limit(limit)
    )
    return sorted(_read(connection, query), key=lambda story: story.at, reverse=True)


def tellings(
    connection: Connection, story_id: int, limit: int = STORIES_SHOWN
) -> list[dict[str, object]]:
    """The items that are counted as one story, the first of it first: when, who, in which words."""
    query = (
        select(item.c.id, item.c.title, item.c.summary, item.c.url, item.c.publisher)
        .add_columns(item.c.effective_at, item.c.copy_of)
        .where(item.c.story_id == story_id)
        .order_by(item.c.effective_at, item.c.id)
        .limit(limit)
    )
    return [
        {
            "at": row.effective_at,
            "publisher": row.publisher,
            "told as": row.title or row.summary,
            "how": "a copy" if row.copy_of else "first" if row.id == story_id else "other words",
            "link": web_link(row.url) or None,
        }
        for row in connection.execute(query)
    ]


def to_review(connection: Connection, detector: Detector, limit: int = QUEUE) -> list[Story]:
    """What a reader's word would help most: the stories of alerts that were marked not useful, the
    newest alerts first, then the last week's of which the model is least sure. None that a reader
    has corrected."""
    if not correctable(connection):
        return []
    done = select(correction.c.item_id).where(correction.c.item_id == item.c.id)
    marked = (
        _labelled(detector.model_id)
        .join(alert_item, alert_item.c.item_id == item.c.id)
        .join(alert, alert.c.id == alert_item.c.alert_id)
        .where(
            alert.c.id.in_(select(mark.c.alert_id).where(mark.c.useful.is_(False))),
            ~done.exists(),
        )
        .order_by(alert.c.opened_at.desc(), alert_item.c.rank)
        .limit(limit)
    )
    sure = _largest(*(prediction.c[name] for name in PROBABILITIES))
    doubtful = (
        _labelled(detector.model_id)
        .where(
            item.c.id.in_(_newest(DOUBTED_AMONG)),
            item.c.effective_at > detector.until - DOUBT_SPAN,
            ~done.exists(),
        )
        .order_by(sure, item.c.id.desc())
        .limit(limit)
    )
    found = {story.id: story for query in (marked, doubtful) for story in _read(connection, query)}
    return list(found.values())[:limit]


def topics_said(connection: Connection, item_id: int, model_id: int) -> list[str]:
    """The topics, not companies, that the model gives a story, by name."""
    query = (
        select(topic.c.name)
        .join(item_topic, item_topic.c.topic_id == topic.c.id)
        .where(
            item_topic.c.item_id == item_id,
            item_topic.c.model_id == model_id,
            topic.c.id.not_in(select(company.c.topic_id)),
        )
        .order_by(topic.c.name)
    )
    return list(connection.execute(query).scalars())


def correctable(connection: Connection) -> bool:
    """False for a database that no monitor has opened since there are corrections."""
    return inspect(connection).has_table(correction.name)


def _newest(limit: int) -> Select[Any]:
    """Ids. Chosen before anything is joined: otherwise every label is looked through."""
    return (
        select(item.c.id)
        .where(item.c.story_id == item.c.id)
        .order_by(item.c.effective_at.desc(), item.c.id.desc())
        .limit(limit)
    )


def _labelled(model_id: int) -> Select[Any]:
    return (
        select(item.c.id, item.c.title, item.c.summary, item.c.url, item.c.publisher)
        .add_columns(item.c.effective_at)
        .add_columns(prediction.c.label.label("sentiment"), prediction.c.p_negative)
        .add_columns(_largest(*(prediction.c[name] for name in PROBABILITIES)).label("p_best"))
        .select_from(item)
        .join(
            prediction,
            and_(prediction.c.item_id == item.c.id, prediction.c.model_id == model_id),
        )
    )


def _said(probability: str) -> Any:
    """Of the topic or company, as said_p_negative."""
    return func.coalesce(item_topic.c[probability], prediction.c[probability])


def _largest(*columns: Any) -> Any:
    """SQLite's max and PostgreSQL's greatest have no name in common."""
    first, *others = columns
    for other in others:
        first = case((first >= other, first), else_=other)
    return first


def _read(connection: Connection, query: Select[Any]) -> list[Story]:
    rows = connection.execute(query).all()
    numbers = [row.id for row in rows]
    carried: dict[int, set[str]] = {number: set() for number in numbers}
    told = Counter[int]()
    copies = select(item.c.story_id, item.c.publisher).where(item.c.story_id.in_(numbers))
    for copy in connection.execute(copies):
        told[copy.story_id] += 1
        if copy.publisher:
            carried[copy.story_id].add(copy.publisher)
    done: set[int] = set()
    if correctable(connection):
        known = select(correction.c.item_id).where(correction.c.item_id.in_(numbers))
        done = set(connection.execute(known).scalars())
    return [
        Story(
            row.id,
            row.title or row.summary,
            row.url,
            row.publisher,
            row.effective_at,
            row.sentiment,
            row.p_negative,
            row.p_best,
            bool(getattr(row, "own", False)),
            tuple(sorted(carried[row.id])),
            told[row.id],
            row.id in done,
        )
        for row in rows
    ]
