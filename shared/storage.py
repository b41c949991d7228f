"""One database for all applications: SQLite by default, PostgreSQL by URL, one schema by Alembic.

Every application declares its own tables and keeps its own migrations and version table, so that
one can be upgraded without the others.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import Dialect, Engine, event, make_url
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.types import TypeDecorator

from shared.errors import ServiceError, SettingsError

# How long a writer waits for another one before it gives up, in seconds.
BUSY_SECONDS = 30
# Between two tries to turn a new SQLite file to write-ahead logging.
TURN_PAUSE_SECONDS = 0.02
READING = "triptych_reading"  # execution option of a connection: it writes nothing
SUPPORTED = ("sqlite", "postgresql+psycopg")
ENV_FOLDER = Path(__file__).parent / "migrations_env"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in time: aware in Python, stored in UTC.

    SQLite keeps no offset, so that the decorator adds UTC on the way out. A naive datetime is a bug
    and raises ValueError.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002  SQLAlchemy passes it
    ) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; store aware datetimes only")
        return value.astimezone(UTC)

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002  SQLAlchemy passes it
    ) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def create_engine(
    url: str, *, read_only: bool = False, busy_seconds: float = BUSY_SECONDS
) -> Engine:
    """An engine for `sqlite:///FILE` or `postgresql+psycopg://…`; nothing is connected yet.

    read_only: for pages and reports; on SQLite it never waits for a writer nor holds one up.

    SQLite: the folder is made, write-ahead logging lets readers and one writer work at once, and
    foreign keys hold. A writer waits `busy_seconds` for another; if that one is still writing
    then, what it was about to do raises ServiceError and has changed nothing.

    Raises:
        SettingsError: not a URL, or one of another database.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(
            parsed, pool_pre_ping=True, connect_args={"connect_timeout": BUSY_SECONDS}
        )
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, connect_args={"timeout": busy_seconds})
    event.listen(engine, "connect", _preparation(busy_seconds))
    event.listen(engine, "handle_error", _explain_lock)
    event.listen(engine, "begin", _begin if read_only else _begin_immediate)
    return engine


def reading(engine: Engine) -> Engine:
    """The same engine, on the same connections, for transactions that write nothing: on SQLite
    they neither wait for a writer nor hold one up."""
    return engine.execution_options(**{READING: True})


def upgrade(engine: Engine, migrations: Path, version_table: str) -> None:
    """Bring an application's tables to the newest schema; does nothing where they are.

    migrations: the application's folder, with `versions/` in it. Two processes may call it at
    once: the second waits for the first.

    Raises:
        ServiceError: the database is not reached, locked, or newer than this program.
    """
    config = Config()
    config.set_main_option("script_location", str(ENV_FOLDER))
    config.set_main_option("version_locations", str(migrations / "versions"))
    config.set_main_option("path_separator", "newline")
    with reached(engine.url), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(727210)"))
        config.attributes["connection"] = connection
        config.attributes["version_table"] = version_table
        command.upgrade(config, "head")


@contextmanager
def reached(url: URL) -> Iterator[None]:
    """Turns "not reached" and "locked" into a ServiceError of one line, without the password."""
    try:
        yield
    except sa.exc.OperationalError as error:
        reason = " ".join(str(error.orig).split())
        raise ServiceError(f"database {_shown(url)}: {reason}") from error
    except DBAPIError as error:
        # sqlite3 reports a broken file as its plainest error; the others are bugs of ours.
        if error.connection_invalidated or type(error.orig).__name__ == "DatabaseError":
            raise ServiceError(f"database {_shown(url)}: {error.orig}") from error
        raise


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(
            "database_url is not a URL of a known database; allowed are sqlite:///FILE and "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        ) from error
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"database_url needs the module {error.name}: install the extra, "
            "pip install 'triptych[postgres]', and write postgresql+psycopg://…"
        ) from error
    if parsed.drivername not in SUPPORTED:
        raise SettingsError(
            f"database_url begins with {parsed.drivername}; allowed are {' and '.join(SUPPORTED)}"
        )
    return parsed


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _preparation(busy_seconds: float) -> Callable[[Any, object], None]:
    """What every new connection to SQLite is set to."""

    def prepare(connection: Any, _record: object) -> None:
        # SQLAlchemy opens transactions itself; the driver's BEGIN would come too late and too weak.
        connection.isolation_level = None
        cursor = connection.cursor()
        _log_ahead(cursor, busy_seconds)
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return prepare


def _log_ahead(cursor: sqlite3.Cursor, busy_seconds: float) -> None:
    """Turn to write-ahead logging, once in the life of a file.

    The busy timeout does not cover this statement: SQLite gives up at once where another
    connection writes or turns the same new file.
    """
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(TURN_PAUSE_SECONDS)
        else:
            return


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # the low byte, no variant of it


def _explain_lock(context: ExceptionContext) -> None:
    """Raise ServiceError for a writer that gave up; any other error goes on as it is."""
    error = context.original_exception
    if context.engine is None or not isinstance(error, sqlite3.OperationalError):
        return
    if _is_busy(error):
        file = context.engine.url.database
        raise ServiceError(
            f"database {_shown(context.engine.url)}: another process holds its write lock; try "
            f"again when that one is done (`fuser {file}` says which it is)"
        ) from error


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: sa.Connection) -> None:
    """Take the write lock at the start: a reader that turns writer later could only fail."""
    reads = connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
