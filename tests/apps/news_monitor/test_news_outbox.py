"""Mails that are owed: one row each, retried, told apart, given up."""

from collections.abc import Callable
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from apps.news_monitor.alerts import follow_alert
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.outbox import deliver_due
from apps.news_monitor.owed import (
    LEASE,
    DeliveryError,
    DeliveryReport,
    RefusedForGoodError,
    UnknownOutcomeError,
)
from apps.news_monitor.telling import Subscription
from apps.news_monitor.telling_tables import outbox, recipient

SENDER = "News <news@bank.example>"


class Letterbox:
    """Takes what it is given, or raises what is next in line."""

    def __init__(self, *errors: DeliveryError) -> None:
        self.errors = list(errors)
        self.ids: list[str] = []

    def send(self, message: EmailMessage) -> None:
        self.ids.append(str(message["Message-ID"]))
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def owe(
    engine: Engine, evidence: Evidence, open_evidence: Callable[..., int]
) -> Callable[..., int]:
    """Opens the alert, as often as asked, for the recipients given."""

    def begin(*addresses: str) -> int:
        with engine.begin() as connection:
            wishes = [Subscription(address=address) for address in addresses]
            return open_evidence(connection, evidence, *wishes)

    return begin


def deliver(engine: Engine, box: Letterbox, now: datetime) -> DeliveryReport:
    return deliver_due(engine, box, now=now, sender=SENDER, dashboard_url="http://x.example")


def mails(engine: Engine) -> list[Any]:
    with engine.begin() as connection:
        return list(connection.execute(select(outbox).order_by(outbox.c.id)).all())


