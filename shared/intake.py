"""Reading a user's table and saying what could not be used of it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared.tables import Column, Table, read_table, write_rejects


def take_in(
    path: Path,
    columns: Sequence[Column],
    *,
    mapping: Mapping[str, str],
    rejects: Path,
    say: Callable[[str], None],
) -> Table:
    """Read a table; rejected rows go to a file in the folder `rejects`, and `say` tells how many.

    Raises DataError as `read_table` does.
    """
    table = read_table(path, columns, mapping=mapping)
    if table.rejects:
        target = rejects / f"{path.name.split('.')[0]}.rejects.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_rejects(table, target)
        total = len(table.frame) + len(table.rejects)
        say(f"{path.name}: {len(table.rejects)} of {total} rows rejected, see {target}")
    return table
