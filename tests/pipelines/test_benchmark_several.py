"""What `benchmark chatbot --only several` asks and counts, on messages made by hand."""

import random
from collections.abc import Sequence
from typing import cast

import pytest

from apps.chatbot.bot import Bot, Option, Reply
from apps.chatbot.decision import Decision
from apps.chatbot.entities.entities import Entities
from pipelines.benchmark_several import (
    FOLLOW_UPS,
    JOINTS,
    PAIRS,
    Case,
    judged,
    messages_of,
    milliseconds,
    pairs,
)
from pipelines.public_sets import Parts
from shared.training.examples import from_rows

TEXTS = (
    "where is my card?", "is my card on its way", "how do i change my pin",
    "i forgot my pin, help!", "can i get a refund?", "i want my money back",
)  # fmt: skip
LABELS = ("card", "card", "pin", "pin", "refund", "refund")
HELD = from_rows(list(TEXTS), [(label,) for label in LABELS], "single")


def reply(intent: str, decision: Decision = "answer", offered: Sequence[str] = ()) -> Reply:
    options = tuple(Option(label, label) for label in offered)
    return Reply(
        "", intent, 0.9, decision, 0.0, "", ((intent, 0.9),), options, "", None, "en", "", {}
    )


@pytest.mark.parametrize(
    ("replies", "meant", "expected"),
    [
        ((reply("a"), reply("b")), "ab", (1, 1, 0, 0)),
        ((reply("b"),), "ab", (0, 0, 1, 0)),
        ((reply("a"), reply("c")), "ab", (0, 0, 1, 1)),
        ((reply("a"), reply("b", "clarify", "bc")), "ab", (0, 1, 1, 0)),
        ((reply("a", "clarify", "ab"),), "ab", (0, 1, 0, 0)),
        ((reply("a", "reject"),), "ab", (0, 0, 0, 0)),
        ((reply("a"),), "a", (1, 1, 0, 0)),
        ((reply("a"), reply("b")), "a", (1, 1, 0, 1)),
        # Out of scope: whatever is answered is wrong.
        ((reply("a"),), "", (0, 0, 0, 1)),
        ((reply("a", "reject"),), "", (0, 0, 0, 0)),
    ],
)  # fmt: skip
def test_a_message_is_judged_by_what_it_means(
    replies: tuple[Reply, ...], meant: str, expected: tuple[int, ...]
) -> None:
    figures = judged([Case("?", frozenset(meant))], lambda _: replies)
    assert tuple(figures) == (
        "all answered", "all answered or offered", "a part answered", "wrong answers",
    )  # fmt: skip
    assert tuple(value for (value,) in figures.values()) == expected


def test_two_requests_are_put_into_one_message() -> None:
    joined = [joint("where is it? ", "can I go?") for joint in JOINTS.values()]
    assert joined == [
        "where is it. can I go?", "where is it? also can I go?", "where is it and can I go?",
    ]  # fmt: skip
    made = pairs(HELD, JOINTS["A. B"], random.Random(3))
    assert len(made) == PAIRS
    assert made == pairs(HELD, JOINTS["A. B"], random.Random(3))
    label_of = dict(zip(TEXTS, LABELS, strict=True))
    possible = {
        f"{first.rstrip('?!')}. {second}": frozenset({label_of[first], label_of[second]})
        for first in TEXTS
        for second in TEXTS
        if label_of[first] != label_of[second]
    }
    assert {case.text: case.meant for case in made}.items() <= possible.items()


def test_what_follows_an_answer_is_made_of_texts_with_the_same_and_with_other_intents() -> None:
    found = dict(zip(TEXTS, map(reply, LABELS), strict=True))
    found[TEXTS[0]] = reply("pin")  # answered wrongly: nothing follows it
    found[TEXTS[2]] = reply("pin", "reject")
    sets = messages_of(Parts(HELD, HELD, ("tell a joke", "x" * 61)), found, 3)
    assert [case.text for case in sets["one request, several clauses"]] == []
    assert len(sets["development part"]) == len(TEXTS)
    meant = {text: frozenset({label}) for text, label in zip(TEXTS, LABELS, strict=True)}
    for name in ("completes the one before", "short text of another intent"):
        assert len(sets[name]) == FOLLOW_UPS
        for case in sets[name]:
            assert case.before not in ("", TEXTS[0], TEXTS[2])
            assert (meant[case.before] == case.meant) is (name == "completes the one before")
    outside = sets["out of scope after an answer"]
    assert {case.text for case in outside} == {"tell a joke"}
    assert {case.meant for case in outside} == {frozenset()}


def test_times_are_of_messages_with_one_and_with_two_requests() -> None:
    asked: list[list[str]] = []

    class Timed:
        entities = Entities()

        def reply(self, texts: list[str], **_: object) -> list[Reply]:
            asked.append(texts)
            return [reply("card") for _ in texts]

    many = from_rows([f"where is card {n}?" for n in range(250)], [(str(n),) for n in range(250)],
                     "single")  # fmt: skip
    spent = milliseconds(cast(Bot, Timed()), many, 3)
    assert [len(texts) for texts in asked] == [1] * 200 + [3] * 200 + [1] * 200
    assert all(0 <= each.low <= each.value <= each.high for each in spent.values())
