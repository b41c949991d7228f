"""Ticks: from feeds to one mail, whatever dies on the way."""

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, func, select, update

import apps.news_monitor.label_rounds as label_rounds_module
import apps.news_monitor.monitor as monitor_module
import apps.news_monitor.opening as opening_module
import apps.news_monitor.outbox as outbox_module
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.feed_parser import FeedParser
from apps.news_monitor.judging_tables import alert, detector_config, evaluation
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.monitor import JOBS, Monitor
from apps.news_monitor.owed import DeliveryError
from apps.news_monitor.settings import FetchSettings, NewsSettings
from apps.news_monitor.tables import fetch_log, item, job_run, source
from apps.news_monitor.telling_tables import outbox
from shared.errors import SettingsError
from shared.storage import create_engine

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
HOUR = NOW.replace(minute=0)
FEED = "https://wire.example/rss"
Fill = Callable[[Engine, datetime, int], None]
Crisis = Callable[[datetime], bytes]


def settings(**changes: Any) -> NewsSettings:
    return NewsSettings(**{"feeds": (FEED,), "recipients": ("desk@bank.example",), **changes})


def client_of(answer: Callable[[httpx.Request], httpx.Response]) -> Callable[[], httpx.Client]:
    return lambda: httpx.Client(transport=httpx.MockTransport(answer))


def page(body: bytes) -> httpx.Response:
    """As it comes from a wire: not read beforehand."""
    return httpx.Response(200, stream=httpx.ByteStream(body), headers={"ETag": '"1"'})


def serving(body: bytes) -> Callable[[], httpx.Client]:
    return client_of(lambda _: page(body))


def monitor(
    engine: Engine,
    labeller: LabelTexts | None,
    folder: Path,
    client: Callable[[], httpx.Client],
    **changes: Any,
) -> Monitor:
    return Monitor(
        engine,
        settings(**changes),
        labeller,
        OutboxMailer(folder),
        client=client,
        jitter=random.Random(1),
    )


def count(engine: Engine, table: Any) -> int:
    with engine.begin() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_surge_becomes_one_alert_and_one_mail(
    engine: Engine, labeller: LabelTexts, fill: Fill, crisis_feed: Crisis, tmp_path: Path
) -> None:
    fill(engine, HOUR - timedelta(hours=2), 40)
    watch = monitor(engine, labeller, tmp_path, serving(crisis_feed(HOUR)))
    report = watch.tick(NOW)
    assert (report.new, report.labelled, report.evaluated) == (12, 12, 1)
    assert [line.split(":")[0] for line in report.alerts] == ["[Critical] Airlines"]
    assert report.mails.sent == 1
    (mail,) = tmp_path.glob("*.eml")
    assert b"Subject: [Critical] Airlines: 1" in mail.read_bytes()
    for hours in range(1, 5):
        again = watch.tick(NOW + timedelta(hours=hours))
        assert (again.alerts, again.mails.sent, again.new) == ([], 0, 0)
    assert (count(engine, alert), count(engine, outbox), count(engine, item)) == (1, 1, 972)
    assert count(engine, job_run) == 5
    assert count(engine, evaluation) == 5 * 3 * 3


def test_a_second_tick_at_the_same_moment_does_nothing(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, crisis_feed: Crisis, tmp_path: Path
) -> None:
    fill(sqlite, HOUR - timedelta(hours=2), 40)
    watch = monitor(sqlite, labeller, tmp_path, serving(crisis_feed(HOUR)))
    watch.tick(NOW)
    again = watch.tick(NOW)
    assert (again.sources, again.labelled, again.evaluated, again.mails.sent) == ([], 0, 0, 0)


def test_an_ordinary_day_raises_nothing(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, tmp_path: Path
) -> None:
    fill(sqlite, HOUR, 40)
    watch = monitor(sqlite, labeller, tmp_path, serving(b"<rss version='2.0'><channel/></rss>"))
    for hours in range(6):
        assert watch.tick(NOW + timedelta(hours=hours)).alerts == []


