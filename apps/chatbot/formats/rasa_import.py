"""A Rasa 3 bot as examples and answers.

An intent's answer is the response `utter_<intent>`, or the first response that a rule or story
gives right after it. Retrieval intents (`faq/x`) keep their whole name and take `utter_faq/x`.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.chatbot.answers import Answer, AnswerBook, readable
from apps.chatbot.conditions import Variant
from apps.chatbot.formats.kept import Buttons, Kept, as_json, lines_of
from apps.chatbot.formats.rasa_conditions import MARK, condition_of
from apps.chatbot.formats.rasa_files import (
    RasaFile,
    example_lines,
    rasa_files,
    without_annotations,
)
from apps.chatbot.formats.taken import TakenBot, write_taken
from apps.chatbot.formats.templates import as_template, sound
from apps.chatbot.formats.yaml_files import list_of, mapping_under
from apps.chatbot.mining.intent_names import title_of
from shared.errors import DataError
from shared.text import detect_language

_RASA_SLOT = re.compile(r"(?<!\{)\{([A-Za-z_][\w.-]{0,60})\}(?!\})")


@dataclass
class _Found:
    """What is gathered file by file."""

    examples: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    responses: dict[str, list[Any]] = field(default_factory=dict)
    titles: dict[str, dict[str, str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # Rasa's intent -> our label
    kinds: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    actions: dict[str, Counter[str]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)  # slots' initial values
    buttons: list[Buttons] = field(default_factory=list)
    repeated: int = 0
    notes: Counter[str] = field(default_factory=Counter)


def read_rasa(folder: Path) -> TakenBot:
    """Read a bot's folder.

    Raises: DataError when it cannot be read, or has no example.
    """
    found = _Found()
    for file in rasa_files(folder):
        _take_nlu(file, found)
        for name, several in mapping_under(file.content, "responses").items():
            found.responses.setdefault(str(name), several if isinstance(several, list) else [])
        for name, slot in mapping_under(file.content, "slots").items():
            if isinstance(slot, Mapping) and isinstance(value := slot.get("initial_value"), str):
                found.values[str(name)] = value
        for story in [*list_of(file.content, "rules"), *list_of(file.content, "stories")]:
            _take_story(story, found)
    if not found.examples:
        raise DataError(f"{folder}: no example of an intent in its files (nlu: - intent: …)")
    if found.repeated:
        found.notes["examples that stand twice under one intent were taken once"] = found.repeated
    label_of = {intent: found.names.get(intent, intent) for _, intent in found.examples}
    book, unanswered = _book(found, list(dict.fromkeys(label_of)))
    keys = list(found.examples)
    return TakenBot(
        "Rasa",
        tuple(text for text, _ in keys),
        tuple(label_of[intent] for _, intent in keys),
        tuple(found.examples[key][0] for key in keys),
        book,
        Kept(
            tuple(found.examples[key][1] for key in keys),
            {kind: {n: tuple(v) for n, v in named.items()} for kind, named in found.kinds.items()},
            tuple(found.buttons),
        ),
        unanswered=tuple(label_of[intent] for intent in unanswered),
        notes=tuple(f"{count} {note}" for note, count in found.notes.most_common()),
    )


def import_rasa(folder: Path, output: Path) -> TakenBot:
    """Write a bot's examples, answers, entities and a report into the folder `output`.

    Raises: DataError as `read_rasa` does, and when a file cannot be written.
    """
    return write_taken(read_rasa(folder), output, folder)


def _take_nlu(file: RasaFile, found: _Found) -> None:
    for entry in list_of(file.content, "nlu"):
        if not isinstance(entry, Mapping):
            continue
        for kind in ("synonym", "lookup", "regex"):
            if isinstance(name := entry.get(kind), str):
                named = found.kinds.setdefault(f"{kind}s" if kind != "regex" else "regexes", {})
                named.setdefault(name.strip(), []).extend(example_lines(entry.get("examples")))
        if isinstance(intent := entry.get("intent"), str):
            _take_intent(intent.strip(), entry, file, found)


def _take_intent(intent: str, entry: Mapping[str, Any], file: RasaFile, found: _Found) -> None:
    own = mapping_under(mapping_under(entry, "metadata"), MARK)
    if isinstance(label := own.get("label"), str):
        found.names[intent] = label
    titles = {str(k): v for k, v in mapping_under(own, "titles").items() if isinstance(v, str)}
    if titles:
        found.titles[intent] = titles
    lines = example_lines(entry.get("examples"))
    for line in lines:
        text, entities = without_annotations(line)
        if (text, intent) in found.examples:
            found.repeated += 1
            continue
        found.examples[text, intent] = (str(file.path), as_json(entities))


def _take_story(story: Any, found: _Found) -> None:
    """The first response after each intent that opens a rule or story."""
    if not isinstance(story, Mapping):
        return
    opening: list[str] = []
    for step in list_of(story, "steps"):
        if not isinstance(step, Mapping):
            continue
        if isinstance(step.get("or"), list):
            opening = [s["intent"] for s in step["or"] if isinstance(s, Mapping) and "intent" in s]
        elif isinstance(step.get("intent"), str):
            if opening:
                return  # what is said later depends on what was said before
            opening = [step["intent"]]
        elif opening and (action := str(step.get("action"))).startswith("utter_"):
            weight = 1_000 if "rule" in story and not story.get("condition") else 1
            for intent in opening:
                found.actions.setdefault(intent.strip(), Counter())[action] += weight
            return


def _book(found: _Found, intents: Sequence[str]) -> tuple[AnswerBook, list[str]]:
    """The answers of the intents, and the intents that have none. Retrieval responses without an
    example are answers too: they are found by their meaning."""
    extra = [
        name.removeprefix("utter_") for name in found.responses
        if "/" in name and name.startswith("utter_") and name.removeprefix("utter_") not in intents
    ]  # fmt: skip
    answers, unanswered = [], []
    for intent in [*intents, *extra]:
        label = found.names.get(intent, intent)
        texts = _texts(_response_of(intent, found), label, found)
        if not texts:
            unanswered.append(intent)
            continue
        titles = found.titles.get(intent) or {next(iter(texts)): _title(intent, label, found)}
        answers.append(Answer(label, titles, {k: tuple(v) for k, v in texts.items()}))
    return AnswerBook(tuple(answers)), unanswered


def _title(intent: str, label: str, found: _Found) -> str:
    """What a button says. A retrieval intent is a question, and its name often a developer's
    (`faq/ask_howbuilt`): a customer's words say more."""
    name = readable(label.split("/")[-1])
    if "/" not in intent:
        return name
    return title_of([text for text, own in found.examples if own == intent], name)


