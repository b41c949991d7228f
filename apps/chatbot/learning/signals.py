"""What a conversation tells of the bot: which messages it could not answer, and which of its
readings people have confirmed or corrected. Nothing is written here.

    kind            label    what happened
    handed_over     -        a person had to answer; the intent where only its answer was missing
    refused         -        the bot understood nothing
    none_of_these   -        none of the intents that it offered was meant
    thumbs_down     -        it answered, and the customer was not served
    thumbs_up       intent   it answered, and the customer was
    clicked         intent   it asked back, and the customer chose: the choice labels the question
    rephrased       intent   it was asked again in other words, and then answered
    edited          intent   the agent sent the bot's suggestion in other words
    confirmed       intent   the agent sent the bot's suggestion as it was
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from apps.chatbot.decision import ASKS_FOR_PERSON, MEANS_PERSON
from apps.chatbot.messages import ONE_MATTER, Message, said_to
from apps.chatbot.options import CHOSEN, NO_ANSWER, NO_VALUE, NONE_OF_THESE, chosen_of
from apps.chatbot.phrases import wants_person
from shared.text import detect_language

Kind = Literal[
    "handed_over", "refused", "none_of_these", "thumbs_down", "thumbs_up", "clicked", "rephrased",
    "edited", "confirmed", "typed",
]  # fmt: skip
# Kinds that should be must-pass cases: a person has said what is right where the bot was not sure.
FIRM: frozenset[Kind] = frozenset({"clicked", "edited", "confirmed"})
# Cosine from which two messages ask the same in other words.
ALIKE = 0.5
# A customer who asks again in other words does so at once.
ASKED_AGAIN = timedelta(minutes=2)


@dataclass(frozen=True)
class Signal:
    """One message of a customer, and what became of it.

    asked: of a part of a message, or of one that the message before completes, that text under the
    number of the bot's answer to it. label: what it means, as far as that is known. like: the
    message that asks the same in other words; unless they are alike, the signal is `otherwise`.
    intent, probability: what the bot made of it.
    """

    kind: Kind
    asked: Message
    model: str
    label: str | None = None
    intent: str | None = None
    probability: float | None = None
    like: Message | None = None
    otherwise: "Signal | None" = None


@dataclass(frozen=True)
class HandedOver:
    """A chat of this conversation that was handed over. question: the matter, as the queue has
    it."""

    id: int
    question: str
    queued_at: datetime
    ended_at: datetime
    model: str
    closed: bool


@dataclass(frozen=True)
class _Turn:
    """A customer's message, an answer of the bot's, and what was chosen of what was offered
    before."""

    asked: Message
    answer: Message
    chosen: str | None

    @property
    def question(self) -> Message:
        """What the bot has answered: the message, or what it was read from."""
        answer = self.answer
        return replace(self.asked, id=answer.id, text=answer.read) if answer.read else self.asked

    @property
    def asks(self) -> bool:
        """Whether the question says what it is about by itself."""
        text = self.question.text.strip()
        why = self.answer.details.get("why")
        no_matter = (CHOSEN, NO_VALUE, ASKS_FOR_PERSON, MEANS_PERSON)
        by_itself = self.chosen is None and why not in no_matter
        return by_itself and len(text) > 2 and text[0] != "/" and not wants_person(text)


def signals_of(said: Sequence[Message], thumbs: Mapping[int, str]) -> list[Signal]:
    """Signals of the bot's own turns, in order. thumbs: number of a bot's message -> up or down."""
    turns = _turns(said)
    found = []
    for at, own in enumerate(turns):
        following = turns[at + 1][0] if at + 1 < len(turns) else None
        signals = (_signal(turn, following, thumbs) for turn in own if turn.asks)
        found += [signal for signal in signals if signal is not None]
    return found


def matter_of(said: Sequence[Message], chat: HandedOver) -> tuple[Signal, ...]:
    """The question that led to a chat with a person, and those in a row before it that the bot did
    not understand either; the question first. Empty where only a person was asked for."""
    turns = [own[-1] for own in _turns(said) if own[-1].asked.at <= chat.queued_at]
    place = next(
        (at for at in reversed(range(len(turns))) if turns[at].asked.text == chat.question), None
    )
    if place is None:
        return ()
    if turns[place].chosen is not None and place > 0:
        place -= 1  # a button says nothing: what was asked before it does
    if not turns[place].asks:
        return ()
    found = []
    for at in range(place, -1, -1):
        turn = turns[at]
        served = turn.answer.decision == "answer" or not turn.asks
        if at < place and (served or turns[at + 1].asked.at - turn.asked.at > ONE_MATTER):
            break
        if turn.asks:
            found.append(replace(_of(turn, "handed_over", model=chat.model), asked=turn.asked))
    return tuple(found)


def _turns(said: Sequence[Message]) -> list[tuple[_Turn, ...]]:
    """Of each message that the bot has answered, one for each of its answers."""
    found = []
    for at, asked in enumerate(said):
        answers = said_to(said, at)
        if asked.role != "customer" or not answers:
            continue
        before = said[at - 1] if at else None
        offered = () if before is None else before.details.get("buttons", ())
        options = tuple((str(payload).removeprefix("/"), str(title)) for title, payload in offered)
        chosen = chosen_of(asked.text, options, detect_language(asked.text))
        found.append(tuple(_Turn(asked, answer, chosen) for answer in answers))
    return found


def _signal(turn: _Turn, following: _Turn | None, thumbs: Mapping[int, str]) -> Signal | None:
    answer, thumb = turn.answer, thumbs.get(turn.answer.id)
    if answer.decision == "handover":
        return None  # see matter_of, once the chat has ended
    if answer.decision == "clarify":
        return _asked_back(turn, following, thumbs)
    if thumb == "up" and answer.decision == "answer":
        return _of(turn, "thumbs_up", answer.intent)
    instead = None
    if answer.decision == "reject":
        instead = _of(turn, "refused")
    elif thumb == "down":
        instead = _of(turn, "thumbs_down")
    return _rephrased(turn, following, thumbs, instead)


def _asked_back(turn: _Turn, following: _Turn | None, thumbs: Mapping[int, str]) -> Signal | None:
    if following is None or following.chosen is None:
        return _rephrased(turn, following, thumbs, None)
    if following.chosen == NONE_OF_THESE:
        return _of(turn, "none_of_these")
    if thumbs.get(following.answer.id) == "down":
        return _of(turn, "thumbs_down")
    return _of(turn, "clicked", following.chosen)


def _rephrased(
    turn: _Turn, following: _Turn | None, thumbs: Mapping[int, str], otherwise: Signal | None
) -> Signal | None:
    """The next message asks the same, if it is alike; the bot answered that one otherwise."""
    if (
        following is None
        or not following.asks
        or following.answer.read
        or following.answer.decision != "answer"
        or (turn.answer.decision == "answer" and following.answer.intent == turn.answer.intent)
        or thumbs.get(following.answer.id) == "down"
        or following.asked.at - turn.asked.at > ASKED_AGAIN
    ):
        return otherwise
    signal = _of(turn, "rephrased", following.answer.intent)
    return replace(signal, like=following.asked, otherwise=otherwise)


def _of(turn: _Turn, kind: Kind, label: str | None = None, *, model: str = "") -> Signal:
    ranking = turn.answer.ranking
    intent, probability = ranking[0] if ranking else (turn.answer.intent, turn.answer.probability)
    if kind == "handed_over" and turn.answer.decision == "handover":
        known = turn.answer.details.get("why") == NO_ANSWER and not turn.answer.read
        label = turn.answer.intent if known else None
    model = turn.answer.model or model
    return Signal(kind, turn.question, model, label, intent, probability)
