"""What customers say of the bot's reading: thumbs on its answers, and what they chose when it asked
back."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Function,
    Integer,
    Over,
    Select,
    case,
    extract,
    func,
    select,
)

from apps.chatbot.tables import feedback, messages

# A question back that is followed by nothing for so long was left.
PATIENCE = timedelta(hours=1)


@dataclass(frozen=True)
class Seen:
    """up, down: thumbs on answers that the bot chose itself; chosen, none_of_these: of the options
    it offered. decided: messages that it answered or asked back, also those nobody said anything
    of."""

    up: int
    down: int
    chosen: int
    none_of_these: int
    decided: int

    @property
    def known(self) -> int:
        return self.up + self.down + self.chosen + self.none_of_these


def outcomes_seen(connection: Connection, since: datetime, until: datetime, *, model: str) -> Seen:
    """Of what this version (NAME@VERSION) has said in [since, until)."""
    said = bot_turns(since, until).subquery()
    mine = said.c.model == model
    asked = mine & (said.c.before == "clarify")
    counts = connection.execute(
        select(
            count_if(asked & said.c.by_choice & said.c.intent.is_not(None)),
            count_if(asked & said.c.by_choice & said.c.intent.is_(None)),
            count_if(mine & said.c.decision.in_(("answer", "clarify")) & ~said.c.by_choice),
        )
    ).one()
    rated = (
        select(feedback.c.value, func.count())
        .join(messages, messages.c.id == feedback.c.message_id)
        .where(
            feedback.c.at >= since, messages.c.at >= since, messages.c.at < until,
            messages.c.model == model, messages.c.decision == "answer",
            messages.c.probability.is_not(None),
        )
        .group_by(feedback.c.value)
    )  # fmt: skip
    thumbs = {str(value): int(count) for value, count in connection.execute(rated)}
    chosen, none, decided = (int(count or 0) for count in counts)
    return Seen(thumbs.get("up", 0), thumbs.get("down", 0), chosen, none, decided)


def bot_turns(since: datetime, until: datetime) -> Select[tuple[object, ...]]:
    """The bot's messages in [since, until), each with the decision `before` it in its conversation
    and the one `after` it, where these are at most PATIENCE away.

    by_choice: the customer pressed a button, so that the bot had nothing to read.
    """
    seconds = epoch(messages.c.at)
    limit = int(PATIENCE.total_seconds())
    inner = (
        select(
            messages.c.sender, messages.c.id, messages.c.decision, messages.c.intent,
            messages.c.model, messages.c.probability, seconds.label("seconds"),
            in_order(func.lag(messages.c.decision)).label("last"),
            in_order(func.lag(seconds)).label("last_seconds"),
            in_order(func.lead(messages.c.decision)).label("next"),
            in_order(func.lead(messages.c.probability)).label("next_probability"),
            in_order(func.lead(messages.c.intent)).label("next_intent"),
            in_order(func.lead(seconds)).label("next_seconds"),
        )
        .where(messages.c.at >= since, messages.c.at < until, messages.c.role == "bot")
        .subquery()
    )  # fmt: skip
    soon = inner.c.next_seconds - inner.c.seconds <= limit
    return select(
        inner.c.sender, inner.c.id, inner.c.decision, inner.c.intent, inner.c.model,
        inner.c.seconds,
        case((inner.c.seconds - inner.c.last_seconds <= limit, inner.c.last)).label("before"),
        case((soon, inner.c.next)).label("after"),
        (soon & inner.c.next_probability.is_(None)).label("after_by_choice"),
        inner.c.next_intent.label("after_intent"),
        inner.c.probability.is_(None).label("by_choice"),
    )  # fmt: skip


def in_order(function: Function[Any]) -> Over[Any]:
    """Over the messages of each conversation as they came."""
    return function.over(partition_by=messages.c.sender, order_by=messages.c.id)


def epoch(moment: ColumnElement[datetime]) -> ColumnElement[int]:
    """Seconds since 1970, whole."""
    return extract("epoch", moment).cast(Integer)


def count_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """How many rows meet it; of no row it is NULL."""
    return func.sum(case((condition, 1), else_=0))
