"""`triptych benchmark pages`: how long the news pages' queries take where much is stored.

A database is filled with invented rows, a year of them, and every query of every page is timed on
it. The rows are made by SQLite itself: numbers that look random, but are the same each time.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from apps.news_monitor.attention import attention_since
from apps.news_monitor.backlog import Backlog
from apps.news_monitor.bucket_counts import at_hour, rebuild_buckets
from apps.news_monitor.company_data import company_lines, company_stories
from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.label_drift import read_drift
from apps.news_monitor.laboratory import stored_models
from apps.news_monitor.memos import note
from apps.news_monitor.page_data import (
    alert_rows,
    alerts_about,
    coverage_now,
    last_detector,
    reading,
    topic_tiles,
    topic_trend,
)
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.shadow import PROGRESS, Progress, start
from apps.news_monitor.shadow_difference import label_difference
from apps.news_monitor.shadow_view import shadow_view
from apps.news_monitor.source_data import answers_of_feeds, last_answers, source_frame
from apps.news_monitor.story_data import newest_stories, tellings, to_review, topic_stories
from apps.news_monitor.tables import MIGRATIONS, VERSION_TABLE
from apps.news_monitor.why_no_alert import held_back, judged_topics, why
from shared.storage import create_engine, upgrade

END = datetime(2026, 7, 1, tzinfo=UTC)
DAYS = 365
SOURCES, TOPICS, COMPANIES, ALERTS = 50, 20, 100, 500
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
MODEL, SHADOW = 1, 2
SHADOWED = 20  # one story in so many was labelled by the shadow too, the newest ones
FEED = "https://feed.example/1"
HOURLY = {"bucket_hours": 1}
CONFIGS = {"topics": 1, "companies": 2}


@dataclass(frozen=True)
class QueryTime:
    """seconds: the median of several calls; cpu_seconds: of this process alone, which on a machine
    with other work says more."""

    page: str
    query: str
    seconds: float
    cpu_seconds: float


def benchmark_pages(
    rows: int, say: Callable[[str], None], *, repeats: int = 3, days: int = DAYS
) -> list[QueryTime]:
    """Fill a database with `rows` items of so many days and time each query of each page."""
    with tempfile.TemporaryDirectory(prefix="triptych-pages-") as folder:
        url = f"sqlite:///{Path(folder) / 'pages.db'}"
        begun = time.monotonic()
        fill(url, rows, days)
        size = (Path(folder) / "pages.db").stat().st_size / 2**20
        say(f"{rows} items, {size:.0f} MiB, made in {time.monotonic() - begun:.0f} s")
        with reading(url) as connection:
            assert connection is not None
            found = [_timed(connection, *query, repeats) for query in queries(connection)]
    for one in found:
        say(
            f"  {one.page:<12} {one.query:<34} {one.seconds * 1000:8.0f} ms "
            f"({one.cpu_seconds * 1000:.0f} ms of processor)"
        )
    return found


Query = tuple[str, str, Callable[[Connection], object]]


def queries(connection: Connection) -> Sequence[Query]:
    """What each page reads, as it reads it."""
    topics = last_detector(connection)
    companies = last_detector(connection, companies=True)
    assert topics is not None
    assert companies is not None
    name, title = next(iter(topics.topics)), next(iter(companies.topics))
    first, later = Backlog.of(connection, MODEL), Backlog.of(connection, MODEL)
    later.low = 0  # as the first round leaves it
    week, month = topics.until - timedelta(days=7), topics.until - timedelta(days=28)
    return (
        ("overview", "the configuration", last_detector),
        ("overview", "tiles", lambda c: topic_tiles(c, topics)),
        ("topic", "trend by day, 90 days", lambda c: topic_trend(c, topics, name, 90)),
        ("topic", "trend by hour, 7 days", lambda c: topic_trend(c, topics, name, 7, **HOURLY)),
        ("topic", "alerts", lambda c: alerts_about(c, topics, name)),
        ("topic", "why no alert", lambda c: why(c, name)),
        ("sources", "what they bring", source_frame),
        ("sources", "a week's answers", lambda c: answers_of_feeds(c, END)),
        ("sources", "coverage of the topics", lambda c: coverage_now(c, topics)),
        ("sources", "one's last answers", lambda c: last_answers(c, FEED)),
        ("alerts", "the newest 200 with evidence", alert_rows),
        ("alerts", "held back, 7 days", lambda c: held_back(c, week)),
        ("alerts", "attention, 28 days", lambda c: attention_since(c, month)),
        ("alerts", "topics that were judged", judged_topics),
        ("alerts", "why no alert", lambda c: why(c, name, topics.until)),
        ("companies", "all of them", lambda c: company_lines(c, companies)),
        ("companies", "one's trend, 90 days", lambda c: topic_trend(c, companies, title, 90)),
        ("companies", "one's stories", lambda c: company_stories(c, companies, title)),
        ("companies", "one's alerts", lambda c: alerts_about(c, companies, title)),
        ("companies", "why no alert", lambda c: why(c, title)),
        ("stories", "the newest 100", lambda c: newest_stories(c, MODEL)),
        ("stories", "the newest of a topic", lambda c: topic_stories(c, MODEL, 1)),
        ("stories", "one as it was told", lambda c: tellings(c, 4)),
        ("stories", "to be reviewed", lambda c: to_review(c, topics)),
        ("laboratory", "models with stored labels", stored_models),
        ("shadow", "how it stands", lambda c: shadow_view(c, NewsSettings())),
        ("shadow", "labels of both", lambda c: label_difference(c, MODEL, SHADOW)),
        ("(monitor)", "drift of labels, once a day", lambda c: read_drift(c, MODEL, END)),
        ("(monitor)", "labels wanting, first round", lambda c: _wanting(c, first)),
        ("(monitor)", "labels wanting, a later round", lambda c: _wanting(c, later)),
    )


def _wanting(connection: Connection, backlog: Backlog) -> int:
    """What each round of the monitor asks before it judges."""
    return len(backlog.next(connection, 64)) + backlog.count(connection)


def _timed(
    connection: Connection, page: str, query: str, ask: Callable[[Connection], object], repeats: int
) -> QueryTime:
    walls, processor = [], []
    for _ in range(repeats):
        wall, used = time.monotonic(), time.process_time()
        ask(connection)
        walls.append(time.monotonic() - wall)
        processor.append(time.process_time() - used)
    return QueryTime(page, query, sorted(walls)[repeats // 2], sorted(processor)[repeats // 2])


def fill(url: str, rows: int, days: int) -> None:
    """The monitor's tables with `rows` items of so many days and what follows of them."""
    engine = create_engine(url)
    upgrade(engine, MIGRATIONS, VERSION_TABLE)
    try:
        with engine.begin() as connection:
            _names(connection)
            _items(connection, rows, days)
        _buckets(engine, days)
        with engine.begin() as connection:
            _judged(connection, min(days, 90))
            _alerts(connection)
            _logs(connection)
    finally:
        engine.dispose()


