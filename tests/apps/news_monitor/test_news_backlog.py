"""What is labelled first: what judging reads; an archive comes after it and blinds nobody."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Engine, func, select

import apps.news_monitor.monitor as monitor_module
from apps.news_monitor.articles import Article
from apps.news_monitor.backlog import Backlog, hours_needed, whole_since
from apps.news_monitor.bucket_counts import first_bucket_hour
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.ingest import epoch_hour, ingest
from apps.news_monitor.judging_tables import calibration, detector_config
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.predictions import ActiveModel, label_pending, register_model
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.surges import SurgeRule
from apps.news_monitor.tables import item, prediction

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
HOUR = NOW.replace(minute=0)
DAY = timedelta(days=1)
NEEDED = timedelta(days=20)
Story = Callable[[str, datetime, str], Article]


def store(engine: Engine, articles: Sequence[Article]) -> None:
    with engine.begin() as connection:
        ingest(connection, articles, copies=CopyIndex(), fetched=NOW)


def lacking(connection: Connection, since: int | None = None) -> int:
    labelled = select(prediction.c.item_id).where(prediction.c.item_id == item.c.id)
    query = select(func.count()).select_from(item).where(~labelled.exists())
    if since is not None:
        query = query.where(item.c.hour >= since)
    return int(connection.execute(query).scalar_one())


def model_of(engine: Engine, labeller: LabelTexts) -> ActiveModel:
    with engine.begin() as connection:
        return register_model(connection, labeller, NOW)


def test_what_judging_reads_comes_before_what_it_does_not_however_both_come(
    engine: Engine, labeller: LabelTexts, story: Story
) -> None:
    """Archives and news at random, restarts too: no old story is labelled while a needed one has no
    label, each gets one, and how many lack one is known at any time."""
    rng = random.Random(7)
    model = model_of(engine, labeller)
    number, backlog = 0, None
    since = epoch_hour(NOW - NEEDED)
    for turn in range(60):
        if rng.random() < 0.5:
            old = rng.random() < 0.6
            many = rng.randrange(9)
            ages = [rng.randrange(0, 80 if old else 5) for _ in range(many)]
            store(
                engine,
                [
                    story(f"oil report {number + n}", NOW - age * DAY, "A")
                    for n, age in enumerate(ages)
                ],
            )
            number += many
        with engine.begin() as connection:
            if backlog is None or rng.random() < 0.1:  # a new start
                backlog = Backlog.of(connection, model.id, since)
            if turn % 9 == 0:
                since += 24
                backlog.look_back_to(since)
            before = lacking(connection, backlog.since)
        limit = rng.randrange(7)
        done = label_pending(engine, model, now=NOW, limit=limit, batch=2, backlog=backlog)
        with engine.begin() as connection:
            assert lacking(connection, backlog.since) == max(before - done, 0)
            assert backlog.count(connection) == lacking(connection)
            assert backlog.count(connection, since) == lacking(connection, backlog.since)
            whole = whole_since(connection, model.id)
            assert whole is None or lacking(connection, max(whole, backlog.since or 0)) == max(
                before - done, 0
            )
            assert lacking(connection) == 0 or done == limit
    label_pending(engine, model, now=NOW, limit=1000, backlog=backlog)
    with engine.begin() as connection:
        assert lacking(connection) == 0
        assert whole_since(connection, model.id) is None
        again = Backlog.of(connection, model.id, since)
        assert (again.low, again.floor) == (0, again.high)


def test_needed_is_what_the_hours_to_judge_look_back_to(
    sqlite: Engine, labeller: LabelTexts
) -> None:
    rule = SurgeRule(baseline_days=30, windows_hours=(24, 48))
    model = model_of(sqlite, labeller)
    midnight = NOW.replace(hour=0, minute=0)
    with sqlite.begin() as connection:

        def days(companies: bool = False) -> int:
            hour = hours_needed(connection, rule, NOW, companies=companies)
            return epoch_hour(midnight) // 24 - hour // 24

        assert days() == 30 + 2 + 2
        for name, said, back in (("a", "{}", 3), ("b", '{"companies": "c"}', 8)):
            values: dict[str, Any] = {"model_id": model.id, "created_at": NOW}
            connection.execute(
                detector_config.insert().values(
                    fingerprint=name, settings_json=said, evaluated_until=NOW - back * DAY, **values
                )
            )
        assert (days(), days(companies=True)) == (34 + 3, 34 + 8)
        connection.execute(detector_config.update().values(evaluated_until=NOW + 9 * DAY))
        assert days() == 34


def watch_over(
    engine: Engine, labeller: LabelTexts, folder: Path, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> Monitor:
    monkeypatch.setattr(monitor_module, "LABELS_PER_TICK", 100)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(body))

    return Monitor(
        engine,
        NewsSettings(
            feeds=("https://wire.example/rss",),
            recipients=("desk@bank.example",),
            surges=SurgeSettings(baseline_days=14),
        ),
        labeller,
        OutboxMailer(folder),
        client=lambda: httpx.Client(transport=httpx.MockTransport(answer)),
        jitter=random.Random(1),
    )


def test_an_archive_that_is_dropped_blinds_nobody(
    engine: Engine,
    labeller: LabelTexts,
    story: Story,
    fill: Callable[[Engine, datetime, int], None],
    crisis_feed: Callable[[datetime], bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """450 stories of two years ago are taken in before the surge: its alert waits for none of them,
    and the past that thresholds rest on begins with them once they all are labelled."""
    fill(engine, HOUR - timedelta(hours=2), 30)
    with engine.begin() as connection:
        model = register_model(connection, labeller, NOW)
        live = first_bucket_hour(connection, model.id)
    old = HOUR - 730 * DAY
    store(
        engine,
        [story(f"oil report {5000 + n}", old + timedelta(hours=8 * n), "Old") for n in range(450)],
    )
    watch = watch_over(engine, labeller, tmp_path, crisis_feed(HOUR), monkeypatch)
    report = watch.tick(NOW)
    assert [line.split(":")[0] for line in report.alerts] == ["[Critical] Airlines"]
    assert (report.labelled, report.unlabelled, report.evaluated) == (100, 0, 1)
    assert "362 older stories still to label; judging goes on meanwhile" in report.lines
    with engine.begin() as connection:
        first = first_bucket_hour(connection, model.id)
        assert (live, first) == (
            epoch_hour(HOUR - timedelta(hours=2) - 30 * DAY),
            epoch_hour(HOUR - 19 * DAY) // 24 * 24,  # 14 days, a guard of 3, and 2
        )
        early = connection.scalars(select(calibration.c.topic_weeks)).one()
    restarted = watch_over(engine, labeller, tmp_path, crisis_feed(HOUR), monkeypatch)
    reports = [restarted.tick(NOW + timedelta(minutes=n)) for n in range(1, 5)]
    assert [one.labelled for one in reports] == [100, 100, 100, 62]
    later = restarted.tick(NOW + 8 * DAY)
    assert (later.alerts, later.unlabelled) == ([], 0)
    with engine.begin() as connection:
        assert first_bucket_hour(connection, model.id) == epoch_hour(old)
        weeks = connection.scalars(
            select(calibration.c.topic_weeks).order_by(calibration.c.id.desc()).limit(1)
        ).one()
    assert early < 2 < 200 < weeks
