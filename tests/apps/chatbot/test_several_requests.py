"""Several requests in one message, and what every part of the house then sees of it."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from sqlalchemy import Engine, select

from apps.chatbot.analytics import analytics
from apps.chatbot.answers import AnswerBook
from apps.chatbot.bot import Bot
from apps.chatbot.clauses import clauses_of, requests_in
from apps.chatbot.conversation import Conversations
from apps.chatbot.feedback import Thumb, rate
from apps.chatbot.learning.collecting import collect
from apps.chatbot.learning.signals import signals_of
from apps.chatbot.messages import transcript
from apps.chatbot.mining.answer_choice import Encode
from apps.chatbot.phrases import phrases_for
from apps.chatbot.tables import conversations, lessons, messages
from apps.chatbot.tracker import tracker
from apps.chatbot.turns import Limits

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
EN = phrases_for("en")
HOURS, REFUND = "We open at nine.", "Refunds take five days."
ASK_ID = "Please tell me your order_id."


@pytest.fixture
def talk(engine: Engine, scripted_bot: Bot) -> Conversations:
    return Conversations(
        scripted_bot, engine, model="demo@1", limits=Limits(2, 2), clock=lambda: NOW
    )


def said(talk: Conversations, text: str, sender: str = "ana") -> list[tuple[str, str]]:
    return [(each.decision, each.text) for each in talk.handle(sender, text).said]


@pytest.mark.parametrize(
    ("text", "requests"),
    [
        ("Where is my card? And how do I change my PIN?",
         ("Where is my card?", "how do I change my PIN?")),
        ("I lost it. Where is my card? It was new, and also can I get a refund",
         ("I lost it. Where is my card? It was new", "can I get a refund")),
        # A problem is a request of its own where nothing else is asked of the matter.
        ("My card is lost. What do I do?", ()),
        ("My card is lost. Also, how do I change my PIN?",
         ("My card is lost.", "how do I change my PIN?")),
        ("When does it come, and what does it cost", ("When does it come", "what does it cost")),
        ("how much is it? by the way, do you deliver on sunday",
         ("how much is it?", "do you deliver on sunday")),
        ("我的卡在哪里？另外怎么修改密码？", ("我的卡在哪里?", "怎么修改密码?")),
        ("退款要多久，怎么改地址", ("退款要多久", "怎么改地址")),
        # What asks nothing, greets or thanks is no request.
        ("Hello! I am Ana. Where is my card? Thank you.", ()),
        ("The parcel was nice. Where is my card?", ()),
        ("can i pay by cheque and card?", ()),
        ("我的卡丢了，怎么办？", ()),
        ("Mr. Smith has it, is that right?", ()),
        # Four are a story.
        ("who? and where is it? and when? and how much is it?", ()),
        ("", ()),
        ("?!. … ;", ()),
        ("where is it? " * 100, ()),
    ],
)  # fmt: skip
def test_the_parts_of_a_message_that_may_be_requests(text: str, requests: tuple[str, ...]) -> None:
    assert requests_in(text) == requests


@pytest.mark.parametrize("text", ["and " * 250, "a, " * 330, ", also" * 160, "? and" * 200])
def test_hostile_messages_are_taken_apart_at_once(text: str) -> None:
    assert all(clause.text.strip() for clause in clauses_of(text))


def test_each_request_is_answered_in_its_order(talk: Conversations, engine: Engine) -> None:
    turn = talk.handle("ana", "Refund, how long does it take? Also hours, what are they?", "m1")
    assert [each.text for each in turn.said] == [REFUND, HOURS]
    assert [each.read for each in turn.said] == [
        "Refund, how long does it take?", "hours, what are they?",
    ]  # fmt: skip
    # Sent again it is the same, and nothing is added.
    again = talk.handle("ana", turn.read and "Refund, how long?", "m1")
    assert [(e.text, e.message_id, e.read) for e in again.said] == [
        (e.text, e.message_id, e.read) for e in turn.said
    ]
    with engine.connect() as connection:
        rows = connection.execute(select(messages.c.role, messages.c.intent)).all()
    assert [tuple(row) for row in rows] == [("customer", None), ("bot", "refund"), ("bot", "hours")]


def test_a_slot_is_asked_for_last_and_once_and_then_all_is_answered(talk: Conversations) -> None:
    both = "Track it, where is it? Also refund, when do I get it? And track what, you ask?"
    assert said(talk, both) == [("answer", REFUND), ("answer", ASK_ID)]
    # A value in any part fills the state once.
    told = "Track it, where is it? Plus refund, how long for order KB-20418?"
    assert said(talk, told, "bob") == [
        ("answer", "Parcel KB-20418 is on its way."), ("answer", REFUND),
    ]  # fmt: skip
    assert said(talk, "track it", "bob") == [("answer", "Parcel KB-20418 is on its way.")]


def test_what_waits_is_said_once_the_question_back_is_settled(
    talk: Conversations, engine: Engine
) -> None:
    """One part is unsure, one lacks a value: the choice comes first, and then the value."""
    asked = "Doubtful, is it this? Track it, where is it?"
    assert said(talk, asked) == [("clarify", EN.clarify)]
    with engine.connect() as connection:
        state = connection.execute(select(conversations.c.state)).scalar_one()
    assert state["waiting"] == ["track"]
    assert said(talk, "/refund") == [("answer", REFUND), ("answer", ASK_ID)]
    assert said(talk, "KB-20418") == [("answer", "Parcel KB-20418 is on its way.")]
    # None of these: what waits is still said.
    said(talk, asked, "bob")
    assert said(talk, "/none_of_these", "bob") == [("reject", EN.reject), ("answer", ASK_ID)]


def test_a_part_that_is_unsure_is_asked_back_beside_an_answer(talk: Conversations) -> None:
    asked = "Unsure, is it this? Hours, when are they?"
    turn = talk.handle("ana", asked)
    assert [each.decision for each in turn.said] == ["answer", "clarify"]
    assert [title for title, _ in turn.said[1].buttons] == [
        "Track a parcel", "Get a refund", "None of these",
    ]  # fmt: skip
    assert said(talk, "2") == [("answer", REFUND)]
    # Not where one of its readings is answered already, nor where the whole is clear.
    assert said(talk, "Doubtful, is it this? Hours, when are they?", "bob") == [
        ("clarify", EN.clarify)
    ]
    for clear in (
        "Hours, when are they? Unsure, is it?",
        "Hours, when are they? Refund, how long?",
    ):
        assert said(talk, clear, "eve") == [("answer", HOURS)]


def test_a_wish_for_a_person_takes_the_other_requests_with_it(talk: Conversations) -> None:
    said(talk, "gibberish")
    asked = "Refund, when do I get it? Human please, can I talk to one?"
    assert said(talk, asked) == [("handover", EN.handover)]
    (chat,) = talk.handovers.listed()
    assert (chat.question, chat.ranking[0][0]) == (asked, "refund")
    assert chat.reason == "the customer asks for a person"


def test_a_request_without_an_answer_is_passed_on_and_the_other_answered(
    talk: Conversations,
) -> None:
    asked = "Unknown fee, what is it? By the way, hours, when are they?"
    assert said(talk, asked) == [("answer", HOURS), ("handover", "I have no answer yet.")]
    (chat,) = talk.handovers.listed()
    assert (chat.question, chat.ranking[0][0]) == (asked, "unknown")
    # The person is in charge now: a message of several requests is read and not answered.
    talk.handovers.take(chat.id, "mia")
    assert said(talk, asked) == [("silent", "")]


def test_the_records_tell_each_request_by_itself(talk: Conversations, engine: Engine) -> None:
    asked = "Refund, how long does it take? Also hours, what are they?"
    turn = talk.handle("ana", asked)
    with engine.connect() as connection:
        told = transcript(connection, "ana")
        figures = analytics(connection, days=1, now=NOW + timedelta(seconds=1))
    counts = figures.total
    assert (counts.sessions, counts.contained, counts.answered) == (1, 1, 2)
    assert {(use.intent, use.sessions) for use in figures.intents} == {("refund", 1), ("hours", 1)}
    (user, *bots) = tracker(engine, "ana")["events"]
    assert [event["event"] for event in bots] == ["bot", "bot"]
    assert user["text"] == asked
    assert user["parse_data"]["intent"]["name"] == "refund"
    assert [(each["text"], each["intent"]["name"]) for each in user["parse_data"]["requests"]] == [
        ("Refund, how long does it take?", "refund"), ("hours, what are they?", "hours"),
    ]  # fmt: skip
    # A thumb belongs to the part that was answered, never to the whole message.
    first, second = (each.message_id for each in turn.said)
    assert first is not None
    assert second is not None
    signals = signals_of(told, {first: "down", second: "up"})
    assert [(each.kind, each.asked.id, each.asked.text, each.label) for each in signals] == [
        ("thumbs_down", first, "Refund, how long does it take?", None),
        ("thumbs_up", second, "hours, what are they?", "hours"),
    ]  # fmt: skip


def test_lessons_of_parts_are_kept_once_each_and_masked(
    talk: Conversations, engine: Engine, answer_book: AnswerBook, words_encode: Encode
) -> None:
    asked = "Refund to ana@shop.example, how long does it take? Also hours, what are they?"
    first, second = (each.message_id or 0 for each in talk.handle("ana", asked).said)
    for number, value in ((first, "down"), (second, "up")):
        rate(engine, "ana", number, cast(Thumb, value), clock=lambda: NOW)
    for _ in range(2):
        collect(engine, "demo", answer_book, words_encode, clock=lambda: NOW)
    with engine.connect() as connection:
        rows = connection.execute(
            select(lessons.c.message_id, lessons.c.question, lessons.c.label).order_by(lessons.c.id)
        ).all()
    assert [tuple(row) for row in rows] == [
        (first, "Refund to <email>, how long does it take?", None),
        (second, "hours, what are they?", "hours"),
    ]
