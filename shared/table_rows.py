"""The rows of a file with the physical line each starts on, and why a row cannot be one.

Text formats are read as UTF-8, and as UTF-16 where a byte order mark says so. Line numbers are
those an editor shows: a CSV record that spans three lines (a quoted line break) counts three. A row
that is broken costs itself and nothing after it: after a quote that is never closed, reading goes
on with the next line.
"""

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet

from shared.errors import DataError
from shared.parquet_times import as_written

# The first format is what the suffix says; .inter, .item and .user are RecBole's atomic files.
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".inter": "tsv",
    ".item": "tsv",
    ".user": "tsv",
}
SUFFIXES = ".csv .tsv .jsonl .parquet (.csv.gz .tsv.gz .jsonl.gz)"
# Lines that are not UTF-8 become rejects while they are few; above this share the whole file is
# taken to be in another encoding.
TOLERATED_ENCODING_SHARE = 0.01
UNDECODABLE = re.compile("[\udc80-\udcff]")
UNUSABLE = re.compile("[\ud800-\udfff\0]")
REPLACEMENT = "\ufffd"


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used. line: where it starts in the file, from 1 (Parquet: the row)."""

    line: int
    reason: str
    row: str


@dataclass(frozen=True, eq=False)
class Rows:
    """What a file holds.

    frame: every row, also the broken ones with what could be read of them. CSV and TSV give str,
    JSON gives object columns (None where a row lacks the key), Parquet its own types.
    lines: for each row the line it starts on. broken: index of a row -> why it cannot be used.
    """

    frame: pd.DataFrame
    lines: list[int]
    broken: dict[int, str]
    raw: Sequence[str] | None = None
    ends: Sequence[int] = ()

    def source(self, row: int) -> str:
        """The row as it stands in the file, without its line end (Parquet: as JSON)."""
        if self.raw is None:
            cells = self.frame.iloc[row].to_dict()
            return json.dumps(cells, ensure_ascii=False, default=str)
        text = "".join(self.raw[self.lines[row] - 1 : self.ends[row] - 1])
        return UNUSABLE.sub(REPLACEMENT, text.rstrip("\r\n"))


def format_of(path: Path) -> tuple[str, bool]:
    """("csv" | "tsv" | "jsonl" | "parquet", gzipped?) by the suffix.

    Raises: DataError for any other suffix.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    suffix = suffixes[-2 if zipped else -1] if len(suffixes) > zipped else ""
    kind = FORMATS.get(suffix)
    if kind is None or (zipped and kind == "parquet"):
        raise DataError(f"{path}: cannot tell the format from its name; expected {SUFFIXES}")
    return kind, zipped


def read_rows(path: Path) -> Rows:
    """Every row of the file, good and broken. Blank lines are no rows.

    Raises: DataError when the file as a whole cannot be read.
    """
    kind, zipped = format_of(path)
    content = _content(path, zipped=zipped)
    if kind == "parquet":
        return _parquet_rows(path, content)
    _refuse_foreign(path, content)
    lines = _lines(path, content)
    if kind == "jsonl":
        return _jsonl_rows(path, lines)
    return _delimited_rows(path, lines, kind)


def _content(path: Path, *, zipped: bool) -> bytes:
    """The file's bytes, unpacked."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder, expected a file ({SUFFIXES})")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not content:
        raise DataError(f"{path}: is empty (0 bytes)")
    if not zipped:
        return content
    try:
        unpacked = gzip.decompress(content)
    except EOFError:
        raise DataError(
            f"{path}: the gzip file is torn (it ends too early); copy it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: is not a sound gzip file: {error}") from None
    if not unpacked:
        raise DataError(f"{path}: is empty (0 bytes after unpacking)")
    return unpacked


def _refuse_foreign(path: Path, content: bytes) -> None:
    """Name the usual files that are something else than their suffix says."""
    signs = {
        b"PK\x03\x04": "an Excel or zip file; save it as CSV (UTF-8)",
        b"PAR1": "a Parquet file; name it .parquet",
        b"\x1f\x8b": f"a gzip file; name it {path.name}.gz",
        b"SQLite format 3": "an SQLite database; export the table as CSV",
        b"%PDF": "a PDF; export the table as CSV",
    }
    for sign, what in signs.items():
        if content.startswith(sign):
            raise DataError(f"{path}: is {what}")


def _lines(path: Path, content: bytes) -> list[str]:
    """The physical lines with their ends; bytes that are not UTF-8 as lone surrogates."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: begins as UTF-16 and is not at byte {error.start + 1}; save it as UTF-8"
            ) from None
    else:
        text = content.decode("utf-8-sig", errors="surrogateescape")
    # An editor's lines end at \n; a file without any is an old Macintosh one.
    lines = list(io.StringIO(text, newline="\n" if "\n" in text else ""))
    if UNDECODABLE.search(text):
        _refuse_encoding(path, lines)
    return lines


