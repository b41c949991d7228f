"""Files as they come from elsewhere: RecBole's atomic files, MovieLens, and lines of sequences.

Each reader gives the columns of our own contract (`item_id, title, …`; `user_id, item_id,
timestamp, event, value`), so that what follows knows one kind of table.
"""

import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import DataError
from shared.tables import Column, Reject, read_table, sniff_columns

# Our column -> what others call it, compared in lower case without _ and blanks.
ITEM_NAMES: dict[str, tuple[str, ...]] = {
    "item_id": ("itemid", "movieid", "movielensid", "asin", "parentasin", "productid", "bookid",
                "stockcode", "sku", "id"),
    "title": ("title", "movietitle", "name", "productname", "itemname", "text"),
    "description": ("description", "plot", "summary", "overview", "details"),
    "categories": ("categories", "category", "genres", "genre", "class"),
    "tags": ("tags", "tag", "keywords"),
    "brand": ("brand", "manufacturer", "maker", "publisher", "directors", "authors", "author"),
    "year": ("year", "releaseyear"),
    "price": ("price", "unitprice"),
    "created_at": ("createdat", "addedat", "releasedate"),
}  # fmt: skip
EVENT_NAMES: dict[str, tuple[str, ...]] = {
    "user_id": ("userid", "user", "customerid", "customer", "reviewerid", "visitorid"),
    "item_id": ITEM_NAMES["item_id"] + ("item",),
    "timestamp": ("timestamp", "time", "datetime", "date", "invoicedate", "unixreviewtime"),
    "event": ("event", "eventtype", "type", "action"),
    "value": ("value", "rating", "score", "overall", "stars"),
}
ML100K_GENRES = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|"
    "Film-Noir|Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"
).split("|")
ATOMIC = (".inter", ".item", ".text")


@dataclass(frozen=True, eq=False)
class RawTable:
    """frame: rows in the file's order under our names, ids as text.

    has_clock: `timestamp` is a time; otherwise the column is `position`, an order within a user.
    renamed: our name -> the file's, where they differ.
    lines: (n,) the line of the file each row of `frame` is on; empty where that is not known.
    """

    frame: pd.DataFrame
    rejects: tuple[Reject, ...]
    has_clock: bool
    renamed: Mapping[str, str]
    lines: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def read_item_file(path: Path, mapping: Mapping[str, str]) -> RawTable:
    """A catalogue: our own table, RecBole `.item` or `.text`, MovieLens `movies.csv` or `u.item`.

    Raises: DataError when it cannot be read or has neither an id nor a title.
    """
    kind = _kind(path)
    if kind == "u.item":
        return _movielens_items(path)
    columns = [
        Column("item_id"),
        Column("title", allow_empty=True),
        *(Column(n, required=False, allow_empty=True) for n in ("description", "categories")),
        *(Column(n, required=False, allow_empty=True) for n in ("tags", "brand", "year")),
        Column("price", required=False, allow_empty=True, kind="number"),
        Column("created_at", required=False, allow_empty=True, kind="timestamp"),
    ]
    if kind in ATOMIC:
        frame, rejects, lines = _atomic(path)
        found = _renames(list(frame.columns), ITEM_NAMES, mapping)
        frame = _under_our_names(path, frame, found, ("item_id", "title"))
        if "price" in frame:
            frame["price"] = pd.to_numeric(frame["price"], errors="coerce")
        return RawTable(frame, rejects, False, _differing(found), lines)
    found = _renames(sniff_columns(path), ITEM_NAMES, mapping)
    table = read_table(path, columns, mapping=found)
    return RawTable(table.frame, table.rejects, False, _differing(found), table.lines)


