"""Storage on both databases: the same schema, the same times, clear errors."""

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared.errors import ServiceError, SettingsError
from shared.storage import UtcDateTime, create_engine, reached, upgrade

FIRST = """
import sqlalchemy as sa
from alembic import op
revision = "one"
down_revision = None
def upgrade():
    op.create_table("visit", sa.Column("id", sa.Integer, primary_key=True),
                    sa.Column("at", sa.DateTime(timezone=True)))
"""
SECOND = """
import sqlalchemy as sa
from alembic import op
revision = "two"
down_revision = "one"
def upgrade():
    with op.batch_alter_table("visit") as table:
        table.add_column(sa.Column("note", sa.String(20)))
"""
visit = sa.Table(
    "visit",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", UtcDateTime),
    sa.Column("note", sa.String(20)),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path / 'deep' / 'a.db'}")
    else:
        made = create_engine(request.getfixturevalue("postgres_url"))
    yield made
    made.dispose()


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    versions = tmp_path / "app" / "versions"
    versions.mkdir(parents=True)
    (versions / "0001.py").write_text(FIRST)
    return tmp_path / "app"


def columns(engine: sa.Engine) -> set[str]:
    return {column["name"] for column in sa.inspect(engine).get_columns("visit")}


def test_an_upgrade_runs_each_migration_once(engine: sa.Engine, migrations: Path) -> None:
    upgrade(engine, migrations, "app_version")
    assert columns(engine) == {"id", "at"}
    (migrations / "versions" / "0002.py").write_text(SECOND)
    upgrade(engine, migrations, "app_version")
    upgrade(engine, migrations, "app_version")
    assert columns(engine) == {"id", "at", "note"}
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM app_version")).all() == [
            ("two",)
        ]


def test_two_processes_may_upgrade_at_once(engine: sa.Engine, migrations: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from shared.storage import create_engine, upgrade\n"
        "upgrade(create_engine(sys.argv[1]), Path(sys.argv[2]), 'app_version')\n"
    )
    url = engine.url.render_as_string(hide_password=False)
    arguments = [sys.executable, "-c", program, url, str(migrations)]
    both = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert said == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert columns(engine) == {"id", "at"}


def test_a_new_file_that_another_process_writes_is_waited_for(tmp_path: Path) -> None:
    """The turn to write-ahead logging is the one statement SQLite's own timeout leaves out."""
    file = tmp_path / "a.db"
    writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("CREATE TABLE seen (id INTEGER)")
    with pytest.raises(ServiceError, match="another process holds its write lock"):
        create_engine(f"sqlite:///{file}", busy_seconds=0.1).connect()
    done = threading.Timer(0.5, writer.execute, ["COMMIT"])
    done.start()
    with create_engine(f"sqlite:///{file}").connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("SELECT count(*) FROM seen").scalar() == 0
    done.join()
    writer.close()


