"""A conversation: what the customer's next message may refer to, kept in the database.

State is read, one message is handled, and state is written only if nobody else has written it in
between; otherwise the message is handled again on the newer state. So two workers can serve one
sender, and a killed one loses nothing but the message it had not answered. While a person is in
charge messages are kept and read, and not answered.
"""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from apps.chatbot.bot import Bot, Reply
from apps.chatbot.entities.spans import joined
from apps.chatbot.handover import Handovers
from apps.chatbot.learning.live_teaching import LiveTeaching
from apps.chatbot.messages import (
    TO_CUSTOMERS,
    Message,
    add_message,
    find_message,
    last_question,
    last_ranking,
    said_by_people,
    transcript,
)
from apps.chatbot.options import CHOSEN, NO_ANSWER, NO_VALUE, NONE_OF_THESE, buttons_of, chosen_of
from apps.chatbot.phrases import named, phrases_for
from apps.chatbot.tables import conversations, handovers
from apps.chatbot.turns import State, Turn
from shared.errors import ServiceError
from shared.storage import reading
from shared.text import detect_language

ATTEMPTS = 20
RANKED = 5  # intents kept with each message
# Built once, as those in messages.py.
_READ = (
    select(
        conversations.c.revision, conversations.c.state, handovers.c.id,
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


@dataclass(frozen=True)
class Limits:
    """After this many questions back, or refusals, in a row a person takes over."""

    clarifications: int
    refusals: int


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
        self._limits = limits
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
                turn, after = self.respond(seen.state, text)
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

    def respond(self, state: State, text: str) -> tuple[Turn, State]:
        """One message in a given state, without the database."""
        language = detect_language(text)
        if state.offered and (chosen := chosen_of(text, state.offered, language)):
            return self._choose(chosen, state, language)
        if state.pending and (value := self.bot.entities.fill(state.pending[1], text)):
            return self._fill(state.pending, value, state, language)
        (reply,) = self.bot.reply([text], slots=state.slots)
        state = replace(state, slots=joined(state.slots, reply.entities), offered=())
        if state.pending and self._fits_no_value(reply, state.pending):
            return self._offer_values(reply, state.pending, state)
        state = replace(state, pending=None)
        if reply.decision == "clarify":
            return self._clarify(reply, state)
        if reply.decision == "reject":
            return self._refuse(reply, state)
        if reply.passed_on:
            return self._hand_over(_turn(reply), state, NO_ANSWER)
        if reply.decision == "handover":
            return self._hand_over(_turn(reply), state, reply.why)
        state = replace(state, clarifications=0, refusals=0)
        if reply.missing_slot:
            state = replace(state, pending=(reply.intent, reply.missing_slot))
        return _turn(reply), state

    def _fill(
        self, pending: tuple[str, str], value: str, state: State, language: str
    ) -> tuple[Turn, State]:
        """The slot that was asked for has come: the answer that needs it goes on."""
        label, slot = pending
        return self._answer(label, replace(state, slots={**state.slots, slot: value}), language)

    def _fits_no_value(self, reply: Reply, pending: tuple[str, str]) -> bool:
        """Whether a reply to the question for a listed slot is no value of it, and no question of
        its own either."""
        label, slot = pending
        another = reply.decision == "answer" and reply.intent != label
        return self.bot.entities.is_listed(slot) and not (another or reply.decision == "handover")

    def _offer_values(
        self, reply: Reply, pending: tuple[str, str], state: State
    ) -> tuple[Turn, State]:
        """Ask for the slot again: no choice among intents, and so no question back of its own."""
        label, slot = pending
        phrases = phrases_for(reply.language)
        turn = Turn(phrases.handover, "handover", label, None, why=NO_VALUE)
        if state.clarifications >= self._limits.clarifications:
            return self._hand_over(turn, state, NO_VALUE)
        values = tuple((each, each) for each in self.bot.entities.lists.nearest(slot, reply.text))
        asked = phrases.not_listed if values else phrases.not_fitting
        turn = replace(turn, text=asked.format(slot=named(slot)), decision="answer", buttons=values)
        return turn, replace(state, offered=values, clarifications=state.clarifications + 1)

    def _choose(self, label: str, state: State, language: str) -> tuple[Turn, State]:
        if state.pending and label != NONE_OF_THESE:
            return self._fill(state.pending, label, state, language)
        if label != NONE_OF_THESE:
            return self._answer(label, state, language)
        phrases = phrases_for(language)
        state = replace(state, offered=())
        why = "the customer means none of the offered intents"
        if state.refusals + 1 >= self._limits.refusals:
            turn = Turn(phrases.handover, "handover", None, None)
            return self._hand_over(turn, state, why)
        return (
            Turn(phrases.reject, "reject", None, None, why=why),
            replace(state, refusals=state.refusals + 1),
        )

    def _answer(self, label: str, state: State, language: str) -> tuple[Turn, State]:
        """An intent the customer has confirmed, or whose slot has come."""
        spoken = self.bot.say(label, language, state.slots)
        after = State(slots=state.slots)
        turn = Turn(spoken.text, "answer", label, None, why=CHOSEN)
        if spoken.passed_on:
            return self._hand_over(turn, state, NO_ANSWER)
        if spoken.missing_slot:
            after = replace(after, pending=(label, spoken.missing_slot))
        return turn, after

    def _clarify(self, reply: Reply, state: State) -> tuple[Turn, State]:
        if state.clarifications >= self._limits.clarifications:
            asked = f"{state.clarifications} questions back in a row did not settle it"
            return self._hand_over_unsettled(reply, state, f"{asked}; {reply.why}")
        none = phrases_for(reply.language).none_of_these
        offered = tuple((option.label, option.title) for option in reply.options)
        buttons = (*buttons_of(reply.options), (none, f"/{NONE_OF_THESE}"))
        after = replace(
            state,
            offered=(*offered, (NONE_OF_THESE, none)),
            clarifications=state.clarifications + 1,
        )
        return replace(_turn(reply), buttons=buttons), after

    def _refuse(self, reply: Reply, state: State) -> tuple[Turn, State]:
        if state.refusals + 1 >= self._limits.refusals:
            refused = f"{state.refusals + 1} messages in a row were not understood"
            return self._hand_over_unsettled(reply, state, f"{refused}; {reply.why}")
        return _turn(reply), replace(state, refusals=state.refusals + 1)

    def _hand_over_unsettled(self, reply: Reply, state: State, why: str) -> tuple[Turn, State]:
        text = phrases_for(reply.language).handover
        return self._hand_over(replace(_turn(reply), text=text), state, why)

    def _hand_over(self, turn: Turn, state: State, why: str) -> tuple[Turn, State]:
        """A person takes over; what is known of the customer stays known."""
        return replace(turn, decision="handover", why=why), State(slots=state.slots)

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
        return _Seen(
            row.revision, State.from_json(row.state), row.id, row.handover_state == "taken",
            row.id is not None and row.deadline <= self.clock(), answered,
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
        """Both messages, and the handover where the turn is one."""
        now = self.clock()
        ranking = [[label, round(p, 6)] for label, p in turn.ranking]
        asked = add_message(
            connection, sender, "customer", text, now, client_id=message_id,
            details={"ranking": ranking} if turn.decision == "silent" else None,
        )  # fmt: skip
        missed = said_by_people(connection, sender, asked.id)
        if seen.handover is not None:
            self.handovers.heard(connection, seen.handover, asked, state.slots)
        if turn.decision == "silent":
            return replace(turn, missed=missed)
        details = {
            "why": turn.why,
            "buttons": [list(button) for button in turn.buttons],
            "scorers": dict(turn.scorers),
            "ranking": ranking,
        }
        answer = add_message(
            connection, sender, "bot", turn.text, now, decision=turn.decision, intent=turn.intent,
            probability=turn.probability, model=self._model, details=details,
        )  # fmt: skip
        if turn.decision == "handover" and seen.handover is None:
            matter, ranked = text, turn.ranking
            if turn.reply is not None and turn.reply.decision == "handover":
                # "A person, please" says nothing of the matter: what was asked before it does.
                matter = last_question(connection, sender, asked) or text
            if matter != text or not ranked:
                ranked = last_ranking(connection, sender, asked.id) or ranked
            self.handovers.begin(
                connection, sender, reason=turn.why, question=matter, ranking=ranked,
                slots=dict(state.slots), language=detect_language(text), model=self._model,
            )  # fmt: skip
        return replace(turn, message_id=answer.id, missed=missed)


def _answered(connection: Connection, sender: str, message_id: str) -> Turn | None:
    """What was answered to the message of this id, if it was answered before."""
    asked = find_message(connection, sender, "customer", message_id)
    if asked is None:
        return None
    missed = said_by_people(connection, sender, asked.id)
    # Kept in one transaction: an answer has the next id of its conversation.
    following = transcript(connection, sender, after=asked.id, limit=1)
    if "ranking" in asked.details or not following:
        return Turn("", "silent", None, None, ranking=asked.ranking, missed=missed)
    (answer,) = following
    decision: Any = answer.decision
    return Turn(
        answer.text, decision, answer.intent, answer.probability,
        tuple((title, payload) for title, payload in answer.details.get("buttons", ())),
        why=answer.details.get("why", ""), scorers=answer.details.get("scorers", {}),
        ranking=answer.ranking, message_id=answer.id, missed=missed,
    )  # fmt: skip


def _turn(reply: Reply) -> Turn:
    return Turn(
        reply.message, reply.decision, reply.intent, reply.probability, reply=reply, why=reply.why,
        scorers=reply.scorers, ranking=reply.ranking[:RANKED],
    )  # fmt: skip