def _refuse_encoding(path: Path, lines: Sequence[str]) -> None:
    bad = [number for number, line in enumerate(lines, start=1) if UNDECODABLE.search(line)]
    if bad[0] > 1 and len(bad) <= TOLERATED_ENCODING_SHARE * len(lines):
        return
    line = lines[bad[0] - 1]
    found = UNDECODABLE.search(line)
    column = found.start() if found else 0
    offset = len(line[:column].encode("utf-8", errors="surrogateescape")) + 1
    raise DataError(
        f"{path}: line {bad[0]}, byte {offset} (0x{ord(line[column]) - 0xDC00:02x}) is not UTF-8 "
        f"({len(bad)} such lines); save it as UTF-8 (in a spreadsheet: CSV UTF-8), or convert it: "
        "iconv -f CP1252 -t UTF-8 OLD > NEW (CP1252: Western Windows; GB18030: Chinese)"
    )


def _delimited_rows(path: Path, lines: list[str], kind: str) -> Rows:
    """CSV or TSV: the first record names the columns."""
    delimiter = "\t" if kind == "tsv" else _delimiter(lines[0])
    records = _records(lines, delimiter)
    try:
        header, line, _, unusable = next(r for r in records if any(c.strip() for c in r[0]))
    except StopIteration:
        raise DataError(f"{path}: holds no line with text") from None
    if unusable:
        raise DataError(f"{path}: the header (line {line}) is broken: {unusable}")
    names = unique_names(header)
    width = len(names)
    flat: list[str] = []  # row after row: a list kept for each row costs the collector seconds
    starts: list[int] = []
    ends: list[int] = []
    broken: dict[int, str] = {}
    for cells, begin, end, why in records:
        if why or len(cells) != width:
            broken[len(starts)] = why or f"{len(cells)} fields, expected {width} ({_listed(names)})"
            padded = [*cells[:width], *[""] * (width - len(cells))]
            cells = [UNUSABLE.sub(REPLACEMENT, cell) for cell in padded]
        flat += cells
        starts.append(begin)
        ends.append(end)
    frame = pd.DataFrame(
        {name: pd.Series(flat[i::width], dtype="str") for i, name in enumerate(names)}
    )
    return Rows(frame, starts, broken, lines, ends)


def _delimiter(header: str) -> str:
    """A comma; a semicolon (Excel in much of Europe) or tab where the header has no comma."""
    if "," in header:
        return ","
    return ";" if ";" in header else "\t" if "\t" in header else ","


def unique_names(header: Sequence[str]) -> list[str]:
    """Stripped, named where empty, numbered where repeated (a second `text` is `text.2`)."""
    names: list[str] = []
    for position, cell in enumerate(header, start=1):
        name = wanted = cell.strip() or f"column_{position}"
        number = 1
        while name in names:
            number += 1
            name = f"{wanted}.{number}"
        names.append(name)
    return names


