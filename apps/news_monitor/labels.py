"""What a labeller says about a headline. Light: pages and the replay of given labels use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

NEGATIVE = "negative"
SENTIMENTS = (NEGATIVE, "neutral", "positive")
UNSURE = "unsure"
"""What is said in place of a sentiment that is more likely wrong than right."""
SURE = 0.5
ALL_NEWS = "All news"
"""The topic of everything where a model knows no topics."""


@dataclass(frozen=True)
class Labels:
    """sentiment: the most probable. p_*: calibrated, sum to 1. negative: counted as negative, by
    the model's own threshold on p_negative. topics: decided, perhaps none. topic_scores: every
    topic with its probability."""

    sentiment: str
    p_negative: float
    p_neutral: float
    p_positive: float
    negative: bool
    topics: tuple[str, ...]
    topic_scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """The sentiment, or UNSURE; what is counted goes by `negative` alone."""
        return said_of_best(self.sentiment, max(self.p_negative, self.p_neutral, self.p_positive))


def said_of_best(sentiment: str, probability: float) -> str:
    """The most probable sentiment, of this probability; UNSURE below SURE."""
    return sentiment if probability >= SURE else UNSURE


class LabelSource(Protocol):
    """What stored labels came from; enough to judge by them."""

    @property
    def name(self) -> str:
        """Shown with every alert, such as news@3."""

    @property
    def fingerprint(self) -> str:
        """Changes with the labels: evaluations of two models are never mixed."""

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics it knows; empty: it knows none."""

    def words_for_negative(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """For each text the words that speak most for its being negative, the strongest first;
        none where the labels came without a model."""


class LabelTexts(LabelSource, Protocol):
    """Anything that labels headlines: the model, or a table of labels given beforehand."""

    def label(self, texts: Sequence[str]) -> list[Labels]:
        """One for each text, in order."""


@dataclass(frozen=True)
class Worth:
    """What a labeller's "negative" is worth, on rows it had not seen: the part it finds of those
    that are negative, and of the others the part that it calls so. Both in [0, 1]."""

    recall: float
    false_rate: float


@runtime_checkable
class LabelVectors(Protocol):
    """A labeller that sees headlines as vectors, and knows how good it is."""

    @property
    def encoder(self) -> str:
        """Vectors may be compared only where it is equal."""

    @property
    def unrelated(self) -> float:
        """The cosine of two headlines that have nothing to do with each other; about 0 with some
        encoders, above .7 with others."""

    @property
    def worth(self) -> Worth:
        """Of its "negative"."""

    def label_with_vectors(self, texts: Sequence[str]) -> tuple[list[Labels], NDArray[np.float32]]:
        """As `label`, and (n, dim) vectors of unit length, by the same pass."""