def test_an_alert_opened_twice_is_one_alert_and_one_mail(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    assert owe() == owe()
    box = Letterbox()
    assert deliver(engine, box, evidence.opened_at).sent == 1
    assert deliver(engine, box, evidence.opened_at).sent == 0
    (row,) = mails(engine)
    assert box.ids == [row.message_id]
    assert row.message_id.startswith("<alert-1.r1.u1.")
    assert row.message_id.endswith("@bank.example>")
    assert (row.state, row.sent_at, row.attempts) == ("sent", evidence.opened_at, 1)


def test_each_recipient_has_a_mail_of_its_own(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    with engine.begin() as connection:
        insert_new(connection, recipient, [{"email": "off@bank.example", "enabled": False}])
    owe("a@bank.example", "b@bank.example", "off@bank.example")
    box = Letterbox()
    assert deliver(engine, box, evidence.opened_at).sent == 2
    assert len(set(box.ids)) == 2


def test_a_refused_mail_is_kept_and_tried_again_later(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    owe()
    at = evidence.opened_at
    box = Letterbox(DeliveryError("mail server x:25 cannot be reached: Connection refused"))
    report = deliver(engine, box, at)
    (row,) = mails(engine)
    assert (row.state, row.next_try_at) == ("queued", at + timedelta(minutes=1))
    assert report.waiting == 1
    assert report.lines == [
        f"mail {row.message_id} to desk@bank.example not sent: mail server x:25 cannot be reached: "
        "Connection refused; kept, next attempt 2026-03-11 14:01 UTC"
    ]
    assert deliver(engine, box, at + timedelta(seconds=30)).sent == 0
    assert deliver(engine, box, at + timedelta(minutes=2)).sent == 1
    assert box.ids[0] == box.ids[1]


def test_waits_grow_and_end_after_five_days(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    owe()
    now, waits = evidence.opened_at, []
    box = Letterbox(*[DeliveryError("450 busy")] * 400)
    for _ in range(6):
        deliver(engine, box, now)
        (row,) = mails(engine)
        waits.append(int((row.next_try_at - now).total_seconds() // 60))
        now = row.next_try_at
    assert waits == [1, 5, 15, 60, 60, 60]
    deliver(engine, box, evidence.opened_at + timedelta(days=5, minutes=1))
    assert mails(engine)[0].state == "dead"


def test_a_recipient_refused_for_good_is_given_up_after_a_day(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    owe()
    now, states = evidence.opened_at, []
    box = Letterbox(*[RefusedForGoodError("550 no such user")] * 4)
    for _ in range(4):
        report = deliver(engine, box, now)
        (row,) = mails(engine)
        states.append(row.state)
        now = row.next_try_at
    assert states == ["queued", "queued", "queued", "dead"]
    assert report.lines[0].endswith("550 no such user; given up, see the outbox")
    assert deliver(engine, box, now + timedelta(days=1)).sent == 0


def test_an_unknown_outcome_is_tried_once_more_with_the_same_id(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    owe()
    at = evidence.opened_at
    box = Letterbox(UnknownOutcomeError("late"), UnknownOutcomeError("late again"))
    assert deliver(engine, box, at).unknown == 1
    assert mails(engine)[0].state == "unknown"
    assert deliver(engine, box, at + timedelta(minutes=9)).dead == 0
    assert deliver(engine, box, at + timedelta(minutes=10)).dead == 1
    assert (len(box.ids), len(set(box.ids))) == (2, 1)
    assert deliver(engine, box, at + timedelta(days=1)).sent == 0


def test_a_sender_that_died_is_replaced_when_its_lease_ends(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    owe()
    at = evidence.opened_at
    with engine.begin() as connection:
        connection.execute(
            update(outbox).values(state="sending", attempts=1, lease_until=at + LEASE)
        )
    box = Letterbox()
    assert deliver(engine, box, at + timedelta(minutes=19)).sent == 0
    assert deliver(engine, box, at + timedelta(minutes=21)).sent == 1
    assert mails(engine)[0].attempts == 2


class Slow:
    """A mail server that takes its time before it takes a mail, or breaks off; `at` is a clock."""

    def __init__(self, at: datetime, each: timedelta, *, breaks: bool = False) -> None:
        self.at, self.each, self.breaks, self.asked = at, each, breaks, 0

    def send(self, _message: EmailMessage) -> None:
        self.asked += 1
        self.at += self.each
        if self.breaks:
            try:
                raise TimeoutError
            except OSError:
                raise DeliveryError("mail server mx:25 cannot be reached") from None

    def deliver(self, engine: Engine, until: datetime | None = None) -> DeliveryReport:
        return deliver_due(
            engine,
            self,
            now=self.at,
            sender=SENDER,
            dashboard_url="http://x.example",
            clock=lambda: self.at,
            until=until,
        )


FIVE = tuple(f"{name}@bank.example" for name in "abcde")
SECOND = timedelta(seconds=1)


def test_a_server_that_is_not_reached_is_asked_once_a_round(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    owe(*FIVE)
    server = Slow(evidence.opened_at, 30 * SECOND, breaks=True)
    report = server.deliver(engine)
    assert (server.asked, report.waiting) == (1, 1)
    assert report.lines[1:] == [
        "4 more mails left for the next round: the mail server is not reached"
    ]
    first, *others = mails(engine)
    # From the moment it failed: counted from the round's beginning it would be due in 30 s.
    assert first.next_try_at == evidence.opened_at + 90 * SECOND
    assert {(row.state, row.attempts) for row in others} == {("queued", 0)}
    assert server.deliver(engine).waiting == 1
    assert [row.attempts for row in mails(engine)] == [1, 1, 0, 0, 0]
    server.breaks = False
    assert server.deliver(engine).sent == 3  # those that were tried wait for their time


def test_a_refused_reader_does_not_hold_up_the_others(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    owe(*FIVE)
    box = Letterbox(DeliveryError("450 try later"), RefusedForGoodError("550 no such user"))
    report = deliver(engine, box, evidence.opened_at)
    assert (report.sent, report.waiting) == (3, 2)


def test_a_slow_server_is_left_alone_when_the_time_of_a_round_is_used_up(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    owe(*FIVE)
    begun = evidence.opened_at
    server = Slow(begun, 25 * SECOND)
    report = server.deliver(engine, until=begun + 60 * SECOND)
    assert report.sent == 3
    assert report.lines == ["2 more mails left for the next round: the time of a round is used up"]
    assert [row.sent_at for row in mails(engine)][2] == begun + 75 * SECOND
    assert server.deliver(engine, until=server.at + 60 * SECOND).sent == 2


def test_a_lease_is_counted_from_when_it_is_taken(
    sqlite: Engine, evidence: Evidence, open_evidence: Callable[..., int]
) -> None:
    with sqlite.begin() as connection:
        open_evidence(connection, evidence, *[Subscription(address=one) for one in FIVE[:2]])
    taken = []

    class Looking(Slow):
        def send(self, message: EmailMessage) -> None:
            taken.append(next(row for row in mails(sqlite) if row.state == "sending").lease_until)
            super().send(message)

    Looking(evidence.opened_at, 30 * SECOND).deliver(sqlite)
    assert taken == [evidence.opened_at + LEASE, evidence.opened_at + 30 * SECOND + LEASE]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("müller@bank.example", "it cannot be written (NonASCIILocalPartDefect: "),
        ("a..b@bank.example", "it cannot be written (InvalidHeaderDefect: "),
        ("desk@bank.example.", "it cannot be written (HeaderParseError: "),
        (
            "desk@bänk.example",
            "no mail server takes the address desk@bänk.example: it is not ASCII",
        ),
    ],
)
def test_an_address_from_before_they_were_checked_becomes_a_dead_letter(
    sqlite: Engine,
    evidence: Evidence,
    open_evidence: Callable[..., int],
    address: str,
    said: str,
) -> None:
    class Ascii(Letterbox):
        def send(self, message: EmailMessage) -> None:
            str(message["To"]).encode("ascii")  # as smtplib's commands are
            super().send(message)

    with sqlite.begin() as connection:
        open_evidence(connection, evidence, Subscription(address="a@bank.example"))
        open_evidence(connection, evidence, Subscription(address="b@bank.example"))
        stored = update(recipient).where(recipient.c.email == "a@bank.example")
        connection.execute(stored.values(email=address))
    now, box = evidence.opened_at, Ascii()
    assert deliver(sqlite, box, now).sent == 1  # the other one
    for _ in range(3):
        now = mails(sqlite)[0].next_try_at
        report = deliver(sqlite, box, now)
    first = mails(sqlite)[0]
    assert (first.state, report.dead) == ("dead", 1)
    assert first.last_error.startswith(said)


def test_what_became_of_an_alert_is_written_down(
    engine: Engine, owe: Callable[..., int], evidence: Evidence
) -> None:
    number = owe()
    over = evidence.opened_at + timedelta(days=1)
    with engine.begin() as connection:
        follow_alert(connection, number, 9.5, resolved_at=None)
        follow_alert(connection, number, 1.0, resolved_at=over)
        row = connection.execute(select(alert)).one()
    assert (row.state, row.resolved_at, row.peak_score) == ("resolved", over, 9.5)
