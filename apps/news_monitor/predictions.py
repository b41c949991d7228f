"""Labels for the stories that have none yet, and the hourly buckets that follow from them.

The work is found by what is missing, not by a clock: a run that is cut off is simply taken up
again. Predictions and the buckets they change are one transaction, so that a count can never
disagree with what it counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, select, update

from apps.news_monitor.backlog import Backlog
from apps.news_monitor.bucket_counts import rebuild_buckets
from apps.news_monitor.following import Following
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.labels import ALL_NEWS, Labels, LabelSource, LabelTexts, LabelVectors
from apps.news_monitor.story_vectors import store_vectors
from apps.news_monitor.tables import item_topic, model_version, prediction, topic
from shared.errors import SettingsError


@dataclass(frozen=True)
class KnownModel:
    """A labeller as the database knows it, whose labels are stored. topics: name -> id of all its
    topics."""

    id: int
    labeller: LabelSource
    topics: dict[str, int]


@dataclass(frozen=True)
class ActiveModel(KnownModel):
    """One that labels what is new."""

    labeller: LabelTexts


def register_model(connection: Connection, labeller: LabelTexts, now: datetime) -> ActiveModel:
    """The rows of a model and its topics, made if they are new."""
    row = {"name": labeller.name, "fingerprint": labeller.fingerprint, "first_used_at": now}
    insert_new(connection, model_version, [row])
    if isinstance(labeller, LabelVectors):
        worth = labeller.worth
        connection.execute(
            update(model_version)
            .where(model_version.c.fingerprint == labeller.fingerprint)
            .values(negative_recall=worth.recall, negative_false_rate=worth.false_rate)
        )
    model_id = connection.execute(
        select(model_version.c.id).where(model_version.c.fingerprint == labeller.fingerprint)
    ).scalar_one()
    names = labeller.topics or (ALL_NEWS,)
    insert_new(connection, topic, [{"name": name, "enabled": True} for name in names])
    ids = {
        row.name: row.id
        for row in connection.execute(select(topic.c.name, topic.c.id))
        if row.name in names
    }
    return ActiveModel(model_id, labeller, {name: ids[name] for name in names})


def followed_topics(wanted: Sequence[str], model: KnownModel) -> tuple[str, ...]:
    """The topics to judge: those wanted, or all that the model knows.

    Raises SettingsError for one it does not know.
    """
    known = tuple(model.topics)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SettingsError(
            f"[news] topics = {unknown[0]!r} is no topic of model {model.labeller.name}; "
            f"it knows: {', '.join(known)}"
        )
    return tuple(wanted) or known


def _labels(
    labeller: LabelTexts, texts: Sequence[str]
) -> tuple[list[Labels], tuple[NDArray[np.float32], str] | None]:
    """One for each text; with the vectors of the same pass and their encoder, where it has any."""
    if not isinstance(labeller, LabelVectors):
        return labeller.label(texts), None
    labels, vectors = labeller.label_with_vectors(texts)
    return labels, (vectors, labeller.encoder)


def label_pending(
    engine: Engine,
    model: ActiveModel,
    *,
    now: datetime,
    limit: int,
    batch: int = 64,
    companies: Following | None = None,
    backlog: Backlog | None = None,
) -> int:
    """Label up to `limit` stories, and what they say of companies; returns how many. backlog: of
    the model, where one is kept."""
    if backlog is None:
        with engine.begin() as connection:
            backlog = Backlog.of(connection, model.id)
    done = 0
    while done < limit:
        with engine.begin() as connection:
            rows = backlog.next(connection, min(batch, limit - done))
            if not rows:
                backlog.note_done(connection)
                break
        # Outside a transaction: the model takes its time, and others want to write.
        texts = [row.title or row.summary for row in rows]
        labels, vectors = _labels(model.labeller, texts)
        named = (
            companies.rows(model.labeller, model.id, [row.id for row in rows], texts)
            if companies
            else []
        )
        predictions: list[dict[str, Any]] = []
        topics: list[dict[str, Any]] = []
        for row, label in zip(rows, labels, strict=True):
            key = {"item_id": row.id, "model_id": model.id}
            predictions.append(
                {
                    **key,
                    "label": label.sentiment,
                    "p_negative": label.p_negative,
                    "p_neutral": label.p_neutral,
                    "p_positive": label.p_positive,
                    "negative": label.negative,
                    "created_at": now,
                }
            )
            decided = label.topics if model.labeller.topics else (ALL_NEWS,)
            topics += [
                {**key, "topic_id": model.topics[name], "score": label.topic_scores.get(name, 1.0)}
                for name in decided
            ]
        with engine.begin() as connection:
            if vectors is not None:
                store_vectors(connection, [row.id for row in rows], *vectors)
            insert_new(connection, prediction, predictions)
            insert_new(connection, item_topic, topics)
            insert_new(connection, item_topic, named)
            if backlog.passing != "holding":  # what is of no count yet changes none
                rebuild_buckets(connection, model.id, sorted({row.hour for row in rows}))
        backlog.passed(rows)
        done += len(rows)
    return done
