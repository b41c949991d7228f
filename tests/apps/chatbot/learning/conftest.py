"""A small bot over hashed words: what it knows can be reckoned by hand, and it is made in a
moment."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from apps.chatbot.answers import Answer, AnswerBook
from apps.chatbot.bot import Bot
from apps.chatbot.bot_files import BotConfig
from shared.inference.batches import unit_length
from shared.inference.classifier import FusedClassifier
from shared.inference.precedents import Precedents
from shared.training.examples import from_rows
from shared.training.fusion import fit_fused

TOPICS = {
    "track": "parcel tracking delivery",
    "refund": "refund money returned",
    "password": "password login account",
    "hours": "opening hours store",
}
PHRASES = (
    "where {}", "my {} please", "i need {}", "tell me about {}", "{} again", "what about {}",
    "problem with {}", "question on {}",
)  # fmt: skip
QUESTIONS = {
    label: [
        phrase.format(word)
        for at, phrase in enumerate(PHRASES)
        for word in (words.split()[at % 3] + " " + words.split()[(at + 1) % 3],)
    ]
    for label, words in TOPICS.items()
}
SAID = AnswerBook(
    tuple(
        Answer(label, {"en": label.title()}, {"en": (f"This is about {words}.",)})
        for label, words in TOPICS.items()
    )
)


class Hashed:
    """Counts words in 256 boxes; what a topic's words mean is that they are the same words."""

    dim = 256
    fingerprint = "hashed"

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        out = np.full((len(texts), self.dim), 0.01, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace("?", " ").replace(".", " ").split():
                out[row, zlib.crc32(word.encode()) % self.dim] += 1
        return out

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        rows = self.features(texts)
        return unit_length(rows) if normalised else rows


@pytest.fixture(scope="session")
def understanding() -> FusedClassifier:
    texts = [text for several in QUESTIONS.values() for text in several]
    labels = [(label,) for label, several in QUESTIONS.items() for _ in several]
    fit = fit_fused(from_rows(texts, labels, "single"), embedder=Hashed(), threads=1)
    return fit.classifier


@pytest.fixture
def new_bot(understanding: FusedClassifier) -> Callable[[], Bot]:
    """A bot as another process would load it."""
    texts = [text for several in QUESTIONS.values() for text in several]
    labels = [label for label, several in QUESTIONS.items() for _ in several]
    kept = Precedents.of(understanding, texts, labels)
    assert kept is not None
    config = BotConfig("hashed", "", "", None, 0.1, understanding.oos_threshold(0.03), 4, ())

    def made() -> Bot:
        return Bot(config, understanding, SAID, None, Hashed(), kept)

    return made


@dataclass
class Clock:
    """Moves on by a second each time it is read."""

    now: datetime = field(default_factory=lambda: datetime(2026, 3, 2, 9, 30, tzinfo=UTC))

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()
