"""Tables in and out: .csv .tsv .jsonl .parquet, text formats also with .gz.

A caller states its columns; the file may call them otherwise (`mapping`) and may hold more, which
are kept. A row that cannot be used becomes a Reject with its line and reason and nothing else is
lost; only a file that cannot be used at all is an error.
"""

import csv
import difflib
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.atomic import replacing
from shared.errors import DataError
from shared.table_rows import Reject, format_of, read_rows
from shared.table_values import as_numbers, as_texts, as_timestamps

__all__ = [
    "Column",
    "Reject",
    "Table",
    "read_table",
    "sniff_columns",
    "write_rejects",
    "write_table",
]


@dataclass(frozen=True)
class Column:
    """A column that a caller needs.

    required: the file must have it. A column that is not required and not there is not in the
    frame either. allow_empty: an empty cell is kept ("" | NaN | NaT) instead of rejecting the row.
    option: the command-line option that maps the column, for error messages; derived by default.
    """

    name: str
    required: bool = True
    allow_empty: bool = False
    kind: Literal["text", "number", "timestamp"] = "text"
    option: str | None = None

    @property
    def mapped_by(self) -> str:
        """`user_id` is mapped by --user-column, `timestamp` by --time-column."""
        if self.option is not None:
            return self.option
        short = "time" if self.name == "timestamp" else self.name.removesuffix("_id")
        return f"--{short.replace('_', '-')}-column"


@dataclass(frozen=True, eq=False)
class Table:
    """The usable rows of a file and those that are not.

    frame: a row for each usable row in the file's order, index 0…n-1. Declared columns are `str`,
    float64 or datetime64[us, UTC]; extra columns as they came (CSV and TSV: str).
    lines: (n,) the line each row of `frame` starts on.
    """

    path: Path
    frame: pd.DataFrame
    rejects: tuple[Reject, ...] = ()
    lines: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def read_table(
    path: Path,
    columns: Sequence[Column],
    *,
    mapping: Mapping[str, str] = {},
    every_row: bool = False,
) -> Table:
    """Read a table with the columns a caller needs.

    mapping: our name -> the file's name. every_row: keep rejected rows in `frame` too, with what
    could be read of them ("" | NaN | NaT else), so that there is one row for each row of the file;
    they are listed in `rejects` all the same.
    Timestamps: ISO 8601 (UTC where no offset is given) or seconds, ms, µs or ns since 1970.

    Raises: DataError when the file cannot be read, lacks a column, or no row is left.
    """
    path = Path(path)
    rows = read_rows(path)
    frame = _mapped(path, rows.frame, columns, mapping)
    if not rows.lines:
        raise DataError(f"{path}: has a header ({', '.join(rows.frame.columns)}) but no rows")
    reasons = dict(rows.broken)
    for column in columns:
        if column.name in frame.columns:
            for row, reason in _convert(frame, column).items():
                reasons.setdefault(row, reason)
    rejects = tuple(Reject(rows.lines[r], reasons[r], rows.source(r)) for r in sorted(reasons))
    lines = np.asarray(rows.lines, dtype=np.int64)
    if rejects and not every_row:
        kept = np.ones(len(frame), dtype=bool)
        kept[list(reasons)] = False
        frame, lines = frame[kept].reset_index(drop=True), lines[kept]
    if frame.empty:
        raise DataError(
            f"{path}: none of its {len(rejects)} rows can be used; "
            f"the first: line {rejects[0].line}: {rejects[0].reason}"
        )
    return Table(path, frame.infer_objects(), rejects, lines)


