"""Canonical addresses, plain text, dates, and what counts as a copy."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.news_monitor.articles import articles_of, canonical_url, effective_time, plain_text
from apps.news_monitor.parsing import Entry
from apps.news_monitor.stories import CopyIndex, same_numbers, story_text

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("HTTPS://News.Example:443/a?utm_source=x&b=2&a=1#top", "https://news.example/a?a=1&b=2"),
        ("http://news.example", "http://news.example/"),
        ("http://news.example:8080/ä b", "http://news.example:8080/%C3%A4%20b"),
        ("http://[2001:db8::1]/x", "http://[2001:db8::1]/x"),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("/relative", ""),
        ("http://news.example:port/", ""),
        ("http://[broken/", ""),
        ("http://news.example/\ud800", ""),
        ("http://\ud800.example/", ""),
        ("http://news\0.example/", ""),
        ("", ""),
    ],
)
def test_addresses_become_canonical(given: str, expected: str) -> None:
    assert canonical_url(given) == expected


def test_markup_scripts_and_entities_are_gone() -> None:
    markup = "<p>Profit &amp; loss<script>alert(1)</script> at&nbsp;<b>AT&amp;T</b>\n\n now</p>"
    assert plain_text(markup, 100) == "Profit & loss at AT&T now"
    assert plain_text("x" * 50, 10) == "x" * 9 + "…"
    assert plain_text("a\ud800b\0c", 10) == "abc"


@pytest.mark.parametrize(
    ("published", "expected", "quality"),
    [
        (None, NOW, "missing"),
        (NOW - timedelta(hours=3), NOW - timedelta(hours=3), "given"),
        (NOW + timedelta(minutes=5), NOW, "given"),
        (datetime(2099, 1, 1, tzinfo=UTC), NOW, "future"),
        (datetime(1999, 1, 1, tzinfo=UTC), NOW - timedelta(days=7), "old"),
    ],
)
def test_dates_are_clamped_and_judged(
    published: datetime | None, expected: datetime, quality: str
) -> None:
    assert effective_time(published, NOW) == (expected, quality)


def keys(*entries: Entry) -> list[str]:
    return [article.key for article in articles_of(entries, publisher="P", fetched=NOW)]


def test_an_article_keeps_its_key_when_it_is_read_again() -> None:
    first = Entry(url="https://a.example/1?utm_medium=rss", title="Old title", guid="1")
    again = Entry(url="https://a.example/1", title="New title", guid="2")
    assert keys(first) == keys(again)


def test_entries_that_share_an_address_stay_apart() -> None:
    home = "https://a.example/"
    assert len(set(keys(Entry(url=home, title="A"), Entry(url=home, title="B")))) == 2


def test_a_revision_counter_in_the_guid_is_no_new_article() -> None:
    assert keys(Entry(guid="bbc#0", title="T")) == keys(Entry(guid="bbc#3", title="T"))


def test_a_new_feeds_backlog_without_dates_is_history_and_what_follows_is_news() -> None:
    undated = Entry(url="https://a.example/1", title="T")
    dated = Entry(url="https://a.example/2", title="U", published=NOW)

    def times(first_read: bool) -> list[tuple[datetime, str]]:
        found = articles_of([undated, dated], publisher="P", fetched=NOW, first_read=first_read)
        return [(article.effective_at, article.date_quality) for article in found]

    assert times(True) == [(NOW - timedelta(days=7), "missing"), (NOW, "given")]
    assert times(False) == [(NOW, "missing"), (NOW, "given")]


def test_what_stays_in_a_feed_is_one_article_on_each_day() -> None:
    old = datetime(2019, 5, 1, tzinfo=UTC)
    for entry in (Entry(title="T"), Entry(title="T", published=old)):
        found = {
            article.key
            for day in range(3)
            for article in articles_of(
                [entry], publisher="P", fetched=NOW + timedelta(days=day), first_read=day == 0
            )
        }
        assert len(found) == 1
    days = [Entry(title="T", published=NOW - timedelta(days=n)) for n in range(2)]
    assert len(set(keys(*days))) == 2


def test_entries_without_text_are_left_out_and_repeats_too() -> None:
    one = Entry(url="https://a.example/1", title="T")
    found = articles_of([one, Entry(url="https://a.example/2"), one], publisher="P", fetched=NOW)
    assert [article.title for article in found] == ["T"]
    assert found[0].publisher == "P"


def placed(*rows: tuple[str, float]) -> list[int]:
    """Story numbers of (text, hours after NOW)."""
    index = CopyIndex()
    times = [NOW + timedelta(hours=hours) for _, hours in rows]
    return index.add(list(range(len(rows))), [text for text, _ in rows], times)


WIRE = "regulators ground the whole fleet after second engine failure"


def test_exact_and_near_copies_belong_to_the_first() -> None:
    assert placed(
        (WIRE, 0),
        (WIRE.title() + "!", 1),
        ("Update: " + WIRE, 2),
        ("oil prices hold steady before the opec meeting", 3),
    ) == [0, 0, 0, 3]


def test_copies_are_looked_for_within_three_days() -> None:
    assert placed((WIRE, 0), (WIRE, 71)) == [0, 0]
    assert placed((WIRE, 0), (WIRE, 73)) == [0, 1]


def test_what_is_told_each_day_is_a_new_story_once_the_first_is_three_days_old() -> None:
    assert placed(*[(WIRE, 24 * day) for day in range(9)]) == [0, 0, 0, 0, 4, 4, 4, 4, 8]
    # Nearly the same as well: the likest is a copy of too old a story, the first is not.
    assert placed((WIRE, 0), (WIRE + " now", 71), (WIRE + " now", 73)) == [0, 0, 2]
    # The first is the one that was read first, though the other is dated before it.
    index = CopyIndex()
    assert index.add([0], [WIRE], [NOW + timedelta(hours=50)]) == [0]
    assert index.add([1], [WIRE], [NOW]) == [0]
    assert index.add([2], [WIRE], [NOW + timedelta(hours=120)]) == [0]


def test_other_numbers_are_another_event() -> None:
    a = "shares of northwind airlines fall 3% in early trading"
    b = "shares of northwind airlines fall 19% in early trading"
    assert not same_numbers(a, b)
    assert placed((a, 0), (b, 1)) == [0, 1]


def test_portions_do_not_change_the_answer() -> None:
    texts = [WIRE, "banks rally", WIRE + " today", "banks rally again", "banks rally"]
    times = [NOW + timedelta(hours=n) for n in range(5)]
    whole = CopyIndex().add(list(range(5)), texts, times)
    index, parts = CopyIndex(), []
    for n in range(5):
        parts += index.add([n], [texts[n]], [times[n]])
    assert parts == whole


def test_a_publishers_name_behind_the_title_is_dropped() -> None:
    assert story_text("Banks rally - Reuters", ("Reuters",)) == "banks rally"
    assert story_text("Banks rally - for now", ("Reuters",)) == "banks rally - for now"


def test_an_index_read_back_knows_the_same_stories() -> None:
    index = CopyIndex()
    index.restore([41], [WIRE], [NOW])
    assert index.add([99], [WIRE], [NOW + timedelta(hours=1)]) == [41]
