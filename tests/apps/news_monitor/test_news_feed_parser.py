"""The parser in its process: it answers as the parser itself, and is ended when it is too slow."""

import os
import sys
from collections.abc import Iterator

import pytest

from apps.news_monitor.feed_parser import FeedParser
from apps.news_monitor.parsing import ParsedFeed, parse_feed

URL = "https://news.example/feed"
RSS = (
    "<rss version='2.0'><channel><title>Wire</title><ttl>30</ttl><item><title>Börse \U0001f600"
    "</title><pubDate>Tue, 03 Mar 2026 10:00:00 GMT</pubDate></item></channel></rss>"
).encode()
# Does what the feed says instead of reading it.
STAND_IN = """
import os, sys, time
from apps.news_monitor.parser_process import serve
from apps.news_monitor.parsing import ParsedFeed
def parse(body, **_):
    if body == b"spin":
        while True: pass
    if body == b"wait": time.sleep(60)
    if body == b"leave": os._exit(3)
    if body == b"fill": bytearray(4 << 30)
    return ParsedFeed(title=body.decode())
serve(parse, sys.stdin.buffer, sys.stdout.buffer)
"""


@pytest.fixture
def stand_in() -> Iterator[FeedParser]:
    parser = FeedParser((sys.executable, "-c", STAND_IN), patience=30)
    yield parser
    parser.close()


def test_it_answers_as_the_parser_itself_does() -> None:
    parser = FeedParser()
    for body in (RSS, b"", b"<html>", b'{"items": [{"id": 1, "title": "\\ud800"}]}', RSS * 2):
        assert parser.parse(body, url=URL) == parse_feed(body, url=URL)
    assert parser.parse(RSS, url=URL, limit=0).entries == ()
    parser.close()
    assert parser.parse(RSS, url=URL).title == "Wire"  # another process
    parser.close()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"spin", "not read within 1 s of processor time: given up"),
        (b"leave", "reading it ended its parser (exit status 3)"),
        (b"fill", "reading it ended its parser (exit status 1)"),
    ],
)
def test_a_parser_that_goes_wrong_costs_one_feed(
    stand_in: FeedParser, body: bytes, problem: str
) -> None:
    assert stand_in.parse(b"one", url=URL, seconds=1) == ParsedFeed(title="one")
    assert stand_in.parse(body, url=URL, seconds=1) == ParsedFeed(problem=problem)
    assert stand_in.parse(b"two", url=URL, seconds=1) == ParsedFeed(title="two")


def test_a_parser_that_waits_is_ended_by_the_clock() -> None:
    parser = FeedParser((sys.executable, "-c", STAND_IN), patience=0.3)
    found = parser.parse(b"wait", url=URL, seconds=1)
    assert found == ParsedFeed(problem="not read within 0.3 s: given up")


def test_it_ends_with_the_monitor() -> None:
    parser = FeedParser()
    parser.parse(RSS, url=URL)
    process = parser._process
    assert process is not None
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()  # as the system does for a monitor that is killed
    assert process.wait(60) == 0
    process.stdout.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
