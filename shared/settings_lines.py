"""Where each setting of a section is made: a line of the file, or a variable of the environment."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from shared.settings import ENVIRONMENT_PREFIX

LARGEST = 256 * 1024
"""Characters; of a longer file no lines are told."""
NAME = r"[A-Za-z0-9_-]+"
KEY = re.compile(rf"\s*({NAME}(?:\.{NAME})*)\s*=")
TABLE = re.compile(rf"\s*\[\[?\s*({NAME}(?:\.{NAME})*)\s*\]\]?\s*(?:#|$)")


def lines_of_keys(text: str) -> dict[str, int]:
    """Dotted key or table -> the first line (from 1) that sets it, of a valid TOML file. Keys in
    quotes and keys of inline tables are not told."""
    if len(text) > LARGEST:
        return {}
    lines = text.splitlines()
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(lines, start=1):
        header, key = TABLE.match(line), KEY.match(line)
        if not (header or key) or not _is_whole("\n".join(lines[: number - 1])):
            continue  # also what only looks like a key, in a text or list of several lines
        if header:
            table = f"{header[1]}."
            found.setdefault(header[1], number)
        elif key:
            found.setdefault(table + key[1], number)
    return found


def _is_whole(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def place_of_key(
    key: str,
    section: str,
    *,
    file: Path | None,
    lines: Mapping[str, int],
    environ: Mapping[str, str],
) -> str:
    """Such as "triptych.toml, line 12" or "variable TRIPTYCH_NEWS__TOPICS"; "" for a default.

    key: dotted, under the section. lines: lines_of_keys of the file.
    """
    parts = key.split(".")
    prefix = f"{ENVIRONMENT_PREFIX}{section.upper()}__"
    for length in range(len(parts), 0, -1):
        variable = prefix + "__".join(parts[:length]).upper()
        inner = [name for name in sorted(environ) if name.startswith(f"{variable}__")]
        if variable in environ or (length == len(parts) and inner):
            return f"variable {variable if variable in environ else inner[0]}"
    if file is None:
        return ""
    for length in range(len(parts), 0, -1):
        line = lines.get(".".join([section, *parts[:length]]))
        whole = length == len(parts)
        # A table of which the key is no part leaves it at its default.
        if line is not None and (whole or not _has_inner(lines, section, parts[:length])):
            return f"{file.name}, line {line}"
    return ""


def _has_inner(lines: Mapping[str, int], section: str, parts: list[str]) -> bool:
    start = ".".join([section, *parts]) + "."
    return any(name.startswith(start) for name in lines)