def read_event_file(path: Path, mapping: Mapping[str, str]) -> RawTable:
    """A log: our own table, RecBole `.inter`, MovieLens `ratings.csv` or `u.data`, or a text file
    with a line "user item item …" for each user, in the order of time.

    Raises: DataError when it cannot be read or has no user, item or order.
    """
    kind = _kind(path)
    if kind == "u.data":
        return _movielens_ratings(path)
    if kind == ".txt":
        return _sequences(path)
    if kind == ".inter":
        return _atomic_events(path, mapping)
    found = _renames(sniff_columns(path), EVENT_NAMES, mapping)
    columns = [
        Column("user_id", allow_empty=True),  # a missing user is counted by the caller
        Column("item_id"),
        Column("timestamp", kind="timestamp"),
        Column("event", required=False, allow_empty=True),
        Column("value", required=False, allow_empty=True, kind="number"),
    ]
    table = read_table(path, columns, mapping=found)
    return RawTable(table.frame, table.rejects, True, _differing(found), table.lines)


def _kind(path: Path) -> str:
    """What the name says: `u.data`, `u.item`, or its last suffix without .gz."""
    name = path.name.lower().removesuffix(".gz")
    return name if name in ("u.data", "u.item") else Path(name).suffix


def _folded(name: str) -> str:
    """`movieId`, `movie_id` and `movie_id:token` are one name."""
    return re.sub(r"[\s_]", "", name.split(":")[0]).lower()


def _renames(
    present: Sequence[str], names: Mapping[str, Sequence[str]], mapping: Mapping[str, str]
) -> dict[str, str]:
    """Our name -> the file's column. What the caller maps wins where the file has that column:
    one mapping serves both files, so a name may belong to the other one.
    """
    found: dict[str, str] = {}
    folded = {_folded(column): column for column in reversed(present)}
    for ours, theirs in names.items():
        if mapping.get(ours) in present:
            found[ours] = mapping[ours]
        elif ours not in present:
            match = next((folded[name] for name in theirs if name in folded), None)
            if match is not None and match not in found.values():
                found[ours] = match
    return found


def _differing(found: Mapping[str, str]) -> dict[str, str]:
    return {ours: theirs for ours, theirs in found.items() if ours != theirs}