def _insert(connection: Connection, table: str, columns: str, values: str, count: int) -> None:
    """`count` rows, each from its number i, by one statement."""
    numbers = NUMBERS.format(count=count)
    connection.exec_driver_sql(f"INSERT INTO {table} ({columns}) {numbers} SELECT {values} FROM n")


def _stamp(expression: str) -> str:
    """Epoch seconds as SQLite keeps times here."""
    return f"strftime('%Y-%m-%d %H:%M:%S.000000', {expression}, 'unixepoch')"


def _names(connection: Connection) -> None:
    now = _stamp(str(int(END.timestamp())))
    _insert(
        connection,
        "news_source",
        "id, url, title, enabled, next_check_at, last_ok_at, last_status, last_error, "
        "error_count, created_at",
        f"i, 'https://feed.example/' || i, 'Feed ' || i, 1, {now}, {now}, 'ok', '', 0, {now}",
        SOURCES,
    )
    _insert(
        connection,
        "news_topic",
        "id, name, enabled",
        f"i, CASE WHEN i <= {TOPICS} THEN 'Topic ' || i ELSE 'Company ' || i END, 1",
        TOPICS + COMPANIES,
    )
    _insert(
        connection,
        "news_company",
        "topic_id, name, ticker, enabled",
        f"i + {TOPICS}, 'Company ' || (i + {TOPICS}), '', 1",
        COMPANIES,
    )
    _insert(
        connection,
        "news_model_version",
        "id, name, fingerprint, first_used_at",
        f"i, 'news@' || i, 'invented ' || i, {now}",
        2,
    )
    for kind, number in CONFIGS.items():
        names = [
            row[0]
            for row in connection.execute(text("SELECT name FROM news_topic ORDER BY id"))
            if row[0].startswith("Topic") == (kind == "topics")
        ]
        described = {"topics": names, "cadence_hours": 1, "rule": RULE}
        if kind == "companies":
            described["companies"] = "invented"
        connection.execute(
            text(
                "INSERT INTO news_detector_config (id, fingerprint, model_id, settings_json, "
                "created_at, evaluated_until) VALUES (:id, :key, 1, :json, :at, :at)"
            ),
            {
                "id": number,
                "key": kind,
                "json": json.dumps(described, sort_keys=True),
                "at": END.strftime("%Y-%m-%d %H:%M:%S.000000"),
            },
        )


