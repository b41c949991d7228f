"""Customers' requests in past dialogues, each with what the agents said to it.

An exchange begins with what a customer asks and ends before the next thing asked. Data given on
request, acknowledgements and thanks belong to the exchange they stand in. Of the agents' sentences
only those of the matter count: no greetings, holds, requests for data, closings.
"""

import re
from dataclasses import dataclass, field, replace

from apps.chatbot.mining.dialogue_masking import TOKEN, Run, Words, joined, runs_of, sentences
from apps.chatbot.mining.dialogues import Dialogue
from apps.chatbot.mining.speech_acts import (
    Act,
    agent_act,
    asks,
    customer_act,
    next_matter,
    not_helped,
    tells_problem,
    thanked,
)

LONGEST_QUESTION = 400  # characters; of a longer story its questions and problems are kept
MOST_SENTENCES = 8  # of one answer
_ELLIPTIC = re.compile(r"(?i)^(?:and|but|or|what about|how about|what if|why|那|那么|如果)\b")
# How another matter is announced; it says nothing of the matter.
_LEAD_IN = re.compile(
    r"(?i)^(?:(?:(?:just )?(?:one|a) (?:more|other|last) (?:thing|question)|"
    r"another (?:thing|question)|while (?:i have you|i'?’?m here|we'?’?re at it)|"
    r"quick (?:one|question)|btw|by the way|also)(?:,? (?:if i may|please))?"
    r"|另外|还有(?:一|个|就是|件事)?|顺便问一?下?|对了)\s?[:,.，：-]?\s*(?=\w)"
)
_CJK = re.compile("[\u3400-\u9fff]")


@dataclass(frozen=True)
class Candidate:
    """What an agent said to a question in one run. parts: its sentences. turns: the messages.
    place: its rank among the exchange's candidates, 0 first. given: those values of its tokens that
    the customer had given before."""

    parts: tuple[Words, ...]
    turns: tuple[int, ...]
    place: int
    given: frozenset[str] = frozenset()

    @property
    def words(self) -> Words:
        return joined(self.parts)


@dataclass(frozen=True)
class Exchange:
    """A customer's request and the answers to it.

    line: of the file, where the dialogue begins. question: masked. elliptic: the question before
    it stands in it. settled: what followed the answers speaks for them (thanks, a dialogue marked
    resolved): True, against them: False. transferred: the agents passed it on.
    """

    file: str
    dialogue: str
    line: int
    question: str
    turns: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    elliptic: bool = False
    settled: bool | None = None
    transferred: bool = False


@dataclass
class _Open:
    """The exchange being read."""

    question: str
    turns: tuple[int, ...]
    elliptic: bool
    candidates: list[Candidate] = field(default_factory=list)
    settled: bool | None = None
    transferred: bool = False


def exchanges_of(dialogue: Dialogue) -> list[Exchange]:
    """The dialogue's exchanges in order; those that nobody answered have no candidates."""
    found: list[_Open] = []
    given: set[str] = set()  # values that the customer has given so far
    awaited = False  # the agent's last words asked for data
    for run in runs_of(dialogue):
        if run.role == "customer":
            _hear_customer(run, found, awaited=awaited)
            given |= {value.casefold() for value in run.words.values if value}
            awaited = False
        else:
            awaited = _hear_agent(run, found, frozenset(given))
    whole = [
        Exchange(
            dialogue.file, dialogue.id, dialogue.line, each.question, each.turns,
            tuple(each.candidates), each.elliptic, each.settled, each.transferred,
        )
        for each in found
    ]  # fmt: skip
    return _with_end(whole, dialogue)


def _with_end(found: list[Exchange], dialogue: Dialogue) -> list[Exchange]:
    """What the record says of the dialogue's end counts for its last exchange; a resolved one
    speaks for all of them that nothing speaks against."""
    if not found:
        return found
    if dialogue.transferred:
        found[-1] = replace(found[-1], transferred=True)
    if dialogue.resolved is False and found[-1].settled is None:
        found[-1] = replace(found[-1], settled=False)
    if dialogue.resolved:
        found = [replace(e, settled=True) if e.settled is None else e for e in found]
    return found


def _hear_customer(run: Run, found: list[_Open], *, awaited: bool) -> None:
    said = [(part, customer_act(part.text)) for part in sentences(run.words)]
    if found and found[-1].candidates:
        if any(not_helped(part.text) for part, _ in said):
            found[-1].settled = False
        elif any(thanked(part.text) for part, _ in said):
            found[-1].settled = True
    content = [part for part, act in said if act == Act.CONTENT]
    if not _is_request(content, found, awaited=awaited):
        return
    text = _LEAD_IN.sub("", _question(content))
    fresh = any(next_matter(part.text) for part in content)
    unanswered = bool(found) and not found[-1].candidates and not fresh
    if unanswered and awaited and not any(asks(part.text) for part in content):
        return  # more of what was asked for
    elliptic = bool(found) and not fresh and _is_elliptic(text)
    if elliptic:
        text = f"{found[-1].question} {text}"
    found.append(_Open(text, run.turns, elliptic))


def _is_request(content: list[Words], found: list[_Open], *, awaited: bool) -> bool:
    """Whether a customer's sentences of content open an exchange."""
    if found:  # "that didn't help" speaks of the answer and asks nothing
        content = [p for p in content if not (not_helped(p.text) and _length(p.text) <= 6)]
    if not content:
        return False
    asked = any(asks(part.text) for part in content)
    told = any(tells_problem(part.text) for part in content)
    words = sum(_length(part.text) for part in content)
    if not found:  # the first thing said is what it is about, whatever its form
        return asked or told or words >= 3
    if any(next_matter(part.text) for part in content) and (asked or told):
        return True
    if awaited:  # data that was asked for, unless something is asked in turn
        return (
            asked and words >= 3 and any(part.text.rstrip()[-1:] in "?？吗呢" for part in content)
        )
    return asked or (told and bool(found[-1].candidates))


def _question(content: list[Words]) -> str:
    """The sentences as one text; of a long story those that ask or tell a problem."""
    text = joined(content).text
    if len(text) <= LONGEST_QUESTION:
        return text
    telling = [part for part in content if asks(part.text) or tells_problem(part.text)] or content
    while len(telling) > 1 and len(joined(telling).text) > LONGEST_QUESTION:
        telling = telling[1:]
    return joined(telling).text[:LONGEST_QUESTION]


def _is_elliptic(text: str) -> bool:
    """Whether the question can only be understood with the one before it."""
    length = _length(TOKEN.sub("", text))
    return length <= 2 or (length <= 5 and bool(_ELLIPTIC.match(text)))


def _length(text: str) -> float:
    """Words; two Chinese characters count as one."""
    characters = len(_CJK.findall(text))
    return len(_CJK.sub(" ", text).split()) + characters / 2


def _hear_agent(run: Run, found: list[_Open], given: frozenset[str]) -> bool:
    """Take what answers; returns whether the run asks for data."""
    said = [(part, agent_act(part.text)) for part in sentences(run.words)]
    acts = {act for _, act in said}
    if not found:
        return Act.DATA_REQUEST in acts
    current = found[-1]
    current.transferred = current.transferred or Act.TRANSFER in acts
    content = [part for part, act in said if act == Act.CONTENT][:MOST_SENTENCES]
    if sum(_length(TOKEN.sub("", part.text)) for part in content) >= 3:
        values = {value for part in content for value in part.values}
        known = frozenset(v for v in values if v and v.casefold() in given)
        place = len(current.candidates)
        current.candidates.append(Candidate(tuple(content), run.turns, place, known))
    return Act.DATA_REQUEST in acts
