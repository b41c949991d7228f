"""Edits carried out on copies of a bot's files; the files themselves stay as they are."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from apps.chatbot.answer_yaml import AnswerRow
from apps.chatbot.answers import answer_rows, book_of_rows, write_answers
from apps.chatbot.doctor.findings import Action, Edit, Finding, Place
from apps.chatbot.doctor.reading import BotData, ListedValues, Sources
from apps.chatbot.formats.kept import ENTITIES_FILE, Kept, read_kept, write_kept
from apps.chatbot.questions import present
from shared.errors import DataError
from shared.table_rows import format_of
from shared.tables import Column, read_table, sniff_columns, write_table

ANSWERS_FILE = "answers.yml"


@dataclass(frozen=True)
class Fixed:
    """written: the new files. changed: edits that were carried out."""

    written: tuple[str, ...]
    changed: int


class _Edits:
    """The edits by place; a row that is dropped is dropped whatever else is to be done to it."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        edits = list(dict.fromkeys(e for f in findings if f.fix for e in f.fix.edits))
        self.count = len(edits)
        self._at: dict[tuple[Action, Place], list[Edit]] = defaultdict(list)
        for edit in edits:
            self._at[edit.action, edit.place].append(edit)
        self._merged = {edit.old: edit.new for edit in edits if edit.action == "merge"}

    def dropped(self, place: Place) -> bool:
        return ("drop", place) in self._at

    def label(self, action: Action, place: Place, label: str) -> str:
        """The label of a row or an answer after its own edit and after all merges."""
        for edit in self._at.get((action, place), []):
            if edit.old == label:
                label = edit.new
                break
        seen = {label}
        while (onto := self._merged.get(label)) is not None and onto not in seen:
            seen.add(label := onto)
        return label

    def merged(self, label: str) -> bool:
        return label in self._merged

    def keeps(self, place: Place, value: str) -> bool:
        """Whether a value of a list stays."""
        return all(edit.old != value for edit in self._at.get(("drop value", place), []))

    def template(self, place: Place, template: str) -> str | None:
        """The template after its edits, None where it is dropped."""
        if any(edit.old == template for edit in self._at.get(("drop answer", place), [])):
            return None
        # A sentence first, then the slots in it.
        edits = self._at.get(("rewrite answer", place), [])
        for edit in sorted(edits, key=lambda each: -len(each.old)):
            template = template.replace(edit.old, edit.new)
        return template


def write_fixed(
    findings: Sequence[Finding], sources: Sources, data: BotData, folder: Path, *, overwrite: bool
) -> Fixed:
    """Copies of the example, validation and refusal files, the answers and the entities into
    `folder`, mended.

    Columns of ours have our names in the copies; further columns are kept. Rows that cannot be used
    are left out. overwrite: whether files that are there already may be replaced.

    Raises: DataError where a copy would replace one of the files, or another without leave, or
    cannot be written.
    """
    edits = _Edits(findings)
    tables = [*sources.examples, *sources.validation]
    if sources.out_of_scope is not None:
        tables.append(sources.out_of_scope)
    targets = dict(zip(tables, _names(tables, folder), strict=True))
    answers = folder / ANSWERS_FILE if sources.answers is not None else None
    entities = folder / ENTITIES_FILE if sources.entities is not None else None
    single = [path for path in (answers, entities) if path is not None]
    own = {path.resolve() for path in sources.files}
    for target in (*targets.values(), *single):
        if target.resolve() in own:
            raise DataError(f"{target}: is your own file; choose another folder with --output")
        if target.exists() and not overwrite:
            raise DataError(f"{target}: is there already; --overwrite replaces it")
    texts = {label: answer.template() for label, answer in data.book.by_label.items()}
    for path, target in targets.items():
        write_table(_table(path, sources.mapping, edits, texts), target)
    if sources.answers is not None and answers is not None:
        rows = _answers(answer_rows(sources.answers, sources.mapping), sources.answers, edits)
        write_answers(book_of_rows(rows, str(sources.answers)), answers)
    if sources.entities is not None and entities is not None:
        write_kept(_listed(read_kept(sources.entities), data.listed, edits), entities)
    written = (*targets.values(), *single)
    return Fixed(tuple(map(str, written)), edits.count)


def _names(paths: Sequence[Path], folder: Path) -> list[Path]:
    """A name in `folder` for each file, its own where no other has it."""
    taken: set[str] = set()
    found = []
    for path in paths:
        name, number = path.name, 2
        if format_of(path)[0] not in ("csv", "tsv", "jsonl", "parquet"):
            name = f"{path.name}.csv"
        while name in taken:
            name, number = f"{number}-{path.name}", number + 1
        taken.add(name)
        found.append(folder / name)
    return found


def _table(
    path: Path, mapping: Mapping[str, str], edits: _Edits, texts: Mapping[str, str]
) -> pd.DataFrame:
    """The rows of a table that stay, with their new labels; texts: label -> answer, for tables of
    questions and answers."""
    names = set(sniff_columns(path))
    mine = {ours: mapping.get(ours, ours) in names for ours in ("question", "answer", "label")}
    if mine["question"] and mine["answer"]:
        wanted, label = ["question", "answer"], "answer"
    elif mine["label"]:
        wanted, label = ["text", "label"], "label"
    else:
        wanted, label = ["text"], ""
    table = read_table(path, [Column(name) for name in wanted], mapping=present(mapping, wanted))
    places = [Place(str(path), int(line)) for line in table.lines]
    frame = table.frame.copy()
    if label == "label":
        frame[label] = [
            edits.label("relabel", place, str(given).strip())
            for place, given in zip(places, frame[label], strict=True)
        ]
    elif label == "answer":
        by_text = {text.strip(): name for name, text in texts.items()}
        frame[label] = [
            _answer_text(str(given), place, by_text, texts, edits)
            for place, given in zip(places, frame[label], strict=True)
        ]
    return frame[[not edits.dropped(place) for place in places]]


def _answer_text(
    given: str, place: Place, by_text: Mapping[str, str], texts: Mapping[str, str], edits: _Edits
) -> str:
    old = by_text.get(given.strip())
    if old is None:
        return given
    new = edits.label("relabel", place, old)
    return given if new == old else texts[new]


def _listed(kept: Kept, listed: ListedValues, edits: _Edits) -> Kept:
    kinds = {
        kind: {
            name: tuple(v for v in values if edits.keeps(listed.place(kind, name, v), v))
            for name, values in named.items()
        }
        for kind, named in kept.kinds.items()
    }
    return replace(kept, kinds=kinds)


def _answers(rows: Sequence[AnswerRow], path: Path, edits: _Edits) -> list[AnswerRow]:
    kept = []
    labels = {row.label for row in rows}
    for row in rows:
        place = Place(str(path), row.line)
        template = edits.template(place, row.template)
        if template is None:
            continue
        label = None if row.label is None else edits.label("relabel answer", place, row.label)
        # The answer of an intent that was merged gives way to the answer of the other.
        if row.label is not None and edits.merged(row.label) and label in labels:
            continue
        kept.append(replace(row, label=label, template=template))
    return kept
