"""Values found in messages, and the words that ask for a person."""

import time

import pytest

from apps.chatbot.entities.entities import Entities
from apps.chatbot.phrases import PHRASES, phrases_for, wants_person
from apps.chatbot.slots import find_slots


@pytest.mark.parametrize(
    ("text", "slot", "value"),
    [
        ("where is order KB-20418?", "order_id", "KB-20418"),
        ("my order number is 448812 thanks", "order_id", "448812"),
        ("订单号：88213004 到哪了", "order_id", "88213004"),
        ("you charged me €12.50 twice", "amount", "€12.50"),
        ("write to ana.b@example.com please", "email", "ana.b@example.com"),
        ("ordered on 2026-03-04", "date", "2026-03-04"),
        ("it was March 3rd I think", "date", "March 3rd"),
        ("hi, my name is Ana and", "customer_name", "Ana"),
    ],
)
def test_typed_values_are_found(text: str, slot: str, value: str) -> None:
    assert find_slots(text)[slot] == value


@pytest.mark.parametrize(
    ("text", "slot", "value"),
    [
        ("it is 1,234.50 EUR", "amount", "1,234.50 EUR"),
        ("for 5,5 euros", "amount", "5,5 euros"),
        ("order  number\n\t is  448812", "order_id", "448812"),
        ("12th September", "date", "12th September"),
        ("call +49 30 1234567", "phone", "+49 30 1234567"),
    ],
)
def test_values_are_found_whole(text: str, slot: str, value: str) -> None:
    assert find_slots(text)[slot] == value


def test_no_text_keeps_it_busy() -> None:
    """Each of these once took up to seconds, in which nobody else was answered."""
    start = time.process_time()
    for text in (
        "0" * 10_000, "1," * 5_000, "退" * 10_000, "a" * 10_000, "Jan" * 3_333, "order" * 2_000,
        "ab1" * 3_333, "0-" * 5_000, "a@a." * 2_500, "0 " * 5_000, "order" + " " * 9_990 + "x",
    ):  # fmt: skip
        find_slots(text)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "text", ["order now", "in order to pay", "order within 2 days", "I'm so sad"]
)
def test_ordinary_words_are_not_values(text: str) -> None:
    assert find_slots(text) == {}


@pytest.mark.parametrize(
    ("slot", "reply", "value"),
    [
        ("order_id", "it's 448812", "448812"),
        ("order_id", "no idea", None),
        ("city", "Lisbon.", "Lisbon"),
        ("city", " ", None),
        ("email", "ana@example.com", "ana@example.com"),
    ],
)
def test_a_reply_to_a_question_for_a_slot(slot: str, reply: str, value: str | None) -> None:
    assert Entities().fill(slot, reply) == value


@pytest.mark.parametrize(
    "text",
    [
        "can I speak to a human",
        "agent",
        "let me talk with your manager please",
        "转人工",
        "我要找客服",
    ],
)
def test_who_asks_for_a_person_gets_one(text: str) -> None:
    assert wants_person(text)


@pytest.mark.parametrize(
    "text", ["is the person on the photo real", "the agent was rude", "客服电话"]
)
def test_who_only_mentions_one_does_not(text: str) -> None:
    assert not wants_person(text)


def test_every_language_says_everything() -> None:
    for phrases in PHRASES.values():
        assert all(vars(phrases).values())
    assert phrases_for("xx") is PHRASES["en"]
