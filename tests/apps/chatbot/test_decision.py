"""The five rules of the decision, each with the case that only it decides."""

from dataclasses import replace

import pytest

from apps.chatbot.decision import Decision, Policy, decide
from shared.inference.classifier import Prediction

POLICY = Policy(oos_threshold=1.0, max_options=3, handover_labels=("human",))
SURE = Prediction(
    label="refund",
    probability=0.97,
    labels=("refund",),
    ranking=(("refund", 0.97), ("late", 0.02), ("lost", 0.01)),
    conformal=("refund",),
    oos_score=0.2,
    scorers={},
)


def test_one_label_in_the_set_is_answered() -> None:
    decided = decide(SURE, POLICY, wants_person=False)
    assert (decided.decision, decided.labels) == ("answer", ("refund",))


def test_two_labels_in_the_set_are_asked_about_most_probable_first() -> None:
    unsure = replace(SURE, conformal=("lost", "late", "refund"))
    decided = decide(unsure, POLICY, wants_person=False)
    assert (decided.decision, decided.labels) == ("clarify", ("refund", "late", "lost"))


def test_no_question_has_more_options_than_allowed() -> None:
    unsure = replace(SURE, conformal=("d", "c", "lost", "late", "refund"))
    decided = decide(unsure, POLICY, wants_person=False)
    assert decided.labels == ("refund", "late", "lost")
    assert decided.why == "5 intents remain in the conformal set"


@pytest.mark.parametrize(
    ("change", "wants_person", "expected"),
    [
        ({"oos_score": 1.01}, False, "reject"),
        ({"oos_score": 1.0}, False, "answer"),
        ({"conformal": ()}, False, "reject"),
        ({"conformal": ("human",), "label": "human"}, False, "handover"),
        ({"oos_score": 9.0}, True, "handover"),
    ],
)
def test_the_rules_are_read_in_their_order(
    change: dict[str, object], wants_person: bool, expected: Decision
) -> None:
    prediction = replace(SURE, **change)  # type: ignore[arg-type]
    assert decide(prediction, POLICY, wants_person=wants_person).decision == expected
