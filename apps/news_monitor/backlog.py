"""Where the stories without a label are, found without looking through a million that have one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, false, func, or_, select, true
from sqlalchemy.sql.elements import ColumnElement

from apps.news_monitor.archives import Archive, held, last_item, within
from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.judging_tables import detector_config
from apps.news_monitor.memos import forget, note, recall
from apps.news_monitor.surges import SurgeRule
from apps.news_monitor.tables import item, prediction


@dataclass
class Backlog:
    """Stories without a label by one model can only be above `high`, or above `floor` and up to
    `low`, by id.

    Ids grow, and an article that was put into a story never becomes one of its own. Kept from one
    round to the next; where all is labelled, that is noted for the next start. until: no story
    after this one is looked at.

    since: stories of this epoch hour and later come first, for judging reads them, and older ones
    wait (None: all are alike). known: up to here those that wait have been looked for, and lie up
    to `low`; recent: up to here others may stand among them. archives: their stories wait too, see
    archives.py; holding: up to here they may stand, 0 once all have their labels. passing: which of
    high, recent, holding and low the last rows belong to.
    """

    model_id: int
    high: int
    low: int
    until: int | None = None
    since: int | None = None
    floor: int = 0
    known: int = 0
    recent: int = 0
    archives: tuple[Archive, ...] = ()
    holding: int = 0
    passing: str = "high"

    @classmethod
    def of(cls, connection: Connection, model_id: int, since: int | None = None) -> "Backlog":
        """As noted, or anywhere."""
        noted = recall(connection, _name(model_id))
        if noted is not None:
            done = int(noted)
            return cls(model_id, done, 0, since=since, floor=done, known=done)
        last = last_item(connection)
        if since is None:
            return cls(model_id, last, last)
        _note_waiting(connection, model_id, since)
        return cls(model_id, last, last, since=since, known=last, recent=last)

    def hold(self, connection: Connection) -> None:
        """Let the stories of archives that belong to no count yet wait, from now on."""
        archives = held(connection)
        if archives != self.archives:
            self.archives = archives
            self.holding = max((one.until for one in archives), default=0)

    @property
    def has_whole_archives(self) -> bool:
        """There are archives, and all their stories have labels."""
        return bool(self.archives) and not self.holding

    @classmethod
    def of_released(
        cls, connection: Connection, model_id: int, needed: timedelta, since: int, now: datetime
    ) -> "Backlog":
        """Of a model that is to judge. One that ran in shadow brings what it labelled along: where
        that is as long a past as is `needed`, older stories get no label, else they do."""
        begun = recall(connection, _whole(model_id))
        if begun is not None and epoch_hour(now - needed) < int(begun):
            for name in (_name(model_id), _whole(model_id)):
                forget(connection, name)
        return cls.of(connection, model_id, since)

    @classmethod
    def of_shadow(
        cls, connection: Connection, model_id: int, until: int, now: datetime
    ) -> "Backlog":
        """Of a model in shadow: what comes after the story `until`, or what came since its labels
        ended. Its counts are whole from the next midnight on (UTC)."""
        if recall(connection, _name(model_id)) is None:
            note(connection, _name(model_id), str(until))
            note(connection, _whole(model_id), str(epoch_hour(now) // 24 * 24 + 24))
        return replace(cls.of(connection, model_id), until=until)

    def look_back_to(self, since: int) -> None:
        """Let stories of this epoch hour and later come first from now on; not while some wait that
        another hour told apart."""
        if self.since is not None and self.low <= self.floor and self.known <= self.high:
            self.since = since

    def next(self, connection: Connection, limit: int) -> Sequence[Row[Any]]:
        """(id, title, summary, hour) of stories to label: what came since, oldest first, then
        those before, newest first; then those that wait, of archives first. Tell `passed` of them
        when they are stored."""
        missing = self._missing(item.c.id, item.c.title, item.c.summary, item.c.hour).limit(limit)
        top = self._set_aside(connection)
        self.passing = "high"
        above = missing.where(item.c.id > self.high, self._comes_first()).order_by(item.c.id)
        rows = connection.execute(above).all()
        if rows:
            return rows
        self.high = max(self.high, top)
        below = missing.where(item.c.id > self.floor).order_by(item.c.id.desc())
        if self.recent > self.floor:
            self.passing = "recent"
            rows = connection.execute(
                below.where(item.c.id <= self.recent, self._comes_first())
            ).all()
            if rows:
                return rows
            self.recent = 0
        if self.holding:
            self.passing = "holding"
            rows = connection.execute(
                below.where(item.c.id <= self.holding, within(self.archives))
            ).all()
            if rows:
                return rows
            self.holding = 0
        if self.low <= self.floor:
            return []
        self.passing = "low"
        return connection.execute(below.where(item.c.id <= self.low)).all()

    def _comes_first(self) -> ColumnElement[bool]:
        if self.since is None:
            return true()
        # Asked so that it is read in the order of ids: by the hour all would be sorted each time.
        needed = item.c.hour + 0 >= self.since
        return and_(needed, ~within(self.archives)) if self.archives else needed

    def _set_aside(self, connection: Connection) -> int:
        """Let those that came since and are to wait do so up to `low`; returns the last story."""
        if self.since is None:
            return 0
        top = last_item(connection)
        if top > self.known:
            waits = self._missing(item.c.id).where(
                item.c.id > self.known, item.c.id <= top, ~self._comes_first()
            )
            if connection.execute(waits.limit(1)).one_or_none() is not None:
                older = waits.where(item.c.hour < self.since).limit(1)
                if connection.execute(older).one_or_none() is not None:
                    _note_waiting(connection, self.model_id, self.since)
                self.floor = self.floor if self.low > self.floor else self.known
                self.low = top
            self.known = top
        return top

    def passed(self, rows: Sequence[Row[Any]]) -> None:
        """What `next` gave is labelled now."""
        last = rows[-1].id
        if self.passing == "high":
            self.high = last
        elif self.passing == "recent":
            self.recent = last - 1
        elif self.passing == "holding":
            self.holding = last - 1
        else:
            self.low = last - 1

    def note_done(self, connection: Connection) -> None:
        """`next` gave nothing: all is labelled."""
        self.low, self.recent, self.holding, self.floor = 0, 0, 0, self.high
        note(connection, _name(self.model_id), str(self.high))
        forget(connection, _waiting(self.model_id))

    def count(self, connection: Connection, since: int | None = None) -> int:
        """Stories (first items, not copies) without a label. since: only those that come first, and
        those of this epoch hour and later that are of no archive that waits."""
        below = and_(item.c.id > self.floor, item.c.id <= self.low) if self.low else false()
        query = self._missing(func.count()).where(or_(item.c.id > self.high, below))
        if since is not None:
            query = query.where(item.c.hour >= min(since, self.since or since))
            query = query.where(~within(self.archives)) if self.archives else query
        return int(connection.execute(query).scalar_one())

    def first_without(self, connection: Connection, after: int) -> int | None:
        """The first story stored after this one that has no label, None if all have one."""
        query = self._missing(item.c.id).where(item.c.id > max(after, self.floor))
        found: int | None = connection.execute(query.order_by(item.c.id).limit(1)).scalar()
        return found

    def _missing(self, *columns: Any) -> Select[Any]:
        labelled = select(prediction.c.item_id).where(
            prediction.c.item_id == item.c.id, prediction.c.model_id == self.model_id
        )
        return (
            select(*columns)
            .select_from(item)
            .where(item.c.story_id == item.c.id, ~labelled.exists())
            .where(true() if self.until is None else item.c.id <= self.until)
        )


def hours_needed(connection: Connection, rule: SurgeRule, now: datetime, *, companies: bool) -> int:
    """The epoch hour from which stories must have their labels before anything is judged, be it an
    hour that passed while the monitor was down. companies: whether these are judged too."""
    of_companies = detector_config.c.settings_json.contains('"companies": "', autoescape=True)
    begins = now
    for chosen in (~of_companies, of_companies) if companies else (~of_companies,):
        query = select(func.max(detector_config.c.evaluated_until)).where(chosen)
        last = connection.execute(query).scalar_one()
        begins = begins if last is None else min(begins, last)
    return epoch_hour(begins - rule.reach) // 24 * 24


def whole_since(connection: Connection, model_id: int) -> int | None:
    """The epoch hour from which a model labelled all stories: one that began in shadow, or has
    older ones still to label. None of one that labelled whatever there was."""
    noted = [recall(connection, name(model_id)) for name in (_whole, _waiting)]
    hours = [int(hour) for hour in noted if hour is not None]
    return max(hours, default=None)


def _note_waiting(connection: Connection, model_id: int, since: int) -> None:
    noted = recall(connection, _waiting(model_id))
    if noted is None or int(noted) < since:
        note(connection, _waiting(model_id), str(since))


def _name(model_id: int) -> str:
    return f"labelled:{model_id}"


def _whole(model_id: int) -> str:
    return f"whole since:{model_id}"


def _waiting(model_id: int) -> str:
    return f"older wait:{model_id}"
