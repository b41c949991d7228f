"""REST as Rasa's clients speak it: `POST /webhooks/rest/webhook` and `POST /model/parse`."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations, Turn

MAX_MESSAGE_CHARS = 10_000


class Incoming(BaseModel):
    """One message of one customer. metadata is accepted as Rasa's clients send it."""

    sender: Annotated[str, Field(min_length=1, max_length=200)] = "default"
    message: Annotated[str, Field(max_length=MAX_MESSAGE_CHARS)]
    metadata: Mapping[str, Any] | None = None


class Button(BaseModel):
    """title is shown, payload is sent back as the next message."""

    title: str
    payload: str


class Outgoing(BaseModel):
    """One message of the bot. custom.decision: answer, clarify, reject or handover."""

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


class Parsed(BaseModel):
    """What the bot understands, in Rasa's words, with the decision beside it."""

    text: str
    intent: Intent
    intent_ranking: list[Intent]
    entities: list[dict[str, Any]]
    decision: str
    oos_score: float
    why: str


def chat_router(bot: Bot, conversations: Conversations) -> APIRouter:
    """The chatbot's routes."""
    router = APIRouter(tags=["chatbot"])

    @router.post("/webhooks/rest/webhook", response_model_exclude_none=True)
    def webhook(incoming: Incoming) -> list[Outgoing]:
        """Answer one message; the conversation is remembered by `sender`."""
        turn = conversations.handle(incoming.sender, incoming.message)
        return [_outgoing(incoming.sender, turn)]

    @router.post("/model/parse")
    def parse(text: Text) -> Parsed:
        """Understand one text and change nothing."""
        (reply,) = bot.reply([text.text])
        return Parsed(
            text=reply.text,
            intent=Intent(name=reply.intent, confidence=reply.probability),
            intent_ranking=[Intent(name=n, confidence=p) for n, p in reply.ranking],
            entities=[],
            decision=reply.decision,
            oos_score=reply.oos_score,
            why=reply.why,
        )

    return router


def _outgoing(sender: str, turn: Turn) -> Outgoing:
    custom: dict[str, Any] = {
        "decision": turn.decision,
        "intent": turn.intent,
        "probability": turn.probability,
    }
    if turn.reply is not None:
        custom["why"] = turn.reply.why
        custom["scorers"] = dict(turn.reply.scorers)
    buttons = [Button(title=title, payload=payload) for title, payload in turn.buttons]
    return Outgoing(recipient_id=sender, text=turn.text, buttons=buttons or None, custom=custom)
