"""Lists of users who changed, among the lists that all had before."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pandas as pd
from pyarrow import Table, parquet

ROWS_AT_ONCE = 200_000


def merge_lists(
    before: Path,
    changed: Path | None,
    users: Sequence[str],
    redone: Collection[str],
    output: Path,
    each: Callable[[pd.DataFrame], None],
    rows_at_once: int = ROWS_AT_ONCE,
) -> int:
    """Write the lists of `before`, those of `changed` in place of the same users', to `output`; the
    number of rows. Memory holds `changed` and one part of `before`.

    before: rows in the order of `users`, of which it may lack the last ones. redone: whose lists
    are in `changed`, or are empty now; changed: None where nobody changed. each: is shown every
    part, whole users in their order.
    """
    schema = parquet.read_schema(before)
    place = pd.Index(users)
    new = pd.read_parquet(changed) if changed is not None else None
    at = place.get_indexer(pd.Index(new["user_id"])) if new is not None else None
    rows = done = 0
    with parquet.ParquetWriter(output, schema) as writer:
        for part in [*_whole_users(before, rows_at_once), None]:
            old = pd.DataFrame(columns=schema.names) if part is None else part
            where = place.get_indexer(pd.Index(old["user_id"].astype("str")))
            end = len(users) if part is None else int(where.max(initial=done - 1)) + 1
            # A user who is gone from the log has no place and no list any more.
            old, where = old[where >= 0], where[where >= 0]
            if new is not None and at is not None:
                now = (at >= done) & (at < end)
                kept = ~old["user_id"].isin(redone).to_numpy(bool)
                old = pd.concat([old[kept], new[now]]) if len(old[kept]) else new[now]
                where = place.get_indexer(pd.Index(old["user_id"]))
            done = end
            if len(old):
                order = pd.DataFrame({"user": where, "rank": old["rank"].to_numpy()})
                old = old.iloc[order.sort_values(["user", "rank"], kind="stable").index]
                each(old)
                writer.write_table(Table.from_pandas(old, schema, preserve_index=False))
                rows += len(old)
    return rows


def _whole_users(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """Parts of a table, none of which ends within a user's rows."""
    rest: pd.DataFrame | None = None
    for batch in parquet.ParquetFile(path).iter_batches(rows):
        frame = batch.to_pandas()
        if rest is not None:
            frame = pd.concat([rest, frame], ignore_index=True)
        last = frame["user_id"] == frame["user_id"].iloc[-1]
        rest, whole = frame[last], frame[~last]
        if len(whole):
            yield whole
    if rest is not None and len(rest):
        yield rest
