"""Values found in a message, and the words of the message among which they are looked for."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from apps.chatbot.answers import is_ours
from apps.chatbot.formats.templates import slot_name
from shared.inference.lexical import CJK

Source = Literal["typed", "listed", "learned"]
# Characters of a message among which values are looked for: a customer names them early.
LONGEST_SEARCHED = 2_000
# Hyphens, apostrophes, dots and the like join the parts of a name; every other sign is a word.
_WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+|[^\s\w.’'/_\-]")
_PLAIN = re.compile(r"(?! )(?:[!-~]| (?=[!-~]))*")
_DROPPED = {"Cc", "Cf", "Cs", "Co", "Cn"}


@dataclass(frozen=True)
class Span:
    """A value of the entity `name`, from character `start` of the message to before `end`.

    value: what it stands for, which may be written otherwise. role: what it is in the sentence,
    such as the city one comes from; "" for none.
    """

    name: str
    value: str
    start: int
    end: int
    source: Source
    role: str = ""

    def overlaps(self, other: "Span") -> bool:
        return self.start < other.end and other.start < self.end

    def lies_in(self, other: "Span") -> bool:
        """Whether it is a part of the other, and not the whole."""
        return other.start <= self.start and self.end <= other.end and self.length < other.length

    @property
    def length(self) -> int:
        return self.end - self.start

    def in_words(self, message: str) -> str:
        """Which entity was found, by what, and how it is written where that differs."""
        name = f"{self.name} ({self.role})" if self.role else self.name
        written = message[self.start : self.end]
        return f"{name} is {self.value}: {self.source}" + (
            "" if written == self.value else f", written “{written}”"
        )


@dataclass(frozen=True)
class Word:
    """A word, a sign, or one character of Chinese; key: without case. start, end: in the text."""

    key: str
    start: int
    end: int


@dataclass(frozen=True)
class Message:
    """What is searched. text: in one normal form, with single spaces. starts, ends: (len(text),)
    where each of its characters begins and ends in the message as it was written."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, written: str) -> "Message":
        if _PLAIN.fullmatch(written):
            return cls(written, range(len(written)), range(1, len(written) + 1))
        text: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        for start, piece in _pieces(written):
            if piece.isspace():
                form = " " if text and text[-1] != " " else ""
            else:
                dropped = unicodedata.category(piece[0]) in _DROPPED
                form = "" if dropped else unicodedata.normalize("NFKC", piece)
            text += form
            starts += [start] * len(form)
            ends += [start + len(piece)] * len(form)
        return cls("".join(text), starts, ends)

    @cached_property
    def words(self) -> tuple[Word, ...]:
        return words_of(self.searched)

    @property
    def searched(self) -> str:
        """The part among which listed and learned values are looked for."""
        return self.text[:LONGEST_SEARCHED]

    def span(
        self, name: str, value: str, start: int, end: int, source: Source, role: str = ""
    ) -> Span:
        """start, end: in `text`."""
        return Span(name, value, self.starts[start], self.ends[end - 1], source, role)


def _pieces(written: str) -> list[tuple[int, str]]:
    """Each character with the accents written behind it, and where it stands."""
    pieces: list[tuple[int, str]] = []
    for start, character in enumerate(written):
        if pieces and unicodedata.combining(character):
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + character)
        else:
            pieces.append((start, character))
    return pieces


def words_of(text: str) -> tuple[Word, ...]:
    """The words of a text in normal form.

    >>> [word.key for word in words_of("A T-shirt, 上海")]
    ['a', 't', 'shirt', ',', '上', '海']
    """
    return tuple(
        Word(found.group().casefold(), found.start(), found.end()) for found in _WORD.finditer(text)
    )


def slot_of(entity: str) -> str:
    """The slot that an entity fills, "" for none: what only the firm knows no customer says."""
    name = slot_name(entity)
    return "" if is_ours(name) else name


def slots_of(spans: Sequence[Span]) -> dict[str, str]:
    """Slot -> the first value found for it, by the entity's name and by its role."""
    found: dict[str, str] = {}
    for span in spans:
        for name in (span.name, span.role):
            if slot := slot_of(name):
                found.setdefault(slot, span.value)
    return found


def joined(known: Mapping[str, str], spans: Sequence[Span]) -> dict[str, str]:
    """What is known of a customer after a message with these values in it."""
    return {**known, **slots_of(spans)}
