"""A Rasa 3 bot as examples and answers.

An intent's answer is the response `utter_<intent>`, or the first response that a rule or story
gives right after it. Retrieval intents (`faq/x`) keep their whole name and take `utter_faq/x`.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from apps.chatbot.answers import Answer, AnswerBook, lint, readable, write_answers
from apps.chatbot.formats.rasa_files import (
    RasaFile,
    example_lines,
    list_of,
    mapping_under,
    rasa_files,
    without_annotations,
)
from apps.chatbot.mining.import_report import ANSWERS_FILE, EXAMPLES_FILE, REPORT_FILE, rasa_page
from shared.atomic import write_text
from shared.errors import DataError
from shared.tables import write_table
from shared.text import detect_language

ENTITIES_FILE = "entities.yml"
# Metadata of our own exports, by which they come back as they were.
MARK = "triptych"
_RASA_SLOT = re.compile(r"(?<!\{)\{([A-Za-z_][\w.-]{0,60})\}(?!\})")


@dataclass(frozen=True)
class RasaBot:
    """What an import of a Rasa bot found. texts, labels: the examples; files: where they stand;
    entities: as JSON. kinds: synonyms, lookups, regexes: name -> values."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    files: tuple[str, ...]
    entities: tuple[str, ...]
    book: AnswerBook
    kinds: Mapping[str, Mapping[str, tuple[str, ...]]]
    unanswered: tuple[str, ...]
    notes: tuple[str, ...]
    output: str = ""

    @property
    def words(self) -> str:
        return (
            f"{len(self.texts):,} examples of {len(set(self.labels)):,} intents, "
            f"{len(self.book.answers):,} answers; {len(self.unanswered):,} intents without an "
            f"answer"
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "examples": len(self.texts),
            "intents": sorted(set(self.labels)),
            "answers": [answer.label for answer in self.book.answers],
            "unanswered": list(self.unanswered),
            "notes": list(self.notes),
            "output": self.output,
        }


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
    repeated: int = 0
    notes: Counter[str] = field(default_factory=Counter)


def read_rasa(folder: Path) -> RasaBot:
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
    return RasaBot(
        tuple(text for text, _ in keys),
        tuple(label_of[intent] for _, intent in keys),
        tuple(found.examples[key][0] for key in keys),
        tuple(found.examples[key][1] for key in keys),
        book,
        {kind: {n: tuple(v) for n, v in named.items()} for kind, named in found.kinds.items()},
        tuple(label_of[intent] for intent in unanswered),
        tuple(f"{count} {note}" for note, count in found.notes.most_common()),
    )


def import_rasa(folder: Path, output: Path) -> RasaBot:
    """Write a bot's examples, answers, entities and a report into the folder `output`.

    Raises: DataError as `read_rasa` does, and when a file cannot be written.
    """
    bot = read_rasa(folder)
    (output / REPORT_FILE).unlink(missing_ok=True)
    columns = {"text": bot.texts, "label": bot.labels, "file": bot.files, "entities": bot.entities}
    write_table(pd.DataFrame(columns), output / EXAMPLES_FILE)
    write_answers(bot.book, output / ANSWERS_FILE)
    kinds = {kind: {n: list(v) for n, v in named.items()} for kind, named in bot.kinds.items()}
    write_text(output / ENTITIES_FILE, yaml.safe_dump(kinds, allow_unicode=True, width=100))
    write_text(output / REPORT_FILE, rasa_page(bot, folder))
    return replace(bot, output=str(output))


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
        shown = json.dumps([asdict(each) for each in entities], ensure_ascii=False)
        found.examples[text, intent] = (str(file.path), shown if entities else "")


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
        texts = _texts(_response_of(intent, found), found)
        if not texts:
            unanswered.append(intent)
            continue
        label = found.names.get(intent, intent)
        titles = found.titles.get(intent) or {next(iter(texts)): readable(label.split("/")[-1])}
        answers.append(Answer(label, titles, {k: tuple(v) for k, v in texts.items()}))
    return AnswerBook(tuple(answers)), unanswered


def _response_of(intent: str, found: _Found) -> list[Any]:
    ranked = found.actions.get(intent, Counter()).most_common()
    names = [f"utter_{intent}", *(name for name, _ in ranked)]
    return next((found.responses[name] for name in names if found.responses.get(name)), [])


def _texts(variants: Sequence[Any], found: _Found) -> dict[str, list[str]]:
    """Language -> templates. Variants with a condition or for one channel are used where there are
    no others."""
    usable = [v for v in variants if isinstance(v, Mapping) and isinstance(v.get("text"), str)]
    for key in ("condition", "channel"):
        plain = [variant for variant in usable if not variant.get(key)]
        if len(plain) < len(usable):
            found.notes[f"responses have a {key}, which is not kept"] += len(usable) - len(plain)
            usable = plain or usable
    texts: dict[str, list[str]] = {}
    for variant in usable:
        own = mapping_under(mapping_under(variant, "metadata"), MARK)
        template = own.get("template") if isinstance(own.get("template"), str) else None
        if template is not None and not _sound(template):
            template = None
        template = template or _template(variant, found)
        language = own.get("language")
        if not isinstance(language, str):
            guess = detect_language(template)
            language = "en" if guess == "und" else guess
        if template and template not in texts.setdefault(language, []):
            texts[language].append(template)
    return {language: several for language, several in texts.items() if several}


def _sound(template: str) -> bool:
    try:
        lint(template, "")
    except DataError:
        return False
    return True


def _template(variant: Mapping[str, Any], found: _Found) -> str:
    """A response's text with our spelling of slots; its buttons as lines below it."""
    text = variant["text"].strip()
    buttons = [b.get("title") for b in list_of(variant, "buttons") if isinstance(b, Mapping)]
    titles = [title.strip() for title in buttons if isinstance(title, str) and title.strip()]
    if titles:
        found.notes["responses have buttons, kept as lines of text"] += 1
        text = "\n".join([text, *(f"- {title}" for title in titles)])
    if variant.get("image") or variant.get("custom") or variant.get("attachment"):
        found.notes[
            "responses have a picture, an attachment or custom data, which is not kept"
        ] += 1

    def slot(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in found.values:
            return found.values[name].replace("{", "(").replace("}", ")")
        return "\0" + re.sub(r"[^a-z0-9_]", "_", name.lower()).lstrip("_0123456789") + "\1"

    text = _RASA_SLOT.sub(slot, text)
    if re.search(r"[{}]|\[\[|\]\]", text):
        found.notes["responses have braces that are no slot, written as round brackets"] += 1
        text = text.replace("{", "(").replace("}", ")").replace("[[", "[ [").replace("]]", "] ]")
    return text.replace("\0\1", "").replace("\0", "{").replace("\1", "}")
