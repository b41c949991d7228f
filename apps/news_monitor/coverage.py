"""Did those who usually bring a topic's news deliver? If not, nobody can say what is usual.

An outlet is a feed, or a publisher where a file is replayed. It is absent at a moment if it has
not answered since well before it (feeds), or if it brought so little that its own past makes that a
chance of less than one in a thousand. A topic's coverage is the part of its usual items that come
from outlets which are not absent. With too little of it, a share of bad news is the share of
whoever is left: the moment is skipped, which is not the same as quiet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, func, select

from apps.news_monitor.archives import counted
from apps.news_monitor.baseline import Floats, estimate
from apps.news_monitor.bucket_counts import at_hour
from apps.news_monitor.surges import SurgeRule, expected_counts, history_before
from apps.news_monitor.tables import item, item_topic, source
from apps.news_monitor.tails import negative_binomial_lower_mid_p
from apps.news_monitor.trends import Counts

SILENT_CHANCE = 0.001
MIN_ITEMS = 14
"""Items in four weeks from which an outlet, or a topic, has a usual rate: one every two days."""
DELIVERY = SurgeRule(windows_hours=(24, 72, 168), baseline_days=28)
"""The same counts as a surge's, looked at from below: a quiet day, or nothing at all for three or
seven days; usual is the month before the last week, by weekday and hour."""
DEFICIT_HOURS = 24


@dataclass(frozen=True)
class Outlets:
    """Who delivers. keys: source ids, or publishers; last_ok: when each feed last answered, None
    for one that never did; empty where nothing is fetched (a replay)."""

    names: tuple[str, ...]
    keys: tuple[int | str, ...]
    last_ok: tuple[datetime | None, ...] = ()

    @property
    def fetched(self) -> bool:
        return bool(self.last_ok)


@dataclass(frozen=True)
class Coverage:
    """Of T moments, I topics, O outlets.

    share (T, I): of a topic's usual items, the part whose outlets deliver; NaN while there is no
    usual. absent (T, O). weight (T, O, I): usual items of each outlet in each topic.
    """

    outlets: tuple[str, ...]
    share: Floats
    absent: NDArray[np.bool_]
    weight: Floats

    @classmethod
    def unknown(cls, moments: int, topics: int) -> "Coverage":
        """Nothing is known of anybody's usual rate."""
        return cls(
            (),
            np.full((moments, topics), np.nan),
            np.zeros((moments, 0), dtype=bool),
            np.zeros((moments, 0, topics)),
        )

    def missing(self, moment: int, topic: int) -> tuple[str, ...]:
        """The absent outlets that the topic usually hears from, the weightiest first."""
        weight = np.where(self.absent[moment], self.weight[moment, :, topic], 0.0)
        order = np.argsort(-weight, kind="stable")
        return tuple(self.outlets[o] for o in order[: int((weight > 0).sum())])

    def held(self, moment: int, needed: float) -> NDArray[np.bool_]:
        """(I,): topics of which too little is heard. Unknown is not too little."""
        return np.asarray(np.nan_to_num(self.share[moment], nan=1.0) < needed)


@dataclass(frozen=True)
class Delivery:
    """Of T moments and O outlets. absent (T, O); usual (T, O): items a day in the month before the
    last week, 0 for those without a usual rate; quiet (T, O): hours since the last item, as far
    back as five weeks."""

    outlets: Outlets
    absent: NDArray[np.bool_]
    usual: Floats
    quiet: NDArray[np.int64]


def read_delivery(connection: Connection, *, hours: Sequence[int], overdue: timedelta) -> Delivery:
    """Who delivers at these epoch hours (ascending). overdue: how long a feed may be without a
    good answer before it is absent."""
    first_day, begin, end = _reach(hours)
    outlets = _outlets(connection, begin, hours[-1])
    shape = (len(hours), len(outlets.keys))
    absent, usual = np.zeros(shape, dtype=bool), np.zeros(shape)
    if not outlets.keys:
        return Delivery(outlets, absent, usual, np.zeros(shape, dtype=np.int64))
    counts = items_by_hour(connection, outlets, begin, end, hours[-1])
    daily = counts.stories.reshape(-1, 24, shape[1]).sum(axis=1)
    for day, places in _by_day(hours).items():
        local = day - first_day
        total = daily[usual_days(local)].sum(axis=0)
        known = total >= MIN_ITEMS  # (O,)
        ends = [hours[t] - begin for t in places]
        late = _overdue(outlets, ends, begin, overdue)
        absent[places] = known & (silent(counts, known, local, ends) | late)
        usual[places] = np.where(known, total / DELIVERY.baseline_days, 0.0)
    hour = np.arange(1, len(counts.stories) + 1)[:, None]
    newest = np.maximum.accumulate(np.where(counts.stories > 0, hour, 0), axis=0)
    ends = [h - begin for h in hours]
    quiet = np.array(ends)[:, None] - newest[[e - 1 for e in ends]]
    return Delivery(outlets, absent, usual, quiet)


