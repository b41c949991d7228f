"""Feeds of every sort, good and bad, into entries."""

from datetime import UTC, datetime

import pytest

from apps.news_monitor.parsing import ParsedFeed, parse_feed, without_doctype

URL = "https://news.example/feed"


def parse(body: bytes | str, content_type: str = "") -> ParsedFeed:
    raw = body if isinstance(body, bytes) else body.encode()
    return parse_feed(raw, url=URL, content_type=content_type)


def rss(items: str, head: str = "") -> str:
    channel = f"<channel><title>Wire</title>{items}</channel>"
    return f"<?xml version='1.0'?>{head}<rss version='2.0'>{channel}</rss>"


def test_rss_gives_titles_links_dates_and_publisher() -> None:
    feed = parse(
        rss(
            "<item><title>Oil falls</title><link>https://a.example/1</link>"
            "<guid isPermaLink='false'>g1</guid>"
            "<description>It &lt;b&gt;fell&lt;/b&gt;.</description>"
            "<pubDate>Tue, 03 Mar 2026 10:00:00 +0100</pubDate>"
            "<source url='https://b.example'>Agency</source></item>"
        )
    )
    assert (feed.title, feed.problem) == ("Wire", "")
    (entry,) = feed.entries
    assert (entry.title, entry.url, entry.guid) == ("Oil falls", "https://a.example/1", "g1")
    assert entry.published == datetime(2026, 3, 3, 9, tzinfo=UTC)
    assert entry.publisher == "Agency"


def test_atom_links_are_made_whole() -> None:
    feed = parse(
        "<feed xmlns='http://www.w3.org/2005/Atom'><title>A</title><entry><title>T</title>"
        "<link href='/x'/><id>i</id><updated>2026-03-03T09:00:00Z</updated></entry></feed>"
    )
    assert feed.entries[0].url == "https://news.example/x"
    assert feed.entries[0].published == datetime(2026, 3, 3, 9, tzinfo=UTC)


def test_json_feed() -> None:
    feed = parse(
        '{"version":"https://jsonfeed.org/version/1.1","title":"J","items":['
        '{"id":7,"url":"/7","title":"T","content_text":"c","date_published":"2026-03-03T09:00:00+00:00"},'
        '"nonsense"]}'
    )
    assert feed.problem == "malformed: 1 items are no objects"
    (entry,) = feed.entries
    assert (entry.guid, entry.url, entry.summary) == ("7", "https://news.example/7", "c")
    assert entry.published == datetime(2026, 3, 3, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"  \n", "the feed is empty (0 bytes)"),
        (b"<html><body>login</body></html>", "not a feed: neither RSS nor Atom nor JSON Feed"),
        (b"hello", "not a feed: neither RSS nor Atom nor JSON Feed"),
        (b'{"error": 1}', "not a feed: JSON without a list of items"),
        (b"/etc/hostname", "not a feed: neither RSS nor Atom nor JSON Feed"),
        (b"http://127.0.0.1/x", "not a feed: neither RSS nor Atom nor JSON Feed"),
    ],
)
def test_what_is_no_feed_says_so(body: bytes, problem: str) -> None:
    feed = parse(body)
    assert (feed.entries, feed.problem) == ((), problem)


def test_broken_json_is_one_line() -> None:
    assert parse(b'{"items": [').problem.startswith("not readable as a JSON Feed (")


def test_good_entries_of_a_torn_feed_are_kept() -> None:
    feed = parse(
        rss("<item><title>One</title></item><item><title>Two</title>")[: -len("</channel></rss>")]
    )
    assert [entry.title for entry in feed.entries] == ["One", "Two"]
    assert feed.problem.startswith("malformed: ")


def test_a_wrong_charset_in_the_header_or_the_file_is_survived() -> None:
    text = rss("<item><title>Börse fällt</title></item>")
    declared = text.replace("version='1.0'", "version='1.0' encoding='utf-8'")
    assert parse(declared.encode("latin-1")).entries[0].title == "Börse fällt"
    latin = text.replace("version='1.0'", "version='1.0' encoding='iso-8859-1'")
    assert (
        parse(latin.encode("latin-1"), "text/xml; charset=iso-8859-1").entries[0].title
        == "Börse fällt"
    )


BOMB = "<!DOCTYPE r [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + i)} '{('&' + chr(97 + i) + ';') * 10}'>" for i in range(9)
) + "]>"  # fmt: skip


@pytest.mark.parametrize(
    "head",
    [
        BOMB,
        "<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
        "<!DOCTYPE r [<!ENTITY x 'yyyyy" + "y" * 200 + "'>]>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entity_definitions_are_refused(head: str, encoding: str) -> None:
    body = rss("<item><title>&x;</title></item>", head).encode(encoding)
    feed = parse(body)
    assert feed.entries == ()
    assert feed.problem == "declares entities in a document type definition (DTD), which is refused"


def test_a_harmless_definition_is_cut_away() -> None:
    head = '<!DOCTYPE rss PUBLIC "-//Netscape//DTD RSS 0.91//EN" "http://x.example/rss.dtd">'
    body = rss("<item><title>One</title></item>", head).encode()
    assert b"DOCTYPE" not in without_doctype(body)
    assert [entry.title for entry in parse(body).entries] == ["One"]


def test_text_about_entities_is_no_definition() -> None:
    text = rss("<item><title><![CDATA[How <!ENTITY works]]></title></item>")
    assert len(parse(text).entries) == 1


def test_dates_that_are_none_are_left_out() -> None:
    feed = parse(rss("<item><title>A</title><pubDate>32 Foo 2026</pubDate></item>"))
    assert feed.entries[0].published is None


SYNDICATION = "xmlns:sy='http://purl.org/rss/1.0/modules/syndication/'"


@pytest.mark.parametrize(
    ("said", "minutes"),
    [("", None), ("<ttl>45</ttl>", 45), ("<ttl>-5</ttl>", None), ("<ttl>soon</ttl>", None),
     ("<ttl>99999999999999999999</ttl>", None),
     ("<sy:updatePeriod> Hourly </sy:updatePeriod>", 60),
     ("<sy:updatePeriod>daily</sy:updatePeriod><sy:updateFrequency>4</sy:updateFrequency>", 360),
     ("<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>0</sy:updateFrequency>", 60),
     ("<ttl>30</ttl><sy:updatePeriod>hourly</sy:updatePeriod>", 60)],
)  # fmt: skip
def test_how_often_a_feed_says_it_is_made_anew(said: str, minutes: float | None) -> None:
    body = rss(said).replace("<rss ", f"<rss {SYNDICATION} ")
    assert parse(body).own_minutes == minutes


def test_only_so_many_entries_are_taken() -> None:
    body = rss("".join(f"<item><title>{n}</title></item>" for n in range(30))).encode()
    assert len(parse_feed(body, url=URL, limit=10).entries) == 10
