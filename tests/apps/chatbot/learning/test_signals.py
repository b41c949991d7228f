"""What a conversation tells, written out by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.chatbot.decision import ASKS_FOR_PERSON
from apps.chatbot.learning.chats import Read, answered_in
from apps.chatbot.learning.signals import HandedOver, matter_of, signals_of
from apps.chatbot.messages import Message
from apps.chatbot.mining.answer_choice import Encode
from apps.chatbot.options import NO_VALUE
from tests.apps.chatbot.learning.conftest import SAID

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
BUTTONS = [["Track", "/track"], ["Refund", "/refund"], ["None of these", "/none_of_these"]]


def conversation(*lines: tuple[Any, ...], seconds: int = 20) -> list[Message]:
    """(customer's text, decision, intent[, more of the details]) becomes two messages; (agent's
    text,) one. Numbers count from 1, time goes on with each line."""
    said: list[Message] = []
    for at, line in enumerate(lines):
        moment = START + timedelta(seconds=seconds * at)
        if len(line) == 1:
            said.append(Message(len(said) + 1, "agent", line[0], moment, agent="mia"))
            continue
        text, decision, intent, *more = line
        ranking = [["hours", 0.7], ["track", 0.2]]
        details = {"why": "", "ranking": ranking, **(more[0] if more else {})}
        said.append(Message(len(said) + 1, "customer", text, moment))
        said.append(
            Message(
                len(said) + 1, "bot", "…", moment, decision=decision, intent=intent,
                probability=0.7, details=details, model="shop@3",
            )
        )  # fmt: skip
    return said


def told(said: Sequence[Message], thumbs: dict[int, str] | None = None) -> list[tuple[Any, ...]]:
    return [(s.kind, s.asked.id, s.label) for s in signals_of(said, thumbs or {})]


NO_CITY = ("bluish", "answer", "track", {"why": NO_VALUE, "buttons": [["Oslo", "Oslo"]]})
ASKED_BACK = ("it is late", "clarify", "track", {"buttons": BUTTONS})


@pytest.mark.parametrize(
    ("lines", "thumbs", "expected"),
    [
        ([("quantum foam", "reject", None)], {}, [("refused", 1, None)]),
        # A value of a list that is asked for, and chosen, is no intent.
        ([("where is it", "answer", "track"), NO_CITY, ("Oslo", "answer", "track")], {4: "up"}, []),
        ([("where is it", "answer", "hours")], {}, []),
        ([("where is it", "answer", "hours")], {2: "up"}, [("thumbs_up", 1, "hours")]),
        ([("where is it", "answer", "hours")], {2: "down"}, [("thumbs_down", 1, None)]),
        # A click, a number and a title say the same of the message before.
        ([ASKED_BACK, ("/refund", "answer", "refund")], {}, [("clicked", 1, "refund")]),
        ([ASKED_BACK, ("2", "answer", "refund")], {}, [("clicked", 1, "refund")]),
        ([ASKED_BACK, ("refund", "answer", "refund")], {}, [("clicked", 1, "refund")]),
        ([ASKED_BACK, ("/none_of_these", "reject", None)], {}, [("none_of_these", 1, None)]),
        ([ASKED_BACK, ("/refund", "answer", "refund")], {4: "down"}, [("thumbs_down", 1, None)]),
        ([ASKED_BACK], {}, []),
        # A button that nobody offered labels nothing.
        ([("it is late", "answer", "track"), ("/refund", "reject", None)], {}, []),
        ([("hi", "reject", None), ("i want to talk to a human", "reject", None)], {}, []),
        # Asked again at once and answered: what was answered labels what was asked first.
        ([("parcl whr", "reject", None), ("where is my parcel", "answer", "track")], {},
         [("rephrased", 1, "track")]),
        ([("my parcel", "answer", "hours"), ("where is my parcel", "answer", "track")], {},
         [("rephrased", 1, "track")]),
        ([("my parcel", "answer", "track"), ("where is my parcel", "answer", "track")], {}, []),
        ([("parcl whr", "reject", None), ("where is my parcel", "answer", "track")], {4: "down"},
         [("refused", 1, None), ("thumbs_down", 3, None)]),
    ],
)  # fmt: skip
def test_what_each_turn_tells(
    lines: list[tuple[Any, ...]], thumbs: dict[int, str], expected: list[tuple[Any, ...]]
) -> None:
    assert told(conversation(*lines), thumbs) == expected


def test_who_asks_again_much_later_has_not_rephrased() -> None:
    lines = [("parcl whr", "reject", None), ("where is my parcel", "answer", "track")]
    assert told(conversation(*lines, seconds=121)) == [("refused", 1, None)]
    (signal,) = signals_of(conversation(*lines), {})
    assert signal.like is not None
    assert signal.otherwise is not None
    assert (signal.like.id, signal.otherwise.kind) == (3, "refused")


def chat_of(said: Sequence[Message], question: str) -> HandedOver:
    return HandedOver(
        7, question, said[-1].at - timedelta(seconds=1), said[-1].at + timedelta(hours=1), "shop@3",
        closed=True,
    )  # fmt: skip


def test_the_matter_of_a_chat_is_what_was_asked_before_a_person() -> None:
    said = conversation(
        ("track it", "answer", "track"),
        ("vouchers maybe", "reject", None),
        ("do you sell vouchers", "reject", None),
        ("a human please", "handover", None, {"why": ASKS_FOR_PERSON}),
        ("Yes.",),
    )
    found = matter_of(said, chat_of(said, "do you sell vouchers"))
    assert [(s.kind, s.asked.text) for s in found] == [
        ("handed_over", "do you sell vouchers"), ("handed_over", "vouchers maybe"),
    ]  # fmt: skip
    assert matter_of(said, chat_of(said, "a human please")) == ()


@pytest.mark.parametrize(
    ("sent", "kind", "label"),
    [
        ("This is about parcel tracking delivery.", "confirmed", "track"),
        ("This is about parcel tracking and delivery, dear customer.", "edited", "track"),
        ("Vouchers are sold in the shop under Presents.", "handed_over", None),
    ],
)
def test_what_an_agent_makes_of_a_suggestion(
    sent: str, kind: str, label: str | None, words_encode: Encode
) -> None:
    said = conversation(("what about my parcel box", "handover", "track"), (sent,))
    read = Read(chat_of(said, "what about my parcel box"), said, {})
    (found,) = answered_in([read], SAID, words_encode)
    assert (found.signal.kind, found.signal.label) == (kind, label)
    assert (found.answer_ids, found.agent, found.chat) == ((3,), "mia", 7)


def test_an_answer_belongs_to_earlier_questions_that_ask_the_same_and_to_no_other(
    words_encode: Encode,
) -> None:
    question = "what about the saddle of my old bike"
    said = conversation(
        ("does the refund reach norway", "reject", None),
        ("the saddle of my bike", "reject", None),
        (question, "handover", None),
        ("Saddles are changed in the workshop on Mondays.",),
    )
    read = Read(chat_of(said, question), said, {})
    found = answered_in([read], SAID, words_encode)
    answer = "Saddles are changed in the workshop on Mondays."
    assert {each.signal.asked.id: each.answer for each in found} == {5: answer, 3: answer}
    # It is still told as one that the bot did not understand.
    assert told(said)[0] == ("refused", 1, None)
