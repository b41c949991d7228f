"""Who is told when: wishes, quiet hours, digests, reminders, the heartbeat, the end of a pause."""

import email
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, insert, select, update

import apps.news_monitor.reports as reports_module
from apps.news_monitor.alerts import follow_alert
from apps.news_monitor.day_report import DayReport, Post, read_day
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.outbox import deliver_due
from apps.news_monitor.reminders import owe_reminders
from apps.news_monitor.reports import PAUSE, owe_digests, owe_heartbeat, owe_summary
from apps.news_monitor.responses import acknowledge, silence_topic, write_to
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.tables import job_run, memo, topic
from apps.news_monitor.telling import ReportSettings, Subscription, last_due
from apps.news_monitor.telling_tables import outbox, recipient, silence, silenced
from apps.news_monitor.thresholds import Severity

AT = datetime(2026, 3, 11, 14, tzinfo=UTC)
HOUR = timedelta(hours=1)
SENDER = "News <news@bank.example>"
OpenAlert = Callable[..., int]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def mails(engine: Engine) -> list[Any]:
    query = select(outbox, recipient.c.email).join(
        recipient, recipient.c.id == outbox.c.recipient_id
    )
    with engine.begin() as connection:
        return list(connection.execute(query.order_by(outbox.c.id)).all())


def sent(engine: Engine, folder: Path, now: datetime) -> list[EmailMessage]:
    """What is due goes; all mails in the folder, by name."""
    deliver_due(
        engine, OutboxMailer(folder), now=now, sender=SENDER, dashboard_url="https://dash.example"
    )
    return [
        email.message_from_bytes(file.read_bytes(), policy=default)
        for file in sorted(folder.glob("*.eml"))
    ]


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("now", "zone", "until"),
    [
        ("2026-03-11T20:59", "UTC", "2026-03-11T20:59"),
        ("2026-03-11T22:00", "UTC", "2026-03-12T07:00"),
        ("2026-03-12T06:59:30", "UTC", "2026-03-12T07:00"),
        ("2026-03-12T07:00", "UTC", "2026-03-12T07:00"),
        # Berlin: 22:00-07:00 is 21:00-06:00 UTC in winter, and ends at 05:00 when summer begins.
        ("2026-03-11T21:00", "Europe/Berlin", "2026-03-12T06:00"),
        ("2026-03-28T23:30", "Europe/Berlin", "2026-03-29T05:00"),
        ("2026-10-24T23:30", "Europe/Berlin", "2026-10-25T06:00"),
    ],
)
def test_quiet_hours_are_of_the_wall_clock(now: str, zone: str, until: str) -> None:
    one = Subscription(address="a@b.example", quiet_hours="22:00-07:00", time_zone=zone)
    assert one.not_before(moment(now), "high") == moment(until)
    assert one.not_before(moment(now), "critical") == moment(now)


def test_quiet_hours_by_day_and_the_last_time_of_day() -> None:
    one = Subscription(address="a@b.example", quiet_hours="12:00-13:30")
    assert one.not_before(moment("2026-03-11T12:10"), "warning") == moment("2026-03-11T13:30")
    assert one.not_before(moment("2026-03-11T14:10"), "warning") == moment("2026-03-11T14:10")
    assert last_due("07:00", "UTC", moment("2026-03-11T07:00")) == moment("2026-03-11T07:00")
    assert last_due("07:00", "UTC", moment("2026-03-11T06:59")) == moment("2026-03-10T07:00")
    noon = moment("2026-03-29T12:00")
    assert last_due("07:00", "Europe/Berlin", noon) == moment("2026-03-29T05:00")
    assert last_due("07:00", "Europe/Berlin", noon - 10 * HOUR) == moment("2026-03-28T06:00")


