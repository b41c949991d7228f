"""Slips of the finger mended before a text is read, by the words that a model has learned from.

A word that the training texts do not have becomes the commonest of theirs that is one slip away: a
letter too many, too few or another, or two neighbours swapped (Damerau, CACM 7, 1964). Candidates
are found by comparing the words with one letter left out, so that a look-up costs a few
microseconds however many words are known (Garbe 2012, symmetric delete).

Own code, for dictionaries in libraries hold words of a language, and here only words count that
mean something to the model: any other is best left as it is.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from shared.atomic import write_text
from shared.errors import ModelError

FILE = "spelling.json"
# Latin, Greek and Cyrillic letters: scripts whose words are runs of letters.
_WORD = re.compile("[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0370-\u052f]+")
# Of shorter words too many are one slip away from each other.
LEAST_LETTERS = 4
LEAST_KNOWN_LETTERS = 3


class Spelling:
    """words: each known word, lower case, and in how many training texts it stands."""

    def __init__(self, words: Mapping[str, int]) -> None:
        self._words = dict(words)
        self._shortened: dict[str, list[str]] = {}
        for word in self._words:
            if len(word) >= LEAST_KNOWN_LETTERS:
                for key in _with_one_left_out(word):
                    self._shortened.setdefault(key, []).append(word)

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Spelling":
        """The words of training texts."""
        return cls(Counter(word for text in texts for word in set(_WORD.findall(text.casefold()))))

    def corrected(self, text: str) -> str:
        """The text with every strange word mended that can be; all else, case included, stays.

        >>> known = Spelling.of(["i want to return the kettle", "the kettle was return freight"])
        >>> known.corrected("I wnat to retrun the Kettle 4KETLE")
        'I want to return the Kettle 4KETLE'
        """
        return _WORD.sub(lambda found: self._mended(text, found), text)

    def all_corrected(self, texts: Iterable[str]) -> list[str]:
        """`corrected` of each."""
        return [self.corrected(text) for text in texts]

    def save(self, folder: Path) -> None:
        """Write spelling.json."""
        words = json.dumps(dict(sorted(self._words.items())), ensure_ascii=False)
        write_text(folder / FILE, words + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Spelling | None":
        """None for a model that reads texts as they are written.

        Raises ModelError when the file is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            words = json.loads(path.read_text(encoding="utf-8"))
            return cls({str(word): int(count) for word, count in words.items()})
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise ModelError(f"{path}: not readable ({error})") from error

    def _mended(self, text: str, found: "re.Match[str]") -> str:
        word = found.group()
        before, after = text[: found.start()][-1:], text[found.end() :][:1]
        if len(word) < LEAST_LETTERS or before.isdigit() or after.isdigit():
            return word  # a letter beside a digit is part of a number or a code
        strange = word.casefold()
        if strange in self._words:
            return word
        near = {w for key in _with_one_left_out(strange) for w in self._shortened.get(key, ())}
        likely = [w for w in near if _one_slip(strange, w)]
        return max(likely, key=lambda w: self._likeness(strange, w)) if likely else word

    def _likeness(self, strange: str, word: str) -> tuple[bool, bool, int, str]:
        """Swapped letters before others, the same first letter, then the commoner word."""
        swapped = sorted(strange) == sorted(word)
        return swapped, strange[0] == word[0], self._words[word], word


def _with_one_left_out(word: str) -> Iterator[str]:
    yield word
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]


def _one_slip(first: str, second: str) -> bool:
    """Whether two different words are one insertion, deletion, replacement or swap apart.

    >>> [_one_slip("wnat", word) for word in ("want", "what", "gnat", "wan")]
    [True, True, True, False]
    """
    at = 0
    while at < min(len(first), len(second)) and first[at] == second[at]:
        at += 1
    a, b = first[at:], second[at:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return a[1:] == b if len(a) > len(b) else a == b[1:]
