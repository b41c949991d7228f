"""Answers as a YAML file holds them.

answers:
- label: refund
  title: Refunds
  title_zh: 退款
  texts:
    en:
    - {when: closed, text: We look at it when we are back.}
    - Within five days.
    zh: 五天内。
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from apps.chatbot.conditions import variant_of
from apps.chatbot.phrases import DEFAULT_LANGUAGE
from shared.errors import DataError


@dataclass(frozen=True)
class AnswerRow:
    """One variant as a file holds it. label, title: None where the file gives none. line: where it
    stands in the file, from 1. when: its condition, "" for none."""

    label: str | None
    title: str | None
    language: str
    template: str
    line: int
    when: str = ""


def yaml_rows(path: Path) -> Iterator[AnswerRow]:
    """The variants of a file. Raises DataError: unreadable, or not of this shape."""
    content, lines = _yaml(path)
    entries = content.get("answers") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list under `answers:`, each with label and texts")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not ("texts" in entry or "text" in entry):
            raise DataError(f"{path}: answer {number} has neither `texts` nor `text`")
        if "when" in entry and "texts" in entry:
            raise DataError(
                f"{path}: answer {number}: `when` belongs to one of the texts: {{when: closed, "
                "text: …}"
            )
        only = {key: entry.get(key) for key in ("text", "when") if key in entry}
        texts = entry.get("texts", {DEFAULT_LANGUAGE: only})
        if not isinstance(texts, dict):
            raise DataError(f"{path}: answer {number}: `texts` is language: [template, …]")
        line = lines[number - 1]
        for language, variants in texts.items():
            several = variants if isinstance(variants, list) else [variants]
            title = entry.get(f"title_{language}")
            if title is None and language == DEFAULT_LANGUAGE:
                title = entry.get("title")
            for variant in several:
                label = _words(entry.get("label"))
                text, when = _parts(variant, f"{path}: answer {number} (line {line})")
                yield AnswerRow(label, _words(title), str(language), text, line, when)


def _parts(given: Any, where: str) -> tuple[str, str]:
    """Template and condition of a variant."""
    conditions: Any = []
    if isinstance(given, dict):
        if unknown := set(given) - {"text", "when"}:
            raise DataError(
                f"{where}: a text has the key {min(map(str, unknown))!r}; expected `text`, and "
                "`when` where it has a condition"
            )
        given, conditions = given.get("text"), given.get("when", [])
    if given is None or not str(given).strip():
        raise DataError(f"{where} has an empty text")
    several = conditions if isinstance(conditions, list) else [conditions]
    if when := " and ".join(map(str, several)):
        return str(given), when
    variant = variant_of(str(given))
    return variant.template, variant.when


def yaml_of(
    answers: Iterable[tuple[str, Mapping[str, str], Mapping[str, Iterable[str]]]],
) -> str:
    """(label, titles, variants as they are written) of each answer as the text of a file."""
    entries = []
    for label, titles, texts in answers:
        named = {
            "title" if language == DEFAULT_LANGUAGE else f"title_{language}": title
            for language, title in titles.items()
        }
        several = {code: [_entry(each) for each in own] for code, own in texts.items()}
        entries.append({"label": label, **named, "texts": several})
    return yaml.safe_dump({"answers": entries}, allow_unicode=True, sort_keys=False, width=100)


def _entry(written: str) -> str | dict[str, str]:
    variant = variant_of(written)
    if variant.condition is None:
        return variant.template
    return {"when": variant.when, "text": variant.template}


def _words(value: object) -> str | None:
    return None if value is None else str(value).strip() or None


def _yaml(path: Path) -> tuple[Any, list[int]]:
    """What a YAML file holds, and the lines that the entries of its list of answers begin on."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        try:
            node = loader.get_single_node()
            content = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not readable as YAML: {reason}") from error
    if isinstance(node, yaml.MappingNode):
        # As the loader does, of a key that stands twice the last counts.
        node = {key.value: value for key, value in node.value}.get("answers")
    entries = node.value if isinstance(node, yaml.SequenceNode) else []
    return content, [entry.start_mark.line + 1 for entry in entries]
