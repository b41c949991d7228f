"""A bot's files as the doctor sees them: every row and every answer with the line it stands on."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from apps.chatbot.answer_yaml import AnswerRow
from apps.chatbot.answers import (
    Answer,
    AnswerBook,
    answer_rows,
    book_of_rows,
    names_of,
)
from apps.chatbot.doctor.findings import Place, place_of
from apps.chatbot.entities.given import annotations, of_values
from apps.chatbot.entities.spans import slot_of
from apps.chatbot.entities.tagger_fitting import FEWEST, label_of
from apps.chatbot.formats.kept import Entity, Kept, Kinds, read_kept, value_lines
from apps.chatbot.questions import Questions, joined, present, read_all
from shared.intake import take_in
from shared.settings import Home
from shared.tables import Column

Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """An example; label is "" of a text that is to be refused."""

    text: str
    label: str
    place: Place


@dataclass(frozen=True)
class Said:
    """A variant of the answer file. label: of its intent, or as the file's reader names it. when:
    its condition, "" for none."""

    label: str
    language: str
    template: str
    place: Place
    when: str = ""


@dataclass(frozen=True)
class ListedValues:
    """kinds: without regular expressions that belong to intents. lines: (kind, name, value) -> line
    of the file."""

    file: str = ""
    kinds: Kinds = field(default_factory=dict)
    lines: Mapping[tuple[str, str, str], int] = field(default_factory=dict)

    def place(self, kind: str, name: str, value: str) -> Place:
        return Place(self.file, self.lines.get((kind, name, value), 1))


@dataclass(frozen=True)
class BotData:
    """rows: the examples. answers: of the answer file. book: everything that may be said. paired:
    the examples came as question/answer, so that labels stand for answers. rejected: rows that
    cannot be used, and why. listed: the values of an entities file, with their places. annotated:
    the annotated values of each row, in their order. filled: slots that lists or annotated examples
    fill."""

    rows: tuple[Row, ...]
    answers: tuple[Said, ...] = ()
    book: AnswerBook = field(default_factory=AnswerBook)
    paired: bool = False
    validation: tuple[Row, ...] = ()
    out_of_scope: tuple[Row, ...] = ()
    rejected: tuple[tuple[Place, str], ...] = ()
    listed: ListedValues = field(default_factory=ListedValues)
    annotated: tuple[tuple[Entity, ...], ...] = ()
    filled: tuple[str, ...] = ()

    @cached_property
    def by_label(self) -> Mapping[str, tuple[Row, ...]]:
        """Intent -> its examples, in the order they come."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.label, []).append(row)
        return {label: tuple(rows) for label, rows in found.items()}

    def answer(self, label: str) -> Answer | None:
        return self.book.by_label.get(label)


@dataclass(frozen=True)
class Sources:
    """The files of a bot, as `triptych train chatbot` takes them; the mapping maps columns."""

    examples: tuple[Path, ...]
    answers: Path | None = None
    validation: tuple[Path, ...] = ()
    out_of_scope: Path | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    entities: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        single = (self.answers, self.out_of_scope, self.entities)
        return (*self.examples, *self.validation, *(path for path in single if path is not None))


def read_bot_data(sources: Sources, home: Home, say: Say) -> BotData:
    """Raises DataError for a file that cannot be read at all."""
    asked = read_all(sources.examples, sources.mapping, home, say)
    found = of_questions(asked, sources.answers, sources.mapping)
    rejected = [*asked.rejects]
    validation: tuple[Row, ...] = ()
    if sources.validation:
        held = read_all(sources.validation, sources.mapping, home, say, like=asked)
        validation = _rows(held)
        rejected += held.rejects
    refused: tuple[Row, ...] = ()
    if sources.out_of_scope is not None:
        table = take_in(
            sources.out_of_scope, [Column("text")], mapping=present(sources.mapping, ("text",)),
            rejects=home.reports / "rejects", say=say,
        )  # fmt: skip
        refused = tuple(
            Row(str(text), "", Place(str(table.path), int(line)))
            for text, line in zip(table.frame["text"], table.lines, strict=True)
        )
        rejected += [(table.path, reject) for reject in table.rejects]
    return replace(
        found,
        validation=validation,
        out_of_scope=refused,
        rejected=tuple((Place(str(path), r.line), r.reason) for path, r in rejected),
        **_entities(asked, sources.entities),
    )


def _entities(asked: Questions, path: Path | None) -> dict[str, Any]:
    """Of BotData what concerns entities."""
    kept = Kept(annotations(asked))
    annotated = tuple(kept.of(row) for row in range(len(asked.texts) if kept.entities else 0))
    count = Counter(name for row in annotated for each in row for name in label_of(each))
    listed = ListedValues()
    if path is not None:
        kinds = of_values(read_kept(path).kinds, asked.labels)
        listed = ListedValues(str(path), kinds, value_lines(path))
    named = (*(n for k in ("lookups", "regexes") for n in listed.kinds.get(k, ())),
             *(name for name, n in count.items() if n >= FEWEST))  # fmt: skip
    filled = tuple(dict.fromkeys(slot for name in named if (slot := slot_of(name))))
    return {"listed": listed, "annotated": annotated, "filled": filled}


def of_questions(asked: Questions, answers: Path | None, mapping: Mapping[str, str]) -> BotData:
    """The examples, with the answers of a file. Raises DataError for that file."""
    rows = answer_rows(answers, mapping) if answers is not None else ()
    book = book_of_rows(rows, str(answers)) if answers is not None else AnswerBook()
    return BotData(
        _rows(asked), _said(rows, answers), joined(asked.answers, book),
        bool(asked.answers.answers),
    )  # fmt: skip


def _rows(asked: Questions) -> tuple[Row, ...]:
    return tuple(
        Row(text, label, place_of(source))
        for text, label, source in zip(asked.texts, asked.labels, asked.places, strict=True)
    )


def _said(rows: Sequence[AnswerRow], path: Path | None) -> tuple[Said, ...]:
    names = names_of([row.template for row in rows if row.label is None])
    return tuple(
        Said(
            names[row.template] if row.label is None else row.label,
            row.language, row.template, Place(str(path), row.line), row.when,
        )
        for row in rows
    )  # fmt: skip
