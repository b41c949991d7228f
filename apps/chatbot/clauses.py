"""A message in clauses, and what among them may be a request of its own.

Rules for English and Chinese, by words and signs. They only propose: whether a part is a request,
and which, the bot decides (understanding.py). A part that asks nothing ("I ordered last week.")
belongs to the request behind it, the last of all to the one before; greetings and thanks are no
part.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from apps.chatbot.messages import MOST_SAID
from apps.chatbot.mining.speech_acts import Act, asks, customer_act, tells_problem
from shared.text import normalise

# Longer messages tell a story; they are read as one.
LONGEST = 1_000
_HAN = "\u3400-\u9fff"
# What opens another matter, in the middle of a sentence too.
_CUE = (
    r"another (?:thing|question|issue|problem)|(?:one|a) (?:more|other|last|second) "
    r"(?:thing|question)|by the way|btw|in addition|additionally|besides|next question"
)
_BREAK = re.compile(
    r"(?<=[.?!;…])(?<!\bno\.)(?<!\bnr\.)(?<!\bmr\.)(?<!\bmrs\.)(?<!\bdr\.)\s+"
    rf"|(?<=[。！？；])|(?<=[?!;])(?=[{_HAN}])"
    rf"|,?\s+(?=(?:and|but) also\b)|[,;]\s*(?=(?:(?:and|also|plus|{_CUE})\b))"
    rf"|\s+(?=(?:and )?(?:{_CUE})\b)"
    r"|(?=另外|此外|顺便)|(?<=[,、])(?=还有|以及|对了)",
    re.IGNORECASE,
)
# Two questions in one sentence: only where what follows has the form of one.
_AND = re.compile(
    r",?\s+(?:and|plus)\s+(?=(?:how|what|when|where|which|who|why|is|are|do|does|did|can|could|will|"
    r"would|should|may|am|i (?:want|need|would)|i'?d like|please)\b)"
    rf"|(?<=[,、])(?=[{_HAN}])",
    re.IGNORECASE,
)
_CUED = re.compile(
    rf"(?:(?:and|but|ok|okay|oh)\b[,.]?\s*)?(?:also|plus|{_CUE})\b"
    r"|and (?:how|what|when|where|which|who|why|can|could|is|are|do|does)\b"
    r"|另外|此外|还有|顺便|对了",
    re.IGNORECASE,
)
_LEADING = re.compile(
    rf"^(?:(?:and|but|also|plus|then|so|ok|okay|oh|{_CUE})\b[,:;.!]?\s*)+(?:is (?:that|this),?\s)?"
    r"|^(?:另外|此外|还有|以及|顺便(?:问一下|问下|问)?|对了)[,、:]?\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Clause:
    """cued: words that open another matter stood before it; they are taken off."""

    text: str
    cued: bool


def clauses_of(text: str) -> list[Clause]:
    """Sentences and parts of sentences that may ask something, in order."""
    found = []
    for sentence in _BREAK.split(normalise(text)):
        parts = [_clause(part) for part in _AND.split(sentence)]
        several = len(parts) > 1 and all(asks(part.text) for part in parts)
        found += parts if several else [_clause(sentence)]
    return [each for each in found if any(sign.isalnum() for sign in each.text)]


def matter_of(text: str) -> str:
    """The message without greetings and thanks, and without words that only open it."""
    return " ".join(clause.text for clause in _of_content(text))


def opens_another(text: str) -> bool:
    """Whether words in the message say that another matter follows."""
    return any(clause.cued for clause in _of_content(text)[1:])


def requests_in(text: str) -> tuple[str, ...]:
    """Two or three parts that may be requests, in order; () where it is one, or more than that."""
    if len(text) > LONGEST:
        return ()
    parts = [part for matter in _matters(_of_content(text)) for part in _grouped(matter)]
    return tuple(parts) if 1 < len(parts) <= MOST_SAID else ()


def _of_content(text: str) -> list[Clause]:
    return [each for each in clauses_of(text) if customer_act(each.text) is Act.CONTENT]


def _matters(clauses: Sequence[Clause]) -> Iterator[list[str]]:
    """From each cue to the next."""
    begins = [0, *(at for at, clause in enumerate(clauses) if clause.cued and at), len(clauses)]
    for begin, end in pairwise(begins):
        yield [clause.text for clause in clauses[begin:end]]


def _grouped(clauses: Sequence[str]) -> Iterator[str]:
    """Each clause that asks with what was told before it; what is told last goes with the last. A
    problem is a request where nothing is asked: "My card is gone. What do I do?" is one."""
    asking = [at for at, clause in enumerate(clauses) if asks(clause)] or [
        at for at, clause in enumerate(clauses) if tells_problem(clause)
    ]
    begins = 0
    for at in asking:
        end = len(clauses) if at == asking[-1] else at + 1
        yield " ".join(clauses[begins:end])
        begins = end


def _clause(part: str) -> Clause:
    part = part.strip(" ,、;")
    return Clause(_LEADING.sub("", part).strip(), bool(_CUED.match(part)))