def test_bad_feeds_are_rows_and_good_ones_are_read(
    sqlite: Engine, labeller: LabelTexts, crisis_feed: Crisis, tmp_path: Path
) -> None:
    good = crisis_feed(HOUR)

    def answer(request: httpx.Request) -> httpx.Response:
        match request.url.host:
            case "wire.example":
                return page(good)
            case "busy.example":
                return httpx.Response(429, headers={"Retry-After": "7200"})
            case "page.example":
                return page(b"<html>log in</html>")
            case _:
                raise httpx.ConnectError("Connection refused", request=request)

    feeds = (FEED, "https://busy.example/f", "https://page.example/f", "https://down.example/f")
    watch = monitor(sqlite, labeller, tmp_path, client_of(answer), feeds=feeds)
    report = watch.tick(NOW)
    found = {row.url: (row.status, row.new, row.problem) for row in report.sources}
    assert found == {
        FEED: ("ok", 12, ""),
        feeds[1]: ("busy", 0, "HTTP 429: asked to wait"),
        feeds[2]: ("malformed", 0, "not a feed: neither RSS nor Atom nor JSON Feed"),
        feeds[3]: ("failed", 0, "Connection refused"),
    }
    assert "feed https://down.example/f: Connection refused" in report.lines
    with sqlite.begin() as connection:
        rows = {row.url: row for row in connection.execute(select(source))}
    assert [rows[url].error_count for url in feeds] == [0, 1, 1, 1]
    assert rows[feeds[1]].next_check_at >= NOW + timedelta(hours=2)
    assert rows[FEED].last_ok_at == NOW
    assert rows[FEED].title == "Wire"
    assert count(sqlite, fetch_log) == 4


def test_an_unchanged_feed_is_asked_with_its_etag_and_not_too_soon(
    sqlite: Engine, crisis_feed: Crisis, tmp_path: Path
) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("If-None-Match"))
        if asked[-1] == '"1"':
            return httpx.Response(304)
        return page(crisis_feed(HOUR))

    watch = monitor(sqlite, None, tmp_path, client_of(answer))
    for minutes in (0, 5, 20, 40):
        watch.tick(NOW + timedelta(minutes=minutes))
    assert asked == [None, '"1"', '"1"']


def test_without_a_model_articles_are_kept_for_later(
    sqlite: Engine, labeller: LabelTexts, crisis_feed: Crisis, tmp_path: Path
) -> None:
    body = crisis_feed(HOUR)
    report = monitor(sqlite, None, tmp_path, serving(body)).tick(NOW)
    assert report.new == 12
    assert "no model yet: articles are kept and labelled once there is one" in report.lines
    later = monitor(sqlite, labeller, tmp_path, serving(body)).tick(NOW + timedelta(minutes=1))
    assert later.labelled == 12


def test_nothing_is_judged_before_the_history_is_labelled(
    sqlite: Engine,
    labeller: LabelTexts,
    crisis_feed: Crisis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor_module, "LABELS_PER_TICK", 5)
    watch = monitor(sqlite, labeller, tmp_path, serving(crisis_feed(HOUR)))
    report = watch.tick(NOW)
    assert (report.labelled, report.unlabelled, report.evaluated) == (5, 7, 0)
    assert report.lines == ["7 stories still to label by words@1; nothing is judged before that"]
    assert [watch.tick(NOW + timedelta(minutes=n)).unlabelled for n in (1, 2)] == [2, 0]


def test_missed_hours_are_judged_one_by_one_after_downtime(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, crisis_feed: Crisis, tmp_path: Path
) -> None:
    fill(sqlite, HOUR - timedelta(hours=2), 40)
    watch = monitor(sqlite, labeller, tmp_path, serving(crisis_feed(HOUR)))
    watch.tick(NOW)
    late = monitor(sqlite, labeller, tmp_path, serving(crisis_feed(HOUR)))
    report = late.tick(NOW + timedelta(hours=9))
    assert report.evaluated == 9
    assert report.lines[-1] == (
        "back after 9 hours: 9 hours judged late, 0 alerts meanwhile, told in one summary"
    )
    with sqlite.begin() as connection:
        kinds = connection.execute(select(outbox.c.kind).order_by(outbox.c.id)).scalars().all()
    assert (count(sqlite, alert), kinds) == (1, ["alert", "offline"])


