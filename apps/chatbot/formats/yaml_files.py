"""YAML that somebody else wrote, read without trusting it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from shared.errors import DataError

LARGEST_FILE = 30_000_000  # bytes
MOST_ALIASES = 100  # of one file; a bot's files have few, a file made to burst memory has many


def read_yaml(path: Path) -> Any:
    """What the file holds, every scalar as the text it was written as.

    Raises: DataError when it cannot be read, is too large, or has too many aliases.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(
                f"{path}: larger than {LARGEST_FILE:,} bytes, too large for a bot's file"
            )
        raw = path.read_bytes()
        if raw.count(b"*") > MOST_ALIASES:
            events = yaml.parse(raw, Loader=yaml.CBaseLoader)
            if sum(isinstance(event, yaml.AliasEvent) for event in events) > MOST_ALIASES:
                raise DataError(f"{path}: more than {MOST_ALIASES} aliases; write them out")
        # The base loader leaves every scalar the text it was written as (yes is no boolean) and
        # makes no objects of tags.
        return yaml.load(raw, Loader=yaml.CBaseLoader)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise DataError(f"{path}: not readable as YAML: nested too deeply") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None


def list_of(content: Mapping[str, Any], key: str) -> list[Any]:
    """The list under a key, empty where there is none."""
    value = content.get(key)
    return value if isinstance(value, list) else []


def mapping_under(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under a key, empty where there is none."""
    value = content.get(key)
    return value if isinstance(value, Mapping) else {}
