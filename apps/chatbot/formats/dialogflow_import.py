"""A Dialogflow ES agent, as its zip export holds it, as examples and answers.

Read are intents/NAME.json with intents/NAME_usersays_LANGUAGE.json, and entities/NAME.json with
entities/NAME_entries_LANGUAGE.json. What our own export adds in MARKS_FILE (labels, titles,
templates as they were) is believed where the agent still says the same.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.chatbot.answers import Answer, AnswerBook, readable
from apps.chatbot.formats.archives import json_members
from apps.chatbot.formats.dialogflow_spelling import MARKS_FILE, PARAMETER, messages_of
from apps.chatbot.formats.kept import Buttons, Entity, Kept, as_json, lines_of
from apps.chatbot.formats.taken import TakenBot, write_taken
from apps.chatbot.formats.templates import as_template, sound
from shared.errors import DataError

_USERSAYS = re.compile(r"(?P<name>.+)_usersays_(?P<language>[A-Za-z-]{2,12})\.json")
_ENTRIES = re.compile(r"(?P<name>.+)_entries_(?P<language>[A-Za-z-]{2,12})\.json")
_TEXT, _QUICK_REPLIES = "0", "2"


@dataclass
class _Found:
    """What is gathered file by file; names are the agent's."""

    intents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    phrases: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)  # (file, phrases)
    entities: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    entries: dict[str, list[Any]] = field(default_factory=dict)
    marks: Mapping[str, Any] = field(default_factory=dict)
    buttons: list[Buttons] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


def import_dialogflow(path: Path, output: Path) -> TakenBot:
    """Write an agent's examples, answers, entities and a report into the folder `output`.

    Raises: DataError when the archive cannot be read, or has no example.
    """
    return write_taken(read_dialogflow(path), output, path)


def read_dialogflow(path: Path) -> TakenBot:
    """Raises: DataError as `import_dialogflow`."""
    found = _gathered(path)
    rows: dict[tuple[str, str], tuple[str, str]] = {}
    refused: dict[str, None] = {}
    labels: list[str] = []
    answers = []
    for name, intent in found.intents.items():
        label = _label(name, found)
        several = list(_examples(name, found))
        if intent.get("fallbackIntent") is True:
            refused.update({text: None for text, _, _ in several})
            found.notes["fallback intents: their phrases are to be refused"] += bool(several)
            continue
        if intent.get("contexts"):
            found.notes["intents follow another one only; here they stand alone"] += 1
        labels += [label] if several else []
        for text, entities, file in several:
            rows.setdefault((text, label), (file, as_json(entities)))
        if texts := _texts(label, intent, found):
            answers.append(Answer(label, _titles(label, texts, found), texts))
    if not rows:
        raise DataError(f"{path}: no training phrase in it (intents/*_usersays_*.json)")
    answered = {answer.label for answer in answers}
    shown = tuple(entities for _, entities in rows.values())
    return TakenBot(
        "Dialogflow ES",
        tuple(text for text, _ in rows), tuple(label for _, label in rows),
        tuple(file for file, _ in rows.values()), AnswerBook(tuple(answers)),
        Kept(shown if any(shown) else (), _kinds(found), tuple(found.buttons)),
        tuple(refused), tuple(label for label in labels if label not in answered),
        tuple(f"{count} {note}" for note, count in found.notes.most_common() if count),
    )  # fmt: skip


def _gathered(path: Path) -> _Found:
    found = _Found()
    for member in json_members(path, ("intents", "entities")):
        where, content = "/".join(member.path), member.content
        folder, name = member.path[0], member.path[-1]
        if where == MARKS_FILE and isinstance(content, dict):
            found.marks = content
        elif folder == "intents" and (match := _USERSAYS.fullmatch(name)):
            found.phrases.setdefault(match["name"], []).append((where, content))
        elif folder == "entities" and (match := _ENTRIES.fullmatch(name)):
            found.entries.setdefault(match["name"], []).append(content)
        elif folder in ("intents", "entities") and len(member.path) == 2:
            if not isinstance(content, dict):
                raise DataError(f"{path}: {where}: expected an object")
            known = found.intents if folder == "intents" else found.entities
            known[name.removesuffix(".json")] = content
    return found


def _label(name: str, found: _Found) -> str:
    own = _dict(_dict(found.marks.get("intents")).get(name))
    label = own.get("label")
    if isinstance(label, str) and label.strip():
        return label
    given = found.intents[name].get("name")
    return given.strip() if isinstance(given, str) and given.strip() else name


def _examples(name: str, found: _Found) -> Iterator[tuple[str, tuple[Entity, ...], str]]:
    """(text, entities, file) of each training phrase."""
    for file, phrases in found.phrases.get(name, []):
        for phrase in phrases if isinstance(phrases, list) else []:
            if not isinstance(phrase, dict):
                continue
            if phrase.get("isTemplate") is True:
                found.notes["phrases name entities instead of words (@entity:name), left out"] += 1
                continue
            text, entities = _phrase(phrase.get("data"))
            if text.strip():
                yield text, entities, file


