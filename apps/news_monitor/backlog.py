"""Where the stories without a label are, found without looking through a million that have one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, true

from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.memos import forget, note, recall
from apps.news_monitor.tables import item, prediction


@dataclass
class Backlog:
    """Stories without a label by one model can only be above `high` or up to `low`, by id.

    Ids grow, and an article that was put into a story never becomes one of its own. Kept from one
    round to the next; where all is labelled, that is noted for the next start. until: no story
    after this one is looked at.
    """

    model_id: int
    high: int
    low: int
    until: int | None = None

    @classmethod
    def of(cls, connection: Connection, model_id: int) -> "Backlog":
        """As noted, or anywhere."""
        noted = recall(connection, _name(model_id))
        if noted is not None:
            return cls(model_id, int(noted), 0)
        last = int(connection.execute(select(func.max(item.c.id))).scalar_one() or 0)
        return cls(model_id, last, last)

    @classmethod
    def of_released(
        cls, connection: Connection, model_id: int, needed: timedelta, now: datetime
    ) -> "Backlog":
        """Of a model that is to judge. One that ran in shadow brings what it labelled along: where
        that is as long a past as is `needed`, older stories get no label, else they do."""
        begun = whole_since(connection, model_id)
        if begun is not None and epoch_hour(now - needed) < begun:
            for name in (_name(model_id), _whole(model_id)):
                forget(connection, name)
        return cls.of(connection, model_id)

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

    def next(self, connection: Connection, limit: int) -> Sequence[Row[Any]]:
        """(id, title, summary, hour) of stories to label: what came since, oldest first, then
        those before, newest first. Tell `passed` of them when they are stored."""
        missing = self._missing(item.c.id, item.c.title, item.c.summary, item.c.hour).limit(limit)
        above = missing.where(item.c.id > self.high).order_by(item.c.id)
        rows = connection.execute(above).all()
        if rows or not self.low:
            return rows
        below = missing.where(item.c.id <= self.low).order_by(item.c.id.desc())
        return connection.execute(below).all()

    def passed(self, rows: Sequence[Row[Any]]) -> None:
        """What `next` gave is labelled now."""
        if rows[0].id > self.high:
            self.high = rows[-1].id
        else:
            self.low = rows[-1].id - 1

    def note_done(self, connection: Connection) -> None:
        """`next` gave nothing: all is labelled."""
        self.low = 0
        note(connection, _name(self.model_id), str(self.high))

    def count(self, connection: Connection) -> int:
        """Stories (first items, not copies) without a label."""
        number = self._missing(func.count())
        left = connection.execute(number.where(item.c.id > self.high)).scalar_one()
        if self.low:
            left += connection.execute(number.where(item.c.id <= self.low)).scalar_one()
        return int(left)

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


def whole_since(connection: Connection, model_id: int) -> int | None:
    """The epoch hour from which a model that began in shadow labelled all stories; None of one that
    labelled whatever there was."""
    noted = recall(connection, _whole(model_id))
    return None if noted is None else int(noted)


def _name(model_id: int) -> str:
    return f"labelled:{model_id}"


def _whole(model_id: int) -> str:
    return f"whole since:{model_id}"
