"""Changes to a text that a model should live with, or must answer to.

A perturbation makes of a text a pair (before, after), or None where it has nothing to change. Most
leave the text as `before`; those that put something in ("This is Amira. …") put one thing into
`before` and its counterpart into `after`, so that only the difference between the two is judged.
Source of the kinds: Ribeiro et al. 2020, CheckList.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from shared.evaluation.chinese_scripts import to_simplified, to_traditional
from shared.text import detect_language

Pair = tuple[str, str]
Perturbation = Callable[[str, random.Random], Pair | None]

LETTERS_PER_TYPO = 12  # about one slip in two words, as on a telephone
# Neighbours on a QWERTY keyboard, along the rows.
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_FINAL_SIGNS = re.compile(r"[\s.,;:!?。，；：！？…]+$")
_SIGNS = re.compile(r"[.,;:!?\"'()\-。，；：！？、“”‘’（）…]")


def _slip(name: str, letters: list[str], at: int, draw: random.Random) -> None:
    """Change the list at one place; a letter without a neighbour of the kind stays."""
    if name == "swap" and at + 1 < len(letters) and letters[at + 1].isalpha():
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    elif name == "drop":
        letters[at] = ""
    elif name == "double":
        letters[at] *= 2
    elif name == "key" and (keys := _neighbours(letters[at].lower())):
        typed = draw.choice(keys)
        letters[at] = typed.upper() if letters[at].isupper() else typed


def _neighbours(letter: str) -> str:
    for row in _ROWS:
        if letter and letter in row:
            at = row.index(letter)
            return row[max(at - 1, 0) : at] + row[at + 1 : at + 2]
    return ""


def typos(kinds: Sequence[str] = ("swap", "drop", "double", "key")) -> Perturbation:
    """One slip in about LETTERS_PER_TYPO letters, at least one, never in digits: neighbours
    swapped, a letter dropped or doubled, the key beside it struck."""

    def perturb(text: str, draw: random.Random) -> Pair | None:
        letters = list(text)
        places = [at for at, sign in enumerate(letters) if sign.isalpha()]
        count = max(1, round(len(places) / LETTERS_PER_TYPO))
        for at in sorted(draw.sample(places, min(count, len(places))), reverse=True):
            _slip(draw.choice(kinds), letters, at, draw)
        return _pair(text, "".join(letters))

    return perturb


def slips(count: int, kinds: Sequence[str] = ("swap", "drop", "double", "key")) -> Perturbation:
    """Just so many slips of `typos`, each of which shows and none beside another; None where the
    text has no room for them."""

    def perturb(text: str, draw: random.Random) -> Pair | None:
        letters = list(text)
        places = [at for at, sign in enumerate(letters) if sign.isalpha()]
        made: list[int] = []
        for at in draw.sample(places, len(places)):
            if len(made) == count:
                break
            # A swap takes the next letter along.
            if all(abs(at - other) > 1 for other in made):
                before = "".join(letters)
                _slip(draw.choice(kinds), letters, at, draw)
                made += [at] if "".join(letters) != before else []
        return _pair(text, "".join(letters)) if len(made) == count else None

    return perturb


def lower_case(text: str, _: random.Random) -> Pair | None:
    return _pair(text, text.lower())


def upper_case(text: str, _: random.Random) -> Pair | None:
    return _pair(text, text.upper())


def without_signs(text: str, _: random.Random) -> Pair | None:
    """No punctuation, and a blank where a sign stood between two words."""
    return _pair(text, " ".join(_SIGNS.sub(" ", text.replace("'", "")).split()))


def final_sign(text: str, draw: random.Random) -> Pair | None:
    """Another ending: none, a full stop, or several signs."""
    bare = _FINAL_SIGNS.sub("", text)
    endings = [end for end in ("", ".", "!!", " ...") if bare + end != text]
    return _pair(text, bare + draw.choice(endings))


def full_width(text: str, _: random.Random) -> Pair | None:
    """ASCII signs in the width of Chinese characters, as input methods write them."""
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    return _pair(text, wide.replace(" ", "\u3000") if wide != text else text)


def other_script(text: str, _: random.Random) -> Pair | None:
    """Simplified Chinese in traditional characters, or the reverse; None for other languages."""
    traditional = to_traditional(text)
    return _pair(text, traditional if traditional != text else to_simplified(text))


def replaced(table: Mapping[str, Sequence[str]]) -> Perturbation:
    """Every whole word (or run of words) of the table by one of its counterparts, the same for all
    its occurrences. Case of the first letter is kept; Chinese entries match anywhere."""
    pattern = _any_of(table)
    folded = {word.casefold(): others for word, others in table.items()}

    def perturb(text: str, draw: random.Random) -> Pair | None:
        chosen: dict[str, str] = {}

        def swap(match: re.Match[str]) -> str:
            found = match.group().casefold()
            if found not in chosen:
                chosen[found] = draw.choice(folded[found])
            new = chosen[found]
            return new[:1].upper() + new[1:] if match.group()[:1].isupper() else new

        return _pair(text, pattern.sub(swap, text))

    return perturb


def swapped_within(groups: Sequence[Sequence[str]]) -> Perturbation:
    """Entries by another entry of their group: names by names, countries by countries."""
    return replaced({one: [x for x in group if x != one] for group in groups for one in group})


def told_by(template: str, first: Sequence[str], second: Sequence[str]) -> Perturbation:
    """The text in a frame, `{who}` once from `first` and once from `second`; `{text}` the text."""

    def perturb(text: str, draw: random.Random) -> Pair | None:
        before, after = draw.choice(first), draw.choice(second)
        if not text.strip():
            return None
        return _pair(*(template.format(who=who, text=text) for who in (before, after)))

    return perturb


def by_language(chinese: Perturbation, other: Perturbation) -> Perturbation:
    """The first for texts in Chinese, the second for all others."""

    def perturb(text: str, draw: random.Random) -> Pair | None:
        return (chinese if detect_language(text) == "zh" else other)(text, draw)

    return perturb


def negated(rules: Iterable[Pair]) -> Perturbation:
    """The first rule (regular expression, replacement) that fits, once. Texts that already deny
    something are left alone: a second "not" may undo the first."""
    compiled = [(re.compile(pattern, re.IGNORECASE), new) for pattern, new in rules]

    def perturb(text: str, _: random.Random) -> Pair | None:
        if DENIES.search(text):
            return None
        for pattern, new in compiled:
            changed, times = pattern.subn(new, text, count=1)
            if times:
                return _pair(text, changed)
        return None

    return perturb


DENIES = re.compile(r"(?i)\b(?:not?|never|nothing|cannot|without|fails?)\b|n't\b|[不没沒未]")


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Longest first; a word border where an entry begins or ends with an ASCII letter."""
    parts = []
    for word in sorted(words, key=len, reverse=True):
        left = r"\b" if word[:1].isascii() else ""
        right = r"\b" if word[-1:].isascii() else ""
        parts.append(f"{left}{re.escape(word)}{right}")
    return re.compile("|".join(parts), re.IGNORECASE) if parts else re.compile(r"(?!)")


def _pair(before: str, after: str) -> Pair | None:
    return None if after == before or not after.strip() else (before, after)
