"""The messages of a conversation, as they are kept."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from apps.chatbot.tables import conversations, messages

Role = Literal["customer", "bot", "agent", "notice"]
CUSTOMERS: tuple[Role, ...] = ("customer",)
TO_CUSTOMERS: tuple[Role, ...] = ("bot", "agent", "notice")
FROM_PEOPLE: tuple[Role, ...] = ("agent", "notice")
LONGEST_TRANSCRIPT = 500
# The bot's messages to one of a customer: one to each of its requests.
MOST_SAID = 3
# Messages of one customer that are so near to each other are taken to be about one matter.
ONE_MATTER = timedelta(hours=1)
# What each message of a customer asks of the database is built once: building it took longer than
# doing it.
_ADD = insert(messages).returning(messages)
_SAID_BY_PEOPLE = (
    select(messages)
    .where(
        messages.c.sender == bindparam("of_sender"),
        messages.c.role.in_(FROM_PEOPLE),
        messages.c.id < bindparam("asked"),
        messages.c.id
        > select(func.max(messages.c.id))
        .where(
            messages.c.sender == bindparam("of_sender"),
            messages.c.role.in_(CUSTOMERS),
            messages.c.id < bindparam("asked"),
        )
        .scalar_subquery(),
    )
    .order_by(messages.c.id)
    .limit(LONGEST_TRANSCRIPT)
)


@dataclass(frozen=True)
class Message:
    """id: grows within a conversation. details: of the bot's messages why and buttons; `ranking`:
    (intent, probability), the most probable first, of what a bot has read; `read`: that text, where
    it is not the customer's message but a part of it, or it with the one before."""

    id: int
    role: Role
    text: str
    at: datetime
    agent: str | None = None
    decision: str | None = None
    intent: str | None = None
    probability: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None

    @property
    def ranking(self) -> tuple[tuple[str, float], ...]:
        return tuple((label, p) for label, p in self.details.get("ranking", ()))

    @property
    def read(self) -> str:
        return str(self.details.get("read", ""))

    @property
    def public(self) -> dict[str, Any]:
        """What a customer's side may know of it."""
        return {
            "id": self.id,
            "from": self.role,
            "text": self.text,
            "at": self.at.isoformat(),
            "buttons": [
                {"title": title, "payload": payload}
                for title, payload in self.details.get("buttons", ())
            ],
        }


def lock_conversation(connection: Connection, sender: str, *, changed: bool) -> None:
    """Let nobody else write this conversation until the transaction ends, so that the ids of its
    messages grow in the order in which they can be seen.

    changed: a writer that has read it before is to read it again.
    """
    grown = conversations.c.revision + int(changed)
    connection.execute(
        update(conversations).where(conversations.c.sender == sender).values(revision=grown)
    )


def add_message(
    connection: Connection, sender: str, role: Role, text: str, at: datetime, **values: Any
) -> Message:
    """Keep a message of a conversation that this transaction has locked.

    Raises IntegrityError where its `client_id` is there already.
    """
    row = {"sender": sender, "role": role, "text": storable(text), "at": at, **values}
    return message_of(connection.execute(_ADD, row).one())


def storable(text: str) -> str:
    """Without what a database refuses: NUL in PostgreSQL, lone surrogates in both."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def transcript(
    connection: Connection,
    sender: str,
    *,
    after: int = 0,
    before: int | None = None,
    roles: Collection[Role] | None = None,
    limit: int = LONGEST_TRANSCRIPT,
) -> tuple[Message, ...]:
    """Messages with ids between `after` and `before`, both excluded, in order; of more than `limit`
    the first where `after` is given, else the last."""
    query = select(messages).where(messages.c.sender == sender, messages.c.id > after)
    if before is not None:
        query = query.where(messages.c.id < before)
    if roles is not None:
        query = query.where(messages.c.role.in_(roles))
    forwards = after > 0
    order = messages.c.id if forwards else messages.c.id.desc()
    rows = connection.execute(query.order_by(order).limit(limit)).all()
    return tuple(message_of(row) for row in (rows if forwards else reversed(rows)))


def find_message(connection: Connection, sender: str, role: Role, client_id: str) -> Message | None:
    """The message that the client has given this id."""
    query = select(messages).where(
        messages.c.sender == sender, messages.c.role == role, messages.c.client_id == client_id
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else message_of(row)


def said_to(said: Sequence[Message], at: int) -> tuple[Message, ...]:
    """The bot's messages to the one at this place of a transcript, in order."""
    return tuple(takewhile(lambda each: each.role == "bot", said[at + 1 : at + 1 + MOST_SAID]))


def said_by_people(connection: Connection, sender: str, asked: int) -> tuple[Message, ...]:
    """What people said between the customer's message before number `asked` and that one."""
    found = connection.execute(_SAID_BY_PEOPLE, {"of_sender": sender, "asked": asked})
    return tuple(message_of(row) for row in found)


def last_question(connection: Connection, sender: str, asked: Message) -> str | None:
    """What the customer wrote before `asked`, unless that was long ago or a button."""
    before = transcript(connection, sender, before=asked.id, roles=CUSTOMERS, limit=1)
    if not before or asked.at - before[0].at > ONE_MATTER or before[0].text.startswith("/"):
        return None
    return before[0].text


def last_ranking(connection: Connection, sender: str, before: int) -> tuple[tuple[str, float], ...]:
    """Of the last message before that number that a bot has ranked; a choice is not ranked."""
    said = transcript(connection, sender, before=before, limit=20)
    return next((each.ranking for each in reversed(said) if each.ranking), ())


def message_of(row: Row[Any]) -> Message:
    return Message(
        row.id, row.role, row.text, row.at, row.agent, row.decision, row.intent, row.probability,
        row.details or {}, row.model,
    )  # fmt: skip