def _response_of(intent: str, found: _Found) -> list[Any]:
    ranked = found.actions.get(intent, Counter()).most_common()
    names = [f"utter_{intent}", *(name for name, _ in ranked)]
    return next((found.responses[name] for name in names if found.responses.get(name)), [])


def _texts(variants: Sequence[Any], label: str, found: _Found) -> dict[str, list[str]]:
    """Language -> variants. Those for one channel, or with a condition that ours cannot say, are
    used where there are no others."""
    usable = [v for v in variants if isinstance(v, Mapping) and isinstance(v.get("text"), str)]
    for key in ("condition", "channel"):
        plain = [variant for variant in usable if not _foreign(variant, key)]
        if len(plain) < len(usable):
            found.notes[f"responses have a {key}, which is not kept"] += len(usable) - len(plain)
            usable = plain or usable
    texts: dict[str, list[str]] = {}
    for variant in usable:
        own = mapping_under(mapping_under(variant, "metadata"), MARK)
        template = own.get("template") if isinstance(own.get("template"), str) else None
        if template is not None and not sound(template):
            template = None
        choices = _choices(variant)
        template = template or _template(variant, choices, found)
        if choices and template.endswith(lines_of(choices)):
            found.notes["responses have buttons, kept as lines of text"] += 1
            found.buttons.append(Buttons(label, template, choices))
        language = own.get("language")
        if not isinstance(language, str):
            guess = detect_language(template)
            language = "en" if guess == "und" else guess
        if not template:
            continue
        condition = condition_of(variant)
        kept = condition if condition is not None and condition.terms else None
        written = Variant(template, kept).written
        if written not in texts.setdefault(language, []):
            texts[language].append(written)
    return {language: several for language, several in texts.items() if several}


def _foreign(variant: Mapping[str, Any], key: str) -> bool:
    return condition_of(variant) is None if key == "condition" else bool(variant.get(key))


def _template(variant: Mapping[str, Any], choices: Sequence[tuple[str, str]], found: _Found) -> str:
    """A response's text with our spelling of slots; its buttons as lines below it."""
    if variant.get("image") or variant.get("custom") or variant.get("attachment"):
        found.notes[
            "responses have a picture, an attachment or custom data, which is not kept"
        ] += 1
    text, stray = as_template(variant["text"].strip(), _RASA_SLOT, found.values)
    if stray:
        found.notes["responses have braces that are no slot, written as round brackets"] += 1
    return text + lines_of(choices)


def _choices(variant: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The titles and payloads of a response's buttons."""
    choices = []
    for button in list_of(variant, "buttons"):
        if isinstance(button, Mapping) and isinstance(title := button.get("title"), str):
            shown, _ = as_template(" ".join(title.split()), None, {})
            payload = button.get("payload")
            if shown:
                choices.append((shown, payload if isinstance(payload, str) else shown))
    return tuple(choices)
