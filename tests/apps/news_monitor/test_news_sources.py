"""Dropped files, lists of feeds, and a schedule that a restart does not upset."""

import gzip
import os
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Connection, Engine, func, select

import apps.news_monitor.watched_folder as folder_module
from apps.news_monitor.articles import Article
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.feed_list import (
    Feed,
    Imported,
    import_feeds,
    listed_feeds,
    opml_text,
    read_opml,
    remove_feed,
    sync_feeds,
)
from apps.news_monitor.ingest import Ingested, ingest
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import dropped_file, item
from apps.news_monitor.watched_folder import Taken, take_files
from shared.errors import DataError

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
ROWS = pd.DataFrame(
    {
        "published_at": ["2024-01-05T10:00:00Z", "2026-03-11T13:00:00Z"],
        "title": ["Bank <b>admits</b> fraud", "Airline grounds its fleet"],
        "url": ["https://n.example/1?utm_source=x", "https://n.example/2"],
        "source": ["Agency", "Courier"],
    }
)


def drop(folder: Path, name: str, content: bytes | None = None, age: float = 60) -> Path:
    """A file that was written a while ago."""
    path = folder / name
    if content is not None:
        path.write_bytes(content)
    elif name.endswith(".parquet"):
        ROWS.to_parquet(path, index=False)
    elif name.endswith(".jsonl"):
        ROWS.to_json(path, orient="records", lines=True)
    else:
        ROWS.to_csv(path, index=False)
    at = NOW.timestamp() - age
    os.utime(path, (at, at))
    return path


def take(engine: Engine, folder: Path) -> list[Taken]:
    return take_files(engine, folder, CopyIndex(), NOW, lambda _: None)


def test_each_kind_of_file_is_taken_and_the_same_article_is_one(
    engine: Engine, tmp_path: Path
) -> None:
    for name in ("a.csv", "b.jsonl", "c.parquet"):
        drop(tmp_path, name)
    drop(tmp_path, "d.csv.gz", gzip.compress(ROWS.to_csv(index=False).encode()))
    assert [(t.name, t.found, t.new, t.problem) for t in take(engine, tmp_path)] == [
        ("a.csv", 2, 2, ""),
        ("b.jsonl", 2, 0, ""),
        ("c.parquet", 2, 0, ""),
        ("d.csv.gz", 2, 0, ""),
    ]
    assert sorted(p.name for p in (tmp_path / "taken").iterdir()) == [
        "a.csv", "b.jsonl", "c.parquet", "d.csv.gz",
    ]  # fmt: skip
    with engine.begin() as connection:
        rows = connection.execute(select(item).order_by(item.c.effective_at)).all()
    assert [(row.title, row.url, row.publisher) for row in rows] == [
        ("Bank admits fraud", "https://n.example/1", "Agency"),
        ("Airline grounds its fleet", "https://n.example/2", "Courier"),
    ]
    # An archive's dates are believed: as news of last week two years of it would be a surge.
    assert rows[0].effective_at == datetime(2024, 1, 5, 10, tzinfo=UTC)


def test_the_same_content_is_taken_once_whatever_it_is_called(
    sqlite: Engine, tmp_path: Path
) -> None:
    drop(tmp_path, "a.csv")
    assert take(sqlite, tmp_path)[0].new == 2
    drop(tmp_path, "a.csv")
    drop(tmp_path, "again.csv")
    assert [(t.name, t.found, t.problem) for t in take(sqlite, tmp_path)] == [
        ("a.csv", 0, ""), ("again.csv", 0, ""),
    ]  # fmt: skip
    assert take(sqlite, tmp_path) == []
    assert sorted(p.name for p in (tmp_path / "taken").iterdir()) == [
        "2-a.csv", "a.csv", "again.csv",
    ]  # fmt: skip
    with sqlite.begin() as connection:
        assert connection.execute(select(dropped_file.c.name)).scalars().all() == ["a.csv"]


