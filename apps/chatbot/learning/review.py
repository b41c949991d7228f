"""The review: proposed lessons in the order that helps most, and a person's decisions on many at
once. Page and command do the same by these functions.

A decision is one transaction; what it teaches is live in every worker within seconds
(live_teaching.py), and goes into the files of the next training (lesson_files.py).
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from apps.chatbot.answers import lint, readable
from apps.chatbot.mining.dialogue_masking import masked
from apps.chatbot.options import NONE_OF_THESE
from apps.chatbot.tables import handovers, learning, lessons, taught_answers
from shared.errors import DataError
from shared.inference.lexical import fold
from shared.near_duplicates import near_duplicate_key
from shared.text import detect_language, normalise

LONGEST_LABEL = 200
LONGEST_ANSWER = 10_000
LONGEST_EXAMPLE = 1_000
MOST_TYPED = 1_000
AT_ONCE = 5_000
# A customer who was not helped: how sure the bot was says nothing then.
UNHELPED = frozenset({"handed_over", "none_of_these", "thumbs_down"})
# Names that are no intents: buttons and decisions.
RESERVED = frozenset({NONE_OF_THESE, "reject", "handover"})


class LessonNotFoundError(DataError):
    """There is no lesson of that number."""


class LessonConflictError(DataError):
    """The lesson is not as whoever decides believes: somebody has decided, or nobody."""


@dataclass(frozen=True)
class OpenLesson:
    """A question and what is known of it; see signals.py for kind. question: personal data masked.
    answer: what an agent sent, as a template; confidence: of it, 0..1. probability: of intent, what
    the bot took it for. label: as what it is proposed. handover, message: where it was asked.
    must_pass: whether a later version is to get it right."""

    id: int
    kind: str
    question: str
    answer: str
    agent: str | None
    intent: str | None
    probability: float | None
    label: str | None
    handover: int | None
    message: int | None
    must_pass: bool
    confidence: float

    @property
    def uncertainty(self) -> float:
        """What the bot lacks to be sure, 0..1; 1 where what it thought did not help."""
        if self.kind in UNHELPED and self.label is None:
            return 1.0
        return 1 - (self.probability or 0.0)


@dataclass(frozen=True)
class Proposal:
    """Lessons that belong together. name: of the proposed intent; new: the bot has none of that
    name. share: of all chats handed over and ended, 0..1."""

    name: str
    title: str
    new: bool
    share: float
    lessons: tuple[OpenLesson, ...]

    @property
    def worth(self) -> float:
        """By which proposals are ordered: how many, times how unsure the bot is of them on
        average."""
        return sum(lesson.uncertainty for lesson in self.lessons)

    @property
    def answer(self) -> str:
        """What agents usually sent: of the answers that say nearly the same, the most frequent;
        of equals the surest. "" where nobody answered."""
        said = [lesson for lesson in self.lessons if lesson.answer]
        often = Counter(near_duplicate_key(lesson.answer) for lesson in said)
        best = max(
            said,
            key=lambda each: (often[near_duplicate_key(each.answer)], each.confidence),
            default=None,
        )
        return "" if best is None else best.answer

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "title": self.title, "new": self.new, "share": round(self.share, 4),
            "worth": round(self.worth, 3), "answer": self.answer,
            "lessons": [vars(lesson) for lesson in self.lessons],
        }  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """lessons: that were decided on now; typed: examples that a person wrote; label: they are now
    examples of it, None where they were rejected or opened again."""

    lessons: int
    typed: int = 0
    label: str | None = None


def proposed(engine: Engine, bot: str) -> tuple[Proposal, ...]:
    """What waits for a decision, what is worth most first; in each what the bot is least sure of
    first."""
    query = select(lessons).where(lessons.c.bot == bot, lessons.c.state == "new")
    ended = (
        select(func.count())
        .select_from(handovers)
        .where(handovers.c.ended_at.is_not(None), handovers.c.model.startswith(f"{bot}@"))
    )
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(lessons.c.id)).all()
        chats = int(connection.scalar(ended) or 0)
    groups: dict[str, list[Row[Any]]] = {}
    for row in rows:
        groups.setdefault(row.proposal or row.label or "new: question", []).append(row)
    found = []
    for key, own in groups.items():
        handed_over = len({row.handover_id for row in own} - {None})
        several = sorted(map(_open, own), key=lambda each: (-each.uncertainty, each.id))
        name = key.removeprefix("new: ")
        found.append(
            Proposal(
                name, own[0].proposal_title or readable(name), key != name,
                handed_over / chats if chats else 0.0, tuple(several),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda each: (-each.worth, each.name)))


def _open(row: Row[Any]) -> OpenLesson:
    return OpenLesson(
        row.id, row.kind, row.question, row.answer, row.agent, row.intent, row.probability,
        row.label, row.handover_id, row.message_id, row.must_pass, row.confidence,
    )  # fmt: skip


def accept(
    engine: Engine,
    bot: str,
    numbers: Sequence[int],
    *,
    label: str,
    answer: str = "",
    title: str = "",
    typed: Sequence[str] = (),
    edited: Mapping[int, str] | None = None,
    must_pass: bool | None = None,
    by: str,
    clock: Callable[[], datetime],
) -> Decision:
    """These lessons are examples of `label`, and so are the questions that were typed in; a label
    that the bot does not know is a new intent. answer: what the bot says to it from now on, a
    template; "" leaves what it says. edited: number of a lesson -> its
    question in better words. must_pass: a later version must get them right; None: as each
    was proposed.

    Raises DataError: nothing to learn from, a label or an answer that cannot be. Then nothing has
    changed.
    """
    label, answer, title = checked_label(label), answer.strip(), normalise(title)
    own = _typed(typed)
    better = {number: _one_typed(text) for number, text in (edited or {}).items()}
    if not numbers and not own and not answer:
        raise DataError("no question was chosen and none was typed in")
    if len(answer) > LONGEST_ANSWER:
        raise DataError(f"the answer has {len(answer)} characters; at most {LONGEST_ANSWER}")
    if answer:
        lint(answer, f"the answer to {label}")
    values = {"state": "accepted", "label": label, "decided_by": by, "decided_at": clock()}
    if must_pass is not None:
        values["must_pass"] = must_pass
    with engine.begin() as connection:
        for number in set(better) & set(numbers):
            _decide(connection, bot, [number], "new", {"question": better[number]})
        done = _decide(connection, bot, numbers, "new", values)
        known = {
            fold(text)
            for text in connection.scalars(
                select(lessons.c.question).where(
                    lessons.c.bot == bot, lessons.c.label == label, lessons.c.state == "accepted"
                )
            )
        }
        rows = [
            _typed_row(bot, text, values, bool(must_pass))
            for text in own
            if fold(text) not in known
        ]
        if rows:
            connection.execute(insert(lessons), rows)
        if answer:
            _teach_answer(connection, bot, label, answer, title, by, clock())
        if done or rows or answer:
            _grown(connection, bot)
    return Decision(done, len(rows), label)


def reject(
    engine: Engine, bot: str, numbers: Sequence[int], *, by: str, clock: Callable[[], datetime]
) -> Decision:
    """Nothing is learned from these."""
    values = {"state": "rejected", "decided_by": by, "decided_at": clock()}
    with engine.begin() as connection:
        return Decision(_decide(connection, bot, numbers, "new", values))


def reopen(engine: Engine, bot: str, numbers: Sequence[int]) -> Decision:
    """Take decisions back: the lessons wait again, what they taught is forgotten at once, and so is
    the answer of a label that is left without any."""
    values = {"state": "new", "decided_by": None, "decided_at": None}
    with engine.begin() as connection:
        done = sum(
            _decide(connection, bot, numbers, state, values) for state in ("accepted", "rejected")
        )
        accepted = select(lessons.c.label).where(
            lessons.c.bot == bot, lessons.c.state == "accepted", lessons.c.label.is_not(None)
        )
        if done:
            connection.execute(
                delete(taught_answers).where(
                    taught_answers.c.bot == bot,
                    taught_answers.c.label.in_(
                        select(lessons.c.label).where(lessons.c.id.in_(list(numbers)))
                    ),
                    taught_answers.c.label.not_in(accepted),
                )
            )
            _grown(connection, bot)
    return Decision(done)


def decided(engine: Engine, bot: str, *, limit: int = 200) -> tuple[dict[str, Any], ...]:
    """What people have decided, the last first."""
    query = (
        select(
            lessons.c.id, lessons.c.state, lessons.c.label, lessons.c.question, lessons.c.kind,
            lessons.c.decided_by, lessons.c.decided_at,
        )
        .where(lessons.c.bot == bot, lessons.c.state != "new")
        .order_by(lessons.c.decided_at.desc(), lessons.c.id.desc())
        .limit(limit)
    )  # fmt: skip
    with engine.connect() as connection:
        return tuple(dict(row._mapping) for row in connection.execute(query))


def check_state(
    engine: Engine, bot: str, numbers: Sequence[int], states: Collection[str]
) -> list[int]:
    """The numbers, each once, all of which are in these states.

    Raises: LessonNotFoundError. LessonConflictError: one is in another state; it says who decided.
    """
    wanted = list(dict.fromkeys(numbers))
    columns = (lessons.c.id, lessons.c.state, lessons.c.decided_by, lessons.c.decided_at)
    known: dict[int, Row[Any]] = {}
    with engine.connect() as connection:
        for start in range(0, len(wanted), AT_ONCE):
            query = select(*columns).where(
                lessons.c.bot == bot, lessons.c.id.in_(wanted[start : start + AT_ONCE])
            )
            known |= {row.id: row for row in connection.execute(query)}
    for number in wanted:
        row = known.get(number)
        if row is None:
            raise LessonNotFoundError(f"lesson {number}: there is none of that number")
        if row.state not in states:
            what = "waits for a decision" if row.state == "new" else (
                f"was {row.state} by {row.decided_by} at {row.decided_at:%Y-%m-%d %H:%M} UTC"
            )  # fmt: skip
            raise LessonConflictError(f"lesson {number} {what}; nothing was changed")
    return wanted


def checked_label(label: str) -> str:
    """Raises DataError where it can be no name of an intent."""
    label = normalise(label)
    if not label or len(label) > LONGEST_LABEL:
        raise DataError(f"an intent needs a name of 1 to {LONGEST_LABEL} characters")
    if label in RESERVED or label.startswith("/"):
        raise DataError(f"{label!r} is no name for an intent: it is a button's or a decision's")
    return label


def _typed(texts: Sequence[str]) -> list[str]:
    """Questions as a person wrote them, none twice, personal data masked."""
    found: dict[str, str] = {}
    for text in texts:
        clean = normalise(text)
        if len(clean) > LONGEST_EXAMPLE:
            raise DataError(
                f"the example {clean[:40]!r}… has {len(clean)} characters; at most "
                f"{LONGEST_EXAMPLE}"
            )
        if clean:
            found.setdefault(fold(clean), masked(clean).text)
    if len(found) > MOST_TYPED:
        raise DataError(f"{len(found):,} examples at once; at most {MOST_TYPED:,}")
    return list(found.values())


def _one_typed(text: str) -> str:
    """Raises DataError where nothing is left of it."""
    for found in _typed([text]):
        return found
    raise DataError("a question is empty: untick it to leave it out")


def _typed_row(bot: str, text: str, values: Mapping[str, Any], must_pass: bool) -> dict[str, Any]:
    return {
        **values, "bot": bot, "message_id": None, "kind": "typed", "question": text,
        "intent": None, "probability": None, "answer": "", "answer_ids": [], "agent": None,
        "handover_id": None, "confidence": 0.0, "must_pass": must_pass, "proposal": "",
        "proposal_title": "", "found_at": values["decided_at"],
    }  # fmt: skip


def _decide(
    connection: Connection,
    bot: str,
    numbers: Sequence[int],
    state: str,
    values: Mapping[str, Any],
) -> int:
    done = 0
    for start in range(0, len(numbers), AT_ONCE):
        chosen = list(numbers[start : start + AT_ONCE])
        query = update(lessons).where(
            lessons.c.id.in_(chosen), lessons.c.bot == bot, lessons.c.state == state
        )
        done += connection.execute(query.values(**values)).rowcount
    return done


def _teach_answer(
    connection: Connection, bot: str, label: str, answer: str, title: str, by: str, at: datetime
) -> None:
    language = detect_language(answer)
    row = {
        "bot": bot, "label": label, "language": "en" if language == "und" else language,
        "title": title or readable(label), "template": answer, "taught_by": by, "taught_at": at,
    }  # fmt: skip
    _put(connection, taught_answers, row, ["bot", "label", "language"])


def _grown(connection: Connection, bot: str) -> None:
    """Tell the workers that there is something new."""
    row = {"bot": bot, "revision": 1, "read_until": None}
    kind = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(
        kind.insert(learning)
        .values(row)
        .on_conflict_do_update(index_elements=["bot"], set_={"revision": learning.c.revision + 1})
    )


def _put(connection: Connection, table: Any, row: Mapping[str, Any], key: list[str]) -> None:
    kind = sqlite if connection.dialect.name == "sqlite" else postgresql
    rest = {name: value for name, value in row.items() if name not in key}
    connection.execute(
        kind.insert(table).values(row).on_conflict_do_update(index_elements=key, set_=rest)
    )
