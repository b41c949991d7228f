"""Examples and answers as a Dialogflow ES agent: the zip that its console restores."""

import io
import json
import re
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from apps.chatbot.answers import Answer, AnswerBook, conditional_variants, slots_in
from apps.chatbot.formats.dialogflow_spelling import MARKS_FILE, messages_of
from apps.chatbot.formats.exported import Exported
from apps.chatbot.formats.kept import Entity, Kept
from apps.chatbot.formats.templates import safe_names, slot_name
from shared.atomic import replacing
from shared.errors import DataError
from shared.text import detect_language

AGENT_FILE = "agent.zip"
MOST_PHRASES = 2_000  # of one intent, by Dialogflow's limits
# "usersays" and "entries" tell an agent's files apart.
_NOT_IN_NAMES = re.compile(r"(?i)[^\w .-]+|usersays")
_NOT_IN_ENTITIES = re.compile(r"(?i)[^A-Za-z0-9_-]+|entries")
# One archive for one bot, however often it is written.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SPACE = uuid.UUID("6b0f3c52-5d3c-4a7e-9d0b-0c6a3b6f7f11")
_CODES = {"zh": "zh-cn", "pt": "pt-br"}  # the console's own spelling of languages


def export_dialogflow(
    texts: Sequence[str],
    labels: Sequence[str],
    book: AnswerBook,
    output: Path,
    kept: Kept = Kept(),
) -> Exported:
    """Write `agent.zip` into the folder `output`.

    Raises: DataError when it cannot be written.
    """
    asked: dict[str, dict[str, tuple[Entity, ...]]] = {label: {} for label in labels}
    for row, (text, label) in enumerate(zip(texts, labels, strict=True)):
        asked[label].setdefault(text, kept.of(row))
    every = list(dict.fromkeys((*asked, *(answer.label for answer in book.answers))))
    names = safe_names(every, _NOT_IN_NAMES)
    languages = list(dict.fromkeys(code for a in book.answers for code in a.texts)) or ["en"]
    main = "en" if "en" in languages else languages[0]
    files: dict[str, Any] = {
        "agent.json": _agent(main, languages),
        "package.json": {"version": "1.0.0"},
        MARKS_FILE: _marks(names, book),
    }
    listed = (*kept.kinds.get("lookups", {}), *kept.kinds.get("regexes", {}))
    types = {slot_name(each): f"@{_entity_name(each)}" for each in listed if each not in asked}
    for label, name in names.items():
        files[f"intents/{name}.json"] = _intent(name, book.by_label.get(label), types)
        for text, entities in asked.get(label, {}).items():
            spoken = detect_language(text)
            code = spoken if spoken in languages else main
            phrases = files.setdefault(f"intents/{name}_usersays_{_code(code)}.json", [])
            phrases.append(_phrase(text, entities, code))
    files |= _entities(kept, asked, main)
    _write(files, output / AGENT_FILE)
    return Exported(
        "Dialogflow ES", sum(map(len, asked.values())), len(asked), len(book.answers),
        str(output / AGENT_FILE), tuple(_notes(asked, book)),
    )  # fmt: skip


def _notes(asked: Mapping[str, Mapping[str, object]], book: AnswerBook) -> Iterator[str]:
    if conditional := conditional_variants(book):
        yield f"{conditional} variants have a condition, which Dialogflow does not heed"
    large = [label for label, phrases in asked.items() if len(phrases) > MOST_PHRASES]
    if large:
        yield (
            f"{len(large)} intents have more than {MOST_PHRASES:,} phrases, which Dialogflow takes "
            f"at most, such as {large[0]}"
        )


