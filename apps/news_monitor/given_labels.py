"""Labels that a table brings along, in place of a model's."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from apps.news_monitor.articles import TITLE_LIMIT, plain_text
from apps.news_monitor.labels import SENTIMENTS, Labels
from shared.errors import DataError

LABEL_COLUMNS = ("sentiment", "topics", "p_negative")


class GivenLabels:
    """Labels by title. The first row of a title decides for all of them."""

    def __init__(self, labels: dict[str, Labels], name: str, fingerprint: str) -> None:
        self._labels = labels
        self.name = name
        self.fingerprint = fingerprint
        self.topics = tuple(sorted({topic for label in labels.values() for topic in label.topics}))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, path: Path) -> "GivenLabels":
        """From columns title, sentiment, topics (joined by |) and perhaps p_negative.

        Raises DataError naming what is missing or not a sentiment.
        """
        missing = [name for name in ("sentiment", "topics") if name not in frame]
        if missing:
            raise DataError(
                f"{path}: without a model the labels must be in the file, and it has no column "
                f"{missing[0]!r}; name a model (--model) or add {' and '.join(missing)}"
            )
        sentiments = frame["sentiment"].fillna("").astype(str).str.strip().str.lower()
        wrong = sentiments[~sentiments.isin(SENTIMENTS)]
        if len(wrong):
            raise DataError(
                f"{path}: sentiment {wrong.iloc[0]!r} (row {wrong.index[0] + 1}); "
                f"allowed: {', '.join(SENTIMENTS)}"
            )
        topics = frame["topics"].fillna("").astype(str)
        if "p_negative" in frame:
            chances = pd.to_numeric(frame["p_negative"], errors="coerce")
        else:
            chances = pd.Series(float("nan"), index=frame.index)
        labels: dict[str, Labels] = {}
        for title, sentiment, joined, chance in zip(
            frame["title"], sentiments, topics, chances, strict=True
        ):
            names = tuple(part.strip() for part in joined.split("|") if part.strip())
            labels.setdefault(plain_text(title, TITLE_LIMIT), _given(sentiment, names, chance))
        digest = hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()
        return cls(labels, f"labels of {path.name}", digest)

    def label(self, texts: Sequence[str]) -> list[Labels]:
        """One for each title; KeyError for one that was not given."""
        return [self._labels[text] for text in texts]

    def words_for_negative(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """Nobody says why the labels are as they are."""
        return [() for _ in texts]


def _given(sentiment: str, topics: tuple[str, ...], chance: float) -> Labels:
    negative = sentiment == "negative"
    p = float(negative) if pd.isna(chance) else float(chance)
    rest = 1.0 - p
    return Labels(
        sentiment=sentiment,
        p_negative=p,
        p_neutral=0.0 if sentiment == "positive" else rest,
        p_positive=rest if sentiment == "positive" else 0.0,
        negative=negative,
        topics=topics,
        topic_scores=dict.fromkeys(topics, 1.0),
    )
