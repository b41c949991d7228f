"""The laboratory: another configuration in its own space, and the difference of its alerts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select, update

from apps.news_monitor.alert_difference import (
    Episode,
    difference,
    difference_lines,
    read_episodes,
)
from apps.news_monitor.articles import Article
from apps.news_monitor.ingest import ingest
from apps.news_monitor.judging_tables import alert, detector_config
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.laboratory import own_space, stored_models, try_out
from apps.news_monitor.predictions import label_pending, register_model
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import metadata, topic
from apps.news_monitor.telling_tables import silence
from shared.errors import DataError

END = datetime(2026, 3, 1, tzinfo=UTC)


def episode(topic: str, first: int, last: int | None) -> Episode:
    """Open from one hour to another."""
    over = None if last is None else END + timedelta(hours=last)
    return Episode(topic, END + timedelta(hours=first), over, "high", 5.0, 6, 9, 2.0, ("x",))


def test_surges_are_matched_one_to_one_where_both_are_open() -> None:
    a = [episode("Oil", 0, 10), episode("Oil", 100, 120), episode("Banks", 5, 9)]
    b = [
        episode("Oil", 8, 20),  # begins while A's first is open
        episode("Oil", 101, 103),
        episode("Oil", 110, None),  # A's second is taken: one mail more
        episode("Banks", 10, 12),  # begins after A's was over
        episode("Air", 5, 9),
    ]
    found = difference(a, b)
    assert found.both == ((a[0], b[0]), (a[1], b[1]))
    assert found.only_a == (a[2],)
    assert found.only_b == (b[4], b[3], b[2])
    mirrored = difference(b, a)
    assert (mirrored.only_a, mirrored.only_b) == (found.only_b, found.only_a)
    assert difference(a, a).both == ((a[0], a[0]), (a[2], a[2]), (a[1], a[1]))
    assert difference_lines(found)[:2] == [
        "in both 2, only in A 1, only in B 3",
        "  both    2026-03-01 00:00 Oil [high] 6 of 9 negative (usual 2.0), score 5.0; B: "
        "2026-03-01 08:00 Oil [high] 6 of 9 negative (usual 2.0), score 5.0",
    ]


def test_a_file_that_holds_no_alerts_says_where(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    with pytest.raises(DataError) as caught:
        read_episodes(path)
    assert str(caught.value) == f"{path}: not the alerts of a replay: No such file or directory"
    path.write_text('{"topic": "Oil"}\n')
    with pytest.raises(DataError) as caught:
        read_episodes(path)
    assert str(caught.value) == f"{path}, line 1: not an alert of a replay ('resolved_at')"


@pytest.fixture
def judged(
    engine: Engine, ordinary: Callable[[datetime, int], list[Article]], labeller: LabelTexts,
    story: Callable[[str, datetime, str], Article],
) -> Engine:  # fmt: skip
    """40 ordinary days and five bad stories about oil on the last, three publishers; not judged."""
    articles = ordinary(END, 40)
    articles += [
        story(f"oil crash {5000 + n}", END - timedelta(hours=n + 1), "ABC"[n % 3]) for n in range(6)
    ]
    with engine.begin() as connection:
        ingest(connection, articles, copies=CopyIndex(), fetched=END)
        model = register_model(connection, labeller, END)
    label_pending(engine, model, now=END, limit=10**6, batch=512)
    return engine


def test_two_configurations_differ_and_the_database_stays_as_it_is(judged: Engine) -> None:
    url = judged.url.render_as_string(hide_password=False)
    with judged.begin() as connection:
        (model,) = stored_models(connection)
        before = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        ]
    assert (model.name, list(model.topics)) == ("words@1", ["Airlines", "Banks", "Oil"])

    def tried(least: int) -> list[str]:
        surges = SurgeSettings(cadence_hours=24, min_negative=least)
        settings = NewsSettings(false_alarms_per_week=5.0, surges=surges, recipients=("a@b.c",))
        since = END - timedelta(days=3)
        done = try_out(url, settings, model, since=since, until=END)
        assert done.evaluated == 3
        return [one.topic for one in done.alerts]

    assert (tried(4), tried(40), tried(4)) == (["Oil"], [], ["Oil"])
    with judged.begin() as connection:
        assert before == [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        ]
        assert connection.execute(select(alert)).all() == []
        assert connection.execute(select(detector_config)).all() == []


def all_rows(engine: Engine) -> dict[str, list[str]]:
    """table -> its rows as text, in one order."""
    with engine.begin() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in metadata.sorted_tables
        }


@pytest.mark.parametrize("silent", [False, True])
def test_neither_webhooks_nor_silences_reach_the_database(judged: Engine, silent: bool) -> None:
    url = judged.url.render_as_string(hide_password=False)
    with judged.begin() as connection:
        (model,) = stored_models(connection)
        oil = model.topics["Oil"]
        held: dict[str, Any] = {
            "topic_id": oil,
            "by": "a@b.c",
            "begins_at": END - timedelta(days=9),
        }
        ends = END + timedelta(days=9 if silent else -8)
        connection.execute(insert(silence).values(ends_at=ends, **held))
    before = all_rows(judged)
    settings = NewsSettings.model_validate(
        {
            "false_alarms_per_week": 5.0,
            "surges": {"cadence_hours": 24, "min_negative": 4},
            "recipients": ["a@b.c"],
            "webhooks": [{"url": "https://hook.example/in", "secret": "s" * 16}],
        }
    )
    done = try_out(url, settings, model, since=END - timedelta(days=3), until=END)
    assert [one.topic for one in done.alerts] == ["Oil"]
    assert all_rows(judged) == before


def test_what_the_laboratory_has_no_table_for_is_not_written_at_all(judged: Engine) -> None:
    url = judged.url.render_as_string(hide_password=False)
    before = all_rows(judged)
    with own_space(url) as engine, engine.begin() as connection:
        assert connection.execute(select(func.count()).select_from(topic)).scalar_one() == 3
        with pytest.raises(RuntimeError) as caught:
            connection.execute(update(topic).values(enabled=False))
    assert str(caught.value) == "the laboratory has no table news_topic of its own"
    assert all_rows(judged) == before


def test_a_period_that_ends_before_it_begins_is_one_clear_line(judged: Engine) -> None:
    url = judged.url.render_as_string(hide_password=False)
    with judged.begin() as connection:
        (model,) = stored_models(connection)
    with pytest.raises(DataError) as caught:
        try_out(url, NewsSettings(), model, since=END, until=END)
    assert str(caught.value) == "the period ends (2026-03-01) before it begins (2026-03-01)"
