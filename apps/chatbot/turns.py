"""One exchange of a conversation, and what is remembered until the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from apps.chatbot.bot import Reply
from apps.chatbot.decision import Decision
from apps.chatbot.messages import Message


@dataclass(frozen=True)
class Limits:
    """After this many questions back, or refusals, in a row a person takes over."""

    clarifications: int
    refusals: int


@dataclass(frozen=True)
class State:
    """What is remembered between two messages.

    offered: (label, title) of the options on the table. pending: (label, slot) while a slot was
    asked for. clarifications, refusals: how many in a row. asked: the request that was understood
    last, which a short message may complete; "" after anything else. waiting: intents of the same
    message that are answered once what is asked now is settled.
    """

    offered: tuple[tuple[str, str], ...] = ()
    pending: tuple[str, str] | None = None
    slots: Mapping[str, str] = field(default_factory=dict)
    clarifications: int = 0
    refusals: int = 0
    asked: str = ""
    waiting: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "State":
        return cls(
            tuple((label, title) for label, title in stored["offered"]),
            tuple(stored["pending"]) if stored["pending"] else None,
            dict(stored["slots"]),
            stored["clarifications"],
            stored["refusals"],
            stored.get("asked", ""),  # of neither before there were any
            tuple(stored.get("waiting", ())),
        )


@dataclass(frozen=True)
class Turn:
    """The bot's side of one exchange; "silent", without a text, while a person is in charge, and
    "handover" also while the customer still waits for one.

    buttons: (title, payload). reply: None where the answer followed from the state alone, such as a
    chosen option, or was given before. why: the rule that decided, in words. ranking: (intent,
    probability) of what was read, the best five. message_id: of the text once it is kept. missed:
    what people have said since the customer wrote last. read: what was read, where that is not the
    message: a part of it, or it with the one before. then: what is said next to the same message; a
    question, or a handover, comes last.
    """

    text: str
    decision: Decision | Literal["silent"]
    intent: str | None
    probability: float | None
    buttons: tuple[tuple[str, str], ...] = ()
    reply: Reply | None = None
    why: str = ""
    scorers: Mapping[str, float] = field(default_factory=dict)
    ranking: tuple[tuple[str, float], ...] = ()
    message_id: int | None = None
    missed: tuple[Message, ...] = ()
    read: str = ""
    then: tuple["Turn", ...] = ()

    @property
    def said(self) -> tuple["Turn", ...]:
        """All that is said to the message, in order."""
        return (self, *self.then)
