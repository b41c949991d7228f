"""QnA Maker's tab-separated files: a row for each question, with its answer.

Columns: Question, Answer, Source, Metadata (key:value|key:value), SuggestedQuestions,
IsContextOnly, Prompts (JSON), QnaId. A line break inside a cell is written \\n. Rows of one QnaId,
or without it of one answer, ask the same. Rows of our own exports say so in Source, and in
Metadata what QnA Maker has no place for, so that they come back as they were.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from apps.chatbot.answers import Answer, AnswerBook, conditional_variants, names_of, opening
from apps.chatbot.conditions import MARK, variant_of
from apps.chatbot.formats.exported import Exported
from apps.chatbot.formats.kept import lines_of
from apps.chatbot.formats.taken import TakenBot, write_taken
from apps.chatbot.formats.templates import as_template, sound
from apps.chatbot.phrases import DEFAULT_LANGUAGE
from shared.atomic import write_text
from shared.errors import DataError
from shared.tables import Column, read_table, sniff_columns
from shared.text import detect_language

QNA_FILE = "qna.tsv"
COLUMNS = (
    "Question", "Answer", "Source", "Metadata", "SuggestedQuestions", "IsContextOnly", "Prompts",
    "QnaId",
)  # fmt: skip
OURS = "triptych"
NO_ANSWER = "No good match found in KB."
_OURS_SAFE = " _-"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


@dataclass(frozen=True)
class _Row:
    question: str
    answer: str
    source: str
    metadata: Mapping[str, str]
    prompts: str
    qna_id: str


@dataclass
class _Group:
    """What belongs to one label."""

    label: str
    questions: dict[str, None] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)


def import_qna(path: Path, output: Path) -> TakenBot:
    """Write a file's examples, answers and a report into the folder `output`.

    Raises: DataError when the file cannot be read, lacks a column, or holds no question.
    """
    return write_taken(read_qna(path), output, path)


def read_qna(path: Path) -> TakenBot:
    """Raises: DataError as `import_qna`."""
    notes: Counter[str] = Counter()
    groups: dict[str, _Group] = {}
    rows, rejected = _rows(path)
    foreign = [row for row in rows if row.source != OURS]
    first: dict[str, str] = {}
    for row in foreign:
        first.setdefault(_key(row), row.question)
    names = names_of(first.values())
    for row in rows:
        if row.source == OURS:
            _take_ours(row, groups, path)
        else:
            label = names[first[_key(row)]]
            _take_foreign(row, groups.setdefault(label, _Group(label)), notes)
    if not groups:
        raise DataError(f"{path}: holds no question")
    if rejected:
        notes["rows without a question or an answer were left out"] = rejected
    pairs = [(text, group.label) for group in groups.values() for text in group.questions]
    answers = tuple(
        Answer(g.label, g.titles, {language: tuple(t) for language, t in g.texts.items()})
        for g in groups.values()
        if g.texts
    )
    answered = {answer.label for answer in answers}
    return TakenBot(
        "QnA Maker",
        tuple(text for text, _ in pairs), tuple(label for _, label in pairs),
        (path.name,) * len(pairs), AnswerBook(answers),
        unanswered=tuple(g.label for g in groups.values() if g.label not in answered),
        notes=tuple(f"{count} {note}" for note, count in notes.most_common()),
    )  # fmt: skip


def _rows(path: Path) -> tuple[list[_Row], int]:
    """The usable rows, and how many are not."""
    own = {name.strip().casefold(): name for name in sniff_columns(path)}
    columns = [
        Column(name, required=name in ("Question", "Answer"), allow_empty=name not in
               ("Question", "Answer"))
        for name in COLUMNS
    ]  # fmt: skip
    mapping = {name: own[name.casefold()] for name in COLUMNS if name.casefold() in own}
    table = read_table(path, columns, mapping=mapping)
    found = []
    for record in table.frame.to_dict("records"):
        cells = {name: str(record.get(name) or "") for name in COLUMNS}
        pairs = (pair.partition(":") for pair in cells["Metadata"].split("|") if ":" in pair)
        found.append(
            _Row(
                cells["Question"], cells["Answer"], cells["Source"].strip(),
                {key.strip(): value.strip() for key, _, value in pairs}, cells["Prompts"],
                cells["QnaId"].strip(),
            )
        )  # fmt: skip
    return found, len(table.rejects)


def _key(row: _Row) -> str:
    return f"id {row.qna_id}" if row.qna_id else f"answer {row.answer}"


def _take_ours(row: _Row, groups: dict[str, _Group], path: Path) -> None:
    label = unquote(row.metadata.get("label", ""))
    language = row.metadata.get("language", DEFAULT_LANGUAGE)
    if not label:
        raise DataError(f"{path}: a row of Source {OURS} without label: in its Metadata")
    group = groups.setdefault(label, _Group(label))
    question, answer = _unescaped(row.question), _unescaped(row.answer)
    if when := unquote(row.metadata.get("when", "")):
        answer = f"{MARK} {when}\n{answer}"
    if row.metadata.get("example") != "no":
        group.questions[question] = None
    if row.metadata.get("answer") == "no" or not sound(answer):
        return
    if answer not in group.texts.setdefault(language, []):
        group.texts[language].append(answer)
    for key, value in row.metadata.items():
        if key.startswith("title-"):
            group.titles[key.removeprefix("title-")] = unquote(value)


def _take_foreign(row: _Row, group: _Group, notes: Counter[str]) -> None:
    question = " ".join(row.question.replace("\\n", " ").split())
    group.questions[question] = None
    text, stray = as_template(row.answer.replace("\\n", "\n").strip(), None, {})
    if stray:
        notes["answers have braces, written as round brackets"] += 1
    choices = tuple(_choices(row.prompts))
    if choices:
        notes["answers have follow-up prompts, kept as lines of text"] += 1
        text += lines_of(choices)
    if not text or row.answer.strip() == NO_ANSWER:
        return
    language = detect_language(text)
    language = DEFAULT_LANGUAGE if language == "und" else language
    several = group.texts.setdefault(language, [])
    if text not in several:
        several.append(text)
    group.titles.setdefault(language, opening(question, words=12))


def _choices(prompts: str) -> Iterator[tuple[str, str]]:
    try:
        found = json.loads(prompts or "[]")
    except (ValueError, RecursionError):
        return
    for each in found if isinstance(found, list) else []:
        shown = each.get("displayText") if isinstance(each, dict) else None
        if isinstance(shown, str) and shown.strip():
            title, _ = as_template(" ".join(shown.split()), None, {})
            yield title, title


def export_qna(
    texts: Sequence[str], labels: Sequence[str], book: AnswerBook, output: Path
) -> Exported:
    """Write `qna.tsv` into the folder `output`; each variant of an answer is a QnA of its own.

    Raises: DataError when it cannot be written.
    """
    asked: dict[str, dict[str, None]] = {label: {} for label in labels}
    for text, label in zip(texts, labels, strict=True):
        asked[label][text] = None
    rows: list[tuple[str, ...]] = []
    number = 0
    for label in dict.fromkeys((*asked, *(answer.label for answer in book.answers))):
        answer = book.by_label.get(label)
        for questions, text, metadata in _entries(label, tuple(asked.get(label, ())), answer):
            number += 1
            shown = "|".join(f"{key}:{value}" for key, value in metadata.items())
            rows += [
                (_escaped(q), _escaped(text), OURS, shown, "[]", "False", "[]", str(number))
                for q in questions
            ]
    stream = io.StringIO()
    # No cell holds a tab or a line break.
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    path = output / QNA_FILE
    try:
        write_text(path, stream.getvalue())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
    silent = sum(label not in book.by_label for label in asked)
    notes = [f"{silent} intents without an answer say “{NO_ANSWER}”"] if silent else []
    if any("{" in t for a in book.answers for several in a.texts.values() for t in several):
        notes.append("QnA Maker fills no slots: it says {order_id} as it stands")
    if conditional := conditional_variants(book):
        notes.append(f"{conditional} variants have a condition, which QnA Maker does not heed")
    examples = sum(map(len, asked.values()))
    return Exported("QnA Maker", examples, len(asked), len(book.answers), str(path), tuple(notes))


def _entries(
    label: str, questions: tuple[str, ...], answer: Answer | None
) -> Iterator[tuple[tuple[str, ...], str, dict[str, str]]]:
    """(questions, answer text, metadata) of each QnA of a label."""
    own = {"label": quote(label, safe=_OURS_SAFE)}
    if answer is None:
        yield questions, NO_ANSWER, own | {"answer": "no"}
        return
    titles = {f"title-{code}": quote(t, safe=_OURS_SAFE) for code, t in answer.titles.items()}
    stand_in = () if questions else (answer.title(),)
    first = True
    for language, several in answer.texts.items():
        for variant in map(variant_of, several):
            metadata = own | {"language": language}
            metadata |= {"when": quote(variant.when, safe=_OURS_SAFE)} if variant.when else {}
            metadata |= titles if first else {}
            if stand_in or not first:
                metadata["example"] = "no"
            asked = stand_in or (questions if first else questions[:1])
            yield asked, variant.template, metadata
            first = False


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _unescaped(text: str) -> str:
    out, at = [], 0
    while (slash := text.find("\\", at)) != -1 and slash + 1 < len(text):
        after = text[slash + 1]
        out += [text[at:slash], _ESCAPES.get(after, f"\\{after}")]
        at = slash + 2
    return "".join(out) + text[at:]
