"""Chats that people answered, read as imported dialogues are: what they sent as the answer to what
was asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from apps.chatbot.answers import AnswerBook, render
from apps.chatbot.learning.signals import ALIKE, HandedOver, Kind, Signal, matter_of
from apps.chatbot.messages import Message
from apps.chatbot.mining.answer_choice import Encode, Pair, choose_answers
from apps.chatbot.mining.answer_clusters import Cluster
from apps.chatbot.mining.answer_mining import Exchange, exchanges_of
from apps.chatbot.mining.answer_templates import firms_own, templates_of
from apps.chatbot.mining.dialogues import Dialogue, Turn
from apps.chatbot.phrases import wants_person
from shared.text import detect_language, normalise

# Share of words in common, in order, from which an agent's answer is the bot's in other words.
EDITED = 0.6
MOST_WORDS = 200  # compared of one answer
RANKED = 5
LONGEST_QUESTION = 1_000


@dataclass(frozen=True)
class Read:
    """A chat and the conversation it is part of."""

    chat: HandedOver
    said: Sequence[Message]
    slots: Mapping[str, str]


@dataclass(frozen=True)
class Answered:
    """A question of a chat. question: masked. answer: an agent's, as a template, "" where nobody
    answered; answer_ids: of the messages it was said in. confidence: see mining's Pair."""

    signal: Signal
    chat: int
    question: str
    answer: str = ""
    answer_ids: tuple[int, ...] = ()
    agent: str | None = None
    confidence: float = 0.0


def answered_in(read: Sequence[Read], book: AnswerBook, encode: Encode) -> list[Answered]:
    """The questions of ended chats, each with the best answer that people sent to it; greetings,
    holds and requests for data are none. book: what the bot would have said."""
    exchanges: list[tuple[Exchange, Read, tuple[Signal, ...]]] = []
    found: list[Answered] = []
    matters = _asked_alike([matter_of(each.said, each.chat) for each in read], encode)
    for each, matter in zip(read, matters, strict=True):
        dialogue = _dialogue(each, matter)
        own = exchanges_of(dialogue)
        exchanges += [(exchange, each, matter) for exchange in own]
        taken = {number for exchange in own for number in exchange.turns}
        found += [
            Answered(signal, each.chat.id, "") for signal in matter if signal.asked.id not in taken
        ]
    if not exchanges:
        return found
    pairs = choose_answers([exchange for exchange, _, _ in exchanges], encode).pairs
    by_turn = {(pair.file, pair.question_turns): pair for pair in pairs}
    own_values = firms_own(pairs)
    for exchange, each, matter in exchanges:
        pair = by_turn.get((exchange.file, exchange.turns))
        found += _of(exchange, pair, each, matter, book, own_values)
    return found


def _asked_alike(matters: Sequence[tuple[Signal, ...]], encode: Encode) -> list[tuple[Signal, ...]]:
    """Each question with those before it that ask the same in other words: what else the bot did
    not understand is no matter of the chat, and its answer is none to it."""
    several = [signal for own in matters if len(own) > 1 for signal in own]
    if not several:
        return list(matters)
    vectors = encode([signal.asked.text[:LONGEST_QUESTION] for signal in several])
    found, at = [], 0
    for own in matters:
        if len(own) > 1:
            near = vectors[at : at + len(own)] @ vectors[at] >= ALIKE
            at += len(own)
            own = (own[0], *(s for s, asks_it in zip(own[1:], near[1:], strict=True) if asks_it))
        found.append(own)
    return found


def _dialogue(read: Read, matter: Sequence[Signal]) -> Dialogue:
    """From the matter on, what customer and agents said; the numbers are those of the messages."""
    begins = matter[0].asked.id if matter else None
    turns = []
    for each in read.said:
        late = each.at >= read.chat.queued_at and (begins is None or each.id > begins)
        if each.at > read.chat.ended_at or not (late or each.id == begins):
            continue
        if each.role == "agent":
            turns.append(Turn("agent", each.text, each.id))
        elif each.role == "customer" and each.text[:1] != "/" and not wants_person(each.text):
            turns.append(Turn("customer", each.text, each.id))
    resolved = True if read.chat.closed else None
    return Dialogue(str(read.chat.id), tuple(turns), str(read.chat.id), 0, resolved)


def _of(
    exchange: Exchange,
    pair: Pair | None,
    read: Read,
    matter: Sequence[Signal],
    book: AnswerBook,
    firms: frozenset[str],
) -> list[Answered]:
    """The exchange's question, and where it is the matter, those not understood before it too.
    firms: values that agents tell everybody."""
    said = {each.id: each for each in read.said}
    template = templates_of(Cluster((pair,), (0,), 1.0), firms) if pair else ()
    answer = template[0].text if template else ""
    answer_ids = pair.answer_turns if pair else ()
    agents = [said[number].agent for number in answer_ids if number in said]
    more = {
        "answer": answer, "answer_ids": answer_ids, "agent": agents[0] if agents else None,
        "confidence": pair.confidence if pair else 0.0,
    }  # fmt: skip
    first = said[exchange.turns[0]]
    leads = bool(matter) and matter[0].asked.id in exchange.turns
    if leads:
        signal = matter[0]
    else:
        ranked = first.ranking
        intent, probability = ranked[0] if ranked else (None, None)
        signal = Signal("handed_over", first, read.chat.model, None, intent, probability)
    kind, label = _suggested(said, signal, answer_ids, read, book)
    if kind is not None:
        signal = Signal(
            kind, signal.asked, signal.model, label, signal.intent, signal.probability
        )  # fmt: skip
    found = [Answered(signal, read.chat.id, exchange.question, **more)]  # type: ignore[arg-type]
    if leads:
        found += [
            Answered(before, read.chat.id, "", **more)  # type: ignore[arg-type]
            for before in matter[1:]
        ]
    return found


def _suggested(
    said: Mapping[int, Message],
    signal: Signal,
    answer_ids: Sequence[int],
    read: Read,
    book: AnswerBook,
) -> tuple[Kind | None, str | None]:
    """Whether what the agent sent is one of the answers that the inbox had suggested."""
    texts = [said[number].text for number in answer_ids if number in said]
    sent = " ".join(texts)
    ranked = signal.asked.ranking or next(
        (e.ranking for e in read.said if e.id > signal.asked.id and e.ranking), ()
    )
    best, label = 0.0, None
    for intent, _ in ranked[:RANKED]:
        answer = book.by_label.get(intent)
        if answer is None or not sent:
            continue
        variants = answer.variants(detect_language(signal.asked.text))
        for text in (*(render(each, read.slots).text for each in variants), *variants):
            if text is not None and (likeness := _likeness(sent, text)) > best:
                best, label = likeness, intent
    if best < EDITED:
        return None, None
    return ("confirmed" if best > 1 - 1e-9 else "edited"), label


def _likeness(left: str, right: str) -> float:
    """0..1, 1 for the same words in the same order."""
    one, two = (normalise(text).casefold().split()[:MOST_WORDS] for text in (left, right))
    return SequenceMatcher(None, one, two, autojunk=False).ratio()
