"""One event, many words: stories whose headlines tell the same become one, and count once.

A story is held against the first of each story of the hours before, by the vectors that the
labeller's encoder gave both. It joins the likest one that is like enough, if neither has a number
or a weekday that contradicts the other, and if nothing is lost by it: each topic and company it
tells of is one of the other's, as bad news or as no bad news in both. Its publishers then are that
story's publishers; the count of its hour falls by one.

Stories are looked at once each, in the order in which they were stored, and are held only against
those stored before them: what comes out depends on what is stored and not on when, or in how many
portions, it was looked at. What is stored in a portion is one transaction.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, Select, bindparam, delete, select, update

from apps.news_monitor.backlog import Backlog
from apps.news_monitor.bucket_counts import rebuild_buckets
from apps.news_monitor.labels import LabelVectors
from apps.news_monitor.memos import note, recall
from apps.news_monitor.predictions import ActiveModel
from apps.news_monitor.settings import StorySettings
from apps.news_monitor.stories import NUMBER, story_text
from apps.news_monitor.story_vectors import KEPT, vector_of
from apps.news_monitor.tables import (
    by_one_reading,
    item,
    item_topic,
    item_vector,
    prediction,
    said_negative,
)
from shared.inference.vector_index import VectorIndex

PORTION = 256
LOOKED_AT = "events"
WEEKDAY = re.compile(r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b")


@dataclass(frozen=True)
class Told:
    """A story as it is compared. says: topic id -> bad news of it or not; bad: of the whole."""

    id: int
    hour: int
    at: datetime
    read_at: datetime
    text: str
    bad: bool
    says: Mapping[int, bool]


def join_events(
    engine: Engine, model: ActiveModel, settings: StorySettings, backlog: Backlog | None = None
) -> int:
    """Join what is new to what was told before; returns how many stories were joined, 0 with labels
    that came without vectors. All stories must have their labels by the model, but for those in its
    backlog: what was stored after the first of them waits with it, for stories are looked at in the
    order in which they were stored."""
    if not settings.same_event or not isinstance(model.labeller, LabelVectors):
        return 0
    unrelated = model.labeller.unrelated
    least = unrelated + settings.same_event * (1.0 - unrelated)
    joined = 0
    while True:
        with engine.begin() as connection:
            rows = _next(connection, backlog)
            if not rows:
                return joined
            joined += _join(connection, rows, model.id, least, timedelta(hours=settings.hours))
            note(connection, LOOKED_AT, str(rows[-1].id))


def _stories() -> Select[Any]:
    return (
        select(item.c.id, item.c.hour, item.c.effective_at, item.c.fetched_at, item.c.publisher)
        .add_columns(item.c.title, item.c.summary, item_vector.c.encoder, item_vector.c.vector)
        .join(item_vector, item_vector.c.item_id == item.c.id)
        .where(item.c.story_id == item.c.id)
        .order_by(item_vector.c.item_id)
    )


def _next(connection: Connection, backlog: Backlog | None) -> list[Any]:
    """The first stories that were not looked at, of one encoder."""
    seen = int(recall(connection, LOOKED_AT) or 0)
    query = _stories().where(item_vector.c.item_id > seen)
    stop = None if backlog is None else backlog.first_without(connection, seen)
    if stop is not None:
        query = query.where(item_vector.c.item_id < stop)
    rows = connection.execute(query.limit(PORTION)).all()
    for place, row in enumerate(rows):
        if row.encoder != rows[0].encoder:
            return list(rows[:place])
    return list(rows)


def _before(connection: Connection, rows: Sequence[Any], window: timedelta) -> list[Any]:
    """The stories that these may be joined to, without themselves."""
    times = [row.effective_at for row in rows]
    query = _stories().where(
        item_vector.c.item_id < rows[0].id,
        item_vector.c.encoder == rows[0].encoder,
        item.c.effective_at >= min(times) - window,
        item.c.effective_at <= max(times) + window,
        item.c.fetched_at >= min(row.fetched_at for row in rows) - KEPT,
    )
    return list(connection.execute(query).all())


def _join(
    connection: Connection, rows: Sequence[Any], model_id: int, least: float, window: timedelta
) -> int:
    pool = [*_before(connection, rows, window), *rows]
    vectors = np.stack([vector_of(row.vector) for row in pool])
    index = VectorIndex.build(
        vectors,
        [str(row.id) for row in pool],
        encoder_fingerprint=rows[0].encoder,
        kind="flat",
    )
    hits = index.within(vectors[-len(rows) :], least)
    near = {
        row.id: [int(name) for name, _ in found if int(name) < row.id]
        for row, found in zip(rows, hits, strict=True)
    }
    wanted = {number for row in rows if near[row.id] for number in (row.id, *near[row.id])}
    told = _told(connection, [row for row in pool if row.id in wanted], model_id)
    joins: dict[int, int] = {}
    for row in rows:
        for number in near[row.id]:
            if number not in joins and _is_one(told[row.id], told[number], window):
                joins[row.id] = number
                break
    if joins:
        _store(connection, joins, sorted({told[number].hour for number in joins}))
    return len(joins)


def _told(connection: Connection, rows: Sequence[Any], model_id: int) -> dict[int, Told]:
    says: dict[int, dict[int, bool]] = {row.id: {} for row in rows}
    bad: dict[int, bool] = {}
    numbers = list(says)
    for begin in range(0, len(numbers), PORTION):
        query = (
            select(prediction.c.item_id, prediction.c.negative, item_topic.c.topic_id)
            .add_columns(said_negative().label("said"))
            .outerjoin(item_topic, by_one_reading())
            .where(
                prediction.c.item_id.in_(numbers[begin : begin + PORTION]),
                prediction.c.model_id == model_id,
            )
        )
        for row in connection.execute(query):
            bad[row.item_id] = bool(row.negative)
            if row.topic_id is not None:
                says[row.item_id][row.topic_id] = bool(row.said)
    return {
        row.id: Told(
            row.id,
            row.hour,
            row.effective_at,
            row.fetched_at,
            story_text(row.title or row.summary, (row.publisher,)),
            bad.get(row.id, False),
            says[row.id],
        )
        for row in rows
    }


def _is_one(story: Told, first: Told, window: timedelta) -> bool:
    """Whether a story whose vector is like enough may be joined to that first one."""
    return (
        abs(story.at - first.at) <= window
        and story.read_at - first.read_at <= KEPT
        and story.bad == first.bad
        and all(first.says.get(topic) == bad for topic, bad in story.says.items())
        and not contradicts(story.text, first.text)
    )


def contradicts(first: str, second: str) -> bool:
    """Whether each text has a number, or each a weekday, that the other lacks: then they tell of
    two events, however alike they sound. Texts in lower case."""
    for pattern in (NUMBER, WEEKDAY):
        a, b = set(pattern.findall(first)), set(pattern.findall(second))
        if a - b and b - a:
            return True
    return False


def _store(connection: Connection, joins: Mapping[int, int], hours: Sequence[int]) -> None:
    """Stories with all their copies go to the story they joined, and are counted no more."""
    numbers = list(joins)
    connection.execute(
        update(item)
        .where(item.c.story_id == bindparam("b_from"))
        .values(story_id=bindparam("b_to")),
        [{"b_from": number, "b_to": first} for number, first in joins.items()],
    )
    connection.execute(delete(item_vector).where(item_vector.c.item_id.in_(numbers)))
    by = select(prediction.c.model_id).where(prediction.c.item_id.in_(numbers)).distinct()
    for model_id in sorted(connection.execute(by).scalars()):
        rebuild_buckets(connection, model_id, hours)
