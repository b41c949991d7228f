"""Feeds from a real server on loopback, the hostile ones too."""

import gzip
import http.server
import random
import threading
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, select

from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.feeds import (
    Fetched,
    FetchStatus,
    feed_client,
    fetch,
    fresh_for,
    next_check,
    retry_after,
)
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.public_addresses import PublicTransport, is_public
from apps.news_monitor.settings import FetchSettings, NewsSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import item, source

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
# Made beforehand: to make it takes longer than an impatient reader waits.
BOMB = gzip.compress(b"\0" * 40_000_000)
RSS = b"<?xml version='1.0'?><rss version='2.0'><channel><title>T</title></channel></rss>"

SURROGATES = rb"""{"title": "\ud800W\u0000ire", "items": [
    {"id": "1", "title": "oil \ud800report", "url": "http://\ud800.com/"},
    {"id": "2\u0000", "title": "bank \u0000report", "url": "http://a\u0000.example/"},
    {"id": "3", "summary": "airline \udfffreport", "url": "http://a.example/\udfff"}]}"""


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        getattr(self, "serve_" + self.path.strip("/").split("?")[0])()

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def serve_plain(self) -> None:
        assert "cookie" not in self.headers
        self.answer(200, RSS, Content_Type="application/rss+xml", ETag='"v1"', Set_Cookie="a=b")

    def serve_conditional(self) -> None:
        if self.headers.get("If-None-Match") == '"v1"':
            self.answer(304, ETag='"v1"')
        else:
            self.serve_plain()

    def serve_kept(self) -> None:
        if self.headers.get("If-None-Match"):
            self.answer(304, Cache_Control="max-age=3000")
        else:
            self.answer(200, RSS, Cache_Control="max-age=2400")

    def serve_zipped(self) -> None:
        self.answer(200, gzip.compress(RSS), Content_Encoding="gzip")

    def serve_deflated(self) -> None:
        raw = zlib.compressobj(wbits=-15)
        self.answer(200, raw.compress(RSS) + raw.flush(), Content_Encoding="deflate")

    def serve_bomb(self) -> None:
        self.answer(200, BOMB, Content_Encoding="gzip")

    def serve_torn(self) -> None:
        self.answer(200, b"\x1f\x8bnonsense", Content_Encoding="gzip")

    def serve_busy(self) -> None:
        self.answer(429, Retry_After="120")

    def serve_down(self) -> None:
        self.answer(503, Retry_After="Sun, 01 Mar 2026 13:00:00 GMT")

    def serve_breaking(self) -> None:
        self.answer(
            200, RSS.replace(b"</title>", b"</title><item><title>Of the torn feed</title></item>")
        )

    def serve_square(self) -> None:
        self.answer(429, Retry_After="\xb2")

    def serve_accented(self) -> None:
        if "If-None-Match" in self.headers or "If-Modified-Since" in self.headers:
            self.answer(400)
        else:
            self.answer(200, RSS, ETag='"\xe9"', Last_Modified="\xe9")

    def serve_unnamed(self) -> None:
        self.answer(302, Location="http://xn--a/")

    def serve_longname(self) -> None:
        self.answer(302, Location=f"http://xn--{'z' * 60}/")

    def serve_surrogates(self) -> None:
        self.answer(200, SURROGATES, Content_Type="application/feed+json")

    def serve_gone(self) -> None:
        self.answer(410)

    def serve_missing(self) -> None:
        self.answer(404)

    def serve_moved(self) -> None:
        self.answer(302, Location="/plain")

    def serve_circle(self) -> None:
        self.answer(302, Location="/circle")

    def serve_inward(self) -> None:
        self.answer(302, Location=f"http://localhost:{self.server.server_port}/plain")  # type: ignore[attr-defined]

    def serve_elsewhere(self) -> None:
        self.answer(302, Location="file:///etc/hostname")

    def serve_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            self.close_connection = True

    def serve_dripping(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.1)
        except OSError:
            pass
        self.close_connection = True

    def serve_drippingheaders(self) -> None:
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(100):
                self.wfile.write(f"X-{number}: y\r\n".encode())
                time.sleep(0.1)
        except OSError:
            pass
        self.close_connection = True

    def serve_hangup(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is the point of these tests."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = Quiet(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


SETTINGS = FetchSettings(allow_hosts=("127.0.0.1",), max_bytes=1_000_000)
# Only for answers that take ten seconds: a loaded machine may need one for any other.
IMPATIENT = SETTINGS.model_copy(update={"total_seconds": 0.8})


def get(address: str, settings: FetchSettings = SETTINGS, **known: str) -> Fetched:
    with feed_client(settings) as client:
        return fetch(client, address, settings, now=NOW, **known)  # type: ignore[arg-type]


def test_a_feed_is_read_and_its_etag_kept(site: str) -> None:
    fetched = get(f"{site}/plain")
    assert (fetched.status, fetched.body, fetched.etag) == (FetchStatus.OK, RSS, '"v1"')
    assert (fetched.content_type, fetched.error) == ("application/rss+xml", "")


def test_what_has_not_changed_is_not_sent_again(site: str) -> None:
    assert get(f"{site}/conditional").status is FetchStatus.OK
    again = get(f"{site}/conditional", etag='"v1"')
    assert (again.status, again.body) == (FetchStatus.NOT_MODIFIED, b"")


@pytest.mark.parametrize("path", ["zipped", "deflated", "moved"])
def test_compression_and_redirects_are_followed(site: str, path: str) -> None:
    assert get(f"{site}/{path}").body == RSS


def test_cookies_are_not_carried_from_feed_to_feed(site: str) -> None:
    with feed_client(SETTINGS) as client:
        for _ in range(2):
            assert fetch(client, f"{site}/plain", SETTINGS, now=NOW).status is FetchStatus.OK


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("busy", FetchStatus.BUSY, "HTTP 429: asked to wait"),
        ("down", FetchStatus.BUSY, "HTTP 503: asked to wait"),
        ("gone", FetchStatus.GONE, "HTTP 410: the feed is gone for good"),
        ("missing", FetchStatus.FAILED, "HTTP 404 Not Found"),
        ("bomb", FetchStatus.FAILED, "larger than 0.953674 MiB"),
        ("endless", FetchStatus.FAILED, "larger than 0.953674 MiB"),
        ("circle", FetchStatus.FAILED, "more than 5 redirects"),
        ("dripping", FetchStatus.FAILED, "no whole answer within 0.8 s"),
        ("drippingheaders", FetchStatus.FAILED, "no whole answer within 0.8 s"),
        (
            "inward",
            FetchStatus.REFUSED,
            "localhost is the private address 127.0.0.1; list 'localhost' under [news.fetch] "
            "allow_hosts if it is meant",
        ),
    ],
)
def test_each_trouble_is_one_line(site: str, path: str, status: FetchStatus, error: str) -> None:
    begun = time.monotonic()
    fetched = get(f"{site}/{path}", IMPATIENT if "0.8 s" in error else SETTINGS)
    if "localhost" in error:
        fetched = Fetched(
            fetched.status, "", error=fetched.error.replace("address ::1", "address 127.0.0.1")
        )
    assert (fetched.status, fetched.error, fetched.body) == (status, error, b"")
    assert time.monotonic() - begun < 9 or "0.8 s" not in error


