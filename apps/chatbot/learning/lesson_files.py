"""What was accepted, as the files of the next training and of the gate before it goes live.

The database is the record, the files follow from it: each is replaced whole, and one that a killed
process did not reach is written by the next call. What a firm has in its own files can be put
before the lessons, which then win where both speak of one question.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from sqlalchemy import Engine, select

from apps.chatbot.answers import AnswerBook, read_answers, write_answers
from apps.chatbot.tables import learning, lessons, taught_answers
from apps.chatbot.taught import Lesson, TaughtAnswer, with_answers
from shared.atomic import alone
from shared.errors import DataError
from shared.inference.lexical import fold
from shared.tables import Column, read_table, write_table

EXAMPLES_FILE = "examples.csv"
ANSWERS_FILE = "answers.yml"
MUST_PASS_FILE = "must_pass.csv"
LOCK_FILE = ".lessons.lock"


@dataclass(frozen=True)
class Accepted:
    """What people have taught a bot. revision: grows with every change of it. must_pass: of the
    lessons, those that a later version must get right."""

    revision: int
    lessons: tuple[Lesson, ...]
    answers: tuple[TaughtAnswer, ...]
    must_pass: tuple[Lesson, ...]


@dataclass(frozen=True)
class Exported:
    """How many rows were written, in the folder `output`; moved: questions of the firm's own file
    that a lesson has given another label."""

    examples: int
    answers: int
    must_pass: int
    moved: int
    output: str

    @property
    def words(self) -> str:
        moved = (
            f" ({self.moved:,} of your own with another label than before)" if self.moved else ""
        )
        return (
            f"{self.examples:,} examples{moved}, {self.answers:,} answers and "
            f"{self.must_pass:,} must-pass cases written to {self.output}"
        )

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def revision_of(engine: Engine, bot: str) -> int:
    """0: nothing was ever accepted."""
    with engine.connect() as connection:
        found = connection.scalar(select(learning.c.revision).where(learning.c.bot == bot))
    return int(found or 0)


def accepted(engine: Engine, bot: str) -> Accepted:
    """Everything that is accepted now, in the order in which it was."""
    own = (
        select(lessons.c.question, lessons.c.label, lessons.c.must_pass)
        .where(lessons.c.bot == bot, lessons.c.state == "accepted")
        .order_by(lessons.c.decided_at, lessons.c.id)
    )
    said = (
        select(taught_answers)
        .where(taught_answers.c.bot == bot)
        .order_by(taught_answers.c.label, taught_answers.c.language)
    )
    with engine.connect() as connection:
        revision = connection.scalar(select(learning.c.revision).where(learning.c.bot == bot))
        rows = connection.execute(own).all()
        answers = tuple(
            TaughtAnswer(row.label, row.language, row.title, row.template)
            for row in connection.execute(said)
        )
    # Of two decisions on one question the last counts.
    last = {fold(row.question): row for row in rows}
    taught = tuple(Lesson(row.question, row.label) for row in last.values())
    firm = tuple(Lesson(row.question, row.label) for row in last.values() if row.must_pass)
    return Accepted(int(revision or 0), taught, answers, firm)


def export_lessons(
    engine: Engine,
    bot: str,
    output: Path,
    *,
    examples: Path | None = None,
    answers: Path | None = None,
    mapping: Mapping[str, str] | None = None,
) -> Exported:
    """Write EXAMPLES_FILE and MUST_PASS_FILE (`text,label`) and ANSWERS_FILE into the folder.
    examples, answers: the firm's own, which are read and never written; mapping: its columns.

    Raises DataError: nothing was accepted, a file cannot be read or written.
    """
    own = [] if examples is None else labelled_rows(examples, mapping or {})
    book = AnswerBook() if answers is None else read_answers(answers, {})
    if not revision_of(engine, bot):
        raise DataError(
            f"nothing has been accepted for {bot!r}: `triptych chatbot review collect` "
            "proposes lessons, `triptych chatbot review accept` and the page Review accept them"
        )
    # What is read is written before anybody else reads: else who has read less may write last.
    with _alone(output):
        return _written(accepted(engine, bot), own, book, output)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process, or thread, at a time; freed if it dies."""
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(alone(folder / LOCK_FILE))
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error.strerror}") from None
        yield


def labelled_rows(path: Path, mapping: Mapping[str, str]) -> list[Lesson]:
    """The rows of a table `text,label`. Raises DataError."""
    table = read_table(path, [Column("text"), Column("label")], mapping=mapping)
    pairs = zip(table.frame["text"], table.frame["label"], strict=True)
    return [Lesson(str(text), str(label)) for text, label in pairs]


def _written(found: Accepted, own: Sequence[Lesson], book: AnswerBook, output: Path) -> Exported:
    decided = {fold(lesson.text): lesson.label for lesson in found.lessons}
    kept = [row for row in own if fold(row.text) not in decided]
    moved = sum(decided.get(fold(row.text), row.label) != row.label for row in own)
    rows = [*kept, *found.lessons]
    whole = with_answers(book, found.answers)
    write_table(_frame(rows), output / EXAMPLES_FILE)
    if whole.answers:
        write_answers(whole, output / ANSWERS_FILE)
    write_table(_frame(found.must_pass), output / MUST_PASS_FILE)
    return Exported(len(rows), len(whole.answers), len(found.must_pass), moved, str(output))


def _frame(rows: Sequence[Lesson]) -> pd.DataFrame:
    return pd.DataFrame([(row.text, row.label) for row in rows], columns=["text", "label"])
