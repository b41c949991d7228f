"""Answer, ask back, refuse or hand over: one rule for each, read in this order.

The rule rests on two promises made at training time: the conformal set leaves the true intent out
for at most `risk` of the in-scope messages, and the out-of-scope threshold refuses at most
`in_scope_loss` of them. Nothing here is a number somebody liked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shared.inference.classifier import Prediction

# Rules that say nothing of the matter: a person is wanted.
ASKS_FOR_PERSON = "the customer asks for a person"
MEANS_PERSON = "the intent is to reach a person"

Decision = Literal["answer", "clarify", "reject", "handover"]


@dataclass(frozen=True)
class Policy:
    """What a decision needs besides the prediction. oos_threshold: refuse above this score."""

    oos_threshold: float
    max_options: int
    handover_labels: tuple[str, ...]


@dataclass(frozen=True)
class Decided:
    """What to do, about which intents (answer: one, clarify: several), and the rule in words."""

    decision: Decision
    labels: tuple[str, ...]
    why: str


def decide(
    prediction: Prediction, policy: Policy, *, wants_person: bool, scoped: bool = True
) -> Decided:
    """What to do with one message. wants_person: it asks for a human in so many words. scoped:
    whether to refuse what is far from all examples."""
    if wants_person:
        return Decided("handover", (), ASKS_FOR_PERSON)
    if scoped and prediction.oos_score > policy.oos_threshold:
        return Decided(
            "reject",
            (),
            f"out-of-scope score {prediction.oos_score:.2f} is above {policy.oos_threshold:.2f}",
        )
    fitting = _in_order(prediction, prediction.conformal)
    if not fitting:
        return Decided("reject", (), "no intent is probable enough to stay in the conformal set")
    if len(fitting) == 1:
        if fitting[0] in policy.handover_labels:
            return Decided("handover", fitting, MEANS_PERSON)
        return Decided("answer", fitting, "one intent remains in the conformal set")
    kept = fitting[: policy.max_options]
    return Decided("clarify", kept, f"{len(fitting)} intents remain in the conformal set")


def _in_order(prediction: Prediction, labels: Sequence[str]) -> tuple[str, ...]:
    """The set's labels, most probable first; labels past the ten best keep their order behind."""
    place = {label: i for i, (label, _) in enumerate(prediction.ranking)}
    return tuple(sorted(labels, key=lambda label: place.get(label, len(place))))
