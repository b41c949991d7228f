"""JSON files inside a zip archive that somebody else made; nothing is unpacked to disk."""

import json
import lzma
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from shared.errors import DataError

LARGEST_ARCHIVE = 200_000_000  # bytes of the file
LARGEST_MEMBER = 30_000_000  # bytes unpacked, as read and not as the archive says
LARGEST_TOTAL = 300_000_000
MOST_MEMBERS = 20_000
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Member:
    """path: inside the archive, such as ("intents", "a.json"). content: the JSON value."""

    path: tuple[str, ...]
    content: Any


def json_members(path: Path, folders: Collection[str], depth: int = 2) -> Iterator[Member]:
    """The `.json` files of an archive that lie at most `depth` names deep, in its order.

    folders: those that belong in it; another one that holds everything else is left out of the
    paths.
    Raises: DataError when the file is no sound zip, is encrypted, larger unpacked than the limits,
    holds a path that leads out of it, or a file that is no JSON.
    """
    try:
        if path.stat().st_size > LARGEST_ARCHIVE:
            raise DataError(f"{path}: larger than {LARGEST_ARCHIVE:,} bytes, too large for a bot")
        with zipfile.ZipFile(path) as archive:
            yield from _members(archive, path, folders, depth)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, expected the zip of an agent") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise DataError(f"{path}: is not a sound zip file ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _members(
    archive: zipfile.ZipFile, path: Path, folders: Collection[str], depth: int
) -> Iterator[Member]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MOST_MEMBERS:
        raise DataError(f"{path}: {len(infos):,} files inside, more than {MOST_MEMBERS:,}")
    parts = [_parts(info.filename, path) for info in infos]
    tops = {each[0] for each in parts}
    wrapped = len(tops) == 1 and all(len(each) > 1 for each in parts)
    outer = 1 if wrapped and not tops & set(folders) else 0
    left = LARGEST_TOTAL
    seen: set[tuple[str, ...]] = set()
    for info, names in zip(infos, parts, strict=True):
        inside = names[outer:]
        if len(inside) > depth or not inside[-1].endswith(".json"):
            continue
        if inside in seen:
            raise DataError(f"{path}: holds {info.filename} twice")
        seen.add(inside)
        if info.flag_bits & 1:
            raise DataError(f"{path}: {info.filename} is encrypted")
        raw = _unpacked(archive, info, min(LARGEST_MEMBER, left), path)
        left -= len(raw)
        yield Member(inside, _json(raw, f"{path}, {info.filename}"))


def _parts(name: str, path: Path) -> tuple[str, ...]:
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or ":" in name[:3] or not pure.parts:
        raise DataError(f"{path}: holds the path {name[:80]!r}, which leads out of it")
    return pure.parts


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int, path: Path) -> bytes:
    """A member's bytes, no more than `most`, whatever the archive says of its size."""
    out = bytearray()
    with archive.open(info) as stream:
        while part := stream.read(_CHUNK):
            out += part
            if len(out) > most:
                raise DataError(
                    f"{path}: {info.filename} is larger unpacked than {most:,} bytes; is it a "
                    "bot's?"
                )
    return bytes(out)


def _json(raw: bytes, where: str) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except RecursionError:
        raise DataError(f"{where}: not readable as JSON: nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{where}: not readable as JSON: {error}") from None
