"""Small things the monitor must remember across a restart, one row each."""

import secrets

from sqlalchemy import Connection, delete, select, update

from apps.news_monitor.ingest import insert_new
from apps.news_monitor.tables import memo

DATABASE = "database"


def recall(connection: Connection, name: str) -> str | None:
    """What was noted under a name, None if nothing."""
    return connection.execute(select(memo.c.value).where(memo.c.name == name)).scalar_one_or_none()


def note_once(connection: Connection, name: str, value: str) -> str:
    """Note it unless something is noted already; returns what then stands there."""
    insert_new(connection, memo, [{"name": name, "value": value}])
    query = select(memo.c.value).where(memo.c.name == name)
    return str(connection.execute(query).scalar_one())


def note(connection: Connection, name: str, value: str) -> None:
    """Note it in place of what was there."""
    if note_once(connection, name, value) != value:
        connection.execute(update(memo).where(memo.c.name == name).values(value=value))


def forget(connection: Connection, name: str) -> None:
    connection.execute(delete(memo).where(memo.c.name == name))


def database_key(connection: Connection) -> str:
    """Tells this database from every other, so that their mails never share a Message-ID."""
    return note_once(connection, DATABASE, secrets.token_hex(4))
