"""Lists in the database: a reader has one whole run, whatever becomes of the one that writes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from apps.recommender import list_table
from apps.recommender.list_table import publish_lists
from apps.recommender.tables import batch_lists
from shared.errors import ServiceError
from shared.storage import create_engine

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    on_file = f"sqlite:///{tmp_path / 'lists.db'}"
    url = on_file if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = create_engine(url)
    yield engine
    engine.dispose()


def lists(tmp_path: Path, items: str, users: int = 7) -> Path:
    rows = [(f"u{user}", item, rank, 0.5, "because") for user in range(users)
            for rank, item in enumerate(items, start=1)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "rank", "score", "reason"])
    path = tmp_path / f"{items}.parquet"
    frame.astype({"rank": "int32", "score": "float32"}).to_parquet(path)
    return path


def current(engine: sa.Engine) -> list[tuple[object, ...]]:
    said = "SELECT name, model, user_id, item_id, rank FROM recommender_current ORDER BY 1, 3, 5"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(said))]


def held(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(batch_lists)) or 0)


def publish(engine: sa.Engine, path: Path, run: str, name: str = "shop") -> int:
    return publish_lists(engine, path, name=name, run=run, model=f"{name}@1", at=NOW)


def test_a_reader_has_the_old_run_until_the_new_one_is_whole(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_table, "ROWS_AT_ONCE", 4)
    assert publish(engine, lists(tmp_path, "ab"), "run1") == 14
    publish(engine, lists(tmp_path, "z", users=1), "run9", name="other")
    before = current(engine)
    assert before[1:3] == [("shop", "shop@1", "u0", "a", 1), ("shop", "shop@1", "u0", "b", 2)]

    # Killed after its second part: what is read has not changed.
    written: list[int] = []

    def killed(_connection: object, _element: object, rows: object, *_: object) -> None:
        if isinstance(rows, list) and rows and "item_id" in rows[0]:
            written.append(len(rows))
            if len(written) == 3:
                raise KeyboardInterrupt

    sa.event.listen(engine, "before_execute", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(engine, lists(tmp_path, "cd"), "run2")
    sa.event.remove(engine, "before_execute", killed)
    assert current(engine) == before
    assert held(engine) == 1 + 14 + 8

    # The next run takes the place of both and leaves the other name alone.
    publish(engine, lists(tmp_path, "ef"), "run3")
    assert [row[3] for row in current(engine)] == ["z", *["e", "f"] * 7]
    assert held(engine) == 1 + 14


def test_rows_that_another_run_took_away_are_not_shown_in_part(
    engine: sa.Engine, tmp_path: Path
) -> None:
    publish(engine, lists(tmp_path, "ab"), "run5")
    before = current(engine)

    def taken(connection: sa.Connection, clause: object, *_: object) -> None:
        if isinstance(clause, sa.Select) and "count" in str(clause):
            connection.exec_driver_sql("DELETE FROM recommender_list WHERE user_id = 'u3'")

    sa.event.listen(engine, "before_execute", taken)
    with pytest.raises(ServiceError) as caught:
        publish(engine, lists(tmp_path, "cd"), "run6")
    sa.event.remove(engine, "before_execute", taken)
    assert str(caught.value) == (
        "14 rows of run run6 were written and 12 are there: another run of shop is published at "
        "the same time; run this one again"
    )
    assert current(engine) == before
