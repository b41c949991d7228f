"""Thumbs of customers on what they were told."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from sqlalchemy import Engine, delete, insert, select

from apps.chatbot.messages import TO_CUSTOMERS, lock_conversation, storable
from apps.chatbot.tables import feedback, messages
from shared.errors import DataError

Thumb = Literal["up", "down"]


class MessageNotFoundError(DataError):
    """The customer was told nothing under that id."""


def rate(
    engine: Engine,
    sender: str,
    message_id: int,
    value: Thumb,
    *,
    comment: str = "",
    clock: Callable[[], datetime],
) -> None:
    """Keep what the customer thinks of a message; the last word counts.

    Raises MessageNotFoundError: no such message to this customer.
    """
    query = select(messages.c.id).where(
        messages.c.id == message_id,
        messages.c.sender == sender,
        messages.c.role.in_(TO_CUSTOMERS),
    )
    with engine.begin() as connection:
        lock_conversation(connection, sender, changed=False)
        if connection.execute(query).one_or_none() is None:
            raise MessageNotFoundError(f"message {message_id}: {sender!r} was told nothing by it")
        connection.execute(delete(feedback).where(feedback.c.message_id == message_id))
        connection.execute(
            insert(feedback).values(
                message_id=message_id, value=value, comment=storable(comment), at=clock()
            )
        )