def _records(lines: list[str], delimiter: str) -> Iterator[tuple[list[str], int, int, str]]:
    """(cells, line it starts on, line after its end, "" or why it is broken) for each record."""
    spotless = not any(map(UNUSABLE.search, lines))
    at = 0  # lines before this one are done
    while at < len(lines):
        reader = csv.reader(_from(lines, at), delimiter=delimiter)
        begin = at  # where the record being read starts
        try:
            for cells in reader:
                end = at + reader.line_num
                doubtful = end - begin > 1 or end == len(lines)
                if doubtful and not _quotes_close(lines[begin:end], delimiter):
                    break
                if cells:
                    why = "" if spotless else _unusable("".join(lines[begin:end]))
                    yield cells, begin + 1, end + 1, why
                begin = end
            else:
                return
        except csv.Error:
            pass  # a field without end, or a bare carriage return: judged below
        yield _torn_record(lines[begin], begin, delimiter)
        at = begin + 1


def _from(lines: list[str], at: int) -> Iterator[str]:
    for index in range(at, len(lines)):
        yield lines[index]


def _quotes_close(record: Sequence[str], delimiter: str) -> bool:
    """Whether a record's quotes are sound; a stray one swallows the lines that follow it."""
    try:
        list(csv.reader(iter(record), delimiter=delimiter, strict=True))
    except csv.Error as error:
        # Within one line a quote inside a field is read as it stands, as everywhere else.
        return len(record) == 1 and "unexpected end of data" not in str(error)
    return True


def _torn_record(line: str, index: int, delimiter: str) -> tuple[list[str], int, int, str]:
    """One physical line read literally, for the rejects; in TSV a quote may be just a quote."""
    cells = line.rstrip("\r\n").split(delimiter)
    why = _unusable(line)
    if not why and "\r" in line.rstrip("\r\n"):
        why = "a carriage return in the middle of the row"
    if not why and len(line) > csv.field_size_limit():
        why = f"a field of more than {csv.field_size_limit():,} characters"
    if not why and delimiter != "\t":
        why = 'a quote (") opens here and never closes'
    return cells, index + 1, index + 2, why


def _unusable(text: str) -> str:
    """Why no program can read this text, or ""."""
    found = UNUSABLE.search(text)
    if not found:
        return ""
    if found.group() == "\0":
        return "holds a NUL character"
    return f"byte 0x{ord(found.group()) - 0xDC00:02x} is not UTF-8"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")


def _jsonl_rows(path: Path, lines: list[str]) -> Rows:
    """One JSON object for each line; a key that a row lacks is None."""
    records: list[dict[str, Any]] = []
    starts: list[int] = []
    broken: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            why = "" if isinstance(record, dict) else f"{_kind(record)}, expected an object"
        except json.JSONDecodeError as error:
            why = f"not JSON: {error.msg} at character {error.pos + 1}"
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits; nested too deep
            why = f"not usable JSON: {error}"
        if not why:
            why = _unusable(line)
        if not why and "\\u" in line:
            why = next(filter(None, map(_unusable_json, _leaves(record))), "")
        if why:
            broken[len(records)] = why
        records.append({} if why else record)
        starts.append(number)
    if records and len(broken) == len(records) and lines[0].lstrip().startswith("["):
        raise DataError(f"{path}: is one JSON array; .jsonl holds one object on each line")
    names = dict.fromkeys(name for record in records for name in record)
    columns = {n: pd.Series([r.get(n) for r in records], dtype="object") for n in names}
    return Rows(pd.DataFrame(columns), starts, broken, lines, [start + 1 for start in starts])


def _kind(value: object) -> str:
    kinds = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _leaves(value: object) -> Iterator[str]:
    """Every text inside a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)


def _unusable_json(text: str) -> str:
    found = UNUSABLE.search(text)
    if not found:
        return ""
    return "holds a NUL character" if found.group() == "\0" else "holds half a surrogate pair"


def _parquet_rows(path: Path, content: bytes) -> Rows:
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        table = as_written(table.rename_columns(unique_names(table.column_names)))
        # Integers with gaps stay integers: as floats, an item 12 would become the text "12.0".
        frame = table.to_pandas(integer_object_nulls=True).reset_index(drop=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # a list of such dates
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: is not a sound Parquet file: {reason}") from None
    return Rows(frame, list(range(1, len(frame) + 1)), {})
