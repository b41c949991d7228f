"""REST as Rasa's clients speak it: `POST /webhooks/rest/webhook` and `POST /model/parse`; and for
customers' sides what people said, thumbs, and the conversation as a tracker."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, Field

from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations
from apps.chatbot.entities.spans import Span
from apps.chatbot.feedback import MessageNotFoundError, Thumb, rate
from apps.chatbot.messages import Message, storable
from apps.chatbot.rate_limit import RateLimit
from apps.chatbot.tracker import tracker
from apps.chatbot.turns import Turn

MAX_MESSAGE_CHARS = 10_000
LONGEST_ID = 200
LARGEST_NUMBER = 2**31 - 1

# One line: a path that names it is then a path of this service.
Sender = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00\n\r]+$")]
Number = Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]


class Problem(BaseModel):
    """Why a request was refused, in one line."""

    detail: str


def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer besides its own, for OpenAPI."""
    return {code: {"model": Problem} for code in (401, *codes, 503)}


@contextmanager
def with_status(codes: Mapping[type[Exception], int]) -> Iterator[None]:
    """What is refused, with the status that says why; the first kind that fits counts."""
    try:
        yield
    except tuple(codes) as error:
        code = next(code for kind, code in codes.items() if isinstance(error, kind))
        raise HTTPException(code, str(error)) from error


class Incoming(BaseModel):
    """One message of one customer. metadata is accepted as Rasa's clients send it; a message that
    comes again with the same metadata.message_id is answered as before and changes nothing."""

    sender: Sender = "default"
    message: Annotated[str, Field(max_length=MAX_MESSAGE_CHARS)]
    metadata: Mapping[str, Any] | None = None

    @property
    def message_id(self) -> str | None:
        given = (self.metadata or {}).get("message_id")
        if not isinstance(given, str | int) or given == "":
            return None
        text = storable(str(given))
        return text if len(text) <= LONGEST_ID else hashlib.sha256(text.encode()).hexdigest()


class Button(BaseModel):
    """title is shown, payload is sent back as the next message."""

    title: str
    payload: str


class Outgoing(BaseModel):
    """One message to the customer. custom.from: bot, agent, or notice. custom.decision, of the
    bot's: answer, clarify, reject or handover; custom.read: what it was read from, where that is a
    part of the message, or it with the one before. custom.message_id: for thumbs, and to know a
    message that was fetched before."""

    recipient_id: str
    text: str
    buttons: list[Button] | None = None
    custom: dict[str, Any]


class Text(BaseModel):
    """A text to understand, outside any conversation."""

    text: Annotated[str, Field(max_length=MAX_MESSAGE_CHARS)]


class Intent(BaseModel):
    """An intent with its calibrated probability."""

    name: str
    confidence: float


class Entity(BaseModel):
    """A value in the text, from character `start` to before `end`; written otherwise where it is a
    synonym. role: of the learned ones that have one. source: typed, listed or learned."""

    entity: str
    value: str
    start: int
    end: int
    role: str | None = None
    source: str
    extractor: str = "triptych"


class Parsed(BaseModel):
    """What the bot understands, in Rasa's words, with the decision beside it."""

    text: str
    intent: Intent
    intent_ranking: list[Intent]
    entities: list[Entity]
    decision: str
    oos_score: float
    why: str


class Said(BaseModel):
    """A message to the customer. from: bot, agent, or notice, which the house says."""

    id: int
    from_: Annotated[str, Field(alias="from")]
    text: str
    at: datetime
    buttons: list[Button]


class Rating(BaseModel):
    """A customer's thumb on a message; the last one counts."""

    sender: Sender
    message_id: Number
    value: Thumb
    comment: Annotated[str, Field(max_length=2_000)] = ""


class Rated(BaseModel):
    message_id: int
    value: Thumb


