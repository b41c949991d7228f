"""REST for those who answer in person: the queue, taking a chat, answering, giving it back; and
what could not be told to the outside."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, Field

from apps.chatbot.answers import AnswerBook
from apps.chatbot.handover import (
    LONGEST_REPLY,
    OPEN,
    Handover,
    HandoverConflictError,
    HandoverNotFoundError,
    Handovers,
    State,
)
from apps.chatbot.messages import Message
from apps.chatbot.rest import LARGEST_NUMBER, LONGEST_ID, Intent, refusals, with_status
from apps.chatbot.suggestions import suggestions
from shared.errors import DataError

# A sign that is seen: neither a space nor a control character, in every dialect of patterns.
SEEN = r"[^\s\x00-\x1f\x7f-\x9f]"
Agent = Annotated[str, Field(min_length=1, max_length=100, pattern=rf"^[^\x00]*{SEEN}[^\x00]*$")]
ClientId = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00]+$")]
HandoverId = Annotated[int, Path(ge=1, le=LARGEST_NUMBER)]
REFUSED: Mapping[type[Exception], int] = {
    HandoverNotFoundError: 404,
    HandoverConflictError: 409,
    DataError: 400,
}


class QueueEntry(BaseModel):
    """A chat that was handed over. reason: the rule that decided. ranking: the five best intents of
    question. deadline: then it goes back to the bot unless somebody acts."""

    id: int
    sender: str
    state: State
    reason: str
    question: str
    ranking: list[Intent]
    slots: dict[str, str]
    language: str
    model: str
    agent: str | None
    queued_at: datetime
    taken_at: datetime | None
    deadline: datetime
    ended_at: datetime | None
    ended_by: str | None


class ChatMessage(BaseModel):
    """role: customer, bot, agent, or notice. decision, intent, probability, why: of the bot's."""

    id: int
    role: str
    text: str
    at: datetime
    agent: str | None
    decision: str | None
    intent: str | None
    probability: float | None
    why: str


class Suggested(BaseModel):
    """An answer that the bot ranks high. missing: a slot to be filled before it can be sent."""

    label: str
    title: str
    text: str
    probability: float
    missing: str | None


class Chat(BaseModel):
    """A chat with all that a person needs. waiting_before: chats that came before it and wait."""

    handover: QueueEntry
    waiting_before: int
    transcript: list[ChatMessage]
    suggestions: list[Suggested]


class By(BaseModel):
    """Who does it."""

    agent: Agent


class Take(By):
    """instead_of: the colleague from whom a chat is taken over."""

    instead_of: Agent | None = None


class AgentReply(By):
    """message_id: the client's own; sent again with the same one, it is one message."""

    text: Annotated[str, Field(max_length=LONGEST_REPLY, pattern=SEEN)]
    message_id: ClientId | None = None


class Undelivered(BaseModel):
    """Something the outside was not told yet. state: queued, sending, sent or dead."""

    id: int
    event: str
    sender: str
    state: str
    attempts: int
    created_at: datetime
    next_try_at: datetime
    last_error: str
    body: Mapping[str, Any]


def handover_router(handovers: Handovers, book: Callable[[], AnswerBook]) -> APIRouter:
    """The routes for agents. book: whose answers are suggested, as they are at the moment."""
    router = APIRouter(prefix="/v1/handovers", tags=["handover"], responses=refusals(400, 404, 409))

    @router.get("")
    def queue(
        state: Annotated[tuple[State, ...], Query()] = OPEN,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> list[QueueEntry]:
        """Chats in these states, by default those that wait or are taken, in the order they came;
        ended ones the last first."""
        return [_entry(each) for each in handovers.listed(state, limit=limit)]

    _add_delivery_routes(router, handovers)

    @router.get("/{handover_id}")
    def chat(handover_id: HandoverId) -> Chat:
        """One chat: why it was handed over, all that was said, answers that may fit."""
        with with_status(REFUSED):
            handover, said = handovers.get(handover_id)
        found = suggestions(book(), said, handover.slots, open_now=handovers.open_now)
        return Chat(
            handover=_entry(handover),
            waiting_before=handovers.waiting_before(handover_id),
            transcript=[_message(each) for each in said],
            suggestions=[Suggested(**vars(each)) for each in found],
        )

    _add_agent_routes(router, handovers)
    return router


def _add_agent_routes(router: APIRouter, handovers: Handovers) -> None:
    @router.post("/{handover_id}/take")
    def take(handover_id: HandoverId, by: Take) -> QueueEntry:
        """Be in charge of a chat. Of two who try, one gets it; the other is told who (409)."""
        with with_status(REFUSED):
            return _entry(handovers.take(handover_id, by.agent.strip(), instead_of=by.instead_of))

    @router.post("/{handover_id}/reply")
    def reply(handover_id: HandoverId, said: AgentReply) -> ChatMessage:
        """Say something to the customer of one's own chat."""
        with with_status(REFUSED):
            return _message(
                handovers.reply(
                    handover_id, said.agent.strip(), said.text, client_id=said.message_id
                )
            )

    @router.post("/{handover_id}/return")
    def give_back(handover_id: HandoverId, by: By) -> QueueEntry:
        """Let the bot answer again."""
        with with_status(REFUSED):
            return _entry(handovers.give_back(handover_id, by.agent.strip()))

    @router.post("/{handover_id}/close")
    def close(handover_id: HandoverId, by: By) -> QueueEntry:
        """End the chat: the matter is settled."""
        with with_status(REFUSED):
            return _entry(handovers.close(handover_id, by.agent.strip()))


def _add_delivery_routes(router: APIRouter, handovers: Handovers) -> None:
    @router.get("/deliveries")
    def undelivered(state: Annotated[str, Query(max_length=10)] = "dead") -> list[Undelivered]:
        """What the webhook was not told: `dead` was given up, `queued` is tried again."""
        return [Undelivered(**vars(each)) for each in handovers.deliveries.listed(state)]

    @router.post("/deliveries/{delivery_id}/retry", status_code=202)
    def retry(delivery_id: HandoverId) -> dict[str, int]:
        """Try a dead one again."""
        try:
            handovers.deliveries.retry(delivery_id)
        except DataError as error:
            raise HTTPException(404, str(error)) from error
        return {"id": delivery_id}


def _entry(handover: Handover) -> QueueEntry:
    ranking = [Intent(name=name, confidence=p) for name, p in handover.ranking]
    return QueueEntry(**{**vars(handover), "ranking": ranking})


def _message(said: Message) -> ChatMessage:
    return ChatMessage(
        id=said.id, role=said.role, text=said.text, at=said.at, agent=said.agent,
        decision=said.decision, intent=said.intent, probability=said.probability,
        why=str(said.details.get("why", "")),
    )  # fmt: skip
