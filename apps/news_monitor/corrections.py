"""What readers say that stories are: kept beside the model's labels, and given to training.

What is counted stays as the model said it: a corrected label is a lesson for the next model, and a
baseline in which some labels are a reader's and the others a model's would be neither's.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection, delete, select, update

from apps.news_monitor.ingest import insert_new
from apps.news_monitor.labels import ALL_NEWS, SENTIMENTS
from apps.news_monitor.tables import company, correction, item, topic
from shared.errors import DataError
from shared.tables import write_table

SENTIMENT_FILE, TOPICS_FILE = "sentiment.csv", "topics.csv"
JOINS_TOPICS = "|"  # as training reads several in one cell


@dataclass(frozen=True)
class Correction:
    """topics: None where the reader said nothing of them."""

    item_id: int
    text: str
    sentiment: str
    topics: tuple[str, ...] | None
    by: str
    at: datetime


@dataclass(frozen=True)
class Exported:
    """Rows written to each file; a file without rows is not written."""

    sentiment: int
    topics: int
    folder: Path


def known_topics(connection: Connection) -> list[str]:
    """What a story may be said to be about: the topics of models, no companies."""
    query = (
        select(topic.c.name)
        .where(topic.c.id.not_in(select(company.c.topic_id)), topic.c.name != ALL_NEWS)
        .order_by(topic.c.name)
    )
    return list(connection.execute(query).scalars())


def correct(
    connection: Connection,
    item_id: int,
    sentiment: str,
    topics: Sequence[str] | None,
    by: str,
    at: datetime,
) -> None:
    """Say what a story is, also where the model has it right; a later word replaces the earlier.

    Raises DataError for a sentiment or a topic that nobody knows, or a story that is not there.
    """
    if sentiment not in SENTIMENTS:
        raise DataError(f"sentiment {sentiment!r}: expected one of {', '.join(SENTIMENTS)}")
    unknown = sorted(set(topics or ()) - set(known_topics(connection)))
    if unknown:
        raise DataError(f"topic {unknown[0]!r} is not known to any model here")
    if connection.execute(select(item.c.id).where(item.c.id == item_id)).one_or_none() is None:
        raise DataError(f"story {item_id} is not there")
    values = {
        "sentiment": sentiment,
        "topics_json": None if topics is None else json.dumps(sorted(topics)),
        "by": by,
        "at": at,
    }
    insert_new(connection, correction, [{"item_id": item_id, **values}])
    connection.execute(update(correction).where(correction.c.item_id == item_id).values(**values))


def take_back(connection: Connection, item_id: int) -> None:
    """Forget what was said of a story."""
    connection.execute(delete(correction).where(correction.c.item_id == item_id))


def corrections(connection: Connection, limit: int | None = None) -> list[Correction]:
    """The newest first."""
    query = (
        select(correction, item.c.title, item.c.summary)
        .join(item, item.c.id == correction.c.item_id)
        .order_by(correction.c.at.desc(), correction.c.item_id.desc())
        .limit(limit)
    )
    return [
        Correction(
            row.item_id,
            row.title or row.summary,
            row.sentiment,
            None if row.topics_json is None else tuple(json.loads(row.topics_json)),
            row.by,
            row.at,
        )
        for row in connection.execute(query)
    ]


def export_examples(connection: Connection, folder: Path) -> Exported:
    """Write the corrections as `text,label` tables that `triptych train news` reads.

    Raises DataError where there are none, or the folder cannot be written.
    """
    found = corrections(connection)
    if not found:
        raise DataError("nothing has been corrected yet: the page Stories of the dashboard does it")
    parts: dict[str, tuple[list[Correction], Callable[[Correction], str]]] = {
        SENTIMENT_FILE: (found, lambda one: one.sentiment),
        TOPICS_FILE: (
            [one for one in found if one.topics is not None],
            lambda one: JOINS_TOPICS.join(one.topics or ()),
        ),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from None
    for name, (rows, label) in parts.items():
        if rows:
            frame = pd.DataFrame(
                [(one.text, label(one)) for one in rows], columns=["text", "label"]
            )
            write_table(frame, folder / name)
    return Exported(len(found), len(parts[TOPICS_FILE][0]), folder)
