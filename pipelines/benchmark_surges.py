"""Surge detection on real headlines: labelled by a model of this run, surges injected, rivals too.

The model is trained on tweets and labels news it has never seen; the ten topics with most stories
are followed. Thresholds come from the first half of the stream, the figures from the second.
"""

import tempfile
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.news_monitor.labelling import Labeller
from apps.news_monitor.recipe import NewsRecipe
from apps.news_monitor.replay import read_items
from apps.news_monitor.trends import Counts
from pipelines.benchmark_news import Stream, SurgeRow, benchmark_surges
from shared.settings import Home
from shared.training.options import TrainOptions

TOPICS_FOLLOWED = 10
LABELS_OF_TWEETS = {"0": "negative", "1": "positive", "2": "neutral"}


def measure_surges(
    sentiment: Path,
    topics: Path,
    headlines: Path,
    *,
    seed: int,
    home: Home,
    say: Callable[[str], None],
) -> list[SurgeRow]:
    """Train on the tweets, label the headlines, inject surges and compare the rules."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        recipe = NewsRecipe((sentiment,), (topics,), sentiment_labels=LABELS_OF_TWEETS)
        options = TrainOptions(method="frozen", seed=seed)
        recipe.fit(folder, options=options, home=home, say=say)
        labeller = Labeller.load(folder, home=home)
        frame, _ = read_items(headlines, mapping={}, output=Path(work), say=say)
        stream = labelled_stream(frame, labeller)
    days = stream.days
    say(f"{len(frame)} headlines of {days} days, topics {', '.join(stream.counts.topics)}")
    return benchmark_surges(stream, seed=seed)


def labelled_stream(frame: pd.DataFrame, labeller: Labeller) -> Stream:
    """Hourly counts of the most frequent topics. frame: published_at, title; in time order."""
    labels = labeller.label(frame["title"].tolist())
    names = list(labeller.topics)
    member = np.zeros((len(labels), len(names)), dtype=np.int64)
    for row, label in enumerate(labels):
        for topic in label.topics:
            member[row, names.index(topic)] = 1
    followed = np.argsort(-member.sum(0), kind="stable")[:TOPICS_FOLLOWED]
    member = member[:, followed]
    first = frame["published_at"].iloc[0].to_pydatetime().astimezone(UTC)
    start = first.replace(hour=0, minute=0, second=0, microsecond=0)
    since = frame["published_at"] - pd.Timestamp(start)
    hour = [int(seconds // 3600) for seconds in since.dt.total_seconds()]
    hours = (hour[-1] // 24 + 1) * 24
    negative = np.array([label.negative for label in labels], dtype=np.int64)[:, None]
    positive = np.array([label.sentiment == "positive" for label in labels], dtype=np.int64)

    def counted(weights: NDArray[np.int64]) -> NDArray[np.int64]:
        total = np.zeros((hours, member.shape[1]), dtype=np.int64)
        for at, row in zip(hour, weights, strict=True):
            total[at] += row
        return total

    stories = counted(member)
    counts = Counts(
        tuple(names[j] for j in followed),
        start,
        stories,
        counted(member * negative),
        np.ones(stories.shape, dtype=bool),
    )
    return Stream(counts, counted(member * positive[:, None]))
