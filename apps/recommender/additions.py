"""What came after a model's training, kept in the database beside the model, whose folder never
changes. Everything is added in transactions and once: what a killed import has not written is
written by the next one of the same files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite

from apps.recommender.tables import MIGRATIONS, VERSION_TABLE, added_events, added_items
from shared.settings import Home, database_url
from shared.storage import create_engine, reached, upgrade

# Rows of one statement, so that another writer waits for moments only.
AT_ONCE = 1000
EVENT_COLUMNS = ("user_id", "item_id", "event", "time", "value")


@dataclass(frozen=True)
class Stamp:
    """How far additions have been read: the largest ids. 0: nothing was ever added."""

    items: int = 0
    events: int = 0


@dataclass(frozen=True, eq=False)
class AddedItem:
    """fields: column of the catalogue -> text, number or None. vector: (d,) of the text."""

    item_id: str
    fields: Mapping[str, Any]
    vector: NDArray[np.float32]


class Additions:
    """What was added to the model of one fingerprint. reader: an engine that holds no writer up.
    clock: stamps what is added now."""

    def __init__(
        self, engine: sa.Engine, reader: sa.Engine, model: str, clock: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._model = model
        self._clock = clock
        self._made = False

    def stamp(self) -> Stamp:
        """Where things stand now. A database without our tables holds nothing.

        Raises: ServiceError: the database is not reached.
        """
        if not self._there():
            return Stamp()
        with reached(self._reader.url), self._reader.connect() as connection:
            newest = [
                connection.scalar(sa.select(sa.func.max(table.c.id)).where(self._own(table))) or 0
                for table in (added_items, added_events)
            ]
        return Stamp(*newest)

    def items(self, upto: Stamp) -> list[AddedItem]:
        """In the order in which they were added or last changed."""
        table = added_items
        if not upto.items:
            return []
        found = sa.select(table.c.item_id, table.c.fields, table.c.vector).where(
            self._own(table), table.c.id <= upto.items
        )
        with reached(self._reader.url), self._reader.connect() as connection:
            rows = connection.execute(found.order_by(table.c.id)).all()
        return [
            AddedItem(row.item_id, row.fields, np.frombuffer(row.vector, np.float32))
            for row in rows
        ]

    def events(self, upto: Stamp) -> pd.DataFrame:
        """EVENT_COLUMNS, in the order in which they were added."""
        table = added_events
        columns = [table.c[name] for name in EVENT_COLUMNS]
        rows: Sequence[Any] = []
        if upto.events:
            found = sa.select(*columns).where(self._own(table), table.c.id <= upto.events)
            with reached(self._reader.url), self._reader.connect() as connection:
                rows = connection.execute(found.order_by(table.c.id)).all()
        frame = pd.DataFrame([tuple(row) for row in rows], columns=pd.Index(EVENT_COLUMNS))
        types = {"user_id": "str", "item_id": "str", "event": "str", "time": "int64"}
        return frame.astype(types | {"value": "float64"})

    def users_since(self, before: Stamp, upto: Stamp) -> set[str]:
        """Who has an event that was added after `before`, up to `upto`."""
        if upto.events <= before.events:
            return set()
        table = added_events
        found = (
            sa.select(table.c.user_id)
            .distinct()
            .where(self._own(table), table.c.id > before.events, table.c.id <= upto.events)
        )
        with reached(self._reader.url), self._reader.connect() as connection:
            return set(connection.scalars(found))

    def changed(self, fields: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """The ids, of item id -> fields, that are not there yet or are there otherwise."""
        known: dict[str, Mapping[str, Any]] = {}
        ids = list(fields)
        table = added_items
        if self._there():
            with reached(self._reader.url), self._reader.connect() as connection:
                for at in range(0, len(ids), AT_ONCE):
                    found = sa.select(table.c.item_id, table.c.fields).where(
                        self._own(table), table.c.item_id.in_(ids[at : at + AT_ONCE])
                    )
                    known |= {row.item_id: row.fields for row in connection.execute(found)}
        return [name for name in ids if known.get(name) != dict(fields[name])]

    def put_items(self, items: Sequence[AddedItem]) -> None:
        """All or none of them; an item that is there is replaced."""
        self._prepare()
        rows = [
            {
                "model": self._model,
                "item_id": item.item_id,
                "fields": dict(item.fields),
                "vector": np.ascontiguousarray(item.vector, np.float32).tobytes(),
                "added_at": self._clock(),
            }
            for item in items
        ]
        with reached(self._engine.url), self._engine.begin() as connection:
            for at in range(0, len(rows), AT_ONCE):
                part = rows[at : at + AT_ONCE]
                ids = [row["item_id"] for row in part]
                connection.execute(
                    added_items.delete().where(
                        self._own(added_items), added_items.c.item_id.in_(ids)
                    )
                )
                connection.execute(added_items.insert(), part)

    def put_events(self, frame: pd.DataFrame) -> int:
        """EVENT_COLUMNS; how many were not there yet."""
        self._prepare()
        kind = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        once = kind.insert(added_events).on_conflict_do_nothing()
        counted = sa.select(sa.func.count()).where(self._own(added_events))
        now = self._clock()
        new = 0
        for at in range(0, len(frame), AT_ONCE):
            part = frame.iloc[at : at + AT_ONCE]
            cells = part.astype(object).where(part.notna(), None)
            rows: list[dict[str, Any]] = [
                {
                    "model": self._model,
                    "added_at": now,
                    **dict(zip(EVENT_COLUMNS, row, strict=True)),
                }
                for row in cells[list(EVENT_COLUMNS)].itertuples(index=False, name=None)
            ]
            with reached(self._engine.url), self._engine.begin() as connection:
                before = connection.scalar(counted) or 0
                connection.execute(once, rows)
                new += (connection.scalar(counted) or 0) - before
        return new

    def close(self) -> None:
        """Give up the connections to the database; the next use opens them anew."""
        self._engine.dispose()
        self._reader.dispose()

    def _own(self, table: sa.Table) -> sa.ColumnElement[bool]:
        return table.c.model == self._model

    def _there(self) -> bool:
        """Whether there are tables to read. A reader makes neither them nor the file."""
        if not self._made:
            url = self._reader.url
            named = url.database
            if url.get_backend_name() == "sqlite" and named and not Path(named).is_file():
                return False
            with reached(url):
                self._made = sa.inspect(self._reader).has_table(added_events.name)
        return self._made

    def _prepare(self) -> None:
        if not self._there():
            upgrade(self._engine, MIGRATIONS, VERSION_TABLE)
            self._made = True


def open_additions(
    home: Home, model: str, *, environ: Mapping[str, str], clock: Callable[[], datetime]
) -> Additions:
    """Of the model with that fingerprint, in the database of `home` or of the settings."""
    url = database_url(home, environ)
    return Additions(create_engine(url), create_engine(url, read_only=True), model, clock)