def test_bad_files_are_set_aside_with_the_reason(
    sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "LARGEST", 100_000)
    drop(tmp_path, "bomb.csv.gz", gzip.compress(b"published_at,title\n" + b"x" * 10_000_000))
    drop(tmp_path, "columns.csv", b"a,b\n1,2\n")
    drop(tmp_path, "empty.csv", b"")
    drop(tmp_path, "good.csv", b"published_at,title\n2026-03-11,Fine\nnever,Bad date\n")
    drop(tmp_path, "torn.csv.gz", gzip.compress(b"published_at,title\n" * 99)[:-9])
    drop(tmp_path, "torn.parquet", b"PAR1 and nothing more")
    found = {t.name: t for t in take(sqlite, tmp_path)}
    assert found["bomb.csv.gz"].problem == "bomb.csv.gz: holds more than 0 MiB; cut it in parts"
    assert found["columns.csv"].problem.startswith("columns.csv: no column 'published_at'")
    assert found["empty.csv"].problem == "empty.csv: is empty (0 bytes)"
    assert (found["good.csv"].new, found["good.csv"].rejected) == (1, 1)
    assert "torn.csv.gz: is not a sound gzip file" in found["torn.csv.gz"].problem
    assert "torn.parquet: is not a sound Parquet file" in found["torn.parquet"].problem
    reason = tmp_path / "refused" / "columns.csv.reason.txt"
    assert reason.read_text() == found["columns.csv"].problem + "\n"
    assert (tmp_path / "refused" / "good.rejects.csv").is_file()
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == []


def test_a_date_that_no_clock_shows_costs_its_row_only(sqlite: Engine, tmp_path: Path) -> None:
    good, bad = "2026-03-11T13:00:00Z,Fine\n", "9999-12-31T23:59:59-01:00,Late\n"
    drop(tmp_path, "a.csv", f"published_at,title\nnever,Bad\n{bad}{good}".encode())
    last = "9999-12-31T23:59:59Z,Later\n"  # a date of Python's, and one with no day after it
    drop(tmp_path, "b.csv", f"published_at,title\n{last}".encode())
    for name, unit, number in (("c", "us", 2**62), ("d", "ms", 2**62)):
        at = pa.array([number, 1773234000 * 10 ** (6 if unit == "us" else 3)], pa.timestamp(unit))
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"published_at": at, "title": ["Late", "Also fine"]}), path)
        drop(tmp_path, path.name, path.read_bytes())
    drop(tmp_path, "e.csv")
    found = {t.name: t for t in take(sqlite, tmp_path)}
    told = {name: (t.new, t.rejected, t.problem) for name, t in found.items()}
    assert told["a.csv"] == (1, 2, "")
    assert told["b.csv"] == (
        0,
        0,
        "b.csv: no row can be used; the first: line 2: published_at is 9999-12-31 "
        "23:59:59+00:00, expected a year from 1 to 9998",
    )
    assert told["c.parquet"] == (1, 1, "")
    assert told["d.parquet"] == (0, 1, "")  # what is good in it was in c.parquet too
    assert told["e.csv"][0] == 2
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == []
    rejects = pd.read_csv(tmp_path / "refused" / "a.rejects.csv")
    assert rejects["line"].tolist() == [2, 3]
    assert rejects["reason"][1] == (
        "published_at is '9999-12-31T23:59:59-01:00', expected timestamp"
    )
    assert rejects["row"][1] == bad.strip()
    assert (tmp_path / "refused" / "c.rejects.csv").is_file()


