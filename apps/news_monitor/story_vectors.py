"""The vectors of stories: of the encoder that labelled them first, only while they are needed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, select

from apps.news_monitor.articles import OLDEST
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.tables import item, item_vector, prediction

KEPT = OLDEST + timedelta(hours=72)
"""A story read later than this after another is not held against it. An article's date may lie
OLDEST before it is read, and a story lasts 72 hours at most."""
STORED_AS = "<f2"


def store_vectors(
    connection: Connection,
    item_ids: Sequence[int],
    vectors: NDArray[np.float32],
    encoder: str,
) -> None:
    """Keep the vectors (n, dim) of stories that no model has labelled yet: the first one's decide.
    To be called before its labels are stored, in the same transaction."""
    known = select(prediction.c.item_id).where(prediction.c.item_id.in_(item_ids))
    before = set(connection.execute(known).scalars())
    rows = [
        {"item_id": number, "encoder": encoder, "vector": vector.astype(STORED_AS).tobytes()}
        for number, vector in zip(item_ids, vectors, strict=True)
        if number not in before
    ]
    if rows:
        insert_new(connection, item_vector, rows)


def vector_of(stored: bytes) -> NDArray[np.float32]:
    """(dim,) as it was stored."""
    return np.frombuffer(stored, dtype=STORED_AS).astype(np.float32)


def forget_vectors(connection: Connection, now: datetime) -> int:
    """Those that nothing can be held against any more; returns how many."""
    old = select(item.c.id).where(
        item.c.id == item_vector.c.item_id, item.c.fetched_at < now - KEPT
    )
    return connection.execute(delete(item_vector).where(old.exists())).rowcount