def _lines(path: Path, encoding: str = "utf-8-sig") -> Iterator[tuple[int, str]]:
    """(line number, text) of every line that is not blank."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        text = content.decode(encoding)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start + 1} is not UTF-8; save it as UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if line.strip():
            yield number, line


def _split(
    path: Path, lines: Iterator[tuple[int, str]], separator: str, width: int
) -> tuple[list[list[str]], tuple[Reject, ...], NDArray[np.int64]]:
    """Rows of `width` fields, and the line of each; these formats know no quotes."""
    rows: list[list[str]] = []
    rejects: list[Reject] = []
    numbers: list[int] = []
    for number, line in lines:
        cells = line.split(separator)
        if len(cells) == width:
            rows.append([cell.strip() for cell in cells])
            numbers.append(number)
        else:
            rejects.append(Reject(number, f"{len(cells)} fields, expected {width}", line))
    if not rows:
        raise DataError(f"{path}: no row with {width} fields")
    return rows, tuple(rejects), np.array(numbers, np.int64)


def _atomic(path: Path) -> tuple[pd.DataFrame, tuple[Reject, ...], NDArray[np.int64]]:
    """RecBole: tabs, a header of `name:type`."""
    lines = _lines(path)
    _, header = next(lines, (0, ""))
    if ":" not in header:
        raise DataError(f"{path}: the header is {header[:60]!r}, expected RecBole's name:type")
    names = [cell.split(":")[0].strip() for cell in header.split("\t")]
    rows, rejects, numbers = _split(path, lines, "\t", len(names))
    return pd.DataFrame(rows, columns=pd.Index(names), dtype="str"), rejects, numbers


def _under_our_names(
    path: Path, frame: pd.DataFrame, found: Mapping[str, str], needed: Sequence[str]
) -> pd.DataFrame:
    renamed = frame.rename(columns={theirs: ours for ours, theirs in found.items()})
    for name in needed:
        if name not in renamed.columns:
            raise DataError(f"{path}: no column {name!r}; the file has: {', '.join(frame.columns)}")
    return renamed


def _atomic_events(path: Path, mapping: Mapping[str, str]) -> RawTable:
    frame, rejects, lines = _atomic(path)
    if "item_id_list" in frame.columns:
        return RawTable(_unrolled(path, frame), rejects, False, {})
    found = _renames(list(frame.columns), EVENT_NAMES, mapping)
    frame = _under_our_names(path, frame, found, ("user_id", "item_id", "timestamp"))
    if "value" in frame:
        frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    return _timed(frame, rejects, lines, _differing(found))


def _timed(
    frame: pd.DataFrame,
    rejects: tuple[Reject, ...],
    lines: NDArray[np.int64],
    renamed: Mapping[str, str],
) -> RawTable:
    """The events of a frame whose `timestamp` is text, seconds since 1970; others are rejects."""
    seconds = pd.to_numeric(frame["timestamp"], errors="coerce")
    good = seconds.notna().to_numpy(bool)
    rejects += tuple(
        Reject(int(lines[row]), f"timestamp is {frame['timestamp'][row]!r}, expected a number", "")
        for row in np.flatnonzero(~good)
    )
    frame["timestamp"] = pd.to_datetime(seconds, unit="s", utc=True)
    return RawTable(frame[good].reset_index(drop=True), rejects, True, renamed, lines[good])


def _unrolled(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """RecBole's augmented sequences ("items so far", next item): the longest row of a user holds
    the others. Ids are looked up in `NAME.item2index` and `NAME.user2index` where these lie beside.
    """
    stem = path.parent / path.name.split(".")[0]
    items, users = _index_file(stem, ".item2index"), _index_file(stem, ".user2index")
    longest: dict[str, list[str]] = {}
    for user, so_far, last in zip(
        frame["user_id"], frame["item_id_list"], frame["item_id"], strict=True
    ):
        sequence = [*so_far.split(), last]
        if len(sequence) > len(longest.get(user, ())):
            longest[user] = sequence
    return _positions(
        (users.get(user, user), [items.get(item, item) for item in sequence])
        for user, sequence in longest.items()
    )


def _index_file(stem: Path, suffix: str) -> dict[str, str]:
    """number -> id, from lines of "id <tab> number"."""
    path = stem.parent / (stem.name + suffix)
    if not path.is_file():
        return {}
    rows, _, _ = _split(path, _lines(path), "\t", 2)
    return {number: name for name, number in rows}


def _positions(sequences: Iterator[tuple[str, list[str]]]) -> pd.DataFrame:
    rows = [(user, item, at) for user, items in sequences for at, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=pd.Index(["user_id", "item_id", "position"]))
    return frame.astype({"user_id": "str", "item_id": "str", "position": "int64"})


def _sequences(path: Path) -> RawTable:
    rejects: list[Reject] = []
    found: list[tuple[str, list[str]]] = []
    for number, line in _lines(path):
        user, *items = line.split()
        if items:
            found.append((user, items))
        else:
            rejects.append(Reject(number, "a user without items", line))
    if not found:
        raise DataError(f"{path}: no line with a user and items")
    return RawTable(_positions(iter(found)), tuple(rejects), False, {})


def _movielens_ratings(path: Path) -> RawTable:
    """u.data: user, item, rating, seconds since 1970."""
    rows, rejects, lines = _split(path, _lines(path), "\t", 4)
    frame = pd.DataFrame(rows, columns=pd.Index(["user_id", "item_id", "value", "timestamp"]))
    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    return _timed(frame, rejects, lines, {})


def _movielens_items(path: Path) -> RawTable:
    """u.item: id|title|date|…|link|19 flags, in Latin-1."""
    rows, rejects, lines = _split(path, _lines(path, "latin-1"), "|", 5 + len(ML100K_GENRES))
    frame = pd.DataFrame(
        {
            "item_id": [row[0] for row in rows],
            "title": [row[1] for row in rows],
            "categories": [
                "|".join(g for g, flag in zip(ML100K_GENRES, row[5:], strict=True) if flag == "1")
                for row in rows
            ],
        },
        dtype="str",
    )
    return RawTable(frame, rejects, False, {}, lines)
