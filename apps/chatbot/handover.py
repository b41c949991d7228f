"""Chats that a person is to answer: waiting -> taken -> closed, or returned to the bot.

Every change is one transaction that first locks the conversation and then finds the chat as it
expects it, so of two agents, or of an agent and a time that runs out, one wins and the other is
told. While a chat is taken the bot is silent; while it waits, the customer is told so.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from apps.chatbot.answers import slots_in
from apps.chatbot.deliveries import Deliveries
from apps.chatbot.messages import (
    Message,
    add_message,
    find_message,
    lock_conversation,
    storable,
    transcript,
)
from apps.chatbot.opening_hours import OpeningHours
from apps.chatbot.phrases import Phrases, phrases_for
from apps.chatbot.tables import handovers, messages
from shared.errors import DataError, ServiceError

State = Literal["waiting", "taken", "returned", "closed"]
OPEN: tuple[State, ...] = ("waiting", "taken")
ENDED: tuple[State, ...] = ("returned", "closed")
LONGEST_REPLY = 10_000
# Messages that the outside is told with a new handover.
TOLD_MESSAGES = 50


class HandoverNotFoundError(DataError):
    """No chat of that number was handed over."""


class HandoverConflictError(ServiceError):
    """The chat is not as the agent believes: somebody else has it, or it has ended."""


@dataclass(frozen=True)
class Handover:
    """A chat that was handed over. reason: the rule that decided. question: the message that led to
    it, or, where that only asks for a person, the one before. ranking: the five best intents of
    question with their probabilities. deadline: by then somebody must act, or it goes back to the
    bot. ended_by: None where its time ran out."""

    id: int
    sender: str
    state: State
    reason: str
    question: str
    ranking: tuple[tuple[str, float], ...]
    slots: Mapping[str, str]
    language: str
    model: str
    agent: str | None
    queued_at: datetime
    taken_at: datetime | None
    deadline: datetime
    ended_at: datetime | None
    ended_by: str | None

    @property
    def public(self) -> dict[str, Any]:
        """As the outside is told of it."""
        return {
            "id": self.id,
            "state": self.state,
            "reason": self.reason,
            "question": self.question,
            "ranking": [{"name": name, "confidence": p} for name, p in self.ranking],
            "slots": dict(self.slots),
            "language": self.language,
            "model": self.model,
            "agent": self.agent,
        }


@dataclass(frozen=True)
class Waits:
    """queue: opening time that a chat waits for somebody; idle: that a silent agent keeps it."""

    queue: timedelta = timedelta(minutes=30)
    idle: timedelta = timedelta(minutes=15)


class Handovers:
    """The queue of one database."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime],
        hours: OpeningHours | None = None,
        waits: Waits = Waits(),
        deliveries: Deliveries | None = None,
    ) -> None:
        """hours: always open by default. deliveries: tells nobody by default."""
        self.engine = engine
        self._clock = clock
        self.hours = hours or OpeningHours()
        self._waits = waits
        self.deliveries = deliveries or Deliveries(engine, url="", secret="", clock=clock)

    def listed(self, states: Collection[State] = OPEN, *, limit: int = 200) -> tuple[Handover, ...]:
        """Chats in these states: the open ones in the order they came, ended ones the last first.

        A chat whose time has run out is returned first.
        """
        self.expire()
        query = select(handovers).where(handovers.c.state.in_(states)).limit(limit)
        order = handovers.c.id if set(states) <= set(OPEN) else handovers.c.id.desc()
        with self.engine.connect() as connection:
            return tuple(map(_handover, connection.execute(query.order_by(order))))

    def get(self, number: int) -> tuple[Handover, tuple[Message, ...]]:
        """A chat and all that was said in it. Raises HandoverNotFoundError."""
        with self.engine.connect() as connection:
            found = _read(connection, number)
            return found, transcript(connection, found.sender)

    def waiting_before(self, number: int) -> int:
        """How many chats were there first and still wait."""
        query = select(func.count()).where(handovers.c.state == "waiting", handovers.c.id < number)
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def said(self, language: str) -> str:
        """What a customer is told of being handed over now: also when it opens again."""
        phrases, now = phrases_for(language), self._clock()
        opening = self.hours.next_opening(now)
        if opening <= now:
            return phrases.handover
        local = opening.astimezone(self.hours.zone)
        day = phrases.weekdays[local.weekday()]
        if opening - now >= timedelta(days=6):
            day += f" {local:%Y-%m-%d}"
        return phrases.closed.format(day=day, clock=f"{local:%H:%M}")

    @property
    def open_now(self) -> bool:
        return self.hours.is_open(self._clock())

    def begin(self, connection: Connection, sender: str, **values: Any) -> int:
        """Queue a chat in the transaction that says so to the customer, who has none open; its
        number. values: reason, question, ranking, slots, language, model."""
        now = self._clock()
        values |= {"reason": storable(values["reason"]), "question": storable(values["question"])}
        values["ranking"] = [[label, round(p, 6)] for label, p in values["ranking"]]
        row = connection.execute(
            insert(handovers)
            .values(
                sender=sender, state="waiting", queued_at=now,
                deadline=self.hours.after(now, self._waits.queue), **values,
            )
            .returning(handovers)
        ).one()  # fmt: skip
        handover = _handover(row)
        if self.deliveries.url:
            told = [each.public for each in transcript(connection, sender, limit=TOLD_MESSAGES)]
            self._tell(connection, handover, "waiting", transcript=told)
        return handover.id

    def take(self, number: int, agent: str, *, instead_of: str | None = None) -> Handover:
        """The agent is in charge from now on; taking one's own chat again changes nothing.

        instead_of: a colleague from whom it is taken over.

        Raises:
            HandoverNotFoundError: no such chat. HandoverConflictError: another has it, or it has
            ended.
        """
        with self.engine.begin() as connection:
            before = self._locked(connection, number)
            if before.state == "taken" and before.agent == agent:
                return before
            free = before.state == "waiting" or (
                before.state == "taken" and instead_of is not None and before.agent == instead_of
            )
            if not free:
                raise HandoverConflictError(_refusal(before, "take"))
            now = self._clock()
            after = self._change(
                connection, before, state="taken", agent=agent, taken_at=now,
                deadline=self.hours.after(now, self._waits.idle),
            )  # fmt: skip
            if before.state == "waiting":
                self._say(connection, after, phrases_for(after.language).joined)
            self._tell(connection, after, "taken")
        return after

    def reply(self, number: int, agent: str, text: str, *, client_id: str | None = None) -> Message:
        """What the agent says to the customer. client_id: sent again with the same one, it is one
        message.

        Raises:
            DataError: nothing to say, too much, or a slot that is not filled.
            HandoverNotFoundError, HandoverConflictError: as `take`; also a chat nobody has taken.
        """
        text = _sayable(text)
        with self.engine.begin() as connection:
            before = self._locked(connection, number)
            if client_id and (said := find_message(connection, before.sender, "agent", client_id)):
                return said
            self._check_theirs(before, agent, "answer")
            now = self._clock()
            said = add_message(
                connection, before.sender, "agent", text, now, agent=agent, client_id=client_id
            )
            self._change(connection, before, deadline=self.hours.after(now, self._waits.idle))
            self.deliveries.note(connection, "message", before.sender, _told(before, said))
        return said

    def give_back(self, number: int, agent: str) -> Handover:
        """The bot answers again. Raises as `reply` does."""
        return self._end(number, agent, "returned", lambda phrases: phrases.returned)

    def close(self, number: int, agent: str) -> Handover:
        """The matter is settled; what the customer writes next goes to the bot. Raises as `reply`
        does."""
        return self._end(number, agent, "closed", lambda phrases: phrases.ended)

    def heard(
        self, connection: Connection, number: int, said: Message, slots: Mapping[str, str]
    ) -> None:
        """The customer has written `said` while a person is in charge, in this transaction. slots:
        what is known of the customer now."""
        handover = _read(connection, number)
        changes: dict[str, Any] = {}
        if slots != handover.slots:
            changes["slots"] = dict(slots)
        if handover.state == "taken" and not _unanswered(connection, handover, said):
            # The agent's time runs from the first message that is not answered.
            changes["deadline"] = self.hours.after(self._clock(), self._waits.idle)
        if changes:
            self._change(connection, handover, **changes)
        self.deliveries.note(connection, "message", handover.sender, _told(handover, said))

    def expire(self, sender: str | None = None) -> int:
        """Return the chats whose time has run out to the bot, all or one customer's; how many."""
        now = self._clock()
        query = select(handovers.c.id).where(
            handovers.c.ended_at.is_(None), handovers.c.deadline <= now
        )
        if sender is not None:
            query = query.where(handovers.c.sender == sender)
        with self.engine.connect() as connection:
            due = list(connection.execute(query).scalars())
        ended = 0
        for number in due:
            with self.engine.begin() as connection:
                before = self._locked(connection, number)
                if before.ended_at is None and before.deadline <= now:
                    self._finish(
                        connection, before, "returned", None, _too_late(connection, before)
                    )
                    ended += 1
        return ended

    def _end(
        self, number: int, agent: str, state: State, say: Callable[[Phrases], str]
    ) -> Handover:
        with self.engine.begin() as connection:
            before = self._locked(connection, number)
            if before.state == state and before.ended_by == agent:
                return before
            self._check_theirs(before, agent, "return" if state == "returned" else "close")
            text = say(phrases_for(before.language))
            return self._finish(connection, before, state, agent, text)

    def _finish(
        self, connection: Connection, before: Handover, state: State, by: str | None, text: str
    ) -> Handover:
        after = self._change(connection, before, state=state, ended_at=self._clock(), ended_by=by)
        self._say(connection, after, text)
        self._tell(connection, after, state)
        return after

    def _locked(self, connection: Connection, number: int) -> Handover:
        """The chat as it is once nobody else can change it. Raises HandoverNotFoundError."""
        lock_conversation(connection, _read(connection, number).sender, changed=True)
        return _read(connection, number)

    def _check_theirs(self, handover: Handover, agent: str, what: str) -> None:
        if handover.state != "taken" or handover.agent != agent:
            raise HandoverConflictError(_refusal(handover, what))

    def _change(self, connection: Connection, before: Handover, **values: Any) -> Handover:
        row = connection.execute(
            update(handovers)
            .where(handovers.c.id == before.id)
            .values(**values)
            .returning(handovers)
        ).one()
        return _handover(row)

    def _say(self, connection: Connection, handover: Handover, text: str) -> None:
        said = add_message(connection, handover.sender, "notice", text, self._clock())
        self.deliveries.note(connection, "message", handover.sender, _told(handover, said))

    def _tell(self, connection: Connection, handover: Handover, what: State, **more: Any) -> None:
        body = {"handover": handover.public, **more}
        self.deliveries.note(connection, f"handover.{what}", handover.sender, body)


