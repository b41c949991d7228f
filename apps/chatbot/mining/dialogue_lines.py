"""The text of a file of dialogues as a stream: lines, CSV records, JSON values.

Nothing here holds more than one record, so that a file of any size can be read. What is broken
costs itself: it is given as a Reject and reading goes on.
"""

import csv
import gzip
import io
import json
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import DataError
from shared.table_rows import UNUSABLE, Reject

LONGEST_LINE = 1_000_000  # characters; a longer line is rejected
LONGEST_RECORD = 200  # lines of one CSV record
LARGEST_VALUE = 32_000_000  # characters of one JSON value
CHUNK = 1 << 18
# As for tables: with more lines than this that are not UTF-8, the file has another encoding.
TOLERATED_ENCODING_SHARE = 0.01


@dataclass(frozen=True)
class Line:
    """text: without its end. number: from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Value:
    """A JSON value and the line that it begins on."""

    number: int
    value: Any


@contextmanager
def opened(path: Path) -> Iterator[io.TextIOBase]:
    """The file as text, unpacked if it is .gz: UTF-8, or UTF-16 where its mark says so.

    Raises: DataError when it is not there, not readable, empty, or no sound gzip file.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder, expected a file of dialogues")
    try:
        with _binary(path) as raw:
            start = raw.peek(4)[:4]
            if not start:
                raise DataError(f"{path}: is empty (0 bytes)")
            if start.startswith(b"PK\x03\x04"):
                raise DataError(f"{path}: is an Excel or zip file; save it as CSV (UTF-8)")
            wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))
            with io.TextIOWrapper(
                raw,
                encoding="utf-16" if wide else "utf-8-sig",
                errors="replace" if wide else "surrogateescape",
                newline=None,
            ) as text:
                yield text
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: is not a sound gzip file ({error}); copy it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _binary(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.GzipFile(path) if path.suffix.lower() == ".gz" else path.open("rb")


def lines(path: Path) -> Iterator[Line | Reject]:
    """The lines of the file, blank ones too.

    Raises: DataError as `opened`, and when more than 1 % of the lines are not UTF-8.
    """
    number, undecodable = 0, 0
    first = ""
    with opened(path) as stream:
        while text := stream.readline(LONGEST_LINE):
            number += 1
            why = unusable(text)
            if len(text) == LONGEST_LINE and not text.endswith("\n"):
                while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith("\n"):
                    pass
                why = f"a line of more than {LONGEST_LINE:,} characters"
            if why:
                undecodable += "UTF-8" in why
                first = first or f"line {number}: {why}"
                yield Reject(number, why, readable_part(text))
            else:
                yield Line(number, text.rstrip("\n"))
    if undecodable > 1 and undecodable > TOLERATED_ENCODING_SHARE * number:
        raise DataError(
            f"{path}: {undecodable} of {number} lines are not UTF-8 (the first: {first}); save it "
            "as UTF-8, or convert it: iconv -f CP1252 -t UTF-8 OLD > NEW (GB18030: Chinese)"
        )


def unusable(text: str) -> str:
    """Why no program can read this text, or ""."""
    found = UNUSABLE.search(text)
    if not found:
        return ""
    if found.group() == "\0":
        return "holds a NUL character"
    return f"byte 0x{ord(found.group()) & 0xFF:02x} is not UTF-8"


def readable_part(text: str) -> str:
    """The beginning of a row for the list of rejects."""
    return UNUSABLE.sub("\ufffd", text.rstrip("\r\n"))[:500]


def records(path: Path) -> Iterator[tuple[int, list[str]] | Reject]:
    """(line it starts on, cells) of each CSV or TSV record, the header first.

    A quote that never closes costs its own line.
    """
    source = lines(path)
    waiting: deque[Line] = deque()
    delimiter: str | None = None
    while True:
        found = waiting.popleft() if waiting else next(source, None)
        if found is None:
            return
        if isinstance(found, Reject):
            yield found
            continue
        if not found.text.strip():
            continue
        if delimiter is None:
            delimiter = _delimiter(path, found.text)
        record = [found]
        quote_open = _open_after(found.text, delimiter, inside=False)
        while quote_open:
            more = waiting.popleft() if waiting else next(source, None)
            if isinstance(more, Reject):
                yield more
                continue
            if more is None or len(record) >= LONGEST_RECORD:
                waiting.extendleft(reversed([*record[1:], *([more] if more else [])]))
                break
            record.append(more)
            quote_open = _open_after(more.text, delimiter, inside=True)
        if quote_open:
            why = 'a quote (") opens here and never closes'
            yield Reject(found.number, why, readable_part(found.text))
            continue
        try:
            text = "\n".join(each.text for each in record)
            yield found.number, next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except (csv.Error, StopIteration) as error:
            yield Reject(found.number, f"not CSV: {error}", readable_part(found.text))


def _delimiter(path: Path, header: str) -> str:
    if ".tsv" in [suffix.lower() for suffix in path.suffixes]:
        return "\t"
    return next((sign for sign in (",", ";", "\t") if sign in header), ",")


def _open_after(text: str, delimiter: str, *, inside: bool) -> bool:
    """Whether a quoted cell is open at the end of a line; inside: whether one is at its beginning.

    A quote opens a cell only where the cell begins.
    """
    at = text.find('"')
    while at >= 0:
        if not inside:
            inside = at == 0 or text[at - 1] == delimiter
        elif text[at + 1 : at + 2] == '"':
            at += 1
        else:
            inside = False
        at = text.find('"', at + 1)
    return inside


def values(path: Path) -> Iterator[Value | Reject]:
    """Each JSON object of the file: one a line, or the elements of one array, or one object.

    Raises: DataError as `opened`, and when the file does not begin as JSON or one value is larger
    than LARGEST_VALUE characters.
    """
    with opened(path) as stream:
        head = stream.read(1)
        while head and head.isspace():
            head = stream.read(1)
        rest = stream.readline(LONGEST_LINE) if head == "{" else ""
    if head not in ("{", "["):
        raise DataError(f"{path}: begins with {head!r}, expected JSON: an object or an array")
    if head == "{" and _is_object(head + rest):
        yield from _by_line(path)
    else:
        yield from _by_value(path, in_array=head == "[")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _by_line(path: Path) -> Iterator[Value | Reject]:
    for found in lines(path):
        if isinstance(found, Reject):
            yield found
        elif found.text.strip():
            try:
                yield Value(found.number, json.loads(found.text))
            except (ValueError, RecursionError) as error:
                yield Reject(found.number, f"not JSON: {_said(error)}", readable_part(found.text))


def _by_value(path: Path, *, in_array: bool) -> Iterator[Value | Reject]:
    """Values one after another, or the elements of an array; each is decoded when it is whole."""
    decoder = json.JSONDecoder()
    skipped = " \t\r\n," + ("[" if in_array else "")
    buffer, line, wanted, over = "", 1, CHUNK, False
    with opened(path) as stream:
        while True:
            ahead = buffer.lstrip(skipped)
            line += buffer[: len(buffer) - len(ahead)].count("\n")
            buffer = ahead
            if in_array and buffer.startswith("]"):
                return
            try:
                value, end = decoder.raw_decode(buffer)
            except (ValueError, RecursionError) as error:
                more = "" if over else stream.read(wanted)
                over = not more
                buffer += more
                wanted = max(CHUNK, len(buffer))
                if over and buffer.strip():
                    why = f"not JSON from here on: {_said(error)}"
                    yield Reject(line, why, readable_part(buffer))
                if over:
                    return
                if len(buffer) > LARGEST_VALUE:
                    raise DataError(
                        f"{path}: line {line}: a JSON value of more than {LARGEST_VALUE:,} "
                        "characters; export one dialogue a line (JSONL), or an array of dialogues"
                    ) from None
                continue
            yield Value(line, value)
            line += buffer[:end].count("\n")
            buffer, skipped = buffer[end:], " \t\r\n,"
            wanted = CHUNK


def _said(error: Exception) -> str:
    return (
        "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
    )