RULE = {
    "min_history_days": 14,
    "min_negative": 4,
    "newest_negative": 2,
    "newest_hours": 24,
    "share_ratio": 1.3,
    "share_rise": 0.1,
    "max_count_chance": 0.25,
    "min_publishers": 3,
}


def _items(connection: Connection, rows: int, days: int) -> None:
    """One item in five copies the one before it; topics and companies are unequally large."""
    begin = int((END - timedelta(days=days)).timestamp())
    second = f"({begin} + CAST(i * {days * 86400.0 / (rows + 1)} AS INTEGER))"
    story = "CASE WHEN i % 5 = 0 THEN i - 1 ELSE i END"
    _insert(
        connection,
        "news_item",
        "id, item_key, source_id, url, title, summary, publisher, published_at, fetched_at, "
        "effective_at, hour, date_quality, copy_of, story_id",
        f"i, 'key ' || i, i * 7919 % {SOURCES} + 1, 'https://news.example/' || i, "
        "'An invented headline of ordinary length, number ' || i, '', "
        f"'Publisher ' || (i * 7919 % {SOURCES}), {_stamp(second)}, {_stamp(second)}, "
        f"{_stamp(second)}, {second} / 3600, 'given', "
        f"CASE WHEN i % 5 = 0 THEN i - 1 END, {story}",
        rows,
    )
    chance = "(i * 48271 % 1000) / 1000.0"
    connection.exec_driver_sql(
        "INSERT INTO news_prediction (item_id, model_id, label, p_negative, p_neutral, p_positive, "
        "negative, created_at) SELECT id, 1, CASE WHEN c > 0.85 THEN 'negative' ELSE 'neutral' END,"
        " c, 1 - c, 0, c > 0.85, fetched_at FROM (SELECT id, fetched_at, "
        f"{chance.replace('i *', 'id *')} AS c FROM news_item WHERE copy_of IS NULL)"
    )
    for count, first, step in ((TOPICS, 1, 104729), (COMPANIES, TOPICS + 1, 1299709)):
        draw = f"(id * {step} % 1000) / 1000.0"
        # The square makes the first ones larger than the last.
        place = f"CAST({draw} * {draw} * {count} AS INTEGER) + {first}"
        some = "" if first == 1 else "AND id % 3 = 1"
        connection.exec_driver_sql(
            "INSERT INTO news_item_topic (item_id, model_id, topic_id, score) "
            f"SELECT id, 1, {place}, 0.9 FROM news_item WHERE copy_of IS NULL {some}"
        )
    _shadowed(connection, rows - rows // SHADOWED)


def _shadowed(connection: Connection, after: int) -> None:
    """What a candidate says of the stories after one: otherwise of one in eleven."""
    connection.exec_driver_sql(
        "INSERT INTO news_prediction (item_id, model_id, label, p_negative, p_neutral, p_positive, "
        f"negative, created_at) SELECT item_id, {SHADOW}, CASE WHEN item_id % 11 = 0 THEN "
        "'positive' ELSE label END, p_negative, p_neutral, p_positive, negative, created_at "
        f"FROM news_prediction WHERE item_id > {after}"
    )
    connection.exec_driver_sql(
        "INSERT INTO news_item_topic (item_id, model_id, topic_id, score) SELECT item_id, "
        f"{SHADOW}, topic_id, score FROM news_item_topic WHERE item_id > {after} "
        f"AND topic_id <= {TOPICS}"
    )
    state = Progress("news@2", END - timedelta(days=DAYS / SHADOWED), END, SHADOW)
    note(connection, PROGRESS, state.to_json())
    start(connection, state.model, state.since)


def _buckets(engine: Engine, days: int) -> None:
    last = epoch_hour(END)
    for day in range(days + 1):
        hours = range(last - 24 * (day + 1), last - 24 * day)
        with engine.begin() as connection:
            for model in (MODEL, SHADOW):
                rebuild_buckets(connection, model, hours)


def _judged(connection: Connection, days: int) -> None:
    """So many days, hour by hour: 3 windows a topic; of the companies a moment in four."""
    for config, first, count, every in ((1, 1, TOPICS, 1), (2, TOPICS + 1, COMPANIES, 4)):
        moments = days * 24 // every
        place = f"((i - 1) / {moments}) % {count} + {first}"
        at = _stamp(f"{int(END.timestamp())} - ((i - 1) % {moments}) * {3600 * every}")
        _insert(
            connection,
            "news_evaluation",
            "topic_id, at, config_id, window_hours, stories, negative, usual_share, "
            "expected_count, p_share, p_count, p_volume, score, threshold, gate",
            f"{place}, {at}, {config}, 24 * ((i - 1) / {moments * count} + 1), 30, 4, 0.15, 4.5, "
            "0.6, 0.7, 0.5, 0, 3.5, 'small_rise'",
            moments * count * 3,
        )
        _insert(
            connection,
            "news_decision",
            "config_id, topic_id, at, verdict, score, threshold, coverage, missing_json",
            f"{config}, {place}, {at}, CASE WHEN i % 97 = 0 THEN 'data_health' ELSE 'small_rise' "
            "END, CASE WHEN i % 97 = 0 THEN 4.0 ELSE 0 END, 3.5, 0.9, '[]'",
            moments * count,
        )


def _alerts(connection: Connection) -> None:
    """With evidence of the usual size: 28 days and 20 stories."""
    at = at_hour(epoch_hour(END))
    days = [{"end": at.isoformat(), "stories": 30, "negative": 4, "low": 1, "high": 9}] * 28
    stories = [
        {
            "title": f"An invented headline of ordinary length, number {n}",
            "url": f"https://news.example/{n}",
            "publishers": ["Agency", "Courier", "Gazette"],
            "p_negative": 0.9,
            "at": at.isoformat(),
            "words": ["invented"],
        }
        for n in range(20)
    ]
    figures = {
        "score": 5.0, "threshold": 3.5, "window_hours": 24, "stories": 30, "negative": 12,
        "usual_share": 0.15, "expected": 4.5, "low": 1, "high": 9, "usual_stories": 28.0,
        "p_share": 1e-4, "p_count": 1e-3, "p_volume": 0.4, "false_rate": 0.01,
        "history_days": 84, "learning": False,
    }  # fmt: skip
    health = {"sources_ok": 50, "sources_total": 50, "items": 2000, "copies": 500}
    for number in range(1, ALERTS + 1):
        opened = at - timedelta(hours=number * 17)
        place = number % (TOPICS + COMPANIES) + 1
        evidence = {
            **figures, "topic": f"Topic {place}", "severity": "high", "days": days,
            "opened_at": opened.isoformat(), "evaluated_at": opened.isoformat(),
            "headlines": stories, "moving": [], "health": health, "model": "news@1",
        }  # fmt: skip
        connection.execute(
            text(
                "INSERT INTO news_alert (id, dedupe_key, topic_id, config_id, state, severity, "
                "opened_at, peak_score, revision, evidence_json) VALUES (:id, :key, :topic, 1, "
                "'resolved', 'high', :at, 5.0, 1, :json)"
            ),
            {
                "id": number,
                "key": f"key {number}",
                "topic": place,
                "at": opened.strftime("%Y-%m-%d %H:%M:%S.000000"),
                "json": json.dumps(evidence),
            },
        )


def _logs(connection: Connection) -> None:
    """30 days of fetches every quarter of an hour, and of ticks every minute."""
    end = int(END.timestamp())
    _insert(
        connection,
        "news_fetch_log",
        "source_id, started_at, status, milliseconds, bytes, n_items, n_new, error",
        f"i % {SOURCES} + 1, {_stamp(f'{end} - i * {900 // SOURCES}')}, 'ok', 90, 9000, 40, 1, ''",
        SOURCES * 96 * 30,
    )
    _insert(
        connection,
        "news_job_run",
        "job, started_at, report_json",
        f"'tick', {_stamp(f'{end} - i * 60')}, '{{\"lines\": []}}'",
        30 * 24 * 60,
    )
