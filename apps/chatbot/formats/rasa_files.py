"""Rasa 3 YAML: which files of a bot's folder count, and reading them without trusting them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.chatbot.formats.kept import Entity
from apps.chatbot.formats.yaml_files import read_yaml
from shared.errors import DataError

MOST_FILES = 5_000
# Files of a bot that hold no training data.
_OTHER = frozenset({"config", "credentials", "endpoints", "docker-compose"})
_ENTITY = re.compile(
    r"\[(?P<text>[^\]\[]{1,500})\](?:\((?P<name>[^()\n]{1,200})\)|(?P<json>\{[^{}\n]{1,1000}\}))"
)


@dataclass(frozen=True)
class RasaFile:
    """path: within the bot's folder. content: its mapping."""

    path: Path
    content: Mapping[str, Any]


def rasa_files(folder: Path) -> Iterator[RasaFile]:
    """The bot's YAML files, sorted: domain files and those under data/, all if there is no data/.

    Tests, configuration and whatever lies outside the folder are left out.
    Raises: DataError when the folder is none, holds no such file, or a file cannot be read.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; expected a Rasa bot's, with domain.yml and data/"
        )
    root = folder.resolve()
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".yml", ".yaml") and path.is_file() and _counts(path, folder)
        and path.resolve().is_relative_to(root)
    ]  # fmt: skip
    if not found:
        raise DataError(
            f"{folder}: holds no .yml; expected a Rasa bot's domain.yml and data/nlu.yml"
        )
    if len(found) > MOST_FILES:
        raise DataError(
            f"{folder}: {len(found):,} .yml files, more than {MOST_FILES:,}; is it a bot's?"
        )
    for path in found:
        content = read_yaml(path)
        if isinstance(content, Mapping):
            yield RasaFile(path.relative_to(folder), content)


def _counts(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    if any(part.startswith(".") or part in ("tests", "results", "models") for part in parts[:-1]):
        return False
    if path.stem in _OTHER or path.stem.startswith("test_"):
        return False
    in_data = not (folder / "data").is_dir() or parts[0] == "data"
    return in_data or parts[0].removesuffix(path.suffix) == "domain"


def example_lines(examples: Any) -> list[str]:
    """The examples of an entry: lines of a text that begin with -, or a list of texts, or a list of
    {text: …}."""
    if isinstance(examples, str):
        lines = [line.strip() for line in examples.split("\n")]
        return [
            " ".join(line[1:].split()) for line in lines if line[:1] == "-" and line[1:].strip()
        ]
    if not isinstance(examples, list):
        return []
    texts = [each.get("text") if isinstance(each, Mapping) else each for each in examples]
    found = []
    for text in texts:
        if isinstance(text, str):
            found += example_lines(text) if text.lstrip()[:2] == "- " else [" ".join(text.split())]
    return [text for text in found if text]


def without_annotations(example: str) -> tuple[str, tuple[Entity, ...]]:
    """`to [Rome]{"entity": "city", "role": "to"}` -> ("to Rome", its entities)."""
    text, at = "", 0
    entities = []
    for match in _ENTITY.finditer(example):
        properties: dict[str, str] = {}
        if match["json"]:
            try:
                given = json.loads(match["json"])
            except ValueError:
                continue
            if not isinstance(given, dict) or not isinstance(given.get("entity"), str):
                continue
            properties = {k: v for k, v in given.items() if isinstance(v, str)}
        else:
            name, colon, value = match["name"].partition(":")
            if name.lower() in ("http", "https", "mailto"):
                continue  # a link, not an entity
            properties = {"entity": name} | ({"value": value} if colon else {})
        text += example[at : match.start()]
        entities.append(Entity(len(text), len(text) + len(match["text"]), properties))
        text += match["text"]
        at = match.end()
    return text + example[at:], tuple(entities)
