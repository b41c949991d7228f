"""Customer questions of the chatbot sample: authored wordings to rows, split into two parts."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from chatbot_wording import fill, roughen, roughen_zh

Lexicon = Mapping[str, Any]
# Share of the wordings of an intent that goes to validation, and of those left told a second time.
_VALIDATION = 0.16
_RETOLD = 0.12
_ATTEMPTS = 50


@dataclass(frozen=True)
class Row:
    text: str
    label: str


@dataclass(frozen=True)
class Parts:
    """Training and validation rows; no authored wording is used in both."""

    training: tuple[Row, ...]
    validation: tuple[Row, ...]


def lines(block: str) -> tuple[str, ...]:
    """One wording a line."""
    return tuple(line.strip() for line in block.splitlines() if line.strip())


def key(text: str) -> str:
    """Texts with the same key are the same message: letters and digits only, small."""
    return "".join(char for char in text.lower() if char.isalnum())


def english_parts(
    wordings: Mapping[str, Sequence[str]], lexicon: Lexicon, seed: int, taken: set[str]
) -> Parts:
    """Rows of both parts, in random order.

    taken: keys (see `key`) that must not come up, those of must-pass cases say; new ones are added.
    """
    training: list[Row] = []
    validation: list[Row] = []
    for label, several in wordings.items():
        rng = random.Random(f"{seed}/questions/{label}")
        learnt, held_out = divide(several, rng)
        plain = partial(_english, rng=rng, lexicon=lexicon, story=False)
        story = partial(_english, rng=rng, lexicon=lexicon, story=True)
        training += [Row(_fresh(plain, wording, taken), label) for wording in learnt]
        retold = rng.sample(learnt, round(_RETOLD * len(learnt)))
        training += [Row(_fresh(story, wording, taken), label) for wording in retold]
        for wording in held_out:  # stories as often as in training
            make = story if rng.random() < _RETOLD / (1 + _RETOLD) else plain
            validation.append(Row(_fresh(make, wording, taken), label))
    return _shuffled(training, validation, f"{seed}/order")


def chinese_parts(
    wordings: Mapping[str, Sequence[str]], lexicon: Lexicon, seed: int, taken: set[str]
) -> Parts:
    """As `english_parts`; every wording is used once."""
    training: list[Row] = []
    validation: list[Row] = []
    for label, several in wordings.items():
        rng = random.Random(f"{seed}/questions_zh/{label}")
        learnt, held_out = divide(several, rng)
        make = partial(_chinese, rng=rng, lexicon=lexicon)
        training += [Row(_fresh(make, wording, taken), label) for wording in learnt]
        validation += [Row(_fresh(make, wording, taken), label) for wording in held_out]
    return _shuffled(training, validation, f"{seed}/order_zh")


def divide(
    wordings: Sequence[str], rng: random.Random, share: float = _VALIDATION
) -> tuple[list[str], list[str]]:
    """Shuffle and cut: (training, validation), at least two for validation."""
    shuffled = rng.sample(list(wordings), len(wordings))
    held_out = max(2, round(share * len(shuffled)))
    return shuffled[held_out:], shuffled[:held_out]


def _english(wording: str, *, rng: random.Random, lexicon: Lexicon, story: bool) -> str:
    told = _with_story(wording, rng, lexicon) if story else _with_small_talk(wording, rng, lexicon)
    return fill(roughen(told, rng), rng, lexicon["slots"])


def _chinese(wording: str, *, rng: random.Random, lexicon: Lexicon) -> str:
    text = roughen_zh(wording, rng)
    if rng.random() < 0.12:
        text = rng.choice(lexicon["greetings_zh"]) + text
    if rng.random() < 0.12:
        text = text.rstrip("，。？！?") + rng.choice(lexicon["closings_zh"])
    return fill(text, rng, {**lexicon["slots"], **lexicon["slots_zh"]}, "zh")


def _with_small_talk(text: str, rng: random.Random, lexicon: Lexicon) -> str:
    """Some messages greet, some close; most do neither."""
    if rng.random() < 0.1:
        text = rng.choice(lexicon["greetings"]) + text
    if rng.random() < 0.1:
        text += rng.choice(lexicon["closings"])
    return text


def _with_story(text: str, rng: random.Random, lexicon: Lexicon) -> str:
    """The wording inside a message that says more than the question."""
    before = rng.random() < 0.6
    after = not before or rng.random() < 0.35
    if text[-1] not in ".?!)":
        text += "."
    told = f"{rng.choice(lexicon['stories_before'])} {text}" if before else text
    return f"{told} {rng.choice(lexicon['stories_after'])}" if after else told


def _fresh(make: Callable[[str], str], wording: str, taken: set[str]) -> str:
    """Make a row's text until it is one that has not come up.

    Raises:
        ValueError: the wording comes out the same every time, so it is in the source twice.
    """
    for _ in range(_ATTEMPTS):
        text = make(wording)
        if key(text) not in taken:
            taken.add(key(text))
            return text
    raise ValueError(f"the wording {wording!r} is in the source more than once")


def _shuffled(training: list[Row], validation: list[Row], seed: str) -> Parts:
    rng = random.Random(seed)
    return Parts(
        tuple(rng.sample(training, len(training))), tuple(rng.sample(validation, len(validation)))
    )
