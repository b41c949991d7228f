"""What the heartbeat says of the feeds: who answers, who does not, and who answers in vain."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, insert

from apps.news_monitor.articles import Article
from apps.news_monitor.day_report import DayReport, read_day
from apps.news_monitor.ingest import ingest
from apps.news_monitor.mail import Envelope
from apps.news_monitor.report_mail import compose_heartbeat, heartbeat_facts
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import source

NOON = datetime(2026, 3, 11, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
Story = Callable[[str, datetime, str], Article]


def feeds(engine: Engine, story: Story, *last_ok: datetime | None) -> DayReport:
    """Of a day up to NOON: feeds that last answered then, each of an item an hour for five weeks,
    the first of them without any of the last two days."""
    with engine.begin() as connection:
        for number, at in enumerate(last_ok, start=1):
            row = {
                "url": f"https://{number}.example/rss",
                "title": f"Feed {number}",
                "enabled": True,
                "next_check_at": NOON,
                "created_at": NOON - 40 * DAY,
                "last_ok_at": at,
                "error_count": int(at != NOON),
            }
            connection.execute(insert(source).values(**row))
            silent = 48 if number == 1 else 0
            items = [
                story(f"oil report {number * 10000 + n}", NOON - n * HOUR, f"P{number}")
                for n in range(silent, 36 * 24)
            ]
            ingest(connection, items, copies=CopyIndex(), fetched=NOON, source_id=number)
        return read_day(connection, NOON - DAY, NOON)


def feeds_line(report: DayReport) -> str:
    return dict(heartbeat_facts(report))["Feeds"]


def test_a_feed_that_has_fallen_silent_answers_and_is_named_apart(
    sqlite: Engine, story: Story
) -> None:
    report = feeds(sqlite, story, NOON, NOON, NOON - 5 * HOUR, None)
    assert feeds_line(report) == (
        "2 of 4 answer, no good answer: Feed 3 (since Wed 11 Mar 2026, 07:00 UTC), Feed 4 (never); "
        "nothing new, though they answer: Feed 1 (since Mon 9 Mar 2026, 13:00 UTC)"
    )
    envelope = Envelope("a@b.example", "c@b.example", "<h.r1.u1@b.example>", "<h@b.example>", "u")
    assert str(compose_heartbeat(report, envelope, NOON)["Subject"]) == (
        "News monitor: alive, 0 alerts in 24 hours, 3 things to look at"
    )


def test_one_that_has_not_answered_for_long_is_not_said_to_answer(
    sqlite: Engine, story: Story
) -> None:
    """Nobody noted a failure, for nobody asked: the monitor did not run."""
    report = feeds(sqlite, story, NOON - 2 * DAY)
    with sqlite.begin() as connection:
        connection.execute(source.update().values(error_count=0))
        report = read_day(connection, NOON - DAY, NOON)
    assert feeds_line(report) == (
        "0 of 1 answer, no good answer: Feed 1 (since Mon 9 Mar 2026, 12:00 UTC)"
    )


def test_where_all_is_well_nobody_is_named(sqlite: Engine, story: Story) -> None:
    report = feeds(sqlite, story, NOON, NOON, NOON)
    with sqlite.begin() as connection:
        items = [story(f"oil news {n}", NOON - n * HOUR, "P1") for n in range(1, 48)]
        ingest(connection, items, copies=CopyIndex(), fetched=NOON, source_id=1)
        report = read_day(connection, NOON - DAY, NOON)
    assert feeds_line(report) == "3 of 3 answer"
