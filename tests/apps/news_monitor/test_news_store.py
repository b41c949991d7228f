"""Tables, ingest and labels on SQLite and PostgreSQL."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, delete, func, select

from apps.news_monitor.articles import Article
from apps.news_monitor.backlog import Backlog
from apps.news_monitor.bucket_counts import first_bucket_hour, read_counts, rebuild_buckets
from apps.news_monitor.ingest import epoch_hour, ingest, recent_stories
from apps.news_monitor.labels import ALL_NEWS, LabelTexts
from apps.news_monitor.predictions import (
    ActiveModel,
    label_pending,
    register_model,
)
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import bucket, item, metadata, prediction

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
Story = Callable[[str, datetime, str], Article]


def test_the_migrations_make_the_tables_that_are_declared(engine: Engine) -> None:
    with engine.begin() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_name": lambda name, kind, _: kind != "table" or name in metadata.tables},
        )
        assert compare_metadata(context, metadata) == []


def test_an_article_is_stored_once_however_often_it_comes(engine: Engine, story: Story) -> None:
    articles = [story("oil report 1", NOW, "A"), story("oil report 2", NOW, "A")]
    for expected in (2, 0):
        with engine.begin() as connection:
            result = ingest(connection, articles, copies=CopyIndex(), fetched=NOW)
        assert (result.found, result.new) == (2, expected)
    with engine.begin() as connection:
        rows = connection.execute(select(item)).all()
    assert len(rows) == 2
    assert rows[0].effective_at == NOW
    assert rows[0].hour == epoch_hour(NOW)


def test_a_copy_points_to_its_story_and_is_not_counted(
    engine: Engine, story: Story, labeller: LabelTexts
) -> None:
    title = "airline crash grounds the whole fleet after engine failure"
    articles = [story(title, NOW + timedelta(hours=n), name) for n, name in enumerate("ABC")]
    with engine.begin() as connection:
        result = ingest(connection, articles, copies=CopyIndex(), fetched=NOW)
        model = register_model(connection, labeller, NOW)
    assert (result.new, result.copies) == (3, 2)
    assert label_pending(engine, model, now=NOW, limit=10) == 1
    with engine.begin() as connection:
        rows = connection.execute(select(item).order_by(item.c.effective_at)).all()
        total = connection.execute(select(func.sum(bucket.c.stories))).scalar_one()
    assert [row.copy_of for row in rows] == [None, rows[0].id, rows[0].id]
    assert {row.story_id for row in rows} == {rows[0].id}
    assert total == 1


def test_copies_are_found_across_a_restart(engine: Engine, story: Story) -> None:
    title = "airline crash grounds the whole fleet after engine failure"
    with engine.begin() as connection:
        ingest(connection, [story(title, NOW, "A")], copies=CopyIndex(), fetched=NOW)
    with engine.begin() as connection:
        again = recent_stories(connection, NOW + timedelta(hours=2))
        later = [story(title, NOW + timedelta(hours=2), "B")]
        assert ingest(connection, later, copies=again, fetched=NOW).copies == 1


@pytest.mark.parametrize("hours", [71, 73])
def test_a_restart_between_copies_changes_no_answer(
    engine: Engine, story: Story, hours: int
) -> None:
    title = "airline crash grounds the whole fleet after engine failure"
    # B is read after A, and dated before it; C is younger than the window, its story is not.
    told = [("A", 10), ("B", 0), ("C", 70), ("D", 10 + hours)]
    copies = CopyIndex()
    for name, hour in told[:3]:
        with engine.begin() as connection:
            at = NOW + timedelta(hours=hour)
            ingest(connection, [story(title, at, name)], copies=copies, fetched=at)
    last = NOW + timedelta(hours=told[3][1])
    with engine.begin() as connection:
        again = recent_stories(connection, last)
        article = [story(title, last, told[3][0])]
        found = ingest(connection, article, copies=again, fetched=last).copies
    assert found == (hours == 71)
    assert copies.add([99], [title], [last]) == [1 if hours == 71 else 99]


def test_buckets_equal_a_count_by_hand(
    engine: Engine, labeller: LabelTexts, fill: Callable[[Engine, datetime, int], None]
) -> None:
    fill(engine, NOW, 3)
    with engine.begin() as connection:
        model = register_model(connection, labeller, NOW)
        first = first_bucket_hour(connection, model.id)
        assert first == epoch_hour(NOW - timedelta(days=3))
        counts = read_counts(
            connection,
            model_id=model.id,
            topics=["Banks", "Oil"],
            topic_ids=[model.topics["Banks"], model.topics["Oil"]],
            first_hour=first,
            end_hour=epoch_hour(NOW),
        )
        titles = connection.execute(select(item.c.title)).scalars().all()
    for column, word in enumerate(("bank", "oil")):
        mine = [title for title in titles if word in title]
        assert counts.stories[:, column].sum() == len(mine) == 24
        assert counts.negative[:, column].sum() == sum("crash" in title for title in mine)


def test_an_interrupted_labelling_is_taken_up_again(
    engine: Engine, labeller: LabelTexts, story: Story
) -> None:
    articles = [story(f"oil report {n}", NOW + timedelta(hours=n), "A") for n in range(10)]
    with engine.begin() as connection:
        ingest(connection, articles, copies=CopyIndex(), fetched=NOW)
        model = register_model(connection, labeller, NOW)
    assert label_pending(engine, model, now=NOW, limit=7, batch=3) == 7
    with engine.begin() as connection:
        assert Backlog.of(connection, model.id).count(connection) == 3
    assert label_pending(engine, model, now=NOW, limit=100) == 3
    assert label_pending(engine, model, now=NOW, limit=100) == 0
    with engine.begin() as connection:
        assert connection.execute(select(func.count()).select_from(prediction)).scalar_one() == 10
        hours = sorted({epoch_hour(article.effective_at) for article in articles})
        before = connection.execute(select(bucket)).all()
        rebuild_buckets(connection, model.id, hours)
        assert sorted(connection.execute(select(bucket)).all()) == sorted(before)


def test_the_backlog_finds_every_story_without_a_label_however_they_come(
    engine: Engine, labeller: LabelTexts, story: Story
) -> None:
    rng = random.Random(5)
    number, backlog = 0, None
    with engine.begin() as connection:
        model = register_model(connection, labeller, NOW)
    for turn in range(25):
        if rng.random() < 0.6:
            some = [story(f"oil report {number + n}", NOW, "A") for n in range(rng.randrange(6))]
            number += len(some)
            with engine.begin() as connection:
                ingest(connection, some, copies=CopyIndex(), fetched=NOW)
        with engine.begin() as connection:
            if turn % 8 == 0:  # a new start
                backlog = Backlog.of(connection, model.id)
        label_pending(engine, model, now=NOW, limit=rng.randrange(6), batch=2, backlog=backlog)
        with engine.begin() as connection:
            left = (
                number
                - connection.execute(select(func.count()).select_from(prediction)).scalar_one()
            )
            assert backlog is not None
            assert backlog.count(connection) == left
            assert len(backlog.next(connection, 100)) <= left
            assert Backlog.of(connection, model.id).count(connection) == left
    label_pending(engine, model, now=NOW, limit=100, backlog=backlog)
    with engine.begin() as connection:
        # All is labelled and noted: nobody looks at what is below any more.
        noted = Backlog.of(connection, model.id)
        assert (noted.low, noted.high) == (0, max(connection.scalars(select(item.c.id))))
        connection.execute(delete(prediction))
        assert noted.next(connection, 100) == []


class NoTopics:
    name, fingerprint = "plain@1", "plain-1"
    topics: tuple[str, ...] = ()

    def __init__(self, inner: LabelTexts) -> None:
        self.label = inner.label
        self.words_for_negative = inner.words_for_negative


def test_a_model_without_topics_counts_everything_as_one(
    sqlite: Engine, labeller: LabelTexts, story: Story
) -> None:
    with sqlite.begin() as connection:
        articles = [story("weather report 1", NOW, "A"), story("oil crash 2", NOW, "A")]
        ingest(connection, articles, copies=CopyIndex(), fetched=NOW)
        model: ActiveModel = register_model(connection, NoTopics(labeller), NOW)
    assert set(model.topics) == {ALL_NEWS}
    label_pending(sqlite, model, now=NOW, limit=10)
    with sqlite.begin() as connection:
        row = connection.execute(select(bucket)).one()
    assert (row.stories, row.negative) == (2, 1)


def test_a_moment_without_a_zone_is_refused(sqlite: Engine, story: Story) -> None:
    naive = story("oil report 1", NOW.replace(tzinfo=None), "A")
    with pytest.raises(Exception, match="has no time zone"), sqlite.begin() as connection:
        ingest(connection, [naive], copies=CopyIndex(), fetched=NOW)
