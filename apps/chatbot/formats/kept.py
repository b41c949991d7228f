"""What a bot holds beside examples and answers: annotated entities, synonyms, lookup tables,
regular expressions, and the buttons of answers, which stand in them as lines of text.
"""

import json
from collections.abc import ItemsView, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from apps.chatbot.formats.yaml_files import read_yaml
from shared.atomic import write_text
from shared.errors import DataError

ENTITIES_FILE = "entities.yml"
KINDS = ("synonyms", "lookups", "regexes")
Kinds = Mapping[str, Mapping[str, tuple[str, ...]]]
_EXPECTED = "each name with a list of texts, as in lookups: {city: [Berlin, Hamburg]}"


@dataclass(frozen=True)
class Entity:
    """An annotated span of an example. start, end: in the plain text. properties: entity, and
    value, role, group, type where they are given."""

    start: int
    end: int
    properties: Mapping[str, str]


@dataclass(frozen=True)
class Buttons:
    """The buttons of one template: (title, payload). template: with the titles as lines below."""

    label: str
    template: str
    choices: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The template without its lines of buttons."""
        return self.template.removesuffix(lines_of(self.choices))


@dataclass(frozen=True)
class Kept:
    """entities: (n,) of each example, as JSON, "" for none; empty where no example has any. kinds:
    synonyms, lookups, regexes: name -> values. buttons: of answers."""

    entities: tuple[str, ...] = ()
    kinds: Kinds = field(default_factory=dict)
    buttons: tuple[Buttons, ...] = ()

    def of(self, row: int) -> tuple[Entity, ...]:
        """The entities of an example; none where its JSON is not what `as_json` writes."""
        shown = self.entities[row] if row < len(self.entities) else ""
        try:
            found = [
                Entity(
                    int(e["start"]), int(e["end"]),
                    {str(k): v for k, v in e["properties"].items() if isinstance(v, str)},
                )
                for e in json.loads(shown or "[]")
            ]  # fmt: skip
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return ()
        return tuple(e for e in found if 0 <= e.start < e.end and e.properties.get("entity"))

    def buttons_of(self, label: str, template: str) -> Buttons | None:
        return next((b for b in self.buttons if (b.label, b.template) == (label, template)), None)


def as_json(entities: Sequence[Entity]) -> str:
    """The entities of an example as its table holds them, "" for none."""
    rows = [{"start": e.start, "end": e.end, "properties": dict(e.properties)} for e in entities]
    return json.dumps(rows, ensure_ascii=False) if rows else ""


def lines_of(choices: Sequence[tuple[str, str]]) -> str:
    """Buttons as the lines below a template."""
    return "".join(f"\n- {title}" for title, _ in choices)


def plain(kept: Kept) -> dict[str, Any]:
    """The kinds and the buttons as `kept_of` reads them; entities stand beside their examples."""
    content: dict[str, Any] = {
        kind: {name: list(values) for name, values in named.items()}
        for kind, named in kept.kinds.items()
    }
    if kept.buttons:
        content["buttons"] = [
            {
                "label": each.label, "template": each.template,
                "choices": [{"title": t, "payload": p} for t, p in each.choices],
            }
            for each in kept.buttons
        ]  # fmt: skip
    return content


def write_kept(kept: Kept, path: Path) -> None:
    """Write an entities file."""
    write_text(path, yaml.safe_dump(plain(kept), allow_unicode=True, width=100))


def read_kept(path: Path) -> Kept:
    """Raises DataError when the file is not what `write_kept` writes."""
    return kept_of(read_yaml(path), str(path))


def value_lines(path: Path) -> dict[tuple[str, str, str], int]:
    """(kind, name, value) -> the line of an entities file that it stands on, from 1.

    Raises DataError as `read_kept` does.
    """
    kinds = read_kept(path).kinds
    root: Any = yaml.compose(path.read_bytes(), Loader=yaml.CBaseLoader)
    return {
        (kind.value, name.value, value.value): value.start_mark.line + 1
        for kind, named in root.value
        if kind.value in kinds
        for name, values in named.value
        for value in values.value
    }


def kept_of(content: Any, where: str) -> Kept:
    """Raises DataError for what `plain` does not give."""
    if not isinstance(content, dict) or not {*content} <= {*KINDS, "buttons"}:
        raise DataError(f"{where}: expected {', '.join(KINDS)} or buttons: {_EXPECTED}")
    kinds = {
        kind: {str(name): _values(values, f"{where}: {kind}, {name}") for name, values in named}
        for kind in KINDS
        if kind in content
        for named in [_items(content[kind], f"{where}: {kind}")]
    }
    try:
        buttons = tuple(
            Buttons(
                str(each["label"]), str(each["template"]),
                tuple((str(c["title"]), str(c["payload"])) for c in each["choices"]),
            )
            for each in content.get("buttons", [])
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: not what an import writes as buttons ({error!r})") from None
    return Kept(kinds=kinds, buttons=buttons)


def _items(named: Any, where: str) -> ItemsView[Any, Any]:
    if not isinstance(named, dict):
        raise DataError(f"{where}: {_EXPECTED}")
    return named.items()


def _values(values: Any, where: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DataError(f"{where}: {_EXPECTED}")
    return tuple(values)
