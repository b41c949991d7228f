"""Each intent of a bot beside the others: its examples, its answer, how well it is known, how much
it is used. Reads a model's reports and the database; never imports torch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from apps.chatbot.analytics import intent_usage
from apps.chatbot.answers import ANSWERS_FILE, Answer, AnswerBook, render, slots_in, slots_of
from apps.chatbot.conditions import variant_of
from apps.chatbot.doctor.answer_checks import lint_answers
from apps.chatbot.doctor.condition_checks import lint_conditions
from apps.chatbot.doctor.findings import Place
from apps.chatbot.doctor.reading import BotData, Said
from apps.chatbot.held_rows import HeldRows
from apps.chatbot.learning.lesson_files import accepted
from apps.chatbot.learning.must_pass import must_pass_rows
from apps.chatbot.live import LiveFile, checked
from apps.chatbot.risk import share
from shared.evaluation.gate import SECTION, GateLimits
from shared.evaluation.report import JSON_NAME, Measure, Report
from shared.registry import ModelVersion
from shared.settings import load_section, settings_file

LOOK_BACK = timedelta(days=30)
MOST_CONFUSED = 3


@dataclass(frozen=True)
class Confused:
    """count of the intent's held-out questions were taken for `other`."""

    other: str
    count: int


@dataclass(frozen=True)
class IntentFigures:
    """examples: rows that taught it, None where the version does not say. recall, precision: on
    held-out questions, with 95 % intervals where the rows are known. confused: what it is taken for
    most. used: how often it was answered in the last 30 days. answer: as it is said now; edited: it
    was changed without training. learned: False of an answer that no example asks for."""

    label: str
    title: str
    examples: int | None
    recall: Measure
    precision: Measure
    confused: tuple[Confused, ...]
    used: int
    answer: Answer | None
    edited: bool
    learned: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def matches(self, words: str) -> bool:
        """Whether every word stands in its name, its titles or its answers."""
        texts = [self.label, self.title]
        if self.answer is not None:
            texts += [*self.answer.titles.values()]
            texts += [text for several in self.answer.texts.values() for text in several]
        everything = " ".join(texts).casefold()
        return all(word in everything for word in words.casefold().split())


def intent_figures(
    version: ModelVersion, connection: Connection | None, *, now: datetime
) -> tuple[IntentFigures, ...]:
    """By name. connection: none leaves out how much they are used.

    Raises: ModelError, DataError: a damaged file of the version.
    """
    own = AnswerBook.load(version.path / ANSWERS_FILE)
    live = LiveFile.of(version).read()
    book, edits = live.book(own), live.holding(own)
    edited = {label for label, language in edits if edits[label, language].texts != edits[
        label, language].instead_of}  # fmt: skip
    held = HeldRows.load(version.path)
    known = _reported(version) if held is None else _counted(held)
    used = {} if connection is None else intent_usage(connection, now - LOOK_BACK, now)
    labels = sorted({*known, *book.by_label})
    return tuple(
        IntentFigures(
            label,
            book.title(label),
            None if held is None else held.examples.get(label, 0),
            *known.get(label, _UNKNOWN),
            used.get(label, 0),
            book.by_label.get(label),
            label in edited,
            label in known if held is None else label in held.examples,
        )
        for label in labels
    )


Known = tuple[Measure, Measure, tuple[Confused, ...]]
_UNKNOWN: Known = (
    Measure("recall", None, None, None, 0), Measure("precision", None, None, None, 0), (),
)  # fmt: skip


def _counted(held: HeldRows) -> dict[str, Known]:
    """From the held-out questions, each as it would be read."""
    true = Counter(row.truth for row in held.rows)
    taken = Counter(row.taken_for for row in held.rows)
    pairs = Counter((row.truth, row.taken_for) for row in held.rows)
    found = {}
    for label in {*true, *taken, *held.examples}:
        right = pairs[label, label]
        others = [
            Confused(other, count)
            for (truth, other), count in pairs.most_common()
            if truth == label and other != label
        ]
        found[label] = (
            share("recall", right, true[label]),
            share("precision", right, taken[label]),
            tuple(others[:MOST_CONFUSED]),
        )
    return found