def read_coverage(
    connection: Connection,
    *,
    model_id: int,
    topic_ids: Sequence[int],
    hours: Sequence[int],
    overdue: timedelta,
) -> Coverage:
    """Coverage at these epoch hours (ascending); overdue as in `read_delivery`."""
    first_day, begin, end = _reach(hours)
    found = read_delivery(connection, hours=hours, overdue=overdue)
    if not found.outlets.keys:
        return Coverage.unknown(len(hours), len(topic_ids))
    topics = items_by_day(connection, found.outlets, model_id, topic_ids, begin, end, hours[-1])
    weight = np.zeros((len(hours), len(found.outlets.keys), len(topic_ids)))
    for day, places in _by_day(hours).items():
        weight[places] = topics[usual_days(day - first_day)].sum(axis=0)
    weight *= found.usual[:, :, None] > 0
    total = weight.sum(axis=1)  # (T, I)
    heard = (weight * ~found.absent[:, :, None]).sum(axis=1)
    share = np.full(total.shape, np.nan)
    enough = total >= MIN_ITEMS
    share[enough] = heard[enough] / total[enough]
    return Coverage(found.outlets.names, share, found.absent, weight)


def fallen_silent(
    connection: Connection, hour: int, overdue: timedelta, before: int | None = None
) -> list[str]:
    """Feeds that are absent at this epoch hour and were not at the one judged before it (None: an
    hour earlier), a line each."""
    earlier = hour - 1 if before is None else before
    found = read_delivery(connection, hours=[earlier, hour], overdue=overdue)
    if not found.outlets.fetched:
        return []
    return [
        f"feed {found.outlets.names[o]} has fallen silent: nothing new for {found.quiet[1, o]} "
        f"hours, usual are {found.usual[1, o]:.1f} items a day"
        for o in np.flatnonzero(found.absent[1] & ~found.absent[0]).tolist()
    ]