def _phrase(data: Any) -> tuple[str, tuple[Entity, ...]]:
    text, entities = "", []
    for part in data if isinstance(data, list) else []:
        if not isinstance(part, dict) or not isinstance(said := part.get("text"), str):
            continue
        meta, alias = part.get("meta"), part.get("alias")
        if isinstance(meta, str) and meta.startswith("@") and meta != "@sys.ignore" and said:
            name = meta.removeprefix("@")
            properties = {"entity": name}
            if isinstance(alias, str) and alias and alias != name:
                properties["role"] = alias
            entities.append(Entity(len(text), len(text) + len(said), properties))
        text += said
    begin = len(text) - len(text.lstrip())
    return text.strip(), tuple(
        Entity(e.start - begin, e.end - begin, e.properties) for e in entities
        if e.start >= begin and e.end - begin <= len(text.strip())
    )  # fmt: skip


def _texts(label: str, intent: Mapping[str, Any], found: _Found) -> dict[str, tuple[str, ...]]:
    """Language -> templates, of the messages that are for no platform of their own."""
    responses = intent.get("responses")
    messages = [
        message
        for response in (responses if isinstance(responses, list) else [])
        for message in _list(_dict(response).get("messages"))
        if isinstance(message, dict)
    ]
    plain = [message for message in messages if not message.get("platform")] or messages
    said: dict[str, list[str]] = {}
    choices: dict[str, tuple[tuple[str, str], ...]] = {}
    for message in plain:
        kind, language = str(message.get("type", "0")), _language(message.get("lang"))
        if kind == _TEXT:
            speech = message.get("speech")
            several = [speech] if isinstance(speech, str) else _list(speech)
            kept = [text.strip() for text in several if isinstance(text, str) and text.strip()]
            said.setdefault(language, []).extend(kept)
        elif kind == _QUICK_REPLIES:
            titles = (t for t in _list(message.get("replies")) if isinstance(t, str) and t.strip())
            plain_titles = (as_template(" ".join(t.split()), None, {})[0] for t in titles)
            choices[language] = tuple((title, title) for title in plain_titles)
        else:
            found.notes["messages are cards, pictures or payloads, which are not kept"] += 1
    if (own := _believed(label, said, found)) is not None:
        return own
    return {
        language: tuple(_templates(label, texts, choices.get(language, ()), found))
        for language, texts in said.items()
        if texts
    }


def _templates(
    label: str, texts: Sequence[str], choices: tuple[tuple[str, str], ...], found: _Found
) -> Iterator[str]:
    for text in dict.fromkeys(texts):
        template, stray = as_template(text, PARAMETER, {})
        if stray:
            found.notes["responses have braces, written as round brackets"] += 1
        if choices:
            template += lines_of(choices)
            found.notes["responses have quick replies, kept as lines of text"] += 1
            found.buttons.append(Buttons(label, template, choices))
        yield template


def _believed(
    label: str, said: Mapping[str, Sequence[str]], found: _Found
) -> dict[str, tuple[str, ...]] | None:
    """The templates of our own export, if the agent says what they would have made it say."""
    own = _dict(_dict(found.marks.get("answers")).get(label)).get("texts")
    texts = {
        str(language): tuple(t for t in _list(several) if isinstance(t, str) and sound(t))
        for language, several in _dict(own).items()
    }
    if not texts or not all(texts.values()):
        return None
    made = {code: list(messages_of(several)) for code, several in texts.items()}
    return texts if made == {code: list(several) for code, several in said.items()} else None


def _titles(label: str, texts: Mapping[str, Any], found: _Found) -> dict[str, str]:
    own = _dict(_dict(found.marks.get("answers")).get(label)).get("titles")
    titles = {str(k): v for k, v in _dict(own).items() if isinstance(v, str) and v.strip()}
    return titles or {next(iter(texts)): readable(label.split("/")[-1])}


def _kinds(found: _Found) -> dict[str, dict[str, tuple[str, ...]]]:
    """Entities as lookups (their values), synonyms and regular expressions."""
    lookups: dict[str, tuple[str, ...]] = {}
    synonyms: dict[str, tuple[str, ...]] = {}
    regexes: dict[str, tuple[str, ...]] = {}
    for name, parts in found.entries.items():
        entries = [
            (each["value"], tuple(s for s in _list(each.get("synonyms")) if isinstance(s, str)))
            for part in parts
            for each in _list(part)
            if isinstance(each, dict) and isinstance(each.get("value"), str)
        ]
        values = tuple(dict.fromkeys(value for value, _ in entries))
        if found.entities.get(name, {}).get("isRegexp") is True:
            regexes[name] = values
            continue
        lookups[name] = values
        for value, several in entries:
            if others := tuple(s for s in several if s != value):
                synonyms[value] = tuple(dict.fromkeys((*synonyms.get(value, ()), *others)))
    kinds = {"lookups": lookups, "synonyms": synonyms, "regexes": regexes}
    return {kind: named for kind, named in kinds.items() if named}


def _language(given: Any) -> str:
    return given.split("-")[0].lower() if isinstance(given, str) and given else "en"


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