def sniff_columns(path: Path) -> list[str]:
    """The columns a file has, in its order. Raises: DataError when it cannot be read."""
    return list(read_rows(Path(path)).frame.columns)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write by suffix, in one step: the old file stays until the whole new one is there.

    Lists and dicts are written as JSON text in CSV and TSV, time stamps as ISO 8601.
    Raises: DataError for an unknown suffix or a place that cannot be written.
    """
    path = Path(path)
    kind, zipped = format_of(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder, expected a file name")
    try:
        with replacing(path) as part:
            if kind == "parquet":
                frame.to_parquet(part, index=False)
                return
            text = _as_jsonl(frame) if kind == "jsonl" else _as_delimited(frame, kind)
            content = text.encode("utf-8")
            # mtime 0: equal tables give equal files.
            part.write_bytes(gzip.compress(content, mtime=0) if zipped else content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None


def write_rejects(table: Table, path: Path) -> None:
    """Write `line,reason,row` of every rejected row; a header alone if there is none."""
    frame = pd.DataFrame(
        {
            "line": pd.Series([reject.line for reject in table.rejects], dtype="int64"),
            "reason": pd.Series([reject.reason for reject in table.rejects], dtype="str"),
            "row": pd.Series([reject.row for reject in table.rejects], dtype="str"),
        }
    )
    write_table(frame, path)


def _mapped(
    path: Path, frame: pd.DataFrame, columns: Sequence[Column], mapping: Mapping[str, str]
) -> pd.DataFrame:
    """A copy of the frame under our names; the file's own column of such a name steps aside."""
    present = [str(name) for name in frame.columns]
    options = {column.name: column.mapped_by for column in columns}
    for ours, theirs in mapping.items():
        if theirs not in present:
            option = options.get(ours, Column(ours).mapped_by)
            raise DataError(_missing(path, theirs, present, f"check {option} {theirs}"))
    for column in columns:
        if column.required and column.name not in present and column.name not in mapping:
            way_out = f"name the right one with {column.mapped_by}"
            raise DataError(_missing(path, column.name, present, way_out))
    names = {theirs: ours for ours, theirs in mapping.items()}
    renamed = []
    for name in present:
        new = names.get(name, name)
        while name not in names and new in mapping:
            new += ".file"
        renamed.append(new)
    # A file's column may serve two of ours (`--text-column title --title-column title`).
    result = frame.set_axis(renamed, axis="columns")
    for ours, theirs in mapping.items():
        if ours not in result.columns:
            result[ours] = frame[theirs]
    return result


def _missing(path: Path, name: str, present: Sequence[str], way_out: str) -> str:
    shown = ", ".join(_short(column) for column in present[:20])
    more = f" and {len(present) - 20} more" if len(present) > 20 else ""
    folded = {column.casefold().strip("_ "): column for column in present}
    near = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    guess = f"; did you mean {_short(folded[near[0]])!r}?" if near else ""
    return f"{path}: no column {name!r}; the file has: {shown}{more}{guess} ({way_out})"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:37]}..."


def _convert(frame: pd.DataFrame, column: Column) -> dict[int, str]:
    """Give `frame[column]` its type in place; returns row -> why the row cannot be used."""
    convert = {"text": as_texts, "number": as_numbers, "timestamp": as_timestamps}[column.kind]
    converted = convert(frame[column.name])
    frame[column.name] = converted.values
    reasons = {
        row: f"{column.name} is {_short(said)}, expected {column.kind}"
        for row, said in converted.wrong.items()
    }
    if not column.allow_empty:
        for row in np.flatnonzero(converted.empty):
            reasons.setdefault(int(row), f"{column.name} is empty")
    return reasons


def _as_jsonl(frame: pd.DataFrame) -> str:
    out = io.StringIO()
    names = [str(name) for name in frame.columns]
    for cells in zip(*(_cells(frame.iloc[:, i]) for i in range(len(names))), strict=True):
        row = dict(zip(names, cells, strict=True))
        out.write(json.dumps(row, ensure_ascii=False, default=_plain) + "\n")
    return out.getvalue()


def _cells(values: pd.Series) -> list[Any]:
    """A column's values as JSON knows them: no NaN, no time stamps."""
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return [None if pd.isna(value) else value.isoformat() for value in values]
    cells = values.astype("object")
    return cells.where(cells.notna(), None).tolist()


def _plain(value: object) -> object:
    """NumPy's scalars and arrays inside cells, for json."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)


def _as_delimited(frame: pd.DataFrame, kind: str) -> str:
    shown = frame.copy()
    for name in shown.columns:
        values = shown[name]
        if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
            shown[name] = pd.Series(_cells(values), dtype="object", index=values.index)
        elif values.dtype == object:
            shown[name] = [
                json.dumps(cell, ensure_ascii=False, default=_plain)
                if isinstance(cell, list | dict | tuple | np.ndarray)
                else cell
                for cell in values
            ]
    texts = shown.select_dtypes(include=["object", "str"])
    # csv leaves a carriage return unquoted when lines end in \n, and then reads it as a line end.
    bare = any(texts[n].astype("str").str.contains("\r", regex=False).any() for n in texts.columns)
    return shown.to_csv(
        index=False,
        sep="\t" if kind == "tsv" else ",",
        lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL,
    )