def silent_feeds(
    connection: Connection, at: datetime, overdue: timedelta
) -> dict[int | str, datetime]:
    """Feeds that are absent at the hour of `at`: id -> since when nothing new has come."""
    hour = int(at.timestamp() // 3600)
    found = read_delivery(connection, hours=[hour], overdue=overdue)
    if not found.outlets.fetched:
        return {}
    return {
        found.outlets.keys[o]: at_hour(hour - int(found.quiet[0, o]))
        for o in np.flatnonzero(found.absent[0]).tolist()
    }


def _reach(hours: Sequence[int]) -> tuple[int, int, int]:
    """The first day that is read, and the epoch hours [begin, end) of whole days."""
    first_day = (hours[0] - 1) // 24 - DELIVERY.baseline_days - DELIVERY.guard_days
    return first_day, first_day * 24, -(-hours[-1] // 24) * 24


def _by_day(hours: Sequence[int]) -> dict[int, list[int]]:
    """Positions of the hours by the day they lie in."""
    days: dict[int, list[int]] = {}
    for t, hour in enumerate(hours):
        days.setdefault((hour - 1) // 24, []).append(t)
    return days


def usual_days(day: int) -> slice:
    """The days that are usual for a day, both counted from the first that is read."""
    stop = day - DELIVERY.guard_days
    return slice(stop - DELIVERY.baseline_days, stop)


def silent(
    counts: Counts, known: NDArray[np.bool_], day: int, ends: Sequence[int]
) -> NDArray[np.bool_]:
    """(T, O): brought so little before each end that its past makes it all but impossible."""
    # The week's profile is shared: it must not depend on who else happened to be read.
    counts = replace(counts, stories=np.where(known, counts.stories, 0))
    usual = estimate(history_before(counts, day, DELIVERY), DELIVERY.overdispersion)
    total = np.vstack([np.zeros((1, counts.stories.shape[1])), np.cumsum(counts.stories, axis=0)])
    windows = np.asarray(DELIVERY.windows_hours)
    at = np.asarray(ends)[:, None]
    came = (total[at] - total[np.maximum(at - windows, 0)]).swapaxes(1, 2)  # (T, O, W)
    expected = [expected_counts(counts, usual, end, DELIVERY) for end in ends]
    chance = len(windows) * negative_binomial_lower_mid_p(
        came,
        np.stack([one.stories for one in expected]),
        np.stack([one.story_dispersion for one in expected]),
    )
    # Behind the newest day only utter silence counts: who is back is no longer absent.
    asked = (came == 0) | (windows == DEFICIT_HOURS)
    return np.asarray(((chance < SILENT_CHANCE) & asked).any(axis=2))


def _overdue(
    outlets: Outlets, ends: Sequence[int], begin: int, overdue: timedelta
) -> NDArray[np.bool_]:
    """(T, O): a feed that has given no good answer since a while before each moment. An answer
    after the moment is as good: what was published before it was still in the feed."""
    if not outlets.fetched:
        return np.zeros((len(ends), len(outlets.keys)), dtype=bool)
    late = [
        [last is None or last < at_hour(begin + end) - overdue for last in outlets.last_ok]
        for end in ends
    ]
    return np.array(late, dtype=bool)


def feeds_asked(connection: Connection) -> Outlets:
    """The feeds that are read now, if any."""
    feeds = connection.execute(
        select(source.c.id, source.c.title, source.c.url, source.c.last_ok_at)
        .where(source.c.enabled.is_(True))
        .order_by(source.c.id)
    ).all()
    return Outlets(
        tuple(row.title or row.url for row in feeds),
        tuple(row.id for row in feeds),
        tuple(row.last_ok_at for row in feeds),
    )


def _outlets(connection: Connection, begin: int, end: int) -> Outlets:
    """The feeds asked; where there are none, the publishers with a usual rate."""
    feeds = feeds_asked(connection)
    if feeds.fetched:
        return feeds
    query = (
        select(item.c.publisher)
        .where(item.c.hour >= begin, item.c.hour < end, item.c.publisher != "", counted(connection))
        .group_by(item.c.publisher)
        .having(func.count() >= MIN_ITEMS)
        .order_by(item.c.publisher)
    )
    names = tuple(connection.execute(query).scalars())
    return Outlets(names, names)


def items_by_hour(
    connection: Connection, outlets: Outlets, begin: int, end: int, known: int
) -> Counts:
    """Items, copies included, of each outlet in the hours [begin, known); (end - begin, O)."""
    key = item.c.source_id if outlets.fetched else item.c.publisher
    query = (
        select(key, item.c.hour, func.count())
        .where(item.c.hour >= begin, item.c.hour < known, key.is_not(None), counted(connection))
        .group_by(key, item.c.hour)
    )
    place = {name: o for o, name in enumerate(outlets.keys)}
    cells = np.zeros((end - begin, len(outlets.keys)), dtype=np.int64)
    for name, hour, n in connection.execute(query):
        if name in place:
            cells[hour - begin, place[name]] = n
    usable = np.ones(cells.shape, dtype=bool)
    return Counts(outlets.names, at_hour(begin), cells, np.zeros_like(cells), usable)


def items_by_day(
    connection: Connection,
    outlets: Outlets,
    model_id: int,
    topic_ids: Sequence[int],
    begin: int,
    end: int,
    known: int,
) -> NDArray[np.int64]:
    """(days, O, I): items of each outlet in each topic; a copy has the topics of its story."""
    key: Any = item.c.source_id if outlets.fetched else item.c.publisher
    day = item.c.hour.op("/")(24)
    query = (
        select(key, day, item_topic.c.topic_id, func.count())
        .join(
            item_topic,
            and_(item_topic.c.item_id == item.c.story_id, item_topic.c.model_id == model_id),
        )
        .where(item.c.hour >= begin, item.c.hour < known, key.is_not(None), counted(connection))
        .group_by(key, day, item_topic.c.topic_id)
    )
    place = {name: o for o, name in enumerate(outlets.keys)}
    column = {number: i for i, number in enumerate(topic_ids)}
    cells = np.zeros(((end - begin) // 24, len(outlets.keys), len(topic_ids)), dtype=np.int64)
    for name, at, topic_id, n in connection.execute(query):
        if name in place and topic_id in column:
            cells[int(at) - begin // 24, place[name], column[topic_id]] = n
    return cells