def test_waits_asked_for_are_kept(site: str) -> None:
    assert get(f"{site}/busy").retry_after == timedelta(seconds=120)
    assert get(f"{site}/down").retry_after == timedelta(hours=1)


@pytest.mark.parametrize("path", ["hangup", "torn"])
def test_broken_answers_are_rows(site: str, path: str) -> None:
    fetched = get(f"{site}/{path}")
    assert fetched.status is FetchStatus.FAILED
    assert fetched.error
    assert "\n" not in fetched.error


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("unnamed", r"InvalidCodepoint: Codepoint U+0080 at position 1 of '\x80' not allowed"),
        ("longname", "IDNAError: Invalid A-label"),
    ],
)
def test_a_redirect_to_a_name_that_is_none_is_a_row(site: str, path: str, error: str) -> None:
    fetched = get(f"{site}/{path}")
    assert (fetched.status, fetched.error) == (FetchStatus.FAILED, error)


def test_a_wish_to_wait_in_other_digits_says_nothing(site: str) -> None:
    fetched = get(f"{site}/square")
    assert (fetched.status, fetched.retry_after) == (FetchStatus.BUSY, None)


def test_what_no_header_can_carry_is_not_sent_back(site: str) -> None:
    fetched = get(f"{site}/accented")
    assert (fetched.status, fetched.etag, fetched.last_modified) == (FetchStatus.OK, None, None)
    # Of a row that was stored before they were left out.
    again = get(f"{site}/accented", etag='"\xe9"', last_modified="\xe9")
    assert again.status is FetchStatus.OK