def test_a_surge_ends_and_a_return_is_the_same_alert(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, crisis_feed: Crisis, tmp_path: Path
) -> None:
    fill(sqlite, HOUR - timedelta(hours=2), 40)
    watch = monitor(sqlite, labeller, tmp_path, serving(crisis_feed(HOUR)))
    watch.tick(NOW)
    watch.tick(NOW + timedelta(days=5))
    with sqlite.begin() as connection:
        row = connection.execute(select(alert)).one()
    assert row.state == "resolved"
    assert row.resolved_at is not None
    assert HOUR + timedelta(hours=20) < row.resolved_at <= HOUR + timedelta(hours=75)


def test_a_refusing_mail_server_delays_the_mail_and_loses_nothing(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, crisis_feed: Crisis, tmp_path: Path
) -> None:
    class Refusing:
        def send(self, _message: object) -> None:
            raise DeliveryError("mail server mx:25 cannot be reached: Connection refused")

    fill(sqlite, HOUR - timedelta(hours=2), 40)
    client = serving(crisis_feed(HOUR))
    watch = Monitor(sqlite, settings(), labeller, Refusing(), client=client)
    report = watch.tick(NOW)
    assert report.mails.waiting == 1
    assert "mail server mx:25 cannot be reached: Connection refused; kept" in report.lines[-1]
    later = monitor(sqlite, labeller, tmp_path, client).tick(NOW + timedelta(minutes=2))
    assert later.mails.sent == 1


def test_two_monitors_on_one_database_make_one_alert(
    engine: Engine, labeller: LabelTexts, fill: Fill, crisis_feed: Crisis, tmp_path: Path
) -> None:
    fill(engine, HOUR - timedelta(hours=2), 40)
    client = serving(crisis_feed(HOUR))
    first = monitor(engine, labeller, tmp_path, client)
    second = monitor(engine, labeller, tmp_path, client)
    reports = [first.tick(NOW), second.tick(NOW), second.tick(NOW + timedelta(hours=1))]
    reports.append(first.tick(NOW + timedelta(hours=1)))
    assert [len(report.alerts) for report in reports] == [1, 0, 0, 0]
    assert [report.evaluated for report in reports] == [1, 0, 1, 0]
    assert (count(engine, alert), count(engine, outbox)) == (1, 1)


def test_feeds_taken_off_the_list_are_no_longer_asked(
    sqlite: Engine, crisis_feed: Crisis, tmp_path: Path
) -> None:
    client = serving(crisis_feed(HOUR))
    monitor(sqlite, None, tmp_path, client).tick(NOW)
    other = monitor(sqlite, None, tmp_path, client, feeds=("https://new.example/f",))
    report = other.tick(NOW + timedelta(hours=1))
    assert [row.url for row in report.sources] == ["https://new.example/f"]


def test_a_topic_the_model_does_not_know_is_one_clear_line(
    sqlite: Engine, labeller: LabelTexts, crisis_feed: Crisis, tmp_path: Path
) -> None:
    watch = monitor(sqlite, labeller, tmp_path, serving(crisis_feed(HOUR)), topics=("Airlnies",))
    with pytest.raises(SettingsError) as caught:
        watch.tick(NOW)
    assert str(caught.value) == (
        "[news] topics = 'Airlnies' is no topic of model words@1; it knows: Airlines, Banks, Oil"
    )


def test_old_logs_are_forgotten(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, crisis_feed: Crisis, tmp_path: Path
) -> None:
    fill(sqlite, HOUR - timedelta(hours=2), 40)
    watch = monitor(sqlite, labeller, tmp_path, serving(crisis_feed(HOUR)))
    watch.tick(NOW)
    assert watch.upkeep(NOW + timedelta(days=29)) == 0
    assert watch.upkeep(NOW + timedelta(days=31)) == 2
    assert watch.upkeep(NOW + timedelta(days=91)) == 9 + 3
    assert count(sqlite, alert) == 1