def _write(files: Mapping[str, Any], path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            text = json.dumps(content, ensure_ascii=False, indent=2)
            archive.writestr(
                zipfile.ZipInfo(name, _EPOCH), text, compress_type=zipfile.ZIP_DEFLATED
            )
    try:
        with replacing(path) as part:
            part.write_bytes(stream.getvalue())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None


def _code(language: str) -> str:
    return _CODES.get(language, language)


def _id(*words: str) -> str:
    return str(uuid.uuid5(_SPACE, "\n".join(words)))


def _agent(main: str, languages: Sequence[str]) -> dict[str, Any]:
    return {
        "description": "", "language": _code(main),
        "supportedLanguages": [_code(code) for code in languages if code != main],
        "shortDescription": "", "examples": "", "linkToDocs": "",
        "disableInteractionLogs": False, "disableStackdriverLogs": True,
        "defaultTimezone": "Etc/UTC", "isPrivate": True, "mlMinConfidence": 0.3,
        "enableOnePlatformApi": True,
    }  # fmt: skip


def _marks(names: Mapping[str, str], book: AnswerBook) -> dict[str, Any]:
    return {
        "intents": {name: {"label": label} for label, name in names.items()},
        "answers": {
            answer.label: {
                "titles": dict(answer.titles),
                "texts": {code: list(several) for code, several in answer.texts.items()},
            }
            for answer in book.answers
        },
    }


def _intent(name: str, answer: Answer | None, types: Mapping[str, str]) -> dict[str, Any]:
    """types: slot -> the entity that fills it, of those that have a list."""
    texts = answer.texts if answer else {}
    messages = [
        {
            "type": "0", "title": "", "textToSpeech": "", "lang": _code(language),
            "speech": list(messages_of(several)), "condition": "",
        }
        for language, several in texts.items()
    ]  # fmt: skip
    slots = dict.fromkeys(s for several in texts.values() for t in several for s in slots_in(t))
    parameters = [
        {
            "id": _id("parameter", name, slot), "name": slot,
            "dataType": types.get(slot, "@sys.any"),
            "value": f"${slot}", "required": False, "isList": False, "prompts": [],
            "promptMessages": [], "noMatchPromptMessages": [], "noInputPromptMessages": [],
            "outputDialogContexts": [],
        }
        for slot in slots
    ]  # fmt: skip
    response = {
        "resetContexts": False, "action": "", "affectedContexts": [], "parameters": parameters,
        "messages": messages, "speech": [],
    }  # fmt: skip
    return {
        "id": _id("intent", name), "name": name, "auto": True, "contexts": [],
        "responses": [response], "priority": 500_000, "webhookUsed": False,
        "webhookForSlotFilling": False, "fallbackIntent": False, "events": [],
        "conditionalResponses": [], "condition": "", "conditionalFollowupEvents": [],
    }  # fmt: skip


def _phrase(text: str, entities: Sequence[Entity], language: str) -> dict[str, Any]:
    data: list[dict[str, Any]] = []
    at = 0
    for each in sorted(entities, key=lambda entity: entity.start):
        if each.start < at or each.end > len(text):
            continue
        if each.start > at:
            data.append({"text": text[at : each.start], "userDefined": False})
        name = _entity_name(each.properties["entity"])
        alias = each.properties.get("role", name)
        span = text[each.start : each.end]
        data.append({"text": span, "alias": alias, "meta": f"@{name}", "userDefined": True})
        at = each.end
    if at < len(text):
        data.append({"text": text[at:], "userDefined": False})
    return {
        "id": _id("phrase", text), "data": data, "isTemplate": False, "count": 0,
        "lang": _code(language), "updated": 0,
    }  # fmt: skip


def _entity_name(name: str) -> str:
    """As Dialogflow takes it; its own, @sys.date, stay as they are."""
    if name.startswith("sys."):
        return name
    return _NOT_IN_ENTITIES.sub("_", name)[:30].strip("_") or "entity"


def _entities(
    kept: Kept, asked: Mapping[str, Mapping[str, Sequence[Entity]]], main: str
) -> dict[str, Any]:
    """Files of the entities: those of lookups and regular expressions, and those that phrases name,
    for Dialogflow refuses a phrase whose entity it does not know."""
    values: dict[str, dict[str, None]] = {}
    patterns = {_entity_name(n): v for n, v in kept.kinds.get("regexes", {}).items()}
    for name, several in kept.kinds.get("lookups", {}).items():
        values.setdefault(_entity_name(name), {}).update(dict.fromkeys(several))
    for phrases in asked.values():
        for text, entities in phrases.items():
            for each in entities:
                name = _entity_name(each.properties["entity"])
                if name.startswith("sys.") or name in patterns:
                    continue
                own = each.properties.get("value", text[each.start : each.end])
                known = values.setdefault(name, {})
                if not kept.kinds.get("lookups", {}).get(each.properties["entity"]):
                    known[own] = None
    synonyms = kept.kinds.get("synonyms", {})
    files: dict[str, Any] = {}
    for name, several in {**{n: tuple(v) for n, v in values.items()}, **patterns}.items():
        regular = name in patterns
        files[f"entities/{name}.json"] = {
            "id": _id("entity", name), "name": name, "isOverridable": True, "isEnum": False,
            "isRegexp": regular, "automatedExpansion": not regular, "allowFuzzyExtraction": False,
        }  # fmt: skip
        files[f"entities/{name}_entries_{_code(main)}.json"] = [
            {"value": value, "synonyms": [value] if regular else
             list(dict.fromkeys((value, *synonyms.get(value, ()))))}
            for value in several
        ]  # fmt: skip
    return files
