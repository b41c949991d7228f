"""A conversation: what the customer's next message may refer to, kept in the database.

State is read, one message is handled, and state is written only if nobody else has written it in
between; otherwise the message is handled again on the newer state. So two workers can serve one
sender, and a killed one loses nothing but the message it had not answered.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from apps.chatbot.bot import Bot, Option, Reply
from apps.chatbot.decision import Decision
from apps.chatbot.phrases import phrases_for
from apps.chatbot.slots import fill_asked_slot, find_slots
from apps.chatbot.tables import conversations, messages
from shared.errors import ServiceError
from shared.text import detect_language

# Payload of a button, as Rasa's clients send it back: /label, or /none.
NONE_OF_THESE = "none_of_these"
ATTEMPTS = 20


@dataclass(frozen=True)
class State:
    """What is remembered between two messages.

    offered: (label, title) of the options on the table. pending: (label, slot) while a slot was
    asked for. clarifications, refusals: how many in a row.
    """

    offered: tuple[tuple[str, str], ...] = ()
    pending: tuple[str, str] | None = None
    slots: Mapping[str, str] = field(default_factory=dict)
    clarifications: int = 0
    refusals: int = 0

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "State":
        return cls(
            tuple((label, title) for label, title in stored["offered"]),
            tuple(stored["pending"]) if stored["pending"] else None,
            dict(stored["slots"]),
            stored["clarifications"],
            stored["refusals"],
        )


@dataclass(frozen=True)
class Turn:
    """The bot's side of one exchange. buttons: (title, payload). reply: None where the answer
    followed from the state alone, such as a chosen option."""

    text: str
    decision: Decision
    intent: str | None
    probability: float | None
    buttons: tuple[tuple[str, str], ...] = ()
    reply: Reply | None = None


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
    ) -> None:
        self.bot = bot
        self._engine = engine
        self._model = model
        self._limits = limits
        self._clock = clock

    def handle(self, sender: str, text: str) -> Turn:
        """Answer one message of `sender` and remember what it means for the next.

        Raises:
            ServiceError: other workers kept changing the conversation.
        """
        for _ in range(ATTEMPTS):
            revision, state = self._read(sender)
            turn, after = self.respond(state, text)
            if self._write(sender, revision, after, text, turn):
                return turn
        raise ServiceError(
            f"conversation {sender!r}: {ATTEMPTS} attempts met a newer state each time; "
            "is one sender id used by many customers at once?"
        )

    def respond(self, state: State, text: str) -> tuple[Turn, State]:
        """One message in a given state, without the database."""
        language = detect_language(text)
        if state.offered and (chosen := _chosen(text, state.offered, language)):
            return self._choose(chosen, state, language)
        if state.pending and (value := fill_asked_slot(state.pending[1], text)):
            label, slot = state.pending
            return self._answer(label, replace(state, slots={**state.slots, slot: value}), language)
        (reply,) = self.bot.reply([text], slots=state.slots)
        state = replace(state, slots={**state.slots, **find_slots(text)}, offered=(), pending=None)
        if reply.decision == "clarify":
            return self._clarify(reply, state)
        if reply.decision == "reject":
            return self._refuse(reply, state)
        state = replace(state, clarifications=0, refusals=0)
        if reply.missing_slot:
            state = replace(state, pending=(reply.intent, reply.missing_slot))
        return _turn(reply), state

    def _choose(self, label: str, state: State, language: str) -> tuple[Turn, State]:
        if label != NONE_OF_THESE:
            return self._answer(label, state, language)
        phrases = phrases_for(language)
        state = replace(state, offered=())
        if state.refusals + 1 >= self._limits.refusals:
            return Turn(phrases.handover, "handover", None, None), State(slots=state.slots)
        return (
            Turn(phrases.reject, "reject", None, None),
            replace(state, refusals=state.refusals + 1),
        )

    def _answer(self, label: str, state: State, language: str) -> tuple[Turn, State]:
        """An intent the customer has confirmed, or whose slot has come."""
        spoken = self.bot.say(label, language, state.slots)
        after = State(slots=state.slots)
        if spoken.missing_slot:
            after = replace(after, pending=(label, spoken.missing_slot))
        return Turn(spoken.text, "answer", label, None), after

    def _clarify(self, reply: Reply, state: State) -> tuple[Turn, State]:
        if state.clarifications >= self._limits.clarifications:
            return self._hand_over(reply, state)
        none = phrases_for(reply.language).none_of_these
        offered = tuple((option.label, option.title) for option in reply.options)
        buttons = (*_buttons(reply.options), (none, f"/{NONE_OF_THESE}"))
        after = replace(
            state,
            offered=(*offered, (NONE_OF_THESE, none)),
            clarifications=state.clarifications + 1,
        )
        return replace(_turn(reply), buttons=buttons), after

    def _refuse(self, reply: Reply, state: State) -> tuple[Turn, State]:
        if state.refusals + 1 >= self._limits.refusals:
            return self._hand_over(reply, state)
        return _turn(reply), replace(state, refusals=state.refusals + 1)

    def _hand_over(self, reply: Reply, state: State) -> tuple[Turn, State]:
        text = phrases_for(reply.language).handover
        turn = replace(_turn(reply), text=text, decision="handover")
        return turn, State(slots=state.slots)

    def _read(self, sender: str) -> tuple[int, State]:
        query = select(conversations.c.revision, conversations.c.state)
        with self._engine.connect() as connection:
            row = connection.execute(query.where(conversations.c.sender == sender)).one_or_none()
        return (row.revision, State.from_json(row.state)) if row else (0, State())

    def _write(self, sender: str, revision: int, state: State, text: str, turn: Turn) -> bool:
        """Store the exchange; False when somebody else has written this conversation since."""
        now = self._clock()
        values = {"state": asdict(state), "revision": revision + 1, "updated_at": now}
        try:
            with self._engine.begin() as connection:
                if revision == 0:
                    connection.execute(insert(conversations).values(sender=sender, **values))
                else:
                    changed = connection.execute(
                        update(conversations)
                        .where(conversations.c.sender == sender)
                        .where(conversations.c.revision == revision)
                        .values(**values)
                    )
                    if changed.rowcount == 0:
                        return False
                connection.execute(insert(messages), self._rows(sender, text, turn, now))
        except IntegrityError:  # the first message of this sender, by two workers at once
            return False
        return True

    def _rows(self, sender: str, text: str, turn: Turn, now: datetime) -> list[dict[str, Any]]:
        said = {"sender": sender, "role": "customer", "text": text, "at": now}
        decided = {
            "decision": turn.decision,
            "intent": turn.intent,
            "probability": turn.probability,
            "model": self._model,
        }
        return [
            {**said, **dict.fromkeys(decided)},
            {"sender": sender, "role": "bot", "text": turn.text, "at": now, **decided},
        ]


def _turn(reply: Reply) -> Turn:
    return Turn(reply.message, reply.decision, reply.intent, reply.probability, reply=reply)


def _buttons(options: tuple[Option, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((option.title, f"/{option.label}") for option in options)


def _chosen(text: str, offered: tuple[tuple[str, str], ...], language: str) -> str | None:
    """The offered label that the message names: by button, by number, by title."""
    said = text.strip()
    for label, title in offered:
        if said == f"/{label}" or said.casefold() == title.casefold():
            return label
    if re.fullmatch(r"[1-9]\d?[.)]?", said) and int(said.rstrip(".)")) <= len(offered):
        return offered[int(said.rstrip(".)")) - 1][0]
    if said.casefold() == phrases_for(language).none_of_these.casefold():
        return NONE_OF_THESE
    return None
