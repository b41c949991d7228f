"""A conversation: what the customer's next message may refer to, kept in the database.

State is read, one message is handled, and state is written only if nobody else has written it in
between; otherwise the message is handled again on the newer state. So two workers can serve one
sender, and a killed one loses nothing but the message it had not answered. While a person is in
charge messages are kept and read, and not answered.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from apps.chatbot.bot import Bot
from apps.chatbot.entities.spans import joined
from apps.chatbot.handover import Handovers
from apps.chatbot.learning.live_teaching import LiveTeaching
from apps.chatbot.messages import (
    MOST_SAID,
    ONE_MATTER,
    TO_CUSTOMERS,
    Message,
    add_message,
    find_message,
    last_question,
    last_ranking,
    said_by_people,
    said_to,
    storable,
    transcript,
)
from apps.chatbot.phrases import phrases_for
from apps.chatbot.responding import RANKED, Responses
from apps.chatbot.tables import conversations, handovers
from apps.chatbot.turns import Limits, State, Turn
from shared.errors import ServiceError
from shared.storage import reading
from shared.text import detect_language

ATTEMPTS = 20
# Built once, as those in messages.py.
_READ = (
    select(
        conversations.c.revision, conversations.c.state, conversations.c.updated_at, handovers.c.id,
        handovers.c.state.label("handover_state"), handovers.c.deadline,
    )
    .outerjoin(
        handovers,
        (handovers.c.sender == conversations.c.sender) & handovers.c.ended_at.is_(None),
    )
    .where(conversations.c.sender == bindparam("of_sender"))
)  # fmt: skip
_BEGIN = insert(conversations)
_CHANGE = update(conversations).where(
    conversations.c.sender == bindparam("of_sender"),
    conversations.c.revision == bindparam("seen_revision"),
)


@dataclass(frozen=True)
class _Seen:
    """A conversation as it was read. handover: number of the open one; taken: somebody has it;
    overdue: its time has run out. answered: what came of the same message before."""

    revision: int = 0
    state: State = field(default_factory=State)
    handover: int | None = None
    taken: bool = False
    overdue: bool = False
    answered: Turn | None = None


class Conversations:
    """All conversations of one bot."""

    def __init__(
        self,
        bot: Bot,
        engine: Engine,
        *,
        model: str,
        limits: Limits,
        clock: Callable[[], datetime],
        handovers: Handovers | None = None,
        teaching: LiveTeaching | None = None,
    ) -> None:
        """handovers: on the same engine, always open by default. teaching: looks for what the bot
        is taught meanwhile, when it is told to."""
        self.bot = bot
        self.teaching = teaching
        self.handovers = handovers or Handovers(engine, clock=clock)
        self.engine = engine
        self._reading = reading(engine)
        # SQLite has one writer at a time and lets others sleep: here they wait in a line.
        self._writing = threading.Lock()
        self._model = model
        self._responses = Responses(bot, limits)
        self.clock = clock

    @property
    def bot_name(self) -> str:
        """Of the model, without its version."""
        return self._model.partition("@")[0]

    def handle(self, sender: str, text: str, message_id: str | None = None) -> Turn:
        """Answer one message of `sender` and remember what it means for the next.

        message_id: of the client; a message that comes again with the same one gets the same
        answer and changes nothing.

        Raises:
            ServiceError: other workers kept changing the conversation.
        """
        read: Turn | None = None  # once, however often it is tried
        for _ in range(ATTEMPTS):
            seen = self._read(sender, message_id)
            if seen.answered is not None:
                return seen.answered
            if seen.overdue:
                self.handovers.expire(sender)
                continue
            if seen.handover is None:
                turn, after = self._responses.to(text, seen.state)
                turn = self._announced(turn, text)
            else:
                read = read or self._read_only(text)
                known = joined(seen.state.slots, self.bot.entities.find(text))
                after = replace(seen.state, slots=known)
                turn = read if seen.taken else self._asked_to_wait(read, detect_language(text))
            written = self._write(sender, seen, after, text, turn, message_id)
            if written is not None:
                return written
        raise ServiceError(
            f"conversation {sender!r}: {ATTEMPTS} attempts met a newer state each time; "
            "is one sender id used by many customers at once?"
        )

    def said_since(self, sender: str, after: int) -> tuple[Message, ...]:
        """What the customer was told, by the bot and by people, in messages with ids above
        `after`."""
        self.handovers.expire(sender)
        with self._reading.connect() as connection:
            # Ids begin at 1: from the first message on, in order.
            return transcript(connection, sender, after=max(after, 0), roles=TO_CUSTOMERS)

    def both_sides(self, sender: str, after: int) -> tuple[tuple[Message, ...], bool]:
        """All messages with ids above `after`, and whether a person is asked for or in charge."""
        self.handovers.expire(sender)
        query = select(handovers.c.id).where(
            handovers.c.sender == sender, handovers.c.ended_at.is_(None)
        )
        with self._reading.connect() as connection:
            person = connection.execute(query).first() is not None
            return transcript(connection, sender, after=max(after, 0)), person

    def _read_only(self, text: str) -> Turn:
        """What is in the message, for the person who will answer it."""
        (reply,) = self.bot.reply([text])
        return Turn("", "silent", None, None, ranking=reply.ranking[:RANKED])

    def _asked_to_wait(self, read: Turn, language: str) -> Turn:
        """Nobody has taken the chat yet: the customer is not left without a word."""
        phrases, now = phrases_for(language), self.handovers.said(language)
        text = phrases.in_charge if now == phrases.handover else now
        return replace(read, text=text, decision="handover", why="a person has been asked for")

    def _announced(self, turn: Turn, asked: str) -> Turn:
        """A handover tells the customer when somebody will be there."""
        turn = replace(turn, then=tuple(self._announced(each, asked) for each in turn.then))
        if turn.decision != "handover":
            return turn
        language = detect_language(asked) if turn.reply is None else turn.reply.language
        usual, now = phrases_for(language).handover, self.handovers.said(language)
        if turn.text == usual:
            return replace(turn, text=now)
        return turn if now == usual else replace(turn, text=f"{turn.text} {now}")

    def _read(self, sender: str, message_id: str | None) -> _Seen:
        with self._reading.connect() as connection:
            row = connection.execute(_READ, {"of_sender": sender}).one_or_none()
            if row is None:
                return _Seen()
            answered = _answered(connection, sender, message_id) if message_id else None
        state, now = State.from_json(row.state), self.clock()
        if now - row.updated_at > ONE_MATTER:
            state = replace(state, asked="")
        return _Seen(
            row.revision, state, row.id, row.handover_state == "taken",
            row.id is not None and row.deadline <= now, answered,
        )  # fmt: skip

    def _write(
        self, sender: str, seen: _Seen, state: State, text: str, turn: Turn, message_id: str | None
    ) -> Turn | None:
        """Store the exchange; None when somebody else has written this conversation since."""
        now = self.clock()
        values = {"state": asdict(state), "revision": seen.revision + 1, "updated_at": now}
        try:
            with self._writing, self.engine.begin() as connection:
                if seen.revision == 0:
                    connection.execute(_BEGIN, {"sender": sender, **values})
                else:
                    known = {"of_sender": sender, "seen_revision": seen.revision}
                    changed = connection.execute(_CHANGE, {**values, **known})
                    if changed.rowcount == 0:
                        return None
                return self._keep(connection, sender, seen, state, text, turn, message_id)
        except IntegrityError:  # the first message of this sender, or the same, by two at once
            return None

    def _keep(
        self,
        connection: Connection,
        sender: str,
        seen: _Seen,
        state: State,
        text: str,
        turn: Turn,
        message_id: str | None,
    ) -> Turn:
        """The message and all that is said to it, and the handover that it leads to."""
        now, last = self.clock(), turn.said[-1]
        asked = add_message(
            connection, sender, "customer", text, now, client_id=message_id,
            details={"ranking": _stored(turn.ranking)} if turn.decision == "silent" else None,
        )  # fmt: skip
        missed = said_by_people(connection, sender, asked.id)
        if seen.handover is not None:
            self.handovers.heard(connection, seen.handover, asked, state.slots)
        if turn.decision == "silent":
            return replace(turn, missed=missed)
        first, *then = (
            replace(each, message_id=self._keep_said(connection, sender, each, now).id, then=())
            for each in turn.said
        )
        if last.decision == "handover" and seen.handover is None:
            matter, ranked = text, last.ranking
            if last.reply is not None and last.reply.decision == "handover":
                # "A person, please" says nothing of the matter: what was asked before it does.
                matter = last_question(connection, sender, asked) or text
            if matter != text or not ranked:
                ranked = last_ranking(connection, sender, asked.id) or ranked
            self.handovers.begin(
                connection, sender, reason=last.why, question=matter, ranking=ranked,
                slots=dict(state.slots), language=detect_language(text), model=self._model,
            )  # fmt: skip
        return replace(first, missed=missed, then=tuple(then))

    def _keep_said(self, connection: Connection, sender: str, turn: Turn, now: datetime) -> Message:
        details = {
            "why": turn.why,
            "buttons": [list(button) for button in turn.buttons],
            "scorers": dict(turn.scorers),
            "ranking": _stored(turn.ranking),
        }
        if turn.read:
            details["read"] = storable(turn.read)
        return add_message(
            connection, sender, "bot", turn.text, now, decision=turn.decision, intent=turn.intent,
            probability=turn.probability, model=self._model, details=details,
        )  # fmt: skip


def _stored(ranking: Sequence[tuple[str, float]]) -> list[list[str | float]]:
    return [[label, round(p, 6)] for label, p in ranking]


def _answered(connection: Connection, sender: str, message_id: str) -> Turn | None:
    """What was answered to the message of this id, if it was answered before."""
    asked = find_message(connection, sender, "customer", message_id)
    if asked is None:
        return None
    missed = said_by_people(connection, sender, asked.id)
    # Kept in one transaction: the answers have the next ids of its conversation.
    following = transcript(connection, sender, after=asked.id, limit=MOST_SAID)
    said = [_said_before(each) for each in said_to((asked, *following), 0)]
    if not said:
        return Turn("", "silent", None, None, ranking=asked.ranking, missed=missed)
    return replace(said[0], missed=missed, then=tuple(said[1:]))


def _said_before(answer: Message) -> Turn:
    decision: Any = answer.decision
    return Turn(
        answer.text, decision, answer.intent, answer.probability,
        tuple((title, payload) for title, payload in answer.details.get("buttons", ())),
        why=answer.details.get("why", ""), scorers=answer.details.get("scorers", {}),
        ranking=answer.ranking, message_id=answer.id, read=answer.read,
    )  # fmt: skip
