"""Hourly buckets: counted from the stories, read as arrays; and how many publishers there were."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
from sqlalchemy import Connection, and_, case, delete, func, insert, select
from sqlalchemy.sql.elements import ColumnElement

from apps.news_monitor.archives import counted
from apps.news_monitor.backlog import whole_since
from apps.news_monitor.surges import Publishers
from apps.news_monitor.tables import (
    bucket,
    by_one_reading,
    item,
    item_topic,
    prediction,
    said_label,
    said_negative,
    said_p_negative,
)
from apps.news_monitor.trends import Counts

ACTIVE_DAYS = 28
FEW_TOPICS = 3
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at_hour(hour: int) -> datetime:
    """The moment of an hour counted from the epoch."""
    return EPOCH + timedelta(hours=hour)


def first_bucket_hour(connection: Connection, model_id: int) -> int | None:
    """The hour from which the model's counts are whole: of its oldest story, or the one that was
    noted when its shadow began. None before there is a story."""
    query = select(func.min(bucket.c.hour)).where(bucket.c.model_id == model_id)
    found: int | None = connection.execute(query).scalar_one()
    noted = whole_since(connection, model_id)
    return found if found is None or noted is None else max(found, noted)


def read_counts(
    connection: Connection,
    *,
    model_id: int,
    topics: Sequence[str],
    topic_ids: Sequence[int],
    first_hour: int,
    end_hour: int,
) -> Counts:
    """Buckets of these topics in the whole UTC days around [first_hour, end_hour)."""
    begin = first_hour // 24 * 24
    hours = -(-(end_hour - begin) // 24) * 24
    stories = np.zeros((hours, len(topics)), dtype=np.int64)
    negative = np.zeros_like(stories)
    place = {number: i for i, number in enumerate(topic_ids)}
    query = select(bucket.c.topic_id, bucket.c.hour, bucket.c.stories, bucket.c.negative).where(
        bucket.c.model_id == model_id, bucket.c.hour >= begin, bucket.c.hour < begin + hours
    )
    if len(topic_ids) <= FEW_TOPICS:  # by the key, not through the hours of all others
        query = query.where(bucket.c.topic_id.in_(topic_ids))
    for topic_id, hour, n, k in connection.execute(query):
        column = place.get(topic_id)
        if column is not None:
            stories[hour - begin, column] = n
            negative[hour - begin, column] = k
    usable = np.ones(stories.shape, dtype=bool)
    return Counts(tuple(topics), at_hour(begin), stories, negative, usable)


def hours_before(counts: Counts) -> int:
    """Hours from the epoch to counts.start."""
    return int(counts.start.timestamp() // 3600)


def publisher_counts(
    connection: Connection,
    *,
    model_id: int,
    topic_ids: Sequence[int],
    offset: int,
    first_hour: int,
    end_hour: int,
) -> Publishers:
    """How many publishers, copies included, brought a window's negative stories, and how many
    were active in the four weeks before.

    offset: `hours_before` of the counts it is asked about. Windows must lie in the epoch hours
    [first_hour, end_hour): they are read at once.
    """
    whole = counted(connection)
    breadth = (
        select(item_topic.c.topic_id, item.c.hour, item.c.publisher)
        .join(prediction, prediction.c.item_id == item.c.story_id)
        .join(item_topic, by_one_reading())
        .where(
            of_model(model_id),
            said_negative(),
            item.c.hour >= first_hour,
            item.c.hour < end_hour,
            whole,
        )
        .order_by(item.c.hour)
    )
    hours: dict[int, list[int]] = {number: [] for number in topic_ids}
    names: dict[int, list[str]] = {number: [] for number in topic_ids}
    for topic_id, hour, publisher in connection.execute(breadth):
        if topic_id in hours:
            hours[topic_id].append(hour)
            names[topic_id].append(publisher)
    daily: dict[int, set[str]] = {}
    seen = select(item.c.hour.op("/")(24), item.c.publisher).distinct()
    begin = first_hour - ACTIVE_DAYS * 24
    for day, publisher in connection.execute(
        seen.where(item.c.hour >= begin, item.c.hour < end_hour, whole)
    ):
        daily.setdefault(int(day), set()).add(publisher)

    @cache
    def active(last_day: int) -> int:
        days = range(last_day - ACTIVE_DAYS, last_day)
        return len(set().union(*(daily.get(day, set()) for day in days)))

    def count(topic: int, start: int, stop: int) -> tuple[int, int]:
        number = topic_ids[topic]
        low = bisect_left(hours[number], offset + start)
        high = bisect_left(hours[number], offset + stop)
        return len(set(names[number][low:high])), active((offset + stop) // 24)

    return count


def of_model(model_id: int) -> ColumnElement[bool]:
    """Predictions of a model, asked so that no index of them by model alone is read: without
    statistics SQLite takes that for the narrowest way in, and reads a million for one hour's."""
    return prediction.c.model_id + 0 == model_id


def rebuild_buckets(
    connection: Connection,
    model_id: int,
    hours: Sequence[int],
    topic_ids: Sequence[int] | None = None,
) -> None:
    """Count these hours anew, for one model; neither copies count, nor archives that are not whole.
    topic_ids: only of these."""
    chosen: ColumnElement[bool] = item.c.hour.in_(hours)
    gone: ColumnElement[bool] = bucket.c.hour.in_(hours)
    if topic_ids is not None:
        chosen = and_(chosen, item_topic.c.topic_id.in_(topic_ids))
        gone = and_(gone, bucket.c.topic_id.in_(topic_ids))
    connection.execute(delete(bucket).where(bucket.c.model_id == model_id, gone))
    cells = (
        select(
            prediction.c.model_id,
            item_topic.c.topic_id,
            item.c.hour,
            func.count(),
            func.sum(_flag(said_negative())),
            func.sum(_flag(said_label() == "positive")),
            func.sum(said_p_negative()),
        )
        .select_from(item)
        .join(prediction, prediction.c.item_id == item.c.id)
        .join(
            item_topic,
            and_(
                item_topic.c.item_id == item.c.id,
                item_topic.c.model_id == prediction.c.model_id,
            ),
        )
        .where(chosen, item.c.story_id == item.c.id, of_model(model_id), counted(connection))
        .group_by(prediction.c.model_id, item_topic.c.topic_id, item.c.hour)
    )
    columns = [
        bucket.c.model_id,
        bucket.c.topic_id,
        bucket.c.hour,
        bucket.c.stories,
        bucket.c.negative,
        bucket.c.positive,
        bucket.c.sum_p_negative,
    ]
    connection.execute(insert(bucket).from_select(columns, cells))


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)
