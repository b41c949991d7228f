"""Articles into the database: each once, each placed in its story, in one transaction a source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from apps.news_monitor.articles import Article
from apps.news_monitor.stories import WINDOW, CopyIndex, story_text
from apps.news_monitor.tables import item

PORTION = 500


@dataclass(frozen=True)
class Ingested:
    """found: articles offered; new: stored for the first time; copies: of these, of another."""

    found: int
    new: int
    copies: int


def epoch_hour(at: datetime) -> int:
    """Whole hours since 1970-01-01 00:00 UTC."""
    return int(at.timestamp() // 3600)


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose unique keys are not there yet; the others stay as they are."""
    build = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    for begin in range(0, len(rows), PORTION):
        statement = build(table).on_conflict_do_nothing()
        connection.execute(statement, [dict(row) for row in rows[begin : begin + PORTION]])


def known_keys(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    """item_key -> id of those that are stored."""
    found: dict[str, int] = {}
    for begin in range(0, len(keys), PORTION):
        query = select(item.c.item_key, item.c.id).where(
            item.c.item_key.in_(keys[begin : begin + PORTION])
        )
        found.update((row.item_key, row.id) for row in connection.execute(query))
    return found


def ingest(
    connection: Connection,
    articles: Sequence[Article],
    *,
    copies: CopyIndex,
    fetched: datetime,
    source_id: int | None = None,
) -> Ingested:
    """Store what is new and find what it is a copy of.

    `copies` learns the new items at once: if the transaction fails, build it anew with
    `recent_stories`.
    """
    before = known_keys(connection, [article.key for article in articles])
    fresh = sorted(
        (article for article in articles if article.key not in before),
        key=lambda article: (article.effective_at, article.key),
    )
    if not fresh:
        return Ingested(len(articles), 0, 0)
    rows = [
        {
            "item_key": article.key,
            "source_id": source_id,
            "url": article.url,
            "title": article.title,
            "summary": article.summary,
            "publisher": article.publisher,
            "published_at": article.published_at,
            "fetched_at": fetched,
            "effective_at": article.effective_at,
            "hour": epoch_hour(article.effective_at),
            "date_quality": article.date_quality,
        }
        for article in fresh
    ]
    insert_new(connection, item, rows)
    ids = known_keys(connection, [article.key for article in fresh])
    numbers = [ids[article.key] for article in fresh]
    stories = copies.add(
        numbers,
        [story_text(article.text, (article.publisher,)) for article in fresh],
        [article.effective_at for article in fresh],
    )
    # The first with the same words may tell of an event that another told before.
    told = _stories_of(connection, sorted(set(stories) - set(numbers)))
    placed = [
        {
            "b_id": number,
            "b_story": number if story == number else told.get(story, story),
            "b_copy": None if story == number else story,
        }
        for number, story in zip(numbers, stories, strict=True)
    ]
    connection.execute(
        update(item)
        .where(item.c.id == bindparam("b_id"))
        .values(story_id=bindparam("b_story"), copy_of=bindparam("b_copy")),
        placed,
    )
    return Ingested(len(articles), len(fresh), sum(row["b_copy"] is not None for row in placed))


def _stories_of(connection: Connection, items: Sequence[int]) -> dict[int, int]:
    """item -> the first item of its story."""
    found: dict[int, int] = {}
    for begin in range(0, len(items), PORTION):
        query = select(item.c.id, item.c.story_id).where(
            item.c.id.in_(items[begin : begin + PORTION]), item.c.story_id.is_not(None)
        )
        found.update((row.id, row.story_id) for row in connection.execute(query))
    return found


def recent_stories(connection: Connection, now: datetime, window: timedelta = WINDOW) -> CopyIndex:
    """The index of copies as it stands at `now`, read from the last days' items."""
    copies = CopyIndex()
    read_back(connection, copies, now, window)
    return copies


def read_back(
    connection: Connection, copies: CopyIndex, now: datetime, window: timedelta = WINDOW
) -> None:
    """Make an index what `recent_stories` gives, whatever it has learnt."""
    first = item.alias()
    query = (
        select(item.c.title, item.c.summary, item.c.publisher, item.c.copy_of, item.c.id)
        .add_columns(first.c.effective_at.label("begun"))
        .join(first, first.c.id == func.coalesce(item.c.copy_of, item.c.id))
        .where(
            first.c.effective_at >= now - window,
            # A copy may be dated before the first that was read; this one is found by an index.
            item.c.effective_at >= now - 2 * window,
            item.c.story_id.is_not(None),
        )
        .order_by(item.c.effective_at, item.c.id)
    )
    rows = connection.execute(query).all()
    copies.restore(
        [row.copy_of or row.id for row in rows],
        [story_text(row.title or row.summary, (row.publisher,)) for row in rows],
        [row.begun for row in rows],
    )
