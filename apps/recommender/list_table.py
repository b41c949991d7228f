"""The lists of a batch run in the database, for whoever reads them by SQL.

A run's rows are written beside those that are read, some at a time, so that no other writer waits
long. Then one row says which run is read: `recommender_current` shows all of the old lists or
all of the new ones. What a killed run left is cleared by the next one.
"""

from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from pyarrow import parquet

from apps.recommender.tables import MIGRATIONS, VERSION_TABLE, batch_lists, live_lists
from shared.errors import ServiceError
from shared.storage import reached, upgrade

ROWS_AT_ONCE = 5000
COLUMNS = ("user_id", "item_id", "rank", "score", "reason")


def publish_lists(
    engine: sa.Engine, path: Path, *, name: str, run: str, model: str, at: datetime
) -> int:
    """Put the rows of a Parquet file in the place of the name's lists; how many.

    run: later runs of a name sort after earlier ones. model: NAME@VERSION.
    Raises: ServiceError: the database is not reached, or another run took these rows away.
    """
    upgrade(engine, MIGRATIONS, VERSION_TABLE)
    own = (batch_lists.c.name == name) & (batch_lists.c.run == run)
    rows = 0
    with reached(engine.url):
        for batch in parquet.ParquetFile(path).iter_batches(ROWS_AT_ONCE, columns=list(COLUMNS)):
            part = [{"name": name, "run": run, **row} for row in batch.to_pylist()]
            with engine.begin() as connection:
                connection.execute(batch_lists.insert(), part)
            rows += len(part)
        with engine.begin() as connection:
            there = connection.scalar(sa.select(sa.func.count()).where(own)) or 0
            if there != rows:
                raise ServiceError(
                    f"{rows:,} rows of run {run} were written and {there:,} are there: another "
                    f"run of {name} is published at the same time; run this one again"
                )
            connection.execute(live_lists.delete().where(live_lists.c.name == name))
            connection.execute(
                live_lists.insert(), {"name": name, "run": run, "model": model, "at": at}
            )
    _clear(engine, name, run)
    return rows


def _clear(engine: sa.Engine, name: str, run: str) -> None:
    """Remove the rows of earlier runs, some at a time."""
    old = (
        sa.select(batch_lists.c.id)
        .where(batch_lists.c.name == name, batch_lists.c.run < run)
        .limit(ROWS_AT_ONCE)
    )
    left = True
    while left:
        with reached(engine.url), engine.begin() as connection:
            ids = list(connection.scalars(old))
            left = bool(ids)
            if ids:
                connection.execute(
                    batch_lists.delete().where(batch_lists.c.id.between(min(ids), max(ids)),
                                               batch_lists.c.name == name,
                                               batch_lists.c.run < run)
                )  # fmt: skip