def test_each_recipient_gets_what_was_wished_for(
    engine: Engine, evidence: Evidence, open_evidence: OpenAlert
) -> None:
    wishes = (
        Subscription(address="all@b.example"),
        Subscription(address="oil@b.example", topics=("Oil",)),
        Subscription(address="worst@b.example", min_severity="critical"),
        Subscription(address="daily@b.example", mode="digest"),
        Subscription(address="night@b.example", quiet_hours="13:00-18:00"),
    )
    cases: tuple[tuple[str, Severity], ...] = (("Airlines", "high"), ("Oil", "critical"))
    with engine.begin() as connection:
        for name, severity in cases:
            open_evidence(connection, replace(evidence, topic=name, severity=severity), *wishes)
    found = [
        (row.alert_id, row.email.partition("@")[0], row.state, (row.next_try_at - AT) // HOUR)
        for row in mails(engine)
    ]
    assert found == [
        (1, "all", "queued", 0),
        (1, "daily", "digest", 0),
        (1, "night", "queued", 4),
        # A critical alert waits for no morning and no digest.
        (2, "all", "queued", 0),
        (2, "oil", "queued", 0),
        (2, "worst", "queued", 0),
        (2, "daily", "queued", 0),
        (2, "night", "queued", 0),
    ]


def test_a_digest_tells_once_what_waited_for_it(
    engine: Engine, evidence: Evidence, open_evidence: OpenAlert, tmp_path: Path
) -> None:
    daily = Subscription(address="daily@b.example", mode="digest", digest_at="08:00")
    settings = NewsSettings(recipients=(daily.address,), subscriptions=(daily,), mail_from=SENDER)
    with engine.begin() as connection:
        open_evidence(connection, evidence, daily)
        second = open_evidence(connection, replace(evidence, topic="Oil", score=5.0), daily)
        follow_alert(connection, second, 5.0, resolved_at=AT + 6 * HOUR)
    assert sent(engine, tmp_path, AT + HOUR) == []
    for now in (AT + 17 * HOUR, AT + 18 * HOUR, AT + 19 * HOUR, AT + 48 * HOUR):
        with engine.begin() as connection:
            owe_digests(connection, settings, now)
    assert [row.state for row in mails(engine)] == ["joined", "joined", "queued"]
    (message,) = sent(engine, tmp_path, AT + 18 * HOUR)
    assert message["Subject"] == "News digest: 2 alerts since Wed 11 Mar 2026, 14:00 UTC"
    assert message["Message-ID"].startswith("<digest-20260312T080000.r1.u1.")
    text = text_of(message)
    assert "Still going on: Airlines (since Wed 11 Mar 2026, 14:00 UTC).\n" in text
    assert "Oil: from Wed 11 Mar 2026, 14:00 UTC to Wed 11 Mar 2026, 20:00 UTC.\n" in text
    assert "Airlines  high      14 of 30 stories of the last 24 hours negative (usual 4)" in text


def test_who_unsubscribes_gets_nothing_that_still_waits(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert, tmp_path: Path
) -> None:
    with sqlite.begin() as connection:
        open_evidence(connection, evidence, Subscription(address="a@b.example"))
        write_to(connection, 1, False)
    assert sent(sqlite, tmp_path, AT) == []
    (row,) = mails(sqlite)
    assert (row.state, row.last_error) == ("dead", "unsubscribed")


def test_an_alert_nobody_acknowledges_is_mailed_again_twice_at_most(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert, tmp_path: Path
) -> None:
    settings = NewsSettings(recipients=("desk@bank.example",), remind_hours=4, mail_from=SENDER)
    with sqlite.begin() as connection:
        seen = open_evidence(connection, replace(evidence, topic="Oil"))
        hushed = open_evidence(connection, replace(evidence, topic="Banks"))
        unseen = open_evidence(connection, evidence)
        over = open_evidence(connection, replace(evidence, topic="Steel"))
        acknowledge(connection, seen, "ana@bank.example", AT)
        silence_topic(connection, hushed, 720, "ana@bank.example", AT)
        follow_alert(connection, over, 3.0, resolved_at=AT + HOUR)
        for hours in range(0, 30, 1):
            owe_reminders(connection, settings, AT + hours * HOUR)
    again = [row for row in mails(sqlite) if row.revision > 1]
    assert [(row.alert_id, row.revision, (row.created_at - AT) // HOUR) for row in again] == [
        (unseen, 2, 4),
        (unseen, 3, 8),
    ]
    with sqlite.begin() as connection:  # one mail is enough to look at
        others = update(outbox).where(outbox.c.id != again[0].id)
        connection.execute(others.values(state="sent"))
    (reminder,) = sent(sqlite, tmp_path, AT + 40 * HOUR)
    assert reminder["Subject"] == ("Reminder: [High] Airlines: 14 of 30 stories negative (usual 4)")
    assert "It still fires, and nobody has acknowledged it yet.\n" in text_of(reminder)


def test_the_heartbeat_comes_once_a_day_and_says_what_was_done(
    engine: Engine, evidence: Evidence, open_evidence: OpenAlert, tmp_path: Path
) -> None:
    reports = ReportSettings(to=("it@bank.example",), heartbeat="07:00")
    settings = NewsSettings(reports=reports, mail_from=SENDER)
    with engine.begin() as connection:
        open_evidence(connection, evidence)
        for minutes in range(0, 600, 10):
            values = {"job": "tick", "started_at": AT + timedelta(minutes=minutes)}
            connection.execute(insert(job_run).values(report_json="{}", **values))
    for hours in range(0, 48, 1):  # begun at 14:00: the first is due the next morning
        with engine.begin() as connection:
            owe_heartbeat(connection, settings, AT + hours * HOUR)
    found = [row for row in mails(engine) if row.kind == "heartbeat"]
    assert [row.created_at for row in found] == [AT + 17 * HOUR, AT + 41 * HOUR]
    first = next(m for m in sent(engine, tmp_path, AT + 48 * HOUR) if "alive" in m["Subject"])
    assert first["Subject"] == "News monitor: alive, 1 alert in 24 hours"
    assert first["Message-ID"] == found[0].message_id
    assert first["Message-ID"].startswith("<heartbeat-20260312T0700.r1.u2.")
    assert (
        text_of(first)
        == """\
The news monitor is alive: in the 24 hours to Thu 12 Mar 2026, 07:00 UTC it looked 60 times, \
read 0 stories and judged 0 hours.

Feeds         none is read
Stories       0, 0 copies set aside
Hours judged  0
Alerts        1
Mails         0 sent, 1 waiting

Alert: [High] Airlines: 14 of 30 stories negative (usual 4)

What was decided, of each topic and hour:
  nothing

-- \n\
Sent to it@bank.example by the Triptych news monitor.
"""
    )


def test_a_day_report_survives_its_storage(sqlite: Engine) -> None:
    with sqlite.begin() as connection:
        empty = read_day(connection, AT, AT + 24 * HOUR)
    full = replace(
        empty,
        failing=("A",),
        silent=("B",),
        decisions=(("alert", 2),),
        thinnest=("Oil", 0.5),
        calls=Post(1, 2, 3),
    )
    assert DayReport.from_json(empty.to_json()) == empty
    assert DayReport.from_json(full.to_json()) == full


def monitor(
    engine: Engine, labeller: LabelTexts, folder: Path, body: bytes, **changes: Any
) -> Monitor:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(body))

    values: dict[str, Any] = {
        "feeds": ("https://wire.example/rss",),
        "recipients": ("desk@bank.example",),
        "mail_from": SENDER,
        **changes,
    }
    return Monitor(
        engine,
        NewsSettings(**values),
        labeller,
        OutboxMailer(folder),
        client=lambda: httpx.Client(transport=httpx.MockTransport(answer)),
        jitter=random.Random(1),
    )


EMPTY = b"<rss version='2.0'><channel/></rss>"


def test_after_a_pause_one_summary_tells_what_happened_meanwhile(
    sqlite: Engine,
    labeller: LabelTexts,
    fill: Callable[[Engine, datetime, int], None],
    crisis_feed: Callable[[datetime], bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(sqlite, AT - 2 * HOUR, 40)
    monitor(sqlite, labeller, tmp_path, EMPTY).tick(AT - 2 * HOUR + timedelta(minutes=30))
    now = AT + 8 * HOUR + timedelta(minutes=30)
    back = monitor(sqlite, labeller, tmp_path, crisis_feed(AT), reports={"to": ["it@b.example"]})
    # It dies while it writes the summary: nothing of it is there, and the next round writes it.
    with monkeypatch.context() as broken:
        broken.setattr(reports_module, "forget", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            back.tick(now)
    assert [row.state for row in mails(sqlite)] == ["offline"]
    report = back.tick(now + timedelta(minutes=1))
    assert report.lines[-1] == (
        "back after 10 hours: 10 hours judged late, 1 alert meanwhile, told in one summary"
    )
    back.tick(now + timedelta(minutes=2))
    assert [(row.kind, row.email.partition("@")[0], row.state) for row in mails(sqlite)] == [
        ("alert", "desk", "joined"),
        ("offline", "desk", "sent"),
        ("offline", "it", "sent"),
    ]
    first = sent(sqlite, tmp_path, now)[0]
    assert first["Subject"] == "News monitor: back after 10 hours, 1 alert meanwhile"
    assert text_of(first).startswith(
        "The news monitor judged nothing from Wed 11 Mar 2026, 12:30 UTC to Wed 11 Mar 2026, "
        "22:31 UTC (10 hours). It has now judged the 10 hours it missed, by what was published "
        "then: 1 alert.\nStill going on: Airlines (since Wed 11 Mar 2026, "
    )


def test_of_a_pause_a_reader_of_digests_is_told_what_would_not_have_waited(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert, tmp_path: Path
) -> None:
    daily = Subscription(address="daily@b.example", mode="digest", digest_at="08:00")
    now = Subscription(address="now@b.example")
    settings = NewsSettings(
        recipients=(daily.address, now.address), subscriptions=(daily,), mail_from=SENDER
    )
    with sqlite.begin() as connection:
        open_evidence(connection, replace(evidence, topic="Told before"), now)
        connection.execute(update(outbox).values(state="sent"))
        late = replace(evidence, opened_at=AT + 5 * HOUR)
        open_evidence(connection, replace(late, topic="Banks"), daily, now)
        worst = replace(late, topic="Oil", severity="critical")
        open_evidence(connection, worst, daily, now)
        # As they are owed of moments long past.
        queued = update(outbox).where(outbox.c.state == "queued")
        connection.execute(queued.values(state="offline"))
        insert_new(connection, memo, [{"name": PAUSE, "value": (AT + 4 * HOUR).isoformat()}])
        owe_summary(connection, settings, AT + 12 * HOUR)
    assert [(row.email.partition("@")[0], row.kind, row.state) for row in mails(sqlite)][1:] == [
        ("daily", "alert", "digest"),
        ("now", "alert", "joined"),
        ("daily", "alert", "joined"),
        ("now", "alert", "joined"),
        ("now", "offline", "queued"),
        ("daily", "offline", "queued"),
    ]
    found = {str(m["To"]): text_of(m) for m in sent(sqlite, tmp_path, AT + 12 * HOUR)}
    going_on = "Still going on: {} (since Wed 11 Mar 2026, 19:00 UTC).\n"
    assert going_on.format("Oil") in found[daily.address]
    assert "Banks" not in found[daily.address]
    assert "Banks (since " in found[now.address]
    assert "Told before" not in found[now.address]


def test_a_silenced_topic_alerts_on_the_page_and_in_no_mail(
    engine: Engine,
    labeller: LabelTexts,
    fill: Callable[[Engine, datetime, int], None],
    crisis_feed: Callable[[datetime], bytes],
    tmp_path: Path,
) -> None:
    fill(engine, AT - 2 * HOUR, 40)
    with engine.begin() as connection:
        number = connection.execute(select(topic.c.id).where(topic.c.name == "Airlines"))
        connection.execute(
            insert(silence).values(
                topic_id=number.scalar_one(), by="ana", begins_at=AT, ends_at=AT + HOUR
            )
        )
    watch = monitor(engine, labeller, tmp_path, crisis_feed(AT))
    report = watch.tick(AT + HOUR / 2)
    assert [line.split(":")[0] for line in report.alerts] == ["[Critical] Airlines"]
    assert mails(engine) == []
    with engine.begin() as connection:
        (row,) = connection.execute(select(silenced)).all()
        assert connection.execute(select(alert.c.id)).scalars().all() == [row.alert_id]
    # It still fires when the silence is over: then it is told, once.
    assert watch.tick(AT + HOUR + timedelta(minutes=1)).mails.sent == 1
    (message,) = sent(engine, tmp_path, AT + HOUR)
    assert message["Subject"].startswith("[Critical] Airlines: ")
    assert message["Message-ID"].startswith("<alert-1.r1.u1.")
    assert (
        "It opened on Wed 11 Mar 2026, 14:00 UTC, while its topic was silenced, and still fires; "
        "these figures are of Wed 11 Mar 2026, 14:00 UTC.\n"
    ) in text_of(message)
    assert watch.tick(AT + 3 * HOUR).mails.sent == 0
    with engine.begin() as connection:
        assert connection.execute(select(silenced)).all() == []
