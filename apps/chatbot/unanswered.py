"""What the bot could not answer, put together by what was asked, week by week.

The clusters are the review's: what a round of learning proposed, or what people made of it. So a
question counts from the round that read it on; what was rejected as nothing to learn does not.
Weeks begin on Monday, UTC.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, Subquery, case, func, select

from apps.chatbot.answers import readable
from apps.chatbot.outcomes_seen import epoch
from apps.chatbot.risk import share
from apps.chatbot.tables import handovers, learning, lessons, messages
from shared.evaluation.report import Measure

# A person answered it, nobody did, or it was none of what the bot thought of.
KINDS = ("handed_over", "refused", "none_of_these")
LISTED = 50
DAY = 86_400
WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class Cluster:
    """name: of the intent it is, or is proposed as. waiting: questions that nobody has decided on;
    0: it was taught. example: the last of the questions. handovers: chats that it led to, share: of
    all that ended. weeks: how many questions in each."""

    bot: str
    name: str
    title: str
    example: str
    questions: int
    waiting: int
    handovers: int
    share: Measure
    weeks: tuple[int, ...]


@dataclass(frozen=True)
class Clusters:
    """weeks: their Mondays; the first and the last may be cut. clusters: the most asked first;
    left_out: how many more there are. handovers: chats of the period that were handed over and have
    ended. read_until: when the last round of learning began, None before the first."""

    weeks: tuple[date, ...]
    clusters: tuple[Cluster, ...]
    left_out: int
    handovers: int
    read_until: datetime | None


def unanswered_clusters(connection: Connection, since: datetime, until: datetime) -> Clusters:
    """Of the questions asked in [since, until)."""
    weeks = _weeks(since, until)
    ended = select(func.count()).where(
        handovers.c.queued_at >= since, handovers.c.queued_at < until,
        handovers.c.ended_at.is_not(None),
    )  # fmt: skip
    chats = int(connection.scalar(ended) or 0)
    counted: dict[tuple[str, str], list[int]] = {}
    for bot, name, day, count in connection.execute(_by_day(since, until)):
        own = counted.setdefault((bot, name), [0] * len(weeks))
        own[weeks.index(_monday(date(1970, 1, 1) + timedelta(days=int(day))))] += count
    found = [
        Cluster(
            row.bot, _name(row.name), row.title or readable(_name(row.name)), row.question,
            sum(counted[row.bot, row.name]), row.waiting, row.handovers,
            share("share of the handovers", row.handovers, chats),
            tuple(counted[row.bot, row.name]),
        )
        for row in connection.execute(_by_name(since, until))
    ]  # fmt: skip
    found.sort(key=lambda each: (-each.questions, each.bot, each.name))
    read = connection.scalar(select(func.max(learning.c.read_until)))
    return Clusters(weeks, tuple(found[:LISTED]), max(0, len(found) - LISTED), chats, read)


def _questions(since: datetime, until: datetime) -> Subquery:
    """One row a question. name: what it is of: what it was accepted as, else what is proposed.
    chat: the handover it led to, NULL where that began before the period."""
    name = case(
        (lessons.c.state == "accepted", lessons.c.label),
        (lessons.c.proposal != "", lessons.c.proposal),
        else_=func.coalesce(lessons.c.label, ""),
    )
    return (
        select(
            lessons.c.id, lessons.c.bot, name.label("name"), lessons.c.proposal_title,
            (epoch(messages.c.at) // DAY).label("day"),
            case((lessons.c.state == "new", 1), else_=0).label("waits"),
            case((handovers.c.queued_at >= since, handovers.c.id)).label("chat"),
        )
        .join(messages, messages.c.id == lessons.c.message_id)
        .outerjoin(handovers, handovers.c.id == lessons.c.handover_id)
        .where(
            messages.c.at >= since, messages.c.at < until,
            lessons.c.kind.in_(KINDS), lessons.c.state != "rejected",
        )
        .subquery()
    )  # fmt: skip


def _by_day(since: datetime, until: datetime) -> Select[Any]:
    asked = _questions(since, until)
    key = (asked.c.bot, asked.c.name, asked.c.day)
    return select(*key, func.count()).group_by(*key)


def _by_name(since: datetime, until: datetime) -> Select[Any]:
    """One row a cluster, with its last question."""
    asked, last = _questions(since, until), lessons.alias("last_lesson")
    each = (
        select(
            asked.c.bot, asked.c.name, func.max(asked.c.proposal_title).label("title"),
            func.sum(asked.c.waits).label("waiting"),
            func.count(asked.c.chat.distinct()).label("handovers"),
            func.max(asked.c.id).label("last"),
        )
        .group_by(asked.c.bot, asked.c.name)
        .subquery()
    )  # fmt: skip
    return select(each, last.c.question).join(last, last.c.id == each.c.last)


def _name(key: str) -> str:
    return key.removeprefix("new: ") or "not put together yet"


def _weeks(since: datetime, until: datetime) -> tuple[date, ...]:
    first, last = (_monday(moment.astimezone(UTC).date()) for moment in (since, until))
    return tuple(_stepped(first, last))


def _stepped(first: date, last: date) -> Iterable[date]:
    while first <= last:
        yield first
        first += WEEK


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())
