"""Ordinary wordings from the alternatives people choose from, kept apart from one another."""

import random
import re
from collections.abc import Iterable, Sequence

_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_ATTEMPTS = 40


def expand(pattern: str, rng: random.Random) -> str:
    """One sentence of a pattern: of each (this|that) one alternative."""
    text = _CHOICE.sub(lambda match: rng.choice(match.group(1).split("|")), pattern)
    return " ".join(text.split())


def trigrams(text: str) -> frozenset[str]:
    """Character 3-grams of the small letters; of a shorter text the text itself."""
    small = text.lower()
    return frozenset(small[i : i + 3] for i in range(max(1, len(small) - 2)))


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity in [0, 1]: shared 3-grams over all 3-grams."""
    return len(one & other) / len(one | other)


def dissimilar(
    patterns: Sequence[str],
    wanted: int,
    rng: random.Random,
    *,
    most: float,
    apart_from: Iterable[str] = (),
) -> list[str]:
    """Up to `wanted` sentences of the patterns in turn, no two more similar than `most`.

    None is more similar than that to a text of `apart_from` either. Fewer come back when the
    patterns hold no more.
    """
    chosen: list[str] = []
    seen = [trigrams(text) for text in apart_from]
    for number in range(wanted):
        pattern = patterns[number % len(patterns)]
        for _ in range(_ATTEMPTS):
            text = expand(pattern, rng)
            candidate = trigrams(text)
            if all(similarity(candidate, other) <= most for other in seen):
                chosen.append(text)
                seen.append(candidate)
                break
    return chosen
