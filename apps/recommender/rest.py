"""REST: lists for users, items like an item, and what users did."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, HTTPException
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, NaiveDatetime

from apps.recommender.importing import add_events
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
    event: str = "view"
    timestamp: AwareDatetime | NaiveDatetime | None = None
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None


class Received(BaseModel):
    """added: count from the next request on. left: why -> how many were left out."""

    received: int
    added: int
    left: dict[str, int]


def recommender_router(live: LiveRecommender) -> APIRouter:
    """The recommender's routes."""
    router = APIRouter(tags=["recommender"])
    _add_lists(router, live)
    _add_events(router, live)
    return router


def _add_lists(router: APIRouter, live: LiveRecommender) -> None:
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


def _add_events(router: APIRouter, live: LiveRecommender) -> None:
    # The shop's own types of events stand in the OpenAPI document.
    known = tuple(live.base.bundle.settings.events.weights)

    def one_of_them(name: str) -> str:
        if name.strip().lower() not in known:
            raise ValueError(f"expected one of {', '.join(known)}, not {name!r}")
        return name

    class KnownEvent(Event):
        __doc__ = Event.__doc__
        event: Annotated[
            str,
            Field(json_schema_extra={"enum": list(known)}),
            AfterValidator(one_of_them),
        ] = "view"

    class KnownEvents(BaseModel):
        """What users did, in any order."""

        events: Annotated[list[KnownEvent], Field(min_length=1, max_length=MOST_EVENTS)]

    @router.post("/v1/events")
    def events(events: KnownEvents) -> Received:
        """Add what users did: it counts from the next request on. The same event with the same time
        is counted once; one on an item that was not imported yet waits for it."""
        done = add_events(live, _frame(events.events, live.base.clock()))
        left = {why: count for why, count in done.left.items() if count}
        return Received(received=done.rows, added=done.added, left=left)


def _frame(events: Sequence[Event], now: datetime) -> pd.DataFrame:
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
