"""The public sets that the benchmarks measure on: where they lie under a folder, read in one way.

Nothing of them is part of the project; `triptych data fetch` brings those it can.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import DataError
from shared.tables import Column, Table, read_table
from shared.training.examples import Examples, from_table

Say = Callable[[str], None]
BANKING = ("chatbot/banking77/dnnc_train.csv", "chatbot/banking77/dnnc_valid.csv")
CLINC = "chatbot/clinc150/data_full_dev.csv"
TWITTER = {
    "Twitter sentiment": "finance/twitter_fin_sentiment/train.csv",
    "Twitter topics": "finance/twitter_fin_topic/train.csv",
}
WAY_OUT = (
    "fetch a set with `triptych data fetch NAME`, or name a folder of public sets with --datasets"
)


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows to learn from, and rows to judge on; outside: texts to be refused, where the set has
    some."""

    train: Examples
    held: Examples
    outside: tuple[str, ...] = ()


def banking(sets: Path) -> Parts:
    """BANKING77. Raises DataError where it is not there."""
    train, held = (examples_of(sets / name) for name in BANKING)
    return Parts(train, held)


def clinc(sets: Path) -> Parts:
    """CLINC150, one table with a column `split`. Raises DataError where it is not there."""
    table = _table(sets / CLINC)
    parts = {
        name: Table(table.path, frame.reset_index(drop=True))
        for name, frame in table.frame.groupby("split")
    }
    train, held = (from_table(parts[name], "single") for name in ("train", "val"))
    outside = parts["oos_val"].frame["text"] if "oos_val" in parts else ()
    return Parts(train, held, tuple(map(str, outside)))


def examples_of(path: Path) -> Examples:
    """A table `text,label` with one label a row. Raises DataError where it is not there."""
    return from_table(_table(path), "single")


def all_there(paths: Sequence[Path], say: Say) -> bool:
    """Whether all are; a line for each that is not."""
    missing = [path for path in paths if not path.is_file()]
    for path in missing:
        say(f"skipped: {path} is not there")
    return not missing


def nothing_in(folder: Path) -> DataError:
    """What is to be raised where no set is there."""
    return DataError(f"nothing to measure in {folder}: {WAY_OUT}")


def _table(path: Path) -> Table:
    if not path.is_file():
        raise DataError(f"{path}: is not there; {WAY_OUT}")
    return read_table(path, [Column("text"), Column("label")])