def test_times_come_back_aware_and_in_utc(engine: sa.Engine, migrations: Path) -> None:
    (migrations / "versions" / "0002.py").write_text(SECOND)
    upgrade(engine, migrations, "app_version")
    there = datetime(2026, 3, 2, 9, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with engine.begin() as connection:
        connection.execute(sa.insert(visit).values(at=there, note="x"))
        (row,) = connection.execute(sa.select(visit.c.at)).all()
    assert row.at == there
    assert row.at.tzinfo == UTC


def test_a_naive_time_is_refused(engine: sa.Engine, migrations: Path) -> None:
    (migrations / "versions" / "0002.py").write_text(SECOND)
    upgrade(engine, migrations, "app_version")
    with (
        pytest.raises(sa.exc.StatementError, match="has no time zone"),
        engine.begin() as connection,
    ):
        connection.execute(sa.insert(visit).values(at=datetime(2026, 3, 2)))


def test_a_rolled_back_transaction_leaves_nothing(engine: sa.Engine, migrations: Path) -> None:
    upgrade(engine, migrations, "app_version")
    connection = engine.connect()
    transaction = connection.begin()
    connection.execute(sa.text("INSERT INTO visit (id) VALUES (1)"))
    transaction.rollback()
    connection.close()
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM visit")) == 0


def test_sqlite_logs_ahead_and_holds_foreign_keys(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()


def test_a_database_that_does_not_answer_is_one_line_without_the_password(
    migrations: Path,
) -> None:
    engine = create_engine("postgresql+psycopg://ana:secret@127.0.0.1:9/shop")
    with pytest.raises(ServiceError) as caught:
        upgrade(engine, migrations, "app_version")
    message = str(caught.value)
    assert message.startswith("database postgresql+psycopg://ana:***@127.0.0.1:9/shop: ")
    assert "secret" not in message
    assert "\n" not in message


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("this is not a database, but a text of more than a hundred bytes" * 3)
    engine = create_engine(f"sqlite:///{path}")
    with (
        pytest.raises(ServiceError, match="file is not a database"),
        reached(engine.url),
        engine.connect(),
    ):
        pass


@dataclass(frozen=True)
class Holder:
    """Another process that holds the write lock of the database `path`, with a row unsaved."""

    path: Path
    process: "subprocess.Popen[str]"

    def finish(self) -> None:
        self.process.communicate("done\n", timeout=20)

    def die(self) -> None:
        self.process.kill()
        self.process.wait(timeout=20)

    def rows(self) -> list[int]:
        """What a page reads, without waiting."""
        engine = create_engine(f"sqlite:///{self.path}", read_only=True, busy_seconds=0.1)
        with engine.begin() as connection:
            found = [row.id for row in connection.execute(sa.text("SELECT id FROM visit"))]
        engine.dispose()
        return sorted(found)


@pytest.fixture
def holder(tmp_path: Path, migrations: Path) -> Iterator[Holder]:
    path = tmp_path / "held.db"
    engine = create_engine(f"sqlite:///{path}")
    upgrade(engine, migrations, "app_version")
    engine.dispose()
    program = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute('INSERT INTO visit (id) VALUES (1)')\n"
        "print('held', flush=True)\n"
        "sys.stdin.readline()\n"
        "connection.execute('COMMIT')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield Holder(path, process)
    process.kill()
    process.communicate()


def write(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO visit (id) VALUES (2)"))


def test_a_writer_waits_half_a_minute_for_another(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    engine.dispose()


@pytest.mark.parametrize("what", ["write", "upgrade"])
def test_a_writer_that_waited_in_vain_says_so_and_changes_nothing(
    holder: Holder, migrations: Path, what: str
) -> None:
    engine = create_engine(f"sqlite:///{holder.path}", busy_seconds=0.5)
    started = time.monotonic()
    with pytest.raises(ServiceError) as caught:
        write(engine) if what == "write" else upgrade(engine, migrations, "app_version")
    assert 0.4 < time.monotonic() - started < 10
    assert str(caught.value) == (
        f"database sqlite:///{holder.path}: another process holds its write lock; try again when "
        f"that one is done (`fuser {holder.path}` says which it is)"
    )
    holder.finish()
    assert holder.rows() == [1]
    write(engine)  # the engine is as good as before
    assert holder.rows() == [1, 2]
    engine.dispose()


@pytest.mark.parametrize(("end", "rows"), [(Holder.finish, [1, 2]), (Holder.die, [2])])
def test_a_waiting_writer_goes_on_when_the_lock_goes_away(
    holder: Holder, end: Callable[[Holder], None], rows: list[int]
) -> None:
    engine = create_engine(f"sqlite:///{holder.path}", busy_seconds=20)
    writer = threading.Thread(target=write, args=[engine])
    writer.start()
    writer.join(timeout=0.5)
    assert writer.is_alive()
    assert holder.rows() == []  # a reader waits for neither of them
    end(holder)
    writer.join(timeout=15)
    assert not writer.is_alive()
    assert holder.rows() == rows
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "shop.db",
            "database_url is not a URL of a known database; allowed are sqlite:///FILE and "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME",
        ),
        (
            "sqlite+pysqlcipher:///x.db",
            "database_url begins with sqlite+pysqlcipher; allowed are sqlite and "
            "postgresql+psycopg",
        ),
    ],
)
def test_a_url_of_no_supported_database_says_what_is(url: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        create_engine(url)
    assert str(caught.value) == message
