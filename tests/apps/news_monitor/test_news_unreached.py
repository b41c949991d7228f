"""A host that is down costs a round one try, however many feeds of it there are."""

from datetime import UTC, datetime
from pathlib import Path

import httpx
from sqlalchemy import Engine

from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.public_addresses import PublicTransport
from apps.news_monitor.settings import NewsSettings

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
NOBODY = 9
"""A port of loopback where nothing listens."""


def test_after_one_failed_connection_the_other_feeds_of_a_host_are_not_tried(
    sqlite: Engine, tmp_path: Path
) -> None:
    asked: list[str] = []

    def resolver(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    hosts = ("down.example", "other.example")
    feeds = tuple(f"http://{host}:{NOBODY}/{n}" for host in hosts for n in range(3))
    watch = Monitor(
        sqlite,
        NewsSettings(feeds=feeds),
        None,
        OutboxMailer(tmp_path),
        client=lambda: httpx.Client(transport=PublicTransport(hosts, resolver=resolver)),
    )
    report = watch.tick(NOW)
    assert sorted(asked) == ["down.example", "other.example"]
    assert [(row.url, row.status, row.problem) for row in report.sources if "down" in row.url] == [
        (feeds[0], "failed", "[Errno 111] Connection refused"),
        *(
            (
                feed,
                "failed",
                "not asked: down.example was not reached for another feed of it in this round",
            )
            for feed in feeds[1:3]
        ),
    ]
    asked.clear()
    watch.tick(NOW.replace(hour=15))
    assert sorted(asked) == ["down.example", "other.example"]  # each round tries anew


def test_a_feed_that_fails_otherwise_holds_up_no_other(sqlite: Engine, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        raise httpx.ReadTimeout("no answer", request=request)

    watch = Monitor(
        sqlite,
        NewsSettings(feeds=("https://a.example/1", "https://a.example/2")),
        None,
        OutboxMailer(tmp_path),
        client=lambda: httpx.Client(transport=httpx.MockTransport(answer)),
    )
    watch.tick(NOW)
    assert asked == ["/1", "/2"]