def test_whatever_goes_wrong_with_a_file_is_told_and_the_next_is_taken(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_after(connection: Connection, articles: list[Article], **named: Any) -> Ingested:
        done = ingest(connection, articles, **named)
        if articles[0].title == "Odd news of the day":
            raise ValueError("what nobody\nthought of")
        return done

    monkeypatch.setattr(folder_module, "ingest", fails_after)
    line = b"published_at,title\n2026-03-11T13:00:00Z,Odd news of the day\n"
    drop(tmp_path, "a.csv", line)
    drop(tmp_path, "b.csv", line + b"2026-03-11T12:00:00Z,Other news of the day\n")
    drop(tmp_path, os.fsdecode(b"\xff.csv"))
    found = take(engine, tmp_path)
    assert [(t.name, t.new, t.copies, t.problem) for t in found] == [
        ("a.csv", 0, 0, "a.csv: cannot be stored: ValueError: what nobody thought of"),
        ("b.csv", 2, 0, ""),  # no copy of what was not stored
        ("?.csv", 0, 0, "?.csv: its name is not UTF-8"),
    ]
    with engine.begin() as connection:
        rows = connection.execute(select(dropped_file.c.name, dropped_file.c.problem)).all()
    assert [tuple(row) for row in rows] == [("a.csv", found[0].problem), ("b.csv", "")]
    assert list(tmp_path.glob("*.csv")) == []


def test_what_is_not_whole_or_not_a_file_of_news_is_left_alone(
    sqlite: Engine, tmp_path: Path
) -> None:
    drop(tmp_path, "growing.csv", age=3)
    drop(tmp_path, ".hidden.csv")
    drop(tmp_path, "copying.csv.part", b"x")
    drop(tmp_path, "readme.txt", b"x")
    (tmp_path / "link.csv").symlink_to("/etc/hostname")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(p.name for p in tmp_path.iterdir())
    assert take(sqlite, tmp_path) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    with pytest.raises(DataError, match="cannot be read: No such file or directory"):
        take(sqlite, tmp_path / "none")


def test_killed_between_storing_and_moving_a_file_is_not_taken_twice(
    sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(tmp_path, "a.csv")
    with monkeypatch.context() as broken:
        broken.setattr(folder_module, "_put_away", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            take(sqlite, tmp_path)
    assert [(t.found, t.new) for t in take(sqlite, tmp_path)] == [(0, 0)]
    with sqlite.begin() as connection:
        assert connection.execute(select(func.count()).select_from(item)).scalar_one() == 2


def test_the_backlog_of_a_new_feed_without_dates_raises_nothing_and_its_news_does(
    sqlite: Engine,
    labeller: LabelTexts,
    fill: Callable[[Engine, datetime, int], None],
    crisis_feed: Callable[[datetime], bytes],
    tmp_path: Path,
) -> None:
    hour = NOW.replace(minute=0)
    fill(sqlite, hour - timedelta(hours=2), 40)
    backlog = re.sub(rb"<pubDate>.*?</pubDate>", b"", crisis_feed(hour))
    fresh = re.sub(rb"(<title>airline crash |n\.example/)(\d)", rb"\g<1>7\2", backlog)
    bodies = [backlog, backlog, fresh, fresh]

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(bodies.pop(0)))

    watch = Monitor(
        sqlite,
        NewsSettings(feeds=("https://new.example/f",)),
        labeller,
        OutboxMailer(tmp_path),
        client=lambda: httpx.Client(transport=httpx.MockTransport(answer)),
        jitter=random.Random(1),
    )
    reports = [watch.tick(NOW + timedelta(hours=hours)) for hours in (0, 1, 2, 3)]
    assert [report.new for report in reports] == [12, 0, 12, 0]
    assert [len(report.alerts) for report in reports] == [0, 0, 0, 1]
    with sqlite.begin() as connection:
        undated = select(item.c.effective_at).where(item.c.date_quality == "missing")
        times = connection.execute(undated.order_by(item.c.id)).scalars().all()
    assert set(times[:12]) == {NOW - timedelta(days=7)}
    assert set(times[12:]) == {NOW + timedelta(hours=2)}


OPML = b"""<?xml version="1.0"?><opml version="1.1"><head><title>Mine</title></head><body>
<outline text="Markets"><outline type="rss" text="Wire &amp; more" xmlUrl="https://wire.example/rss"/>
<outline text="Courier" XMLURL="https://courier.example/f?a=1&amp;b=2" htmlUrl="https://c.example"/>
</outline><outline text="no feed"/><outline text="bad" xmlUrl="javascript:alert(1)"/>
<outline text="Wire again" xmlUrl="https://wire.example/rss"/></body></opml>"""


def test_a_list_of_feeds_is_imported_exported_and_removed(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "in.opml").write_bytes(OPML)
    feeds = read_opml(tmp_path / "in.opml")
    with engine.begin() as connection:
        sync_feeds(connection, ("https://own.example/rss",), NOW)
        done = import_feeds(connection, feeds, NOW)
        again = import_feeds(connection, feeds, NOW)
        sync_feeds(connection, ("https://own.example/rss",), NOW)  # as every round does
        listed = listed_feeds(connection)
    bad = "expected http:// or https:// addresses, not 'javascript:alert(1)'"
    assert (done, again) == (Imported(2, 0, (bad,)), Imported(0, 2, (bad,)))
    assert [(one.url, one.origin) for one in listed] == [
        ("https://courier.example/f?a=1&b=2", "import"),
        ("https://own.example/rss", "settings"),
        ("https://wire.example/rss", "import"),
    ]
    text = opml_text([Feed(one.url, one.title) for one in listed])
    (tmp_path / "out.opml").write_text(text)
    assert read_opml(tmp_path / "out.opml") == [
        Feed("https://courier.example/f?a=1&b=2", "Courier"),
        Feed("https://own.example/rss", "https://own.example/rss"),
        Feed("https://wire.example/rss", "Wire again"),
    ]
    with engine.begin() as connection:
        remove_feed(connection, "https://wire.example/rss")
        sync_feeds(connection, ("https://own.example/rss",), NOW)
        assert len(listed_feeds(connection)) == 2
        with pytest.raises(DataError, match=r"own\.example/rss: no imported feed; those of"):
            remove_feed(connection, "https://own.example/rss")
        assert import_feeds(connection, feeds, NOW).added == 1  # back again


def test_a_hostile_list_is_refused(tmp_path: Path) -> None:
    declared = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    bomb = declared + b'<opml><outline text="&b;"/></opml>'
    file = tmp_path / "x.opml"
    for content, said in (
        (bomb, "declares entities, which is refused"),
        (b"<opml><outline", "is not sound XML: unclosed token: line 1, column 6"),
        (b"", "is not sound XML: no element found: line 1, column 0"),
        (b"<rss/>", "is no OPML file: its first element is <rss>"),
        (b"<opml>" + b"<outline xmlUrl='http://a.example'/>" * 10_001 + b"</opml>",
         "lists more than 10000 feeds"),
        (b" " * (10 * 1024 * 1024 + 1), "is larger than 10 MiB"),
    ):  # fmt: skip
        file.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_opml(file)
        assert str(caught.value) == f"{file}: {said}"
    deep = b"<opml>" + b"<outline>" * 100_000 + b"</outline>" * 100_000 + b"</opml>"
    file.write_bytes(deep)
    assert read_opml(file) == []


def test_a_restart_makes_no_burst_and_keeps_each_feeds_own_time(
    sqlite: Engine, tmp_path: Path, crisis_feed: Callable[[datetime], bytes]
) -> None:
    asked: list[tuple[int, str]] = []
    minute = 0

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((minute, str(request.url.host)))
        return httpx.Response(200, stream=httpx.ByteStream(crisis_feed(NOW)))

    def tick(feeds: tuple[str, ...]) -> None:
        """By a monitor that has just been started."""
        watch = Monitor(
            sqlite,
            NewsSettings(feeds=feeds),
            None,
            OutboxMailer(tmp_path),
            client=lambda: httpx.Client(transport=httpx.MockTransport(answer)),
            jitter=random.Random(1),
        )
        watch.tick(NOW + timedelta(minutes=minute))

    first, second = "https://one.example/f", "https://two.example/f"
    for minute in (0, 1, 5, 6, 14, 15, 16, 17, 20, 21, 22, 31, 32, 36, 37):
        tick((first,) if minute < 5 else (first, second))
    # Every 15 minutes, a little later each time, by a jitter of up to a tenth.
    assert [at for at, host in asked if host == "one.example"] == [0, 16, 32]
    assert [at for at, host in asked if host == "two.example"] == [5, 21, 37]
