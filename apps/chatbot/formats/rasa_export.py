"""Examples and answers as a Rasa 3 bot: data/nlu.yml, data/rules.yml, domain.yml.

What Rasa has no place for (titles, languages, optional parts of a template, names that it does not
allow) stands in `metadata`, so that an import of the export gives back the same pairs.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from apps.chatbot.answers import Answer, AnswerBook, render
from apps.chatbot.conditions import Condition, variant_of
from apps.chatbot.formats.exported import Exported
from apps.chatbot.formats.kept import Entity, Kept, lines_of
from apps.chatbot.formats.rasa_conditions import MARK, constraints_of, is_rasas
from apps.chatbot.formats.rasa_files import without_annotations
from apps.chatbot.formats.templates import slot_name
from shared.atomic import write_text
from shared.errors import DataError

VERSION = "3.1"
_NAME = re.compile(r"[^\w/-]+")
_ANNOTATION = re.compile(r"\](?=[({])")
_SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, as Rasa's own files have them; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def export_rasa(
    texts: Sequence[str],
    labels: Sequence[str],
    book: AnswerBook,
    output: Path,
    kept: Kept = Kept(),
) -> Exported:
    """Write the bot's files into the folder `output`. kept: entities and the like to be given back.

    Raises: DataError when they cannot be written.
    """
    asked: dict[str, dict[str, None]] = {}
    changed = 0
    for row, (text, label) in enumerate(zip(texts, labels, strict=True)):
        flat = " ".join(text.split())
        safe = _ANNOTATION.sub("] ", flat)
        changed += safe != flat
        if safe == text:
            safe = _annotated(text, kept.of(row))
        if safe:
            asked.setdefault(label, {})[safe] = None
    names = _names([*asked, *(answer.label for answer in book.answers)])
    nlu = [
        {
            "intent": names[label],
            "metadata": {MARK: _about(label, book)},
            "examples": "".join(f"- {text}\n" for text in several),
        }
        for label, several in asked.items()
    ]
    files = {
        "domain.yml": _domain(asked, names, book, kept),
        "data/nlu.yml": {"version": VERSION, "nlu": [*nlu, *_kinds(kept)]},
        "data/rules.yml": {"version": VERSION, "rules": _rules(asked, names, book)},
    }
    try:
        for name, content in files.items():
            text = yaml.dump(
                content, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10**6
            )
            write_text(output / name, text)
    except OSError as error:
        raise DataError(f"{output}: cannot be written: {error.strerror or error}") from None
    examples = sum(map(len, asked.values()))
    notes = [f"{changed} examples with a space put into brackets"] if changed else []
    written = (each for a in book.answers for several in a.texts.values() for each in several)
    conditions = (variant_of(each).condition for each in written)
    if more := sum(each is not None and not is_rasas(each) for each in conditions):
        notes.append(f"{more} variants have a condition of which Rasa heeds a part or nothing")
    return Exported("Rasa", examples, len(asked), len(book.answers), str(output), tuple(notes))


def _annotated(text: str, entities: Sequence[Entity]) -> str:
    """The example with its spans marked; those that overlap or hold brackets are left out."""
    out, at = "", 0
    for each in sorted(entities, key=lambda entity: entity.start):
        span = text[each.start : each.end]
        shown = json.dumps(dict(each.properties), ensure_ascii=False)
        if each.start < at or not span or re.search(r"[\[\]]", span + shown) or "}" in shown[:-1]:
            continue
        out += f"{text[at : each.start]}[{span}]{shown}"
        at = each.end
    out += text[at:]
    return out if without_annotations(out)[0] == text else text


def _kinds(kept: Kept) -> Iterator[dict[str, Any]]:
    """Synonyms, lookup tables and regular expressions as entries of nlu."""
    for kind, name in (("synonyms", "synonym"), ("lookups", "lookup"), ("regexes", "regex")):
        for key, values in kept.kinds.get(kind, {}).items():
            lines = (" ".join(value.split()) for value in values)
            yield {name: key, "examples": "".join(f"- {line}\n" for line in lines if line)}


def _about(label: str, book: AnswerBook) -> dict[str, Any]:
    answer = book.by_label.get(label)
    return {"label": label} | ({"titles": dict(answer.titles)} if answer else {})


def _names(labels: Sequence[str]) -> dict[str, str]:
    """Label -> a name that Rasa takes for an intent: letters, digits, _ and -, one / at most."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in dict.fromkeys(labels):
        group, slash, rest = _NAME.sub("_", label.strip()).partition("/")
        parts = [group.strip("_"), rest.replace("/", "_").strip("_")]
        name = "/".join(part for part in parts if part) if slash else parts[0]
        stem = name = name or "intent"
        number = 2
        while name.casefold() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.casefold())
        names[label] = name
    return names


