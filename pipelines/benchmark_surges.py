"""Surge detection on real headlines: labelled by a model of this run, surges injected, rivals too.

The model is trained on tweets and PhraseBank and labels news it has never seen; the ten topics with
most stories are followed. Thresholds come from the first half of the stream, the figures from the
second. A story that is injected is bad news, and counted as such as often as the model sees it in
headlines of yet another source whose labels are known.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.news_monitor.labelling import Labeller
from apps.news_monitor.labels import NEGATIVE
from apps.news_monitor.recipe import NewsRecipe
from apps.news_monitor.replay import read_items
from apps.news_monitor.trends import Counts
from pipelines.benchmark_labels import LABELS_OF_TWEETS
from pipelines.benchmark_news import SurgeRow, benchmark_surges
from pipelines.surge_scenarios import Stream
from shared.settings import Home, wanted_device
from shared.training.examples import Examples
from shared.training.options import TrainOptions

TOPICS_FOLLOWED = 10


def measure_surges(
    sentiment: Sequence[Path],
    topics: Path,
    headlines: Path,
    known: Examples,
    *,
    seed: int,
    home: Home,
    say: Callable[[str], None],
) -> list[SurgeRow]:
    """Train, label the headlines, inject surges and compare the rules.

    known: headlines with their sentiment, of neither.
    """
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        recipe = NewsRecipe(sentiment, (topics,), sentiment_labels=LABELS_OF_TWEETS)
        device = wanted_device(None, os.environ)
        options = TrainOptions(method="frozen", seed=seed, device=device)
        recipe.fit(folder, options=options, home=home, say=say)
        labeller = Labeller.load(folder, home=home)
        frame, _ = read_items(headlines, mapping={}, output=Path(work), say=say)
        stream = labelled_stream(frame, labeller)
    found, falsely = seen_as_negative(labeller, known)
    say(
        f"of {len(known)} headlines of another source {found:.3f} of the negative are counted as "
        f"such, {falsely:.3f} of the others"
    )
    stream = replace(stream, recall=found)
    days = stream.days
    size, bad = (
        counted.sum(0) / days for counted in (stream.counts.stories, stream.counts.negative)
    )
    say(f"{len(frame)} headlines of {days} days; topics, with stories and bad ones a day:")
    say(
        ", ".join(
            f"{name} {n:.1f} and {k:.2f}"
            for name, n, k in zip(stream.counts.topics, size, bad, strict=True)
        )
    )
    return benchmark_surges(stream, seed=seed)


def seen_as_negative(labeller: Labeller, known: Examples) -> tuple[float, float]:
    """The part counted as negative of those that are, and of the others."""
    said = np.array([label.negative for label in labeller.label(known.texts)])
    bad = np.array([label == NEGATIVE for label in known.single])
    return float(said[bad].mean()), float(said[~bad].mean())


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
