"""Which hours are evidence of what is usual: those in which enough of the usual sources delivered.

An outage is no quiet time. Its hours belong neither to the counts nor to what was expected of them,
and no threshold is learnt from them. Whether an hour is one is told by what came in: by nothing
that is known of its moment alone, so that it is the same after a restart, in the laboratory and for
whatever configuration; and what a feed still had when it was asked again is no hole. Each hour
rests on what was published before its end. Where nothing is fetched, and before anything was, all
hours are evidence: a file has no outages that anybody knows of.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from apps.news_monitor.articles import OLDEST
from apps.news_monitor.bucket_counts import hours_before
from apps.news_monitor.coverage import (
    DEFICIT_HOURS,
    DELIVERY,
    MIN_ITEMS,
    Outlets,
    feeds_asked,
    items_by_day,
    items_by_hour,
    silent,
    usual_days,
)
from apps.news_monitor.settings import LEAST_COVERAGE
from apps.news_monitor.tables import source
from apps.news_monitor.trends import Counts

LEAST_HEARD = LEAST_COVERAGE
"""Of a topic's usual items, the part without which an hour is no evidence of it. Whatever the gate
of coverage is set to: what is usual must not depend on what is told."""
SETTLED_DAYS = OLDEST.days + 1
"""An article may be dated OLDEST before it is read: younger hours are looked at again."""
BLOCK_DAYS = 28

Mask = NDArray[np.bool_]


class UsableHours:
    """Of one model's topics, kept from one judgement to the next. Not for two threads at once."""

    def __init__(self, model_id: int, topic_ids: Sequence[int]) -> None:
        self._model_id = model_id
        self._topic_ids = topic_ids
        self._of: tuple[int, tuple[int | str, ...]] | None = None
        self._first_day = 0
        self._usable: Mask = np.ones((0, len(topic_ids)), dtype=bool)
        self._absent: Mask = np.zeros((0, 1), dtype=bool)

    def of(self, connection: Connection, counts: Counts) -> Mask:
        """(H, I) of these counts, whose topics are those above."""
        begin = hours_before(counts)
        end = begin + counts.hours
        usable = np.ones(counts.stories.shape, dtype=bool)
        if not self._learn(connection, end // 24):
            return usable
        first = self._first_day * 24
        if end > first:
            low = max(begin, first)
            usable[low - begin :] = self._usable[low - first : end - first]
        return usable

    def _learn(self, connection: Connection, end_day: int) -> bool:
        """Know all days before `end_day`; False where nothing is fetched."""
        feeds = feeds_asked(connection)
        since = connection.execute(select(func.min(source.c.created_at))).scalar_one()
        if not feeds.fetched or since is None:
            return False
        first_day = _day(since - OLDEST)
        if self._of != (first_day, feeds.keys):
            self._of, self._first_day = (first_day, feeds.keys), first_day
            self._forget_from(first_day)
            self._absent = np.zeros((0, len(feeds.keys) + 1), dtype=bool)
        known = self._first_day + len(self._usable) // 24
        self._forget_from(max(min(known, end_day) - SETTLED_DAYS, first_day))
        begin = self._first_day + len(self._usable) // 24
        while begin < end_day:
            stop = min(begin + BLOCK_DAYS, end_day)
            usable, absent = self._block(connection, feeds, begin, stop)
            self._usable = np.vstack([self._usable, usable])
            self._absent = np.vstack([self._absent, absent])
            begin = stop
        return True

    def _forget_from(self, day: int) -> None:
        kept = (day - self._first_day) * 24
        self._usable, self._absent = self._usable[:kept], self._absent[:kept]

    def _block(
        self, connection: Connection, feeds: Outlets, begin: int, stop: int
    ) -> tuple[Mask, Mask]:
        """Of the hours of the days [begin, stop): usable (T, I); absent (T, O + 1), each feed and,
        last, all of them together."""
        first = begin - DELIVERY.baseline_days - DELIVERY.guard_days
        span = (first * 24, stop * 24, stop * 24)
        counts = items_by_hour(connection, feeds, *span)
        together = _together(counts)
        days = range(begin - first, stop - first)
        each = np.vstack([_silent_on(counts, day) for day in days])
        # Of all together only utter silence: a topic whose own feeds deliver is heard.
        all_ = np.vstack([_utterly_silent_on(together, day) for day in days])
        cells = np.hstack([counts.stories, together.stories])[days.start * 24 :]
        absent = self._until_heard(np.hstack([each, all_]), cells)
        usable = ~np.broadcast_to(absent[:, -1:], (len(absent), len(self._topic_ids)))
        if not absent[:, :-1].any():
            return usable, absent
        topics = items_by_day(connection, feeds, self._model_id, self._topic_ids, *span)
        missed = []
        for place, day in enumerate(days):
            weight = topics[usual_days(day)].sum(axis=0) * _known(counts, day)[:, None]  # (O, I)
            total = weight.sum(axis=0)
            heard = (~absent[place * 24 : place * 24 + 24, :-1]).astype(np.int64) @ weight
            missed.append((heard < LEAST_HEARD * total) & (total >= MIN_ITEMS))  # (24, I)
        return usable & ~np.vstack(missed), absent

    def _until_heard(self, raw: Mask, came: NDArray[np.int64]) -> Mask:
        """Who is absent stays so until something comes, however long that takes: what is usual
        would become nothing meanwhile."""
        absent = raw.copy()
        before = self._absent[-1] if len(self._absent) else np.zeros(raw.shape[1], dtype=bool)
        for hour in range(len(raw)):
            absent[hour] |= before & (came[hour] == 0)
            before = absent[hour]
        return absent


def _together(counts: Counts) -> Counts:
    """All outlets as one."""
    stories = counts.stories.sum(axis=1, keepdims=True)
    usable = np.ones(stories.shape, dtype=bool)
    return Counts(("all",), counts.start, stories, np.zeros_like(stories), usable)


def _day(at: datetime) -> int:
    return int(at.timestamp() // 86400)


def _known(counts: Counts, day: int) -> Mask:
    """(O,): who has a usual rate on this day."""
    days = usual_days(day)
    total = counts.stories[days.start * 24 : days.stop * 24].sum(axis=0)
    return np.asarray(total >= MIN_ITEMS)


def _silent_on(counts: Counts, day: int) -> Mask:
    """(24, O): at the end of each hour of the day."""
    known = _known(counts, day)
    return known & silent(counts, known, day, range(day * 24 + 1, day * 24 + 25))


def _utterly_silent_on(counts: Counts, day: int) -> Mask:
    """As `_silent_on`, of those that brought nothing for DEFICIT_HOURS."""
    total = np.cumsum(counts.stories, axis=0)
    end = np.arange(day * 24, day * 24 + 24)
    nothing = np.asarray(total[end] == total[end - DEFICIT_HOURS])
    return nothing & _silent_on(counts, day) if nothing.any() else nothing
