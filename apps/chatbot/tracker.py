"""A conversation as Rasa's tracker shows it: slots, and every message as an event."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Engine, select

from apps.chatbot.messages import Message, said_to, transcript
from apps.chatbot.tables import conversations, handovers


def tracker(engine: Engine, sender: str) -> dict[str, Any]:
    """Of a sender who never wrote it is empty, as Rasa's is. `paused`: a person is asked for or in
    charge."""
    query = (
        select(conversations.c.state, handovers.c.id)
        .outerjoin(
            handovers,
            (handovers.c.sender == conversations.c.sender) & handovers.c.ended_at.is_(None),
        )
        .where(conversations.c.sender == sender)
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
        said = transcript(connection, sender)
    events = list(_events(said))
    asked = [event for event in events if event["event"] == "user"]
    return {
        "sender_id": sender,
        "slots": dict(row.state["slots"]) if row else {},
        "paused": row is not None and row.id is not None,
        "latest_event_time": events[-1]["timestamp"] if events else None,
        "latest_message": asked[-1] if asked else None,
        "events": events,
    }


def _events(said: Sequence[Message]) -> Iterator[dict[str, Any]]:
    for at, each in enumerate(said):
        common = {"timestamp": each.at.timestamp(), "text": each.text, "message_id": str(each.id)}
        if each.role != "customer":
            data = {"buttons": each.public["buttons"]} if each.public["buttons"] else {}
            yield {"event": "bot", **common, "data": data, "metadata": {"from": each.role}}
            continue
        # What was read stands with the message, or with the bot's answers to it.
        answers = said_to(said, at)
        parsed = _parsed(each.ranking or (answers[0].ranking if answers else ()))
        if len(answers) > 1:
            parsed["requests"] = [
                {"text": answer.read or each.text, **_parsed(answer.ranking)} for answer in answers
            ]
        yield {"event": "user", **common, "parse_data": parsed}


def _parsed(ranking: Sequence[tuple[str, float]]) -> dict[str, Any]:
    ranked = [{"name": label, "confidence": p} for label, p in ranking]
    return {"intent": ranked[0] if ranked else None, "intent_ranking": ranked}