def _reported(version: ModelVersion) -> dict[str, Known]:
    """From the report of a version that keeps no rows: no intervals; {} without a report."""
    path = version.path / JSON_NAME
    if not path.is_file():
        return {}
    report = Report.from_json(path.read_text(encoding="utf-8"))
    return {
        each.label: (
            Measure("recall", each.recall, None, None, each.n),
            Measure("precision", each.precision, None, None, each.n),
            tuple(
                Confused(c.predicted, c.count) for c in report.confusions if c.true == each.label
            )[:MOST_CONFUSED],
        )
        for each in report.per_label
    }


@dataclass(frozen=True)
class Rendered:
    """A variant as a customer would read it. bare: with nothing known of them, None where a slot
    is asked for first; filled: with every slot known, each shown as its name. when: its condition,
    "" for none."""

    template: str
    bare: str | None
    filled: str
    when: str = ""


def rendered(texts: Sequence[str]) -> tuple[Rendered, ...]:
    """Each variant, as it is written, in its two extremes."""
    found = []
    for variant in map(variant_of, texts):
        text = variant.template
        filled = render(text, _named(text)).text or ""
        found.append(Rendered(text, render(text, {}).text, filled, variant.when))
    return tuple(found)


def _named(text: str) -> Mapping[str, str]:
    return {slot: f"‹{slot.replace('_', ' ')}›" for slot in slots_in(text)}


def warnings_of(
    texts: Sequence[str],
    label: str,
    language: str,
    book: AnswerBook = AnswerBook(),
    *,
    always_open: bool = False,
    filled: Sequence[str] = (),
) -> tuple[str, ...]:
    """What the data doctor says of variants that may be said: slots that nothing fills, masks,
    conditions that nothing satisfies. book: what is said now; the other languages of the answer
    may be said where these may not. always_open: no opening hours are set.
    filled: slots that lists and annotated examples fill.

    Raises DataError: a variant that may not.
    """
    kept = checked(texts, "", label)
    answer = book.by_label.get(label)
    others = [] if answer is None else [
        (code, text) for code, several in answer.texts.items() if code != language
        for text in several
    ]  # fmt: skip
    written = [*((language, text) for text in kept), *others]
    variants = [(code, variant_of(text)) for code, text in written]
    said = tuple(
        Said(label, code, variant.template, Place(f"variant {number}", number), variant.when)
        for number, (code, variant) in enumerate(variants, start=1)
    )
    asked = [name for each in book.answers for text in each.templates for name in slots_of(text)]
    found = [
        *lint_answers(BotData((), said, filled=tuple(filled))),
        *lint_conditions(said, always_open=always_open, asked=(*asked, *filled)),
    ]
    return tuple(
        (f"Variant {each.places[0].line}: " if each.kind != "no fallback" else "")
        + each.what
        + (f" ({each.advice})" if each.advice else "")
        for each in found
        if each.places[0].line <= len(kept)
    )


def must_pass_texts(
    name: str, environ: Mapping[str, str], engine: Engine
) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """Intent -> (question, where it comes from) that a candidate must get right: accepted lessons,
    and the file that [gate.must_pass] names for the model.

    Raises: SettingsError. DataError: the file. ServiceError: the database does not answer.
    """
    limits = load_section(GateLimits, SECTION, file=settings_file(environ), environ=environ)
    file = limits.must_pass.get(name)
    found: dict[str, list[tuple[str, str]]] = {}
    for case in must_pass_rows(accepted(engine, name), file).rows:
        found.setdefault(case.label, []).append((case.text, case.source))
    return {label: tuple(cases) for label, cases in found.items()}
