"""What one message means after another: options, slots, counts, two workers at once."""

from datetime import UTC, datetime
from threading import Barrier, Thread

import pytest
from sqlalchemy import Engine, func, select

from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations
from apps.chatbot.entities.entities import Entities
from apps.chatbot.entities.lists import EntityLists
from apps.chatbot.options import NO_VALUE, NONE_OF_THESE
from apps.chatbot.phrases import phrases_for
from apps.chatbot.tables import conversations, messages
from apps.chatbot.turns import Limits, State

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
EN = phrases_for("en")


@pytest.fixture
def talk(engine: Engine, scripted_bot: Bot) -> Conversations:
    return Conversations(
        scripted_bot, engine, model="demo@1", limits=Limits(2, 2), clock=lambda: NOW
    )


def test_a_question_back_offers_buttons_and_none_of_these(talk: Conversations) -> None:
    turn = talk.handle("ana", "unsure about it")
    assert turn.text == EN.clarify
    assert turn.buttons == (
        ("Track a parcel", "/track"),
        ("Get a refund", "/refund"),
        ("None of these", "/none_of_these"),
    )


@pytest.mark.parametrize("choice", ["/refund", "get a refund", "2", "2."])
def test_an_option_may_be_chosen_by_button_title_or_number(
    talk: Conversations, choice: str
) -> None:
    talk.handle("ana", "unsure")
    assert talk.handle("ana", choice).text == "Refunds take five days."


def test_none_of_these_refuses_once_and_then_hands_over(talk: Conversations) -> None:
    talk.handle("ana", "unsure")
    assert talk.handle("ana", f"/{NONE_OF_THESE}").decision == "reject"
    talk.handle("ana", "unsure")
    assert talk.handle("ana", "none of these").decision == "handover"


def test_a_missing_slot_is_asked_for_and_its_value_completes_the_answer(
    talk: Conversations,
) -> None:
    assert talk.handle("ana", "track it please").text == "Please tell me your order_id."
    assert talk.handle("ana", "it is KB-20418").text == "Parcel KB-20418 is on its way."


def test_another_question_in_the_middle_of_a_slot_is_answered(talk: Conversations) -> None:
    talk.handle("ana", "track it please")
    assert talk.handle("ana", "hours?".replace("?", "")).text == "We open at nine."


def test_a_value_given_once_is_remembered(talk: Conversations) -> None:
    talk.handle("ana", "hours for order KB-20418 ?")
    assert talk.handle("ana", "track it").text == "Parcel KB-20418 is on its way."


def test_too_many_questions_back_hand_over(talk: Conversations) -> None:
    decisions = [talk.handle("ana", "unsure").decision for _ in range(3)]
    assert decisions == ["clarify", "clarify", "handover"]


def test_a_second_refusal_in_a_row_hands_over_and_an_answer_resets_the_count(
    talk: Conversations,
) -> None:
    said = ["gibberish", "hours", "gibberish", "gibberish"]
    decisions = [talk.handle("ana", text).decision for text in said]
    assert decisions == ["reject", "answer", "reject", "handover"]


def test_senders_do_not_see_each_other(talk: Conversations) -> None:
    talk.handle("ana", "unsure")
    assert talk.handle("bob", "2").decision == "reject"


def test_a_restart_forgets_nothing(talk: Conversations, engine: Engine, scripted_bot: Bot) -> None:
    talk.handle("ana", "unsure")
    later = Conversations(
        scripted_bot, engine, model="demo@2", limits=Limits(2, 2), clock=lambda: NOW
    )
    assert later.handle("ana", "1").text == "Please tell me your order_id."


def test_every_exchange_is_kept_with_what_decided(talk: Conversations, engine: Engine) -> None:
    talk.handle("ana", "hours")
    with engine.connect() as connection:
        rows = connection.execute(select(messages).order_by(messages.c.id)).all()
    assert [(r.role, r.text, r.decision, r.model, r.at) for r in rows] == [
        ("customer", "hours", None, None, NOW),
        ("bot", "We open at nine.", "answer", "demo@1", NOW),
    ]


def test_two_workers_on_one_conversation_lose_no_message(
    talk: Conversations, engine: Engine
) -> None:
    start = Barrier(2)

    def worker() -> None:
        start.wait()
        for _ in range(10):
            talk.handle("ana", "hours")

    threads = [Thread(target=worker) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(messages)) == 40
        assert connection.scalar(select(conversations.c.revision)) == 20


def test_state_survives_json() -> None:
    state = State((("a", "A"),), ("a", "order_id"), {"order_id": "1"}, 1, 2)
    as_stored = {
        "offered": [["a", "A"]],
        "pending": ["a", "order_id"],
        "slots": {"order_id": "1"},
        "clarifications": 1,
        "refusals": 2,
    }
    assert State.from_json(as_stored) == state


@pytest.fixture
def listed(talk: Conversations) -> Conversations:
    """The order's number is one of a list."""
    orders = tuple(f"Oak {n}" for n in ("one", "two", "three", "four", "five"))
    talk.bot.entities = Entities(EntityLists({"lookups": {"order_id": orders}}))
    return talk


def test_a_slot_with_a_list_takes_a_value_of_it_and_offers_the_nearest(
    listed: Conversations,
) -> None:
    assert listed.handle("ana", "track it").text == "Please tell me your order_id."
    turn = listed.handle("ana", "the oak fourth")
    assert turn.text == EN.not_listed.format(slot="order id")
    assert (turn.decision, turn.intent, turn.probability) == ("answer", "track", None)
    assert turn.why == "the reply to the question for a slot is no value of its list"
    assert turn.buttons[0] == ("Oak four", "Oak four")
    assert listed.handle("ana", "1").text == "Parcel Oak four is on its way."
    assert listed.handle("ana", "track it").text == "Parcel Oak four is on its way."


def test_two_tries_at_a_list_and_then_a_person(listed: Conversations) -> None:
    said = ["track it", "dunno", "no idea", "whatever"]
    turns = [listed.handle("ana", text) for text in said]
    assert [turn.decision for turn in turns] == ["answer", "answer", "answer", "handover"]
    assert (turns[3].text, turns[3].why) == (EN.handover, NO_VALUE)
    (chat,) = listed.handovers.listed()
    assert (chat.reason, chat.ranking[0][0]) == (NO_VALUE, "track")


def test_another_question_in_the_middle_of_a_list_is_answered(listed: Conversations) -> None:
    listed.handle("ana", "track it")
    assert listed.handle("ana", "hours").text == "We open at nine."
    assert listed.handle("ana", "oak two").decision == "reject"


def test_a_listed_value_in_a_message_fills_its_slot(listed: Conversations) -> None:
    listed.handle("ana", "hours for OAK  Two")
    assert listed.handle("ana", "track it").text == "Parcel Oak two is on its way."
