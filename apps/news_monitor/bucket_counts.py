"""Reading what has been counted: hourly buckets as arrays, and how many publishers stand behind."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import Connection, func, select

from apps.news_monitor.alerts import negative_stories
from apps.news_monitor.surges import Publishers
from apps.news_monitor.tables import bucket, item
from apps.news_monitor.trends import Counts

ACTIVE_DAYS = 28
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at_hour(hour: int) -> datetime:
    """The moment of an hour counted from the epoch."""
    return EPOCH + timedelta(hours=hour)


def first_bucket_hour(connection: Connection, model_id: int) -> int | None:
    """The hour of the model's oldest story, None before there is one."""
    query = select(func.min(bucket.c.hour)).where(bucket.c.model_id == model_id)
    found: int | None = connection.execute(query).scalar_one()
    return found


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
    connection: Connection, *, model_id: int, topic_ids: Sequence[int], offset: int
) -> Publishers:
    """How many publishers, copies included, brought a window's negative stories, and how many
    were active in the four weeks before. offset: `hours_before` of the counts it is asked about."""
    active: dict[int, int] = {}

    def count(topic: int, begin: int, end: int) -> tuple[int, int]:
        first, stop = offset + begin, offset + end
        stories = negative_stories(model_id, topic_ids[topic], first, stop).scalar_subquery()
        found = connection.execute(
            select(func.count(func.distinct(item.c.publisher))).where(
                item.c.story_id.in_(stories), item.c.hour < stop
            )
        ).scalar_one()
        day = stop // 24
        if day not in active:
            active[day] = connection.execute(
                select(func.count(func.distinct(item.c.publisher))).where(
                    item.c.hour >= stop - ACTIVE_DAYS * 24, item.c.hour < stop
                )
            ).scalar_one()
        return int(found), active[day]

    return count