def test_hostile_feeds_cost_only_themselves(
    engine: Engine, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(copies: CopyIndex, *given: Any) -> list[int]:
        if "of the torn feed" in given[1]:
            raise ValueError("torn")
        return add(copies, *given)

    add = CopyIndex.add
    monkeypatch.setattr(CopyIndex, "add", breaks)
    paths = ("square", "accented", "unnamed", "longname", "surrogates", "breaking", "plain")
    feeds = tuple(f"{site}/{path}" for path in paths)
    settings = NewsSettings(feeds=feeds, fetch=SETTINGS)
    watch = Monitor(engine, settings, None, OutboxMailer(tmp_path), jitter=random.Random(1))
    report = watch.tick(NOW)
    found = {row.url.rpartition("/")[2]: (row.status, row.found, row.new) for row in report.sources}
    assert found == {
        "square": ("busy", 0, 0),
        "accented": ("ok", 0, 0),
        "unnamed": ("failed", 0, 0),
        "longname": ("failed", 0, 0),
        "surrogates": ("ok", 3, 3),
        "breaking": ("failed", 0, 0),
        "plain": ("ok", 0, 0),
    }
    assert f"feed {site}/breaking: ValueError: torn" in report.lines
    with engine.begin() as connection:
        rows = {row.url.rpartition("/")[2]: row for row in connection.execute(select(source))}
        kept = connection.execute(select(item).order_by(item.c.id)).all()
    assert [rows[path].error_count for path in paths] == [1, 0, 1, 1, 0, 1, 0]
    assert rows["surrogates"].title == "Wire"
    assert rows["breaking"].last_error == "ValueError: torn"
    assert sorted((row.title, row.summary, row.url, row.publisher) for row in kept) == [
        ("", "airline report", "", "Wire"),
        ("bank report", "", "", "Wire"),
        ("oil report", "", "", "Wire"),
    ]
    # A second failure in a row waits for twice as long.
    later = rows["breaking"].next_check_at
    watch.tick(later)
    with engine.begin() as connection:
        query = select(source).where(source.c.url == f"{site}/breaking")
        row = connection.execute(query).one()
    every = timedelta(minutes=settings.fetch.every_minutes)
    assert (row.error_count, row.next_check_at - later >= 2 * every) == (2, True)


def test_a_redirect_to_a_file_is_refused(site: str) -> None:
    fetched = get(f"{site}/elsewhere")
    assert fetched.status is FetchStatus.REFUSED
    assert fetched.error.startswith("not an http(s) address: ")


def test_private_addresses_are_refused_unless_named(site: str) -> None:
    fetched = get(f"{site}/plain", FetchSettings())
    assert (fetched.status, fetched.error) == (
        FetchStatus.REFUSED,
        "127.0.0.1 is the private address 127.0.0.1; list '127.0.0.1' under [news.fetch] "
        "allow_hosts if it is meant",
    )
    port = site.rpartition(":")[2]
    assert get(f"{site}/plain", FetchSettings(allow_hosts=(f"127.0.0.1:{port}",))).body == RSS
    other = get(f"{site}/plain", FetchSettings(allow_hosts=("127.0.0.1:1",)))
    assert other.status is FetchStatus.REFUSED


def test_a_name_that_changes_its_address_is_dialled_where_it_was_judged(site: str) -> None:
    port = int(site.rpartition(":")[2])
    answers = iter([["127.0.0.1"], ["127.0.0.1"]])
    transport = PublicTransport(("news.example",), resolver=lambda *_: next(answers))
    with httpx.Client(transport=transport) as client:
        assert client.get(f"http://news.example:{port}/plain").content == RSS
    assert next(answers) == ["127.0.0.1"]  # asked once only


def test_one_private_address_among_public_ones_is_enough() -> None:
    transport = PublicTransport(resolver=lambda *_: ["93.184.216.34", "10.0.0.1"])
    settings = FetchSettings()
    with httpx.Client(transport=transport) as client:
        fetched = fetch(client, "http://news.example/f", settings, now=NOW)
    assert fetched.status is FetchStatus.REFUSED
    assert fetched.error.startswith("news.example is the private address 10.0.0.1")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "fc00::1",
     "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "0.0.0.0", "224.0.0.1", "100.64.0.1",
     "nonsense"],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_public(address: str) -> None:
    assert is_public(address)


