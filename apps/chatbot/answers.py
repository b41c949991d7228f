"""Answer templates: what may be said, and how a template becomes a sentence for one customer.

A template is text with slots, `{order_id}`, and optional parts, `[[It arrives on {date}.]]`, which
are left out when one of their slots is unknown. A brace never reaches a customer: a template whose
slots are not all known is not rendered, the missing slot is asked for. A variant of a template may
have a condition, see conditions.py.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from apps.chatbot.answer_yaml import AnswerRow, yaml_of, yaml_rows
from apps.chatbot.conditions import MARK, Variant, read_variant, template_of, variant_of
from apps.chatbot.phrases import DEFAULT_LANGUAGE
from shared.atomic import write_text
from shared.errors import DataError, ModelError
from shared.tables import Column, read_table
from shared.text import detect_language

T = TypeVar("T")
ANSWERS_FILE = "answers.json"  # in a model's folder
# Slots of this beginning hold what only the firm knows (a delivery date, a sum to be refunded): a
# customer is never asked for them.
OURS = "our_"

_SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_OPTIONAL = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
# What is left of a broken slot: an unclosed or badly named brace.
_STRAY = re.compile(r"[{}]|\[\[|\]\]")


@dataclass(frozen=True)
class Answer:
    """One thing the bot may say.

    label: the intent it answers; an answer that came without one is named by how it begins.
    titles: language -> how a customer would call it; texts: language -> variants as they are
    written, with their conditions. Each has at least one language.
    """

    label: str
    titles: Mapping[str, str]
    texts: Mapping[str, tuple[str, ...]]

    def title(self, language: str = DEFAULT_LANGUAGE) -> str:
        return _in_language(self.titles, language)

    @property
    def templates(self) -> tuple[str, ...]:
        """All templates in all languages, whatever their conditions."""
        return tuple(template_of(each) for several in self.texts.values() for each in several)

    def variants(self, language: str = DEFAULT_LANGUAGE) -> tuple[str, ...]:
        """The templates in `language`, else in English, else in any language there is; whatever
        their conditions."""
        return tuple(map(template_of, _in_language(self.texts, language)))

    def template(self, language: str = DEFAULT_LANGUAGE) -> str:
        """The first of the variants without a condition, else the first of all."""
        several = [variant_of(each) for each in _in_language(self.texts, language)]
        return next((v for v in several if v.condition is None), several[0]).template

    def fitting(
        self, language: str, slots: Mapping[str, str], *, open_now: bool
    ) -> tuple[Variant, ...]:
        """The variants that may be said now: those whose condition holds, else those without one.

        In `language`; where none there may be said, in English, then in any other. None at all
        where every variant has a condition and none of them holds.
        """
        for code in dict.fromkeys((language, DEFAULT_LANGUAGE, *self.texts)):
            several = [variant_of(each) for each in self.texts.get(code, ())]
            held = [
                v for v in several if v.condition and v.condition.holds(slots, open_now=open_now)
            ]
            if found := held or [v for v in several if v.condition is None]:
                return tuple(found)
        return ()


@dataclass(frozen=True)
class AnswerBook:
    """All answers of a bot; `by_label` finds the one of an intent."""

    answers: tuple[Answer, ...] = ()
    by_label: Mapping[str, Answer] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_label", {answer.label: answer for answer in self.answers})

    def beyond(self, labels: Iterable[str]) -> tuple[Answer, ...]:
        """Answers to none of these intents: no example asks for them, they are found by meaning."""
        known = set(labels)
        return tuple(answer for answer in self.answers if answer.label not in known)

    def title(self, label: str, language: str = DEFAULT_LANGUAGE) -> str:
        answer = self.by_label.get(label)
        return answer.title(language) if answer else readable(label)

    def save(self, path: Path) -> None:
        rows = [asdict(answer) for answer in self.answers]
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "AnswerBook":
        """Raises ModelError when the file is missing or not what `save` writes."""
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(_answer(row["label"], row["titles"], row["texts"]) for row in rows))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path}: not a readable answer file ({error})") from error


def conditional_variants(book: AnswerBook) -> int:
    """How many variants have a condition."""
    written = (each for a in book.answers for several in a.texts.values() for each in several)
    return sum(variant_of(each).condition is not None for each in written)


def readable(label: str) -> str:
    """`card_not-working` -> `Card not working`."""
    words = re.sub(r"[_\-/.]+", " ", label).strip()
    return words[:1].upper() + words[1:]


def _in_language(several: Mapping[str, T], language: str) -> T:
    for candidate in (language, DEFAULT_LANGUAGE):
        if candidate in several:
            return several[candidate]
    return next(iter(several.values()))


def slots_of(template: str) -> tuple[str, ...]:
    """Names of the slots a template must have filled: those outside its optional parts."""
    return tuple(dict.fromkeys(_SLOT.findall(_OPTIONAL.sub("", template))))


def slots_in(template: str) -> tuple[str, ...]:
    """Names of all the slots of a template, each once."""
    return tuple(dict.fromkeys(_SLOT.findall(template)))


def is_ours(slot: str) -> bool:
    """Whether only the firm can fill the slot."""
    return slot.startswith(OURS)


def lint(written: str, where: str) -> None:
    """Raises DataError when the condition of a variant cannot be read, or a brace or bracket in its
    template is not part of a slot."""
    try:
        template = read_variant(written).template
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    rest = _SLOT.sub("", _OPTIONAL.sub(r"\1", template))
    if stray := _STRAY.search(rest):
        raise DataError(
            f"{where}: the template {template[:60]!r} has a stray {stray.group()!r}; slots are "
            "written {order_id}: small letters, digits and _, optional parts [[like this]]"
        )


@dataclass(frozen=True)
class Rendered:
    """text is None while a slot is missing; then `missing` names the first one to ask for."""

    text: str | None
    missing: str | None


def render(template: str, slots: Mapping[str, str]) -> Rendered:
    """Fill a template. Optional parts with an unknown slot vanish; other unknown slots are missing.

    Values are inserted as they are and never read as templates again.
    """

    def optional(match: re.Match[str]) -> str:
        part = match.group(1)
        return part if all(name in slots for name in _SLOT.findall(part)) else ""

    chosen = _OPTIONAL.sub(optional, template)
    for name in _SLOT.findall(chosen):
        if name not in slots:
            return Rendered(None, name)
    text = _SLOT.sub(lambda match: slots[match.group(1)], chosen)
    return Rendered(re.sub(r"[ \t]{2,}", " ", text).strip(), None)


def say(variants: Sequence[str], slots: Mapping[str, str]) -> Rendered:
    """The first variant whose slots are all known; else what the first one lacks."""
    tries = [render(template, slots) for template in variants]
    return next((rendered for rendered in tries if rendered.text is not None), tries[0])


def read_answers(path: Path, mapping: Mapping[str, str]) -> AnswerBook:
    """The answers of a file as `answer_rows` reads them.

    Raises:
        DataError: as `answer_rows` and `book_of_rows`.
    """
    return book_of_rows(answer_rows(path, mapping), str(path))


def answer_rows(path: Path, mapping: Mapping[str, str]) -> tuple[AnswerRow, ...]:
    """The variants of a table `answer[,label][,title][,language][,when]` or of a YAML file.

    YAML: `answers:` is a list of {label, title, title_zh, texts: {en: [template, …], zh: […]}};
    `text:` with one template will do. A template with a condition is {when: CONDITION, text:
    template}; a list of conditions holds where all of them do.

    Raises:
        DataError: unreadable, no usable answer, or an answer without text.
    """
    if path.suffix in (".yml", ".yaml"):
        return tuple(yaml_rows(path))
    columns = [
        Column("answer"),
        Column("label", required=False, allow_empty=True),
        Column("title", required=False, allow_empty=True),
        Column("language", required=False, allow_empty=True),
        Column("when", required=False, allow_empty=True),
    ]
    table = read_table(path, columns, mapping=mapping)
    rows = []
    for record, line in zip(table.frame.to_dict("records"), table.lines, strict=True):
        variant = variant_of(str(record["answer"]))
        text, when = variant.template, _cell(record, "when") or variant.when
        language = _cell(record, "language") or detect_language(text)
        title = _cell(record, "title")
        rows.append(AnswerRow(_cell(record, "label"), title, language, text, int(line), when))
    return tuple(rows)


def write_answers(book: AnswerBook, path: Path) -> None:
    """Write a YAML file that `read_answers` reads back as the same book, in one step.

    Raises: DataError when it cannot be written.
    """
    text = yaml_of((answer.label, answer.titles, answer.texts) for answer in book.answers)
    try:
        write_text(path, text)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None


def _cell(record: Mapping[Any, Any], name: str) -> str | None:
    value = record.get(name)
    return str(value).strip() or None if isinstance(value, str) else None


def book_of_rows(rows: Sequence[AnswerRow], where: str) -> AnswerBook:
    """Rows of one label become one answer with variants; equal templates are one answer.

    Raises:
        DataError: no row, a template with a stray brace, a condition that cannot be read.
    """
    texts: dict[str, dict[str, list[str]]] = {}
    titles: dict[str, dict[str, str]] = {}
    names = names_of([row.template for row in rows if row.label is None])
    for number, row in enumerate(rows, start=1):
        lint(row.template, f"{where}, answer {number}")
        key = names[row.template] if row.label is None else row.label
        variants = texts.setdefault(key, {}).setdefault(row.language, [])
        written = _written(row, f"{where}, line {row.line}, answer to {key}")
        if written not in variants:
            variants.append(written)
        fallback = opening(row.template) if row.label is None else readable(key)
        if row.title or row.language == DEFAULT_LANGUAGE or key not in titles:
            titles.setdefault(key, {}).setdefault(row.language, row.title or fallback)
    if not texts:
        raise DataError(f"{where}: there is no answer in it")
    return AnswerBook(tuple(_answer(key, titles[key], v) for key, v in texts.items()))


def _written(row: AnswerRow, where: str) -> str:
    if not row.when:
        return row.template
    try:
        return read_variant(f"{MARK} {' '.join(row.when.split())}\n{row.template}").written
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def book_of_pairs(labels: Mapping[str, str]) -> AnswerBook:
    """The answers of question/answer training data; labels: answer text -> its label."""
    rows = [(label, detect_language(text), text) for text, label in labels.items()]
    return AnswerBook(
        tuple(_answer(label, {lang: opening(text)}, {lang: [text]}) for label, lang, text in rows)
    )


def names_of(answers: Iterable[str]) -> dict[str, str]:
    """A readable, distinct label for each distinct answer text: the words it begins with."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for text in dict.fromkeys(answers):
        stem = re.sub(r"\W+", "-", opening(text).lower()).strip("-") or "answer"
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        names[text] = name
    return names


def _answer(label: str, titles: Mapping[str, str], texts: Mapping[str, Iterable[str]]) -> Answer:
    several = {language: tuple(templates) for language, templates in texts.items()}
    return Answer(label, dict(titles), several)


def opening(text: str, words: int = 7) -> str:
    """A title for an answer that has none: how it begins."""
    first = text.split()
    if len(first) == 1 and len(text) > 20:  # Chinese: no spaces to count words by
        return f"{text[:20]}…"
    return " ".join(first[:words]) + ("…" if len(first) > words else "")
