"""What a later version must get right: lessons accepted as must-pass, and a file's cases."""

from dataclasses import dataclass
from pathlib import Path

from apps.chatbot.learning.lesson_files import Accepted, labelled_rows
from shared.inference.lexical import fold

LESSONS = "lessons"


@dataclass(frozen=True)
class MustPassRow:
    """label: an intent, or the decision `reject` or `handover`. source: LESSONS or a file's
    name."""

    text: str
    label: str
    source: str


@dataclass(frozen=True)
class MustPassRows:
    """notes: what is to be known of the rows, in words."""

    rows: tuple[MustPassRow, ...]
    notes: tuple[str, ...] = ()


def must_pass_rows(found: Accepted, path: Path | None) -> MustPassRows:
    """The lessons first. Where lessons and file speak of one question the lesson counts, as in the
    files of a training; whether it is a must-pass one or not.

    Raises DataError: the file.
    """
    own = [] if path is None else rows_of(path)
    decided = {fold(lesson.text): lesson.label for lesson in found.lessons}
    firm = {fold(lesson.text) for lesson in found.must_pass}
    kept = [
        row for row in own
        if fold(row.text) not in firm and decided.get(fold(row.text), row.label) == row.label
    ]  # fmt: skip
    otherwise = [row for row in own if decided.get(fold(row.text), row.label) != row.label]
    rows = (*(MustPassRow(each.text, each.label, LESSONS) for each in found.must_pass), *kept)
    notes = []
    if found.must_pass:
        parts = [f"{len(found.must_pass):,} from accepted lessons"]
        parts += [f"{len(kept):,} from {path.name}"] if path is not None else []
        notes.append(f"must-pass cases: {', '.join(parts)}")
    if otherwise:
        notes.append(
            f"{len(otherwise):,} of the file's cases were decided otherwise in the review, which "
            f"counts; the first: {otherwise[0].text!r}"
        )
    return MustPassRows(rows, tuple(notes))


def rows_of(path: Path) -> list[MustPassRow]:
    """The cases of a table `text,label`. Raises DataError."""
    rows = labelled_rows(path, mapping={})
    return [MustPassRow(each.text, each.label.strip(), path.name) for each in rows]
