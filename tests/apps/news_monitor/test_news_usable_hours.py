"""An outage in the past is no evidence: neither of what is usual, nor of how rare a score is."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select

from apps.news_monitor.articles import Article
from apps.news_monitor.bucket_counts import hours_before, read_counts
from apps.news_monitor.detection import Detector
from apps.news_monitor.ingest import epoch_hour, ingest
from apps.news_monitor.judging_tables import calibration, evaluation
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.predictions import ActiveModel, label_pending, register_model
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.surges import SurgeRule, scan
from apps.news_monitor.tables import source
from apps.news_monitor.trends import Counts
from apps.news_monitor.usable_hours import UsableHours

BEGIN = datetime(2025, 11, 3, tzinfo=UTC)
DAY = timedelta(days=1)
Story = Callable[[str, datetime, str], Article]
Stream = Callable[[Iterable[int]], list[Article]]
DOWN, BACK, END = 50, 92, 110
"""Days after BEGIN: 42 of the 84 before the last are an outage."""


def feed(engine: Engine, created: datetime = BEGIN) -> int:
    with engine.begin() as connection:
        number = connection.execute(
            insert(source)
            .values(
                url=f"https://f.example/{random.random()}", title="Wire", enabled=True,
                next_check_at=created, last_ok_at=None, last_status="", last_error="",
                error_count=0, created_at=created,
            )
            .returning(source.c.id)
        ).scalar_one()  # fmt: skip
    return int(number)


def take_in(
    engine: Engine, labeller: LabelTexts, articles: Sequence[Article], source_id: int | None
) -> ActiveModel:
    at = articles[-1].effective_at
    with engine.begin() as connection:
        ingest(connection, articles, copies=CopyIndex(), fetched=at, source_id=source_id)
        model = register_model(connection, labeller, at)
    label_pending(engine, model, now=at, limit=10**6, batch=512)
    return model


@pytest.fixture
def steady(story: Story) -> Stream:
    """Ten stories about oil on each of these days, two of them bad."""

    def make(days: Iterable[int]) -> list[Article]:
        return [
            story(
                f"oil {'crash' if n % 5 == 0 else 'report'} {day * 10 + n}",
                BEGIN + day * DAY + timedelta(hours=2 * n + 2),
                "Wire",
            )
            for day in days
            for n in range(10)
        ]

    return make


def counted(engine: Engine, model: ActiveModel, first: int = 0, end: int = END) -> Counts:
    names = list(model.topics)
    with engine.begin() as connection:
        return read_counts(
            connection,
            model_id=model.id,
            topics=names,
            topic_ids=[model.topics[name] for name in names],
            first_hour=epoch_hour(BEGIN) + first * 24,
            end_hour=epoch_hour(BEGIN) + end * 24,
        )


def usable(engine: Engine, model: ActiveModel, counts: Counts) -> Counts:
    hours = UsableHours(model.id, list(model.topics.values()))
    with engine.begin() as connection:
        return replace(counts, usable=hours.of(connection, counts))


def test_an_outage_leaves_what_is_expected_as_it_was(
    engine: Engine, labeller: LabelTexts, steady: Stream
) -> None:
    """30 stories and 6 bad ones in 72 hours; with the outage as quiet days 15 and 3."""
    down = [*range(DOWN), *range(BACK, END)]
    model = take_in(engine, labeller, steady(down), feed(engine))
    counts = usable(engine, model, counted(engine, model))
    oil = counts.topics.index("Oil")
    silent = ~counts.usable[DOWN * 24 : BACK * 24, oil]
    # Some hours pass before silence is told from a pause, and before who is back is heard again.
    assert silent[24:].all()
    assert counts.usable[: DOWN * 24].all()
    assert counts.usable[(BACK + 1) * 24 :].all()
    found = scan(counts, [END * 24], SurgeRule())
    assert found.expected_stories[0, oil, 2] == pytest.approx(30.0, abs=0.9)
    assert found.expected_count[0, oil, 2] == pytest.approx(6.0, abs=0.3)
    assert found.days[0] == 84 - 41  # the first day of the outage counts in part
    quiet = scan(counted(engine, model), [END * 24], SurgeRule())
    assert quiet.expected_stories[0, oil, 2] == pytest.approx(15.0, abs=0.9)
    settings = NewsSettings(surges=SurgeSettings(cadence_hours=24))
    end = BEGIN + END * DAY
    Detector(engine, model, settings, now=end).run(end, now=end)
    with engine.begin() as connection:
        expected = connection.scalars(
            select(evaluation.c.expected_count).where(
                evaluation.c.topic_id == model.topics["Oil"], evaluation.c.window_hours == 72
            )
        ).one()
        weeks = connection.scalars(select(calibration.c.topic_weeks)).one()
    assert expected == pytest.approx(6.0, abs=0.3)
    # Days 17 to 108 have a past of 14 days before the guard; 42 of them are the outage.
    assert weeks == pytest.approx((92 - 42) * 3 / 7)


def test_each_hour_is_told_by_what_came_before_it_and_in_any_portions(
    sqlite: Engine, labeller: LabelTexts, steady: Stream
) -> None:
    rng = random.Random(3)
    days = [day for day in range(END) if not 40 <= day < 47 and not 60 <= day < 100]
    articles = [one for one in steady(days) if rng.random() < 0.7]
    model = take_in(sqlite, labeller, articles, feed(sqlite))
    whole = usable(sqlite, model, counted(sqlite, model)).usable
    step = UsableHours(model.id, list(model.topics.values()))
    for end in (30, 41, 43, 44, 62, 90, 101, 103, END):
        counts = counted(sqlite, model, max(end - 20, 0), end)
        with sqlite.begin() as connection:
            part = step.of(connection, counts)
        begin = hours_before(counts) - epoch_hour(BEGIN)
        np.testing.assert_array_equal(part, whole[begin : begin + len(part)])
    assert 20 * 24 < (~whole).any(axis=1).sum() < 48 * 24


def test_what_a_feed_still_had_when_it_was_asked_again_is_no_hole(
    sqlite: Engine, labeller: LabelTexts, steady: Stream
) -> None:
    number = feed(sqlite)
    model = take_in(sqlite, labeller, steady([*range(60), 62]), number)
    hours = UsableHours(model.id, list(model.topics.values()))
    counts = counted(sqlite, model, end=63)
    with sqlite.begin() as connection:
        assert not hours.of(connection, counts)[60 * 24 + 23 : 62 * 24].any()
    take_in(sqlite, labeller, steady([60, 61]), number)
    with sqlite.begin() as connection:
        assert hours.of(connection, counts).all()


def test_a_topic_whose_own_feeds_deliver_is_heard(
    sqlite: Engine, labeller: LabelTexts, steady: Stream, story: Story
) -> None:
    large, small = feed(sqlite), feed(sqlite)
    take_in(sqlite, labeller, steady([*range(50), *range(53, 60)]), large)
    banks = [
        story(f"bank report {n}", BEGIN + timedelta(hours=12 * n), "Small") for n in range(120)
    ]
    model = take_in(sqlite, labeller, banks, small)
    counts = usable(sqlite, model, counted(sqlite, model, end=60))
    oil, bank = counts.topics.index("Oil"), counts.topics.index("Banks")
    assert not counts.usable[51 * 24 : 53 * 24, oil].any()
    assert counts.usable[:, bank].all()


def test_files_and_the_time_before_any_feed_have_no_outages(
    sqlite: Engine, labeller: LabelTexts, steady: Stream
) -> None:
    down = [*range(DOWN), *range(BACK, END)]
    model = take_in(sqlite, labeller, steady(down), None)
    counts = counted(sqlite, model)
    assert usable(sqlite, model, counts).usable.all()
    feed(sqlite, BEGIN + END * DAY)
    assert usable(sqlite, model, counts).usable.all()
