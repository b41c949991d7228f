"""`triptych data next`: which texts of a table a person should label next for a released model."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.predict import texts_of
from shared.errors import DataError
from shared.inference.batches import unit_length
from shared.inference.classifier import FusedClassifier
from shared.registry import Registry
from shared.settings import Home
from shared.text import near_duplicate_groups
from shared.training.active_learning import Measure, choose_batch, doubt
from shared.training.examples import SEPARATOR

COLUMNS = ("text", "label", "suggested", "doubt", "oos_score")


def next_texts(
    app: str,
    model: str,
    input_file: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    count: int,
    head: str,
    measure: Measure,
    seed: int,
    threads: int | None,
) -> pd.DataFrame:
    """text, label (empty, to be filled in), suggested, doubt (0..1), oos_score; the first drawn
    first. head: of a news model, "sentiment" or "topics".

    Raises:
        DataError: the table, none of its texts holds anything, or the model has no such head.
        ModelError: the model does not exist, is damaged, or belongs to another application.
    """
    version = Registry(home.models, lambda: datetime.now(UTC)).resolve(model, app=app)
    raw = list(dict.fromkeys(text for text in texts_of(input_file, mapping) if text.strip()))
    if not raw:
        raise DataError(f"{input_file}: every text is empty, so that there is nothing to label")
    classifier, read = _classifier(app, version.path, home, head, threads, raw)
    features = classifier.embedder.features(read)
    scores = classifier.score(read, features=features)
    p = scores.probabilities
    doubts = doubt(p, classifier.kind, measure=measure)
    rows = choose_batch(
        doubts,
        unit_length(features[:, : classifier.embedder.dim]),
        near_duplicate_groups(read),
        count,
        seed=seed,
    )
    decided = classifier.decide(p)
    suggested = [
        SEPARATOR.join(classifier.labels[j] for j in np.flatnonzero(decided[row])) for row in rows
    ]
    return pd.DataFrame(
        {
            "text": [raw[row] for row in rows],
            "label": "",
            "suggested": suggested,
            "doubt": doubts[rows],
            "oos_score": scores.oos[rows],
        },
        columns=list(COLUMNS),
    )


def _classifier(
    app: str, folder: Path, home: Home, head: str, threads: int | None, raw: list[str]
) -> tuple[FusedClassifier, list[str]]:
    """The classifier, and the texts as it reads them."""
    if app == "chatbot":
        from apps.chatbot.bot import Bot

        bot = Bot.load(folder, home=home, threads=threads)
        return bot.classifier, bot.read(raw)
    from apps.news_monitor.labelling import Labeller, headline

    labeller = Labeller.load(folder, home=home, threads=threads)
    read = [headline(text) for text in raw]
    if head == "sentiment":
        return labeller.sentiment, read
    if labeller.topic_classifier is None:
        raise DataError(f"{folder.name}: was trained without topics; use --head sentiment")
    return labeller.topic_classifier, read