def test_the_jobs_are_functions_of_a_monitor_and_a_moment(
    sqlite: Engine, crisis_feed: Crisis, tmp_path: Path
) -> None:
    watch = monitor(sqlite, None, tmp_path, serving(crisis_feed(HOUR)))
    every = {job.name: job.seconds for job in JOBS}
    assert every == {"news.tick": 60, "news.shadow": 60, "news.upkeep": 86400}
    assert JOBS[0].run(watch, NOW).new == 12
    assert JOBS[1].run(watch, NOW) is None
    assert JOBS[2].run(watch, NOW) == 0


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        function(*arguments, **named)
        _die()

    return run


CUTS: dict[str, tuple[Any, str, bool]] = {
    "before a feed is asked": (monitor_module, "fetch", False),
    "after a feed was read": (FeedParser, "parse", True),
    "inside the transaction of a source": (monitor_module, "ingest", True),
    "before labelling": (label_rounds_module, "label_pending", False),
    "after labelling": (label_rounds_module, "label_pending", True),
    "inside the transaction of the alert": (opening_module, "open_alert", True),
    "after judging": (Monitor, "judge", True),
    "after a mail was claimed": (outbox_module, "compose", False),
    "after a mail was sent": (OutboxMailer, "send", True),
    "after delivery": (monitor_module, "deliver_due", True),
}


@pytest.mark.parametrize("cut", CUTS)
def test_killed_anywhere_one_outbox_row_remains_and_is_sent(
    cut: str,
    labeller: LabelTexts,
    fill: Fill,
    crisis_feed: Crisis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"sqlite:///{tmp_path / 'news.db'}"
    engine = create_engine(url)
    box, client = tmp_path / "outbox", serving(crisis_feed(HOUR))
    monitor(engine, None, box, client, feeds=())
    fill(engine, HOUR - timedelta(hours=2), 40)
    engine.dispose()
    place, name, after = CUTS[cut]

    def doomed() -> None:
        monkeypatch.setattr(place, name, _die_after(getattr(place, name)) if after else _die)
        monitor(create_engine(url), labeller, box, client).tick(NOW)

    child = multiprocessing.get_context("fork").Process(target=doomed)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    engine = create_engine(url)
    watch = monitor(engine, labeller, box, client)
    # Half an hour on, the feed's turn has come again and the dead sender's lease is over.
    watch.tick(NOW + timedelta(minutes=35))
    watch.tick(NOW + timedelta(minutes=65))
    with engine.begin() as connection:
        (row,) = connection.execute(select(outbox)).all()
    (file,) = box.glob("*.eml")
    assert row.state == "sent"
    assert f"Message-ID: {row.message_id}".encode() in file.read_bytes()
    assert (count(engine, alert), count(engine, item)) == (1, 972)
    engine.dispose()


def test_a_clock_that_jumps_back_judges_nothing_twice(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, crisis_feed: Crisis, tmp_path: Path
) -> None:
    fill(sqlite, HOUR - timedelta(hours=2), 40)
    watch = monitor(sqlite, labeller, tmp_path, serving(crisis_feed(HOUR)))
    watch.tick(NOW)
    assert watch.tick(NOW - timedelta(hours=3)).evaluated == 0
    assert count(sqlite, outbox) == 1


def test_a_changed_rule_begins_anew_beside_the_old_one(
    sqlite: Engine, labeller: LabelTexts, fill: Fill, crisis_feed: Crisis, tmp_path: Path
) -> None:
    fill(sqlite, HOUR - timedelta(hours=2), 40)
    client = serving(crisis_feed(HOUR))
    monitor(sqlite, labeller, tmp_path, client).tick(NOW)
    monitor(sqlite, labeller, tmp_path, client, topics=("Banks",)).tick(NOW)
    assert count(sqlite, detector_config) == 2


def test_fetch_settings_reach_the_feed_client() -> None:
    with pytest.raises(ValueError, match="every_minutes"):
        FetchSettings(every_minutes=0)


def test_a_source_switched_off_in_the_settings_can_come_back(
    sqlite: Engine, crisis_feed: Crisis, tmp_path: Path
) -> None:
    client = serving(crisis_feed(HOUR))
    watch = monitor(sqlite, None, tmp_path, client)
    watch.tick(NOW)
    with sqlite.begin() as connection:
        connection.execute(update(source).values(enabled=False))
    assert len(watch.tick(NOW + timedelta(hours=1)).sources) == 1
