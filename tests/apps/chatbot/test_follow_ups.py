"""Short messages that only the one before makes whole: "And to Norway?" """

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations
from apps.chatbot.entities.entities import Entities
from apps.chatbot.entities.lists import EntityLists
from apps.chatbot.learning.signals import signals_of
from apps.chatbot.messages import transcript
from apps.chatbot.phrases import phrases_for
from apps.chatbot.tables import messages
from apps.chatbot.turns import Limits
from apps.chatbot.understanding import completed

EN = phrases_for("en")
HOURS = "We open at nine."


@dataclass
class Clock:
    """Stands until it is moved."""

    now: datetime = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(engine: Engine, bot: Bot, clock: Clock) -> Conversations:
    return Conversations(bot, engine, model="demo@1", limits=Limits(2, 9), clock=clock)


@pytest.fixture
def talk(engine: Engine, scripted_bot: Bot, clock: Clock) -> Conversations:
    return opened(engine, scripted_bot, clock)


def said(talk: Conversations, *texts: str) -> list[str]:
    return [talk.handle("ana", text).text for text in texts]


@pytest.mark.parametrize("text", ["And on sunday?", "what about sunday", "Thanks! And sunday?"])
def test_a_short_message_is_read_with_the_request_that_was_answered(
    talk: Conversations, text: str
) -> None:
    assert said(talk, "hours on monday", text) == [HOURS, HOURS]


def test_the_reason_and_what_was_read_are_kept_and_teach_the_whole(
    talk: Conversations, engine: Engine
) -> None:
    said(talk, "hours on monday")
    turn = talk.handle("ana", "and sunday?", "m2")
    assert turn.why == (
        "it completes the message before, read as “hours on monday sunday?”; script"
    )
    assert turn.read == "hours on monday sunday?"
    again = talk.handle("ana", "and sunday?", "m2")
    assert (again.message_id, again.why, again.read) == (turn.message_id, turn.why, turn.read)
    assert turn.message_id is not None
    with engine.connect() as connection:
        told = transcript(connection, "ana")
    (lesson,) = signals_of(told, {turn.message_id: "up"})
    assert (lesson.kind, lesson.asked.text, lesson.label) == (
        "thumbs_up", "hours on monday sunday?", "hours",
    )  # fmt: skip


def test_the_next_stands_in_the_place_of_the_last_and_a_restart_forgets_nothing(
    talk: Conversations, engine: Engine, scripted_bot: Bot, clock: Clock
) -> None:
    said(talk, "hours on monday", "and sunday?")
    later = opened(engine, scripted_bot, clock)
    assert later.handle("ana", "and tuesday?").read == "hours on monday tuesday?"


def test_after_an_hour_nothing_is_completed(talk: Conversations, clock: Clock) -> None:
    said(talk, "hours on monday")
    clock.now += timedelta(hours=1)
    assert said(talk, "and sunday?") == [HOURS]
    clock.now += timedelta(hours=1, seconds=1)
    assert said(talk, "and sunday?") == [EN.reject]


@pytest.mark.parametrize(
    "before", ["gibberish", "human please", "unsure", "track it", "hours " + "and so on " * 60]
)
def test_only_an_answer_to_a_short_request_can_be_completed(
    talk: Conversations, before: str
) -> None:
    """Not a refusal, nor a chat that a person has, nor a question that is still open."""
    said(talk, before)
    assert talk.handle("ana", "and sunday?").read == ""


@pytest.mark.parametrize(
    "text", ["refund?", "gibberish", "thanks!", "ok", "and " + "gibberish " * 8, "/refund"]
)
def test_what_is_clear_or_completes_nothing_is_left_alone(talk: Conversations, text: str) -> None:
    said(talk, "hours on monday")
    assert talk.handle("ana", text).read == ""


def test_a_value_that_is_asked_for_comes_before(talk: Conversations) -> None:
    assert said(talk, "track order KB-1111", "and KB-2222?")[1] == "Parcel KB-2222 is on its way."
    assert said(talk, "and KB-3333?") == ["Parcel KB-3333 is on its way."]


def test_values_of_the_earlier_message_give_way() -> None:
    typed = Entities()
    before = "where is order KB-1111 of ana@shop.example?"
    assert completed(before, "And KB-2222?", typed) == (
        "where is order KB-2222 of ana@shop.example? KB-2222?"
    )
    assert completed("转账到西班牙要多久?", "那挪威呢？", typed) == "转账到西班牙要多久? 那挪威呢?"


def test_of_two_values_of_one_entity_nobody_knows_which_gives_way() -> None:
    listed = Entities(EntityLists({"lookups": {"country": ("Spain", "Norway", "Italy")}}))
    assert completed("how long to spain?", "and to Norway?", listed) == (
        "how long to Norway? to Norway?"
    )
    assert completed("from Spain to Italy?", "and to Norway?", listed) == (
        "from Spain to Italy? to Norway?"
    )


def test_a_choice_after_a_question_back_can_be_completed_too(
    talk: Conversations, engine: Engine
) -> None:
    """The question stays the one that was asked, not the button."""
    said(talk, "unsure about it", "/refund")
    talk.handle("ana", "and sunday?")
    with engine.connect() as connection:
        rows = connection.execute(select(messages.c.details).order_by(messages.c.id)).all()
    assert rows[-1].details["why"] == "script"  # the two together are unsure: refused as before
