"""What a bot is audited with says what it means to say."""

import random

import pytest

from apps.chatbot.auditing import NEGATIONS, SYNONYMS, battery
from shared.evaluation.perturbations import negated
from shared.text import normalise

DENIED = [
    ("I want to cancel my order", "I do not want to cancel my order"),
    ("hi, I'd like to change my address", "hi, I would not like to change my address"),
    ("please refund the second one", "please do not refund the second one"),
    ("i need a new card", "I do not need a new card"),
    ("我想退货", "我不想退货"),
    ("where is my parcel", None),
    ("I do not want to pay, I want to cancel", None),
]


@pytest.mark.parametrize(("text", "denied"), DENIED)
def test_wishes_are_denied_and_nothing_else(text: str, denied: str | None) -> None:
    pair = negated(NEGATIONS)(text, random.Random(1))
    assert (pair[1] if pair else None) == denied


def test_every_test_has_a_name_of_its_own_and_something_to_change() -> None:
    every = battery()
    assert len({test.name for test in every}) == len(every)
    text = "Hello, I want to know where my parcel is. My wife needs 包裹; 谢谢！"
    for test in every:
        assert test.perturb(text, random.Random(3)) is not None, test.name


def test_what_the_bot_tidies_away_is_no_test_of_writing() -> None:
    for test in battery():
        pair = test.perturb("Wo ist mein Paket", random.Random(3))
        if pair and test.area == "robustness" and test.name != "full width":
            assert normalise(pair[0]) != normalise(pair[1])


def test_no_word_is_its_own_synonym() -> None:
    for word, others in SYNONYMS.items():
        assert word not in others
