"""REST: lists for users, items like an item, and what users did."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, HTTPException
from pydantic import AwareDatetime, BaseModel, Field, NaiveDatetime

from apps.recommender.importing import LONGEST_TYPE, add_events
from apps.recommender.live import LiveRecommender
from apps.recommender.tables import LONGEST_ID

MOST_USERS = MOST_EVENTS = 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Count = Annotated[int, Field(ge=1, le=100)]


class Wish(BaseModel):
    """Whom to recommend to. include_seen: also what the user has had."""

    users: Annotated[list[Id], Field(min_length=1, max_length=MOST_USERS)]
    k: Count = 10
    include_seen: bool = False


class Recommendation(BaseModel):
    """rank: 1 for the best. score: of the final ranking, comparable within a user."""

    user_id: str
    item_id: str
    rank: int
    score: float
    reason: str


class Likeness(BaseModel):
    """Which item's neighbours are wanted."""

    item_id: Id
    k: Count = 10


class Neighbour(BaseModel):
    """together: how often both were chosen by one user; words, meaning: how like their texts are;
    all 0 to 1, best first by their sum."""

    item_id: str
    title: str
    together: float
    words: float
    meaning: float


class Event(BaseModel):
    """event: view, click, comment, share, cart, buy, rating or another of the settings. timestamp:
    ISO 8601, UTC where it has no offset, or seconds since 1970; now where it is absent, and then an
    event that is sent twice counts twice. value: of a rating.
    """

    user_id: Id
    item_id: Id
    event: Annotated[str, Field(min_length=1, max_length=LONGEST_TYPE)] = "view"
    timestamp: AwareDatetime | NaiveDatetime | None = None
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None


class Events(BaseModel):
    """What users did, in any order."""

    events: Annotated[list[Event], Field(min_length=1, max_length=MOST_EVENTS)]


class Received(BaseModel):
    """added: count from the next request on. left: why -> how many were left out."""

    received: int
    added: int
    left: dict[str, int]


def recommender_router(live: LiveRecommender) -> APIRouter:
    """The recommender's routes."""
    router = APIRouter(tags=["recommender"])

    @router.post("/v1/recommend")
    def recommend(wish: Wish) -> list[Recommendation]:
        """The best items for each user under the shop's rules, with the reason. A user who is not
        known gets what is popular."""
        rows = live.current().recommend(wish.users, wish.k, wish.include_seen)
        return [Recommendation(**row) for row in _records(rows)]

    @router.post("/v1/similar", responses={404: {"description": "No such item"}})
    def similar(likeness: Likeness) -> list[Neighbour]:
        """What is near to one item: chosen together with it, or alike in words or meaning."""
        recommender = live.current()
        if likeness.item_id not in recommender.item_rows:
            raise HTTPException(404, f"item {likeness.item_id!r} is not in the catalogue")
        rows = recommender.similar(likeness.item_id, likeness.k)
        return [Neighbour(**row) for row in _records(rows)]

    @router.post("/v1/events")
    def events(events: Events) -> Received:
        """Add what users did: it counts from the next request on. The same event with the same time
        is counted once; one on an item that was not imported yet waits for it."""
        known = live.base.bundle.settings.events.weights
        for number, event in enumerate(events.events):
            if event.event.strip().lower() not in known:
                raise HTTPException(
                    422,
                    f"events[{number}].event = {event.event!r}, expected one of {', '.join(known)}",
                )
        done = add_events(live, _frame(events.events, live.base.clock()))
        left = {why: count for why, count in done.left.items() if count}
        return Received(received=done.rows, added=done.added, left=left)

    return router


def _frame(events: list[Event], now: datetime) -> pd.DataFrame:
    """additions.EVENT_COLUMNS"""
    moments = [event.timestamp or now for event in events]
    aware = [at if at.tzinfo else at.replace(tzinfo=UTC) for at in moments]
    frame = pd.DataFrame(
        {
            "user_id": [event.user_id.strip() for event in events],
            "item_id": [event.item_id.strip() for event in events],
            "event": [event.event.strip().lower() for event in events],
            "time": [(at - EPOCH) // MICROSECOND for at in aware],
            "value": [event.value for event in events],
        }
    )
    types = {"user_id": "str", "item_id": "str", "event": "str", "time": "int64"}
    return frame.astype(types | {"value": "float64"})


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]
    return rows