def _domain(
    asked: Mapping[str, object], names: Mapping[str, str], book: AnswerBook, kept: Kept
) -> dict[str, Any]:
    slots = {
        name for a in book.answers for several in a.texts.values() for t in several
        for name in (*_SLOT.findall(t), *_asked_of(variant_of(t).condition))
    }  # fmt: skip
    entities = {
        each.properties["entity"] for row in range(len(kept.entities)) for each in kept.of(row)
    }
    # A regular expression with the name of an intent tells that intent.
    entities |= {*kept.kinds.get("lookups", {}), *kept.kinds.get("regexes", {})} - set(asked)
    filled = {slot_name(name): name for name in sorted(entities)}
    return {
        "version": VERSION,
        "intents": list(dict.fromkeys(names[label].split("/")[0] for label in asked)),
        **({"entities": sorted(entities)} if entities else {}),
        "responses": {
            f"utter_{names[answer.label]}": _variants(answer, kept) for answer in book.answers
        },
        "slots": {
            name: {"type": "text", "influence_conversation": False, "mappings": [mapping]}
            for name in sorted(slots)
            for mapping in [
                {"type": "from_entity", "entity": filled[name]} if name in filled
                else {"type": "custom"}
            ]
        },
        "session_config": {"session_expiration_time": 60, "carry_over_slots_to_new_session": True},
    }  # fmt: skip


def _asked_of(condition: Condition | None) -> list[str]:
    return [str(each["name"]) for each in constraints_of(condition)] if condition else []


def _variants(answer: Answer, kept: Kept) -> list[dict[str, Any]]:
    """Rasa picks one of an answer's variants whose condition holds, and knows no optional part: it
    is left out there."""
    found = []
    for language, several in answer.texts.items():
        for each in map(variant_of, several):
            said = template = each.template
            if "[[" in template:
                needed = set(_SLOT.findall(re.sub(r"\[\[.*?\]\]", "", template, flags=re.DOTALL)))
                said = render(template, {name: f"{{{name}}}" for name in needed}).text or template
            own = {"language": language, "template": template}
            variant: dict[str, Any] = {"text": said}
            if each.condition is not None:
                own["when"] = each.when
                if constraints := constraints_of(each.condition):
                    variant["condition"] = constraints
            if (buttons := kept.buttons_of(answer.label, template)) is not None:
                variant["text"] = said.removesuffix(lines_of(buttons.choices))
                variant["buttons"] = [{"title": t, "payload": p} for t, p in buttons.choices]
            found.append(variant | {"metadata": {MARK: own}})
    return found


def _rules(
    asked: Mapping[str, object], names: Mapping[str, str], book: AnswerBook
) -> list[dict[str, Any]]:
    """One rule an intent; the intents of one retrieval group share theirs."""
    rules: dict[str, dict[str, Any]] = {}
    for label in asked:
        if label in book.by_label:
            intent = names[label].split("/")[0]
            steps = [{"intent": intent}, {"action": f"utter_{intent}"}]
            rules[intent] = {"rule": f"answer {intent}", "steps": steps}
    return list(rules.values())