def test_unknown_names_and_closed_ports_are_rows() -> None:
    assert get("http://nowhere.invalid/f").error == "the name nowhere.invalid is not known"
    assert get("http://127.0.0.1:9/f").error == "[Errno 111] Connection refused"
    assert get("http://[broken/f").error == "the name %5bbroken is not known"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("-3", None), ("soon", None), ("9" * 40, 86400), (None, None), ("\xb2", None),
     ("Sun, 01 Mar 2026 11:00:00 GMT", 0), ("Sun, 01 Mar 2099 11:00:00 GMT", 86400)],
)  # fmt: skip
def test_retry_after_in_all_its_forms(value: str | None, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_after(value, NOW) == expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, None), ({"Cache-Control": "public, max-age=900"}, 900),
     ({"Cache-Control": "s-maxage=900"}, None), ({"Cache-Control": "no-cache, max-age=900"}, None),
     ({"Cache-Control": "Max-Age=999999999"}, 86400), ({"Cache-Control": "max-age=soon"}, None),
     ({"Expires": "Sun, 01 Mar 2026 12:20:00 GMT"}, 1200), ({"Expires": "0"}, None),
     ({"Expires": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0),
     ({"Cache-Control": "max-age=60", "Expires": "Sun, 01 Mar 2026 12:20:00 GMT"}, 60)],
)  # fmt: skip
def test_how_long_an_answer_holds(headers: dict[str, str], seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert fresh_for(httpx.Headers(headers), NOW) == expected


def test_a_fetched_feed_says_how_long_it_holds(site: str) -> None:
    assert get(f"{site}/kept").fresh_for == timedelta(minutes=40)
    assert get(f"{site}/kept", etag='"v1"').fresh_for == timedelta(minutes=50)
    assert get(f"{site}/plain").fresh_for is None


def test_a_feed_that_changes_seldom_is_asked_seldom_within_bounds() -> None:
    settings = FetchSettings(every_minutes=10, longest_minutes=60)
    fresh = Fetched(FetchStatus.OK, "", fresh_for=timedelta(minutes=30))

    def minutes(fetched: Fetched, own: float | None) -> float:
        pause = None if own is None else timedelta(minutes=own)
        when = next_check(fetched, 0, settings, now=NOW, jitter=0.0, own=pause)
        return (when - NOW) / timedelta(minutes=1)

    assert [minutes(fresh, own) for own in (None, 5, 45, 1440)] == [30, 30, 45, 60]
    assert minutes(Fetched(FetchStatus.NOT_MODIFIED, ""), 45) == 45
    # What failed is tried again as before, and no wish shortens the set interval.
    assert minutes(Fetched(FetchStatus.FAILED, ""), 45) == 10
    assert minutes(Fetched(FetchStatus.OK, "", fresh_for=timedelta(0)), 1) == 10
    # A feed that is asked once an hour is not down after two.
    assert FetchSettings(longest_minutes=240).overdue == timedelta(hours=8)


def test_the_next_check_doubles_with_failures_and_honours_waits() -> None:
    settings = FetchSettings(every_minutes=10)

    def minutes(fetched: Fetched, errors: int, jitter: float = 0.0) -> float:
        when = next_check(fetched, errors, settings, now=NOW, jitter=jitter)
        return (when - NOW) / timedelta(minutes=1)

    ok, failed = Fetched(FetchStatus.OK, ""), Fetched(FetchStatus.FAILED, "")
    assert minutes(ok, 0) == 10
    assert minutes(ok, 0, jitter=0.5) == pytest.approx(10.5)
    assert [minutes(failed, n) for n in (1, 2, 3, 40)] == [10, 20, 40, 1440]
    busy = Fetched(FetchStatus.BUSY, "", retry_after=timedelta(hours=3))
    assert minutes(busy, 1) == 180
    assert minutes(Fetched(FetchStatus.GONE, ""), 1) == 1440
