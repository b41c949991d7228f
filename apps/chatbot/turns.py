"""One exchange of a conversation, and what is remembered until the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from apps.chatbot.bot import Reply
from apps.chatbot.decision import Decision
from apps.chatbot.messages import Message


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
    """The bot's side of one exchange; "silent", without a text, while a person is in charge, and
    "handover" also while the customer still waits for one.

    buttons: (title, payload). reply: None where the answer followed from the state alone, such as a
    chosen option, or was given before. why: the rule that decided, in words. ranking: (intent,
    probability) of what was read, the best five. message_id: of the text once it is kept. missed:
    what people have said since the customer wrote last.
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
