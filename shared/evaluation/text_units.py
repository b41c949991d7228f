"""The parts of a text that an explanation speaks of, and where each n-gram of it came from.

N-grams are counted in a folded text (NFKC, lower case, web addresses as one token), so that a
character of it may stand for several of the original or for none. Here every folded character
keeps the span it came from.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shared.inference.lexical import CHAR_SIZES, CJK, CJK_SIZES, fold

# The lexical scorer's tokens and words; here where they stand is needed, not only what they are.
TOKEN = re.compile(rf"([{CJK}]+)|([^\s{CJK}]+)")
WORD = re.compile(rf"[^\W{CJK}]+")
_PIECE = re.compile(r"\S+")


@dataclass(frozen=True)
class Unit:
    """text[start:end]: a word with the signs that touch it, or one character of Chinese,
    Japanese or Korean."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Occurrence:
    """One n-gram at one place. shares: unit number -> share of the gram's characters, sum 1."""

    gram: str
    shares: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Segmented:
    """A text in its units. words, chars: every occurrence of a word n-gram and of a character
    n-gram, as `lexical.word_grams` and `lexical.char_grams` give them."""

    text: str
    units: tuple[Unit, ...]
    words: tuple[Occurrence, ...]
    chars: tuple[Occurrence, ...]

    def keeping(self, kept: NDArray[np.bool_]) -> str:
        """The text without the units whose entry (units,) is false."""
        left, at = [], 0
        for unit, keep in zip(self.units, kept, strict=True):
            if not keep:
                left.append(self.text[at : unit.start])
                at = unit.end
        return "".join([*left, self.text[at:]]).strip()


def segment(text: str) -> Segmented:
    """The units of a text, in order, and its n-grams by unit; a text of white space has none."""
    folded, owners = _aligned_fold(text)
    tokens = list(TOKEN.finditer(folded))
    spans = _unit_spans(tokens, owners)
    units = tuple(Unit(text[a:b], a, b) for a, b in spans)
    unit_of = _units_of_characters(owners, spans)
    return Segmented(
        text, units, tuple(_word_occurrences(folded, unit_of)), tuple(_char_grams(tokens, unit_of))
    )


def _aligned_fold(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The folded text, and for each of its characters the span of the original it came from.

    Folded character by character where that gives the same as folding a piece as a whole; else
    (combining marks, web addresses) every character stands for the whole piece.
    """
    folded: list[str] = []
    owners: list[tuple[int, int]] = []
    for match in _PIECE.finditer(text):
        whole = fold(match.group())
        single = [fold(character) for character in match.group()]
        if folded and whole:
            folded.append(" ")
            owners.append((match.start(), match.start()))
        folded.append(whole)
        if "".join(single) == whole:
            for place, letters in enumerate(single, start=match.start()):
                owners.extend([(place, place + 1)] * len(letters))
        else:
            owners.extend([match.span()] * len(whole))
    return "".join(folded), owners


def _unit_spans(
    tokens: Sequence[re.Match[str]], owners: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Spans of the original, in order and apart: those that share a character become one."""
    found: list[tuple[int, int]] = []
    for token in tokens:
        places = list(range(*token.span()))
        for group in [[p] for p in places] if token.group(1) else [places]:
            start = min(owners[p][0] for p in group)
            end = max(owners[p][1] for p in group)
            if found and start < found[-1][1]:
                start, end = min(start, found[-1][0]), max(end, found.pop()[1])
            found.append((start, end))
    return found


def _units_of_characters(
    owners: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> list[int]:
    """The unit of each folded character; -1 for blanks between them."""
    found, at = [], 0
    for start, end in owners:
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        inside = at < len(spans) and start < end and spans[at][0] <= start
        found.append(at if inside else -1)
    return found


def _word_occurrences(folded: str, unit_of: Sequence[int]) -> list[Occurrence]:
    words = list(WORD.finditer(folded))
    single = [Occurrence(w.group(), _shares(range(*w.span()), unit_of)) for w in words]
    pairs = [
        Occurrence(
            f"{a.group()} {b.group()}",
            _shares([*range(*a.span()), *range(*b.span())], unit_of),
        )
        for a, b in pairwise(words)
    ]
    return single + pairs


def _char_grams(tokens: Sequence[re.Match[str]], unit_of: Sequence[int]) -> list[Occurrence]:
    found = []
    for token in tokens:
        # The blanks that pad a word belong to it: its first and its last character stand in.
        places = list(range(*token.span()))
        letters, sizes = token.group(), CJK_SIZES
        if not token.group(1):
            letters, sizes = f" {letters} ", CHAR_SIZES
            places = [places[0], *places, places[-1]]
        for size in sizes:
            found += [
                Occurrence(letters[i : i + size], _shares(places[i : i + size], unit_of))
                for i in range(len(letters) - size + 1)
            ]
    return found


def _shares(places: Sequence[int] | range, unit_of: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """How the characters at these places divide over the units."""
    owners = [unit_of[place] for place in places if unit_of[place] >= 0]
    return tuple((unit, owners.count(unit) / len(owners)) for unit in dict.fromkeys(owners))
