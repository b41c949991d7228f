"""The best answer of each exchange: by likeness to the question, by how often agents say it, and by
what became of it.

Sentences that agents say whatever was asked ("Let's see what I can do") are found by that alone, in
any language: the questions before them are no more like each other than any two questions are.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np
from numpy.typing import NDArray

from apps.chatbot.mining.answer_mining import Candidate, Exchange
from apps.chatbot.mining.dialogue_masking import TOKEN, Words, joined
from shared.near_duplicates import near_duplicate_key

_HAN = re.compile("[\u3400-\u9fff]")
Encode = Callable[[Sequence[str]], NDArray[np.float32]]

# A sentence is judged as boilerplate once it was said in so many dialogues.
FEWEST_DIALOGUES = 4
# How much more alike than any two the questions before a sentence must be, in cosine.
TOPICAL = 0.1
# Shares of a pair's confidence; they add up to 1.
LIKENESS, RECURRENCE, SETTLED, ALONE = 0.45, 0.25, 0.2, 0.1

UNANSWERED = "no answer of the matter: only greetings, holds, requests for data, or nothing"
PASSED_ON = "passed on to a colleague"
DID_NOT_HELP = "it did not help, as the customer or the end of the dialogue says"


@dataclass(frozen=True)
class Pair:
    """A customer's request and the best answer to it.

    answer: masked, with the values its tokens stand for; parts: its sentences. given: those of the
    values that the customer had said before. question_turns, answer_turns: numbers of the messages.
    similarity: cosine, -1..1. recurrence: other dialogues in which an agent said the same.
    confidence: 0..1, a weighting of likeness, recurrence and what became of it; for ordering, no
    probability.
    """

    question: str
    answer: Words
    parts: tuple[Words, ...]
    given: frozenset[str]
    file: str
    dialogue: str
    line: int
    question_turns: tuple[int, ...]
    answer_turns: tuple[int, ...]
    similarity: float
    recurrence: int
    confidence: float


@dataclass(frozen=True)
class Dropped:
    """An exchange that gives no pair, and why."""

    exchange: Exchange
    reason: str


@dataclass(frozen=True)
class Chosen:
    """boilerplate: sentences that agents say whatever was asked -> in how many dialogues."""

    pairs: tuple[Pair, ...]
    dropped: tuple[Dropped, ...]
    boilerplate: Mapping[str, int]


def choose_answers(exchanges: Sequence[Exchange], encode: Encode) -> Chosen:
    """A pair for each exchange that was answered, in their order. encode: unit vectors of texts."""
    questions = encode([each.question for each in exchanges])  # (n, dim)
    idle = _boilerplate(exchanges, questions)
    kept = [_without(each.candidates, idle) for each in exchanges]
    texts = list(dict.fromkeys(c.words.text for several in kept for c in several))
    vectors = dict(zip(texts, encode(texts), strict=True)) if texts else {}
    said_in = _dialogues_of(exchanges, kept)
    pairs: list[Pair] = []
    dropped: list[Dropped] = []
    for exchange, candidates, question in zip(exchanges, kept, questions, strict=True):
        reason = _reason(exchange, candidates)
        if reason:
            dropped.append(Dropped(exchange, reason))
            continue
        rivals = [
            _pair(
                exchange, candidate, float(question @ vectors[candidate.words.text]),
                len(said_in[_key(candidate)]) - 1, alone=len(candidates) == 1,
            )
            for candidate in candidates
        ]  # fmt: skip
        pairs.append(max(rivals, key=lambda pair: pair.confidence))
    return Chosen(tuple(pairs), tuple(dropped), idle)


def _reason(exchange: Exchange, candidates: Sequence[Candidate]) -> str:
    if exchange.transferred:
        return PASSED_ON
    if not candidates:
        return UNANSWERED
    return DID_NOT_HELP if exchange.settled is False else ""


def _pair(
    exchange: Exchange, candidate: Candidate, similarity: float, others: int, *, alone: bool
) -> Pair:
    likeness = min(1.0, max(0.0, (similarity - 0.1) / 0.5))
    often = min(1.0, log2(1 + others) / 3)  # said in 8 dialogues and more: 1
    settled = {True: 1.0, None: 0.5, False: 0.0}[exchange.settled]
    first = 1.0 if alone else 0.5 / (1 + candidate.place)
    confidence = LIKENESS * likeness + RECURRENCE * often + SETTLED * settled + ALONE * first
    return Pair(
        exchange.question, candidate.words, candidate.parts, candidate.given, exchange.file,
        exchange.dialogue, exchange.line, exchange.turns, candidate.turns, similarity, others,
        round(confidence, 3),
    )  # fmt: skip


def _without(candidates: Sequence[Candidate], idle: Mapping[str, int]) -> list[Candidate]:
    """The candidates without idle sentences; those with nothing else are gone."""
    found = []
    for each in candidates:
        parts = tuple(part for part in each.parts if _folded(part) not in idle)
        if sum(len(TOKEN.sub("", part.text).strip()) for part in parts) >= 8 or (
            parts and not joined(parts).text.isascii()
        ):
            found.append(Candidate(parts, each.turns, each.place, each.given))
    return found


def _key(candidate: Candidate) -> str:
    return near_duplicate_key(candidate.words.text)


def _folded(part: Words) -> str:
    return near_duplicate_key(part.text).strip(" .!。！~～")


def _dialogues_of(
    exchanges: Sequence[Exchange], kept: Sequence[Sequence[Candidate]]
) -> dict[str, set[tuple[str, str]]]:
    """Key of an answer -> the dialogues that it was said in."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for exchange, candidates in zip(exchanges, kept, strict=True):
        for candidate in candidates:
            found[_key(candidate)].add((exchange.file, exchange.dialogue))
    return found


def _boilerplate(exchanges: Sequence[Exchange], questions: NDArray[np.float32]) -> dict[str, int]:
    """Sentences said after questions that have nothing in common -> in how many dialogues.

    The mean cosine of all pairs of n unit vectors is (|sum|² - n) / (n (n - 1)).
    """
    rows: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for row, exchange in enumerate(exchanges):
        for candidate in exchange.candidates:
            for part in candidate.parts:
                rows[_folded(part)].setdefault((exchange.file, exchange.dialogue), row)
    # An encoder may find all texts of a foreign script alike, so each script has its own usual.
    scripts = np.array([bool(_HAN.search(each.question)) for each in exchanges])
    usual = {han: _mean_cosine(questions[scripts == han]) for han in (False, True)}
    found: Counter[str] = Counter()
    for sentence, by_dialogue in rows.items():
        if len(by_dialogue) < FEWEST_DIALOGUES:
            continue
        at = np.array(list(by_dialogue.values()))
        expected = usual[bool(scripts[at].mean() > 0.5)]
        if _mean_cosine(questions[at]) < expected + TOPICAL:
            found[sentence] = len(by_dialogue)
    return dict(found.most_common())


def _mean_cosine(vectors: NDArray[np.float32]) -> float:
    n = len(vectors)
    if n < 2:
        return 1.0
    total = vectors.sum(axis=0, dtype=np.float64)
    return float((total @ total - n) / (n * (n - 1)))