def chat_router(
    bot: Bot, conversations: Conversations, limit: RateLimit | None = None
) -> APIRouter:
    """The chatbot's routes for customers. limit: how often a sender may write; any by default."""
    router = APIRouter(tags=["chatbot"], responses=refusals())
    people_by_webhook = bool(conversations.handovers.deliveries.url)

    @router.post(
        "/webhooks/rest/webhook", response_model_exclude_none=True, responses=refusals(429)
    )
    def webhook(incoming: Incoming) -> list[Outgoing]:
        """Answer one message; the conversation is remembered by `sender`. Several requests in it
        get an entry each. While a person is in charge the bot says nothing; what people have said
        since the last message comes first."""
        if limit is not None and (seconds := limit.wait(incoming.sender)):
            raise HTTPException(
                429,
                f"too many messages of this sender; the next one in {math.ceil(seconds)} s",
                {"Retry-After": str(math.ceil(seconds))},
            )
        turn = conversations.handle(incoming.sender, incoming.message, incoming.message_id)
        missed = () if people_by_webhook else turn.missed
        before = [_of_people(incoming.sender, each) for each in missed]
        said = () if turn.decision == "silent" else turn.said
        own = [_outgoing(incoming.sender, each) for each in said]
        return [*before, *own]

    @router.post("/model/parse")
    def parse(text: Text) -> Parsed:
        """Understand one text and change nothing."""
        (reply,) = bot.reply([text.text])
        return Parsed(
            text=reply.text,
            intent=Intent(name=reply.intent, confidence=reply.probability),
            intent_ranking=[Intent(name=n, confidence=p) for n, p in reply.ranking],
            entities=[_entity(each) for each in reply.entities],
            decision=reply.decision,
            oos_score=reply.oos_score,
            why=reply.why,
        )

    _add_conversation_routes(router, conversations)
    return router


def _add_conversation_routes(router: APIRouter, conversations: Conversations) -> None:
    # A name with a line break is no path: 404.
    @router.get(
        "/v1/conversations/{sender:path}/messages",
        response_model_by_alias=True,
        responses=refusals(404),
    )
    def messages(
        sender: Annotated[Sender, Path()],
        after: Annotated[int, Query(ge=0, le=LARGEST_NUMBER)] = 0,
    ) -> list[Said]:
        """What the customer was told in messages with ids above `after`, by the bot and by people;
        500 at most: with `after` the oldest of them, without it the newest."""
        found = conversations.said_since(sender, after)
        return [Said.model_validate(each.public) for each in found]

    @router.get("/v1/conversations/{sender:path}/tracker", responses=refusals(404))
    def rasa_tracker(sender: Annotated[Sender, Path()]) -> dict[str, Any]:
        """Slots and messages as Rasa's tracker gives them."""
        return tracker(conversations.engine, sender)

    @router.post("/v1/feedback", responses=refusals(404))
    def thumb(rating: Rating) -> Rated:
        """Keep what a customer thinks of a message."""
        try:
            rate(
                conversations.engine, rating.sender, rating.message_id, rating.value,
                comment=rating.comment, clock=conversations.clock,
            )  # fmt: skip
        except MessageNotFoundError as error:
            raise HTTPException(404, str(error)) from error
        return Rated(message_id=rating.message_id, value=rating.value)


def _entity(span: Span) -> Entity:
    return Entity(
        entity=span.name, value=span.value, start=span.start, end=span.end,
        role=span.role or None, source=span.source,
    )  # fmt: skip


def _of_people(sender: str, said: Message) -> Outgoing:
    custom = {"from": said.role, "message_id": said.id}
    return Outgoing(recipient_id=sender, text=said.text, custom=custom)


def _outgoing(sender: str, turn: Turn) -> Outgoing:
    custom: dict[str, Any] = {
        "from": "bot",
        "message_id": turn.message_id,
        "decision": turn.decision,
        "intent": turn.intent,
        "probability": turn.probability,
    }
    if turn.why:
        custom["why"] = turn.why
        custom["scorers"] = dict(turn.scorers)
    if turn.read:
        custom["read"] = turn.read
    buttons = [Button(title=title, payload=payload) for title, payload in turn.buttons]
    return Outgoing(recipient_id=sender, text=turn.text, buttons=buttons or None, custom=custom)
