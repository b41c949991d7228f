"""Two versions of a chatbot on the same questions, and what a promotion may depend on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apps.chatbot.bot import Bot, Reply
from apps.chatbot.judgement import outcomes_of
from apps.chatbot.learning.lesson_files import accepted
from apps.chatbot.learning.must_pass import LESSONS, MustPassRow, must_pass_rows, rows_of
from apps.chatbot.opening import opened_database
from apps.chatbot.questions import questions_for
from shared.evaluation.leakage import seen_by_either
from shared.evaluation.outcomes import Case, Contest
from shared.evaluation.race import Race, texts_of_both
from shared.settings import Home

# Labels of a must-pass file that name a decision and no intent.
DECISIONS = ("reject", "handover")
Say = Callable[[str], None]


def compare(
    candidate: Path,
    production: Path,
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    say: Say,
) -> Contest:
    """Both on a table `text,label` or `question,answer`.

    Raises: DataError: the table. ModelError: a folder.
    """
    new, old = Bot.load(candidate, home=home), Bot.load(production, home=home)
    asked = questions_for(new, path, mapping, home, say)
    seen, note = seen_by_either(asked.texts, candidate, production)
    return Contest(
        candidate=outcomes_of(new, asked),
        production=outcomes_of(old, asked),
        seen=(seen, seen),
        serve=(new.reply, old.reply),
        asked=asked.texts,
        notes=(note,),
    )


def race(candidate: Path, production: Path, home: Home) -> Race:
    """Both, to be timed on held-out questions of both. Raises ModelError: a folder."""
    new, old = Bot.load(candidate, home=home), Bot.load(production, home=home)
    return Race((new.reply, old.reply), texts_of_both(candidate, production))


@dataclass(frozen=True)
class JudgedCases:
    """notes: what is to be known of the cases, in words."""

    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()


def cases(folder: Path, path: Path, home: Home, *, say: Say) -> tuple[Case, ...]:  # noqa: ARG001
    """A must-pass file `text,label`: the intent, which must not be refused; or the decision
    `reject` or `handover`."""
    return _judged(folder, rows_of(path), home)


def cases_with_lessons(folder: Path, name: str, path: Path | None, home: Home) -> JudgedCases:
    """What people have accepted in the review of `name` as must-pass, and the cases of a file.
    Where both speak of one question the review counts.

    Raises: DataError: the file. ServiceError: the database does not answer.
    """
    engine = opened_database(home)
    asked = must_pass_rows(accepted(engine, name), path)
    engine.dispose()
    found = _judged(folder, asked.rows, home) if asked.rows else ()
    notes = list(asked.notes)
    if any(case.source == LESSONS and not case.passed for case in found):
        notes.append(
            f"a version learns the lessons from `triptych chatbot review export --model {name} "
            "--output lessons`; a lesson that is wrong is taken back with `review reopen`"
        )
    return JudgedCases(found, tuple(notes))


def _judged(folder: Path, rows: Sequence[MustPassRow], home: Home) -> tuple[Case, ...]:
    replies = Bot.load(folder, home=home).reply([row.text for row in rows])
    return tuple(_case(reply, row) for reply, row in zip(replies, rows, strict=True))


def _case(reply: Reply, row: MustPassRow) -> Case:
    passed = reply.decision == row.label
    if row.label not in DECISIONS:
        passed = reply.intent == row.label and reply.decision != "reject"
    return Case(row.text, row.label, f"{reply.decision} {reply.intent}", passed, row.source)