def _read(connection: Connection, number: int) -> Handover:
    row = connection.execute(select(handovers).where(handovers.c.id == number)).one_or_none()
    if row is None:
        raise HandoverNotFoundError(f"handover {number}: there is none of that number")
    return _handover(row)


def _handover(row: Row[Any]) -> Handover:
    fields = {**row._mapping, "ranking": tuple((label, p) for label, p in row.ranking)}
    return Handover(**fields)


def _told(handover: Handover, said: Message) -> dict[str, Any]:
    return {"handover": handover.id, "message": said.public}


def _refusal(handover: Handover, what: str) -> str:
    """Why an agent may not do this now, and what may be done."""
    name = f"handover {handover.id}"
    if handover.state == "waiting":
        return f"{name} waits for somebody: take it before you {what} it"
    if handover.state == "taken":
        return (
            f"{name} is with {handover.agent} since {handover.taken_at:%H:%M} UTC; only they can "
            f"{what} it, or you take it over from them"
        )
    who = f"by {handover.ended_by}" if handover.ended_by else "because its time ran out"
    return f"{name} was {handover.state} {who} at {handover.ended_at:%H:%M} UTC: the bot answers"


def _sayable(text: str) -> str:
    """Raises DataError where an agent's text is none to send."""
    text = storable(text).strip()
    if not text:
        raise DataError("the answer is empty: write what the customer is to read")
    if len(text) > LONGEST_REPLY:
        raise DataError(f"the answer has {len(text)} characters; at most {LONGEST_REPLY} are sent")
    if open_slots := slots_in(text):
        raise DataError(
            f"the answer still has {{{open_slots[0]}}} in it: write the customer's own value there"
        )
    return text


def _unanswered(connection: Connection, handover: Handover, said: Message) -> bool:
    """Whether a message before `said` waits for the agent's answer."""
    query = (
        select(messages.c.role)
        .where(messages.c.sender == handover.sender, messages.c.id < said.id)
        .order_by(messages.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).scalar() == "customer"


def _too_late(connection: Connection, handover: Handover) -> str:
    """What a customer is told when the time has run out."""
    phrases = phrases_for(handover.language)
    last = transcript(connection, handover.sender, limit=1)
    owed = handover.state == "waiting" or (last and last[0].role != "agent")
    return phrases.nobody_free if owed else phrases.returned
