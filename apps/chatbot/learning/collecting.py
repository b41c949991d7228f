"""Lessons out of conversations: read what has happened since the last time, keep what can be
learned of it for a person to decide, and put together what asks the same.

Each step can be repeated: a lesson is known by its message, and one that a person has decided on
stays as it is. So a round that is killed is done again, and two at once do the work twice and no
harm. Everything that takes time happens between transactions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, func, select, union
from sqlalchemy.dialects import postgresql, sqlite

from apps.chatbot.answers import AnswerBook
from apps.chatbot.learning.chats import LONGEST_QUESTION, Answered, Read, answered_in
from apps.chatbot.learning.proposing import propose
from apps.chatbot.learning.signals import ALIKE, FIRM, HandedOver, Signal, signals_of
from apps.chatbot.messages import Message, transcript
from apps.chatbot.mining.answer_choice import Encode
from apps.chatbot.mining.dialogue_masking import runs_of
from apps.chatbot.mining.dialogues import Dialogue, Turn
from apps.chatbot.tables import feedback, handovers, learning, lessons, messages

# Conversations read in one go, and how far back a round looks again: a worker may have written what
# it saw a moment ago after another one had read.
PORTION = 200
OVERLAP = timedelta(minutes=10)
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass(frozen=True)
class Collected:
    """conversations: that were read. found: new lessons. waiting: lessons that nobody has decided
    on, in so many proposals."""

    conversations: int
    found: int
    waiting: int
    proposals: int

    @property
    def words(self) -> str:
        return (
            f"{self.conversations:,} conversations read, {self.found:,} new lessons; "
            f"{self.waiting:,} wait for a decision in {self.proposals:,} proposals"
        )


def collect(
    engine: Engine, bot: str, book: AnswerBook, encode: Encode, *, clock: Callable[[], datetime]
) -> Collected:
    """A round for one bot (the model's name). encode: unit vectors of texts. book: its answers."""
    begun = clock()
    with engine.connect() as connection:
        read_until = connection.scalar(select(learning.c.read_until).where(learning.c.bot == bot))
        since = _EPOCH if read_until is None else read_until - OVERLAP
        senders = _touched(connection, since)
        before = _count(connection, bot)
    for start in range(0, len(senders), PORTION):
        _collect_portion(engine, bot, senders[start : start + PORTION], book, encode, clock)
    waiting, proposals = propose(engine, bot, encode, book.by_label)
    with engine.begin() as connection:
        row = {"bot": bot, "revision": 0, "read_until": begun}
        done = _insert(engine, learning).values(row)
        connection.execute(
            done.on_conflict_do_update(index_elements=["bot"], set_={"read_until": begun})
        )
        after = _count(connection, bot)
    return Collected(len(senders), after - before, waiting, proposals)


def _touched(connection: Connection, since: datetime) -> list[str]:
    """Who has written, was written to, or has given a thumb since; none with an open chat."""
    rated = select(messages.c.sender).join(feedback, feedback.c.message_id == messages.c.id)
    found = union(
        select(messages.c.sender).where(messages.c.at >= since),
        rated.where(feedback.c.at >= since),
    )
    still_open = select(handovers.c.sender).where(handovers.c.ended_at.is_(None))
    busy = set(connection.scalars(still_open))
    return sorted(sender for sender in connection.scalars(found) if sender not in busy)


def _count(connection: Connection, bot: str) -> int:
    query = select(func.count()).select_from(lessons).where(lessons.c.bot == bot)
    return int(connection.scalar(query) or 0)


def _insert(engine: Engine, table: Any) -> Any:
    """An insert that knows what to do where the row is there."""
    return (sqlite if engine.dialect.name == "sqlite" else postgresql).insert(table)


def _collect_portion(
    engine: Engine,
    bot: str,
    senders: Sequence[str],
    book: AnswerBook,
    encode: Encode,
    clock: Callable[[], datetime],
) -> None:
    with engine.connect() as connection:
        said = {sender: transcript(connection, sender) for sender in senders}
        chats = _chats(connection, said)
        thumbs = _thumbs(connection, senders)
        decided = _decided(connection, said)
    signals = [signal for each in said.values() for signal in signals_of(each, thumbs)]
    signals = _settled(signals, encode)
    answered = answered_in(chats, book, encode)
    masked = {number: text for own in said.values() for number, text in _masked(own).items()}
    rows = _rows(signals, answered, masked, bot)
    fresh = [{**row, "found_at": clock()} for row in rows if row["message_id"] not in decided]
    if not fresh:
        return
    with engine.begin() as connection:
        for row in fresh:
            kept = {
                key: value
                for key, value in row.items()
                if key not in ("message_id", "found_at", "proposal", "proposal_title", "state")
            }
            connection.execute(
                _insert(engine, lessons)
                .values(row)
                .on_conflict_do_update(
                    index_elements=["message_id"], set_=kept, where=lessons.c.state == "new"
                )
            )


def _chats(connection: Connection, said: Mapping[str, Sequence[Message]]) -> list[Read]:
    query = (
        select(handovers)
        .where(handovers.c.sender.in_(list(said)), handovers.c.ended_at.is_not(None))
        .order_by(handovers.c.id)
    )
    return [
        Read(
            HandedOver(
                row.id, row.question, row.queued_at, row.ended_at, row.model, row.state == "closed"
            ),
            said[row.sender],
            row.slots,
        )
        for row in connection.execute(query)
    ]


def _thumbs(connection: Connection, senders: Sequence[str]) -> dict[int, str]:
    query = (
        select(feedback.c.message_id, feedback.c.value)
        .join(messages, messages.c.id == feedback.c.message_id)
        .where(messages.c.sender.in_(senders))
    )
    return {row.message_id: row.value for row in connection.execute(query)}


def _decided(connection: Connection, said: Mapping[str, Sequence[Message]]) -> set[int]:
    """Messages whose lesson a person has decided on."""
    numbers = [
        each.id for own in said.values() for each in own if each.role == "customer" or each.read
    ]
    found: set[int] = set()
    for start in range(0, len(numbers), 5_000):
        query = select(lessons.c.message_id).where(
            lessons.c.message_id.in_(numbers[start : start + 5_000]), lessons.c.state != "new"
        )
        found |= set(connection.scalars(query))
    return found


def _settled(signals: Sequence[Signal], encode: Encode) -> list[Signal]:
    """Each as it is once the texts that may ask the same were compared."""
    open_ones = [signal for signal in signals if signal.like is not None]
    texts = [
        text[:LONGEST_QUESTION]
        for signal in open_ones
        for text in (signal.asked.text, signal.like.text if signal.like else "")
    ]
    vectors = encode(texts) if texts else np.zeros((0, 1), dtype=np.float32)
    alike = {
        signal.asked.id: float(vectors[2 * at] @ vectors[2 * at + 1]) >= ALIKE
        for at, signal in enumerate(open_ones)
    }
    found = []
    for signal in signals:
        kept: Signal | None = signal
        if signal.like is not None and not alike[signal.asked.id]:
            kept = signal.otherwise
        if kept is not None:
            found.append(kept)
    return found


def _masked(said: Sequence[Message]) -> dict[int, str]:
    """Number of each of a customer's messages, and of what was read from some under that of the
    answer -> its text without personal data; names that the conversation tells are masked wherever
    they stand."""
    agents = tuple(Turn("agent", each.text, each.id) for each in said if each.role == "agent")
    found = {}
    # Each with an empty hold between, so that no two become one run.
    turns: list[Turn] = []
    for each in said:
        if text := each.text if each.role == "customer" else each.read:
            turns += [Turn("customer", text, each.id), Turn("agent", "…", -each.id)]
    for run in runs_of(Dialogue("", (*agents, *turns), "", 0)):
        if run.role == "customer":
            found[run.turns[0]] = run.words.text[:LONGEST_QUESTION]
    return found


def _rows(
    signals: Iterable[Signal],
    answered: Iterable[Answered],
    masked: Mapping[int, str],
    bot: str,
) -> list[dict[str, Any]]:
    """One lesson for each message; a chat's answer belongs to whatever else it tells."""
    found: dict[int, dict[str, Any]] = {}
    for signal in signals:
        found[signal.asked.id] = _row(signal, masked.get(signal.asked.id, ""))
    for each in answered:
        number = each.signal.asked.id
        row = _row(each.signal, each.question or masked.get(number, ""))
        if (before := found.get(number)) and before["label"] and not row["label"]:
            row |= {key: before[key] for key in ("kind", "label", "must_pass")}
        row |= {
            "answer": each.answer, "answer_ids": list(each.answer_ids), "agent": each.agent,
            "handover_id": each.chat, "confidence": each.confidence,
        }  # fmt: skip
        found[number] = row
    return [row for row in found.values() if row["bot"] == bot and len(row["question"].strip()) > 2]


def _row(signal: Signal, question: str) -> dict[str, Any]:
    return {
        "bot": signal.model.partition("@")[0],
        "message_id": signal.asked.id, "kind": signal.kind, "question": question,
        "intent": signal.intent, "probability": signal.probability, "label": signal.label,
        "answer": "", "answer_ids": [], "agent": None, "handover_id": None, "confidence": 0.0,
        "must_pass": signal.kind in FIRM, "proposal": "", "proposal_title": "", "state": "new",
    }  # fmt: skip
