"""REST for the review: what waits for a decision, and accepting, rejecting, taking back."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from apps.chatbot.handover_rest import SEEN, By
from apps.chatbot.learning.review import (
    LONGEST_ANSWER,
    LONGEST_EXAMPLE,
    LONGEST_LABEL,
    MOST_TYPED,
    Decision,
    LessonConflictError,
    LessonNotFoundError,
    OpenLesson,
    accept,
    check_state,
    decided,
    proposed,
    reject,
    reopen,
)
from apps.chatbot.messages import storable
from apps.chatbot.rest import Number, refusals, with_status
from shared.errors import DataError

MOST_LESSONS = 1_000  # decided on by one request
LONGEST_TITLE = 200
REFUSED: Mapping[type[Exception], int] = {
    LessonNotFoundError: 404,
    LessonConflictError: 409,
    DataError: 400,
}

Numbers = Annotated[list[Number], Field(min_length=1, max_length=MOST_LESSONS)]
Question = Annotated[str, Field(max_length=LONGEST_EXAMPLE, pattern=SEEN)]
Limit = Annotated[int, Query(ge=1, le=1000)]


class Proposed(BaseModel):
    """Lessons that belong together. new: the bot has no intent of this name. share: of all chats
    handed over, 0 to 1. worth: how many they are, times how unsure the bot is of them. answer: what
    people sent most often, as a template."""

    name: str
    title: str
    new: bool
    share: float
    worth: float
    answer: str
    lessons: list[OpenLesson]


class DecidedLesson(BaseModel):
    """state: accepted, as an example of label, or rejected."""

    id: int
    state: str
    label: str | None
    question: str
    kind: str
    decided_by: str | None
    decided_at: datetime | None


class Chosen(By):
    """lessons: their numbers, all of which must be as the route expects them."""

    lessons: Numbers


class Reworded(BaseModel):
    """A question in better words."""

    lesson: Number
    question: Question


class Acceptance(Chosen):
    """label: the intent whose examples they are from now on; one the bot does not have is new.
    answer: what the bot says to it from now on, a template; "" leaves what it says. examples:
    further questions. must_pass: a later version must get them right; null: as each was proposed.
    """

    label: Annotated[
        str, Field(min_length=1, max_length=LONGEST_LABEL, pattern=rf"^[^\x00/]*{SEEN}[^\x00]*$")
    ]
    answer: Annotated[str, Field(max_length=LONGEST_ANSWER)] = ""
    title: Annotated[str, Field(max_length=LONGEST_TITLE)] = ""
    examples: Annotated[tuple[Question, ...], Field(max_length=MOST_TYPED)] = ()
    edited: Annotated[tuple[Reworded, ...], Field(max_length=MOST_LESSONS)] = ()
    must_pass: bool | None = None


class Done(BaseModel):
    """lessons: that were decided on now. typed: further examples that were new. label: of what was
    accepted."""

    lessons: int
    typed: int
    label: str | None


def review_router(engine: Engine, bot: str, clock: Callable[[], datetime]) -> APIRouter:
    """The routes for those who decide what is learned. bot: the model's name, without version."""
    router = APIRouter(prefix="/v1/lessons", tags=["review"], responses=refusals(400, 404, 409))

    @router.get("")
    def waiting(limit: Limit = 50) -> list[Proposed]:
        """What waits for a decision: proposals, what is worth most first, with their lessons."""
        found = proposed(engine, bot)[:limit]
        return [Proposed.model_validate(each.as_dict()) for each in found]

    @router.get("/decided")
    def what_was_decided(limit: Limit = 200) -> list[DecidedLesson]:
        """What people have decided, the last first."""
        return [DecidedLesson.model_validate(row) for row in decided(engine, bot, limit=limit)]

    @router.post("/accept")
    def accept_lessons(given: Acceptance) -> Done:
        """Make lessons that wait examples of an intent; every running bot knows them within
        seconds. Those decided already are refused together with the rest (409)."""
        with with_status(REFUSED):
            numbers = check_state(engine, bot, given.lessons, ("new",))
            return _done(
                accept(
                    engine, bot, numbers, label=storable(given.label),
                    answer=storable(given.answer), title=storable(given.title),
                    typed=[storable(each) for each in given.examples],
                    edited={each.lesson: storable(each.question) for each in given.edited},
                    must_pass=given.must_pass, by=storable(given.agent).strip(), clock=clock,
                )
            )  # fmt: skip

    @router.post("/reject")
    def reject_lessons(given: Chosen) -> Done:
        """Learn nothing from lessons that wait."""
        with with_status(REFUSED):
            numbers = check_state(engine, bot, given.lessons, ("new",))
            by = storable(given.agent).strip()
            return _done(reject(engine, bot, numbers, by=by, clock=clock))

    @router.post("/reopen")
    def reopen_lessons(given: Chosen) -> Done:
        """Take decisions back: the lessons wait again, what they taught is forgotten."""
        with with_status(REFUSED):
            numbers = check_state(engine, bot, given.lessons, ("accepted", "rejected"))
            return _done(reopen(engine, bot, numbers))

    return router


def _done(decision: Decision) -> Done:
    return Done(lessons=decision.lessons, typed=decision.typed, label=decision.label)
