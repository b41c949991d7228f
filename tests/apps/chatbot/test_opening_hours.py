"""When it is open, when it opens next, and how waiting time passes: worked out by hand."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from apps.chatbot.opening_hours import OpeningHours

# 2026-03-02 is a Monday. Berlin is UTC+1 until 2026-03-29, then UTC+2.
SHOP = OpeningHours.parse(
    ["mon-fri 09:00-12:30 13:30-17:00", "sat 10:00-24:00"],
    zone="Europe/Berlin",
    holidays=[date(2026, 3, 3)],
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        ("2026-03-02T07:59", "2026-03-02T08:00"),
        ("2026-03-02T08:00", "2026-03-02T08:00"),
        ("2026-03-02T11:29:59", "2026-03-02T11:29:59"),
        ("2026-03-02T11:30", "2026-03-02T12:30"),
        ("2026-03-02T16:00", "2026-03-04T08:00"),  # Tuesday is a holiday
        ("2026-03-07T22:59", "2026-03-07T22:59"),  # Saturday 23:59 in Berlin
        ("2026-03-07T23:00", "2026-03-09T08:00"),
        ("2026-03-28T23:30", "2026-03-30T07:00"),  # the clocks change in between
    ],
)
def test_the_next_opening(at: str, opens: str) -> None:
    assert SHOP.next_opening(utc(at)) == utc(opens)
    assert SHOP.is_open(utc(at)) == (at == opens)


@pytest.mark.parametrize(
    ("at", "minutes", "by"),
    [
        ("2026-03-02T08:00", 30, "2026-03-02T08:30"),
        ("2026-03-02T07:00", 30, "2026-03-02T08:30"),
        ("2026-03-02T11:20", 30, "2026-03-02T12:50"),  # ten minutes before the break, twenty after
        ("2026-03-02T15:50", 20, "2026-03-04T08:10"),
        ("2026-03-02T15:50", 10, "2026-03-02T16:00"),
    ],
)
def test_waiting_passes_only_while_it_is_open(at: str, minutes: int, by: str) -> None:
    assert SHOP.after(utc(at), timedelta(minutes=minutes)) == utc(by)


def test_without_hours_it_is_always_open() -> None:
    at = utc("2026-03-01T03:00")
    assert OpeningHours().is_open(at)
    assert OpeningHours().after(at, timedelta(hours=9)) == utc("2026-03-01T12:00")


def test_a_range_of_days_may_pass_the_weekend() -> None:
    assert {day for day, *_ in OpeningHours.parse(["sat-mon 08:00-09:00"]).spans} == {5, 6, 0}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("mon-fri", "expected opening hours such as 'mon-fri 09:00-12:30 13:30-17:00', "
         "not 'mon-fri'"),
        ("monday 09:00-12:00", "expected opening hours such as 'mon-fri 09:00-12:30 13:30-17:00', "
         "not 'monday 09:00-12:00'"),
        ("mon 25:00-26:00", "expected opening hours such as 'mon-fri 09:00-12:30 13:30-17:00', "
         "not 'mon 25:00-26:00'"),
        ("fri 22:00-06:00", "22:00-06:00 ends before it begins; split it at midnight"),
        ("tue 09:00-12:00 11:00-13:00", "openings on tue overlap"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_opening_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        OpeningHours.parse([line])
