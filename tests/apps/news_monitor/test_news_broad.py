"""Many topics at once: one mail, that grows at most twice, and never forgets a topic."""

import email
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

import httpx
import pytest
from sqlalchemy import Engine, select

from apps.news_monitor.alerts import open_alert
from apps.news_monitor.broad import Joined, Told, at_once, fires_broadly, join, told_in
from apps.news_monitor.broad_mail import broad_sentence, broad_subject, compose_broad
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.evidence import Evidence, StoryLine
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert, detector_config
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.mail import Envelope
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.page_data import alert_rows
from apps.news_monitor.responses import acknowledge
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.tables import model_version, topic
from apps.news_monitor.telling import Subscription
from apps.news_monitor.telling_tables import outbox

SENDER = "News <news@bank.example>"
NAMES = ("Airlines", "Banks", "Energy", "Insurance", "Oil", "Retail", "Steel", "Telecoms")
Fill = Callable[[Engine, datetime, int], None]
Open = Callable[..., Joined | None]


@pytest.mark.parametrize(
    ("topics", "needed"), [(1, 3), (3, 3), (8, 3), (12, 3), (13, 4), (20, 5), (100, 25)]
)
def test_three_topics_and_a_quarter_of_all_are_many(topics: int, needed: int) -> None:
    assert at_once(topics) == needed


@pytest.fixture
def open_(engine: Engine, evidence: Evidence) -> Open:
    """Opens alerts of topics at an hour after the first, as the detector does."""
    begin = evidence.opened_at
    with engine.begin() as connection:
        insert_new(
            connection, model_version, [{"name": "m", "fingerprint": "f", "first_used_at": begin}]
        )
        insert_new(connection, topic, [{"name": name, "enabled": True} for name in NAMES])
        row = {"fingerprint": "c", "model_id": 1, "settings_json": "{}", "created_at": begin}
        insert_new(connection, detector_config, [row])
        ids = {row.name: row.id for row in connection.execute(select(topic))}

    def at_hour(
        hour: float, *names: str, severity: Literal["warning", "high", "critical"] = "high"
    ) -> Joined | None:
        at = begin + timedelta(hours=hour)
        with engine.begin() as connection:
            together = fires_broadly(connection, 1, at, opening=len(names), topics=len(NAMES))
            opened = [
                open_alert(
                    connection,
                    replace(evidence, topic=name, opened_at=at, severity=severity),
                    [],
                    topic_id=ids[name],
                    config_id=1,
                    config_key="c",
                    subscriptions=() if together else [Subscription(address="desk@bank.example")],
                    sender=SENDER,
                    now=at,
                )
                for name in names
            ]
            if not together:
                return None
            return join(
                connection, config_id=1, config_key="c", at=at, opened=opened, topics=len(NAMES)
            )

    return at_hour


def told(engine: Engine, joined: Joined | None) -> list[str]:
    assert joined is not None
    with engine.begin() as connection:
        found = told_in(connection, joined.lead_alert_id, joined.revision)
    return sorted(evidence.topic for evidence in found.alerts)


def test_topics_that_fire_apart_are_told_apart(engine: Engine, open_: Open) -> None:
    assert open_(0, "Airlines") is None
    assert open_(1, "Banks") is None
    assert open_(6, "Oil") is None  # six hours after the first: it is no longer at once
    with engine.begin() as connection:
        assert len(connection.execute(select(outbox)).all()) == 3


def test_the_third_within_six_hours_makes_one_mail_of_all(engine: Engine, open_: Open) -> None:
    open_(0, "Airlines")
    open_(2, "Banks")
    joined = open_(5.5, "Oil")
    assert joined is not None
    assert (joined.members, joined.mails, joined.revision) == (3, True, 1)
    assert told(engine, joined) == ["Airlines", "Banks", "Oil"]


def test_those_who_join_later_are_told_when_they_make_it_half_as_many_again(
    engine: Engine, open_: Open
) -> None:
    first = open_(0, "Airlines", "Banks", "Oil")
    assert told(engine, first) == ["Airlines", "Banks", "Oil"]
    fourth = open_(5, "Steel")
    assert fourth is not None
    assert (fourth.members, fourth.mails, fourth.revision) == (4, False, 1)
    assert told(engine, fourth) == ["Airlines", "Banks", "Oil"]
    # It is at once with the last that joined, not with the first.
    fifth = open_(10, "Retail")
    assert fifth is not None
    assert (fifth.members, fifth.mails, fifth.revision) == (5, True, 2)
    assert told(engine, fifth) == ["Airlines", "Banks", "Oil", "Retail", "Steel"]
    assert told(engine, first) == ["Airlines", "Banks", "Oil"]  # an old mail stays as it was
    assert open_(16, "Telecoms") is None


def test_a_more_severe_one_is_told_at_once_and_three_mails_are_enough(
    engine: Engine, open_: Open
) -> None:
    open_(0, "Airlines", "Banks", "Oil", severity="warning")
    second = open_(1, "Steel", severity="high")
    third = open_(2, "Retail", severity="critical")
    fourth = open_(3, "Telecoms", "Energy", "Insurance", severity="critical")
    found = [(one.revision, one.mails) for one in (second, third, fourth) if one is not None]
    assert found == [(2, True), (3, True), (3, False)]
    with engine.begin() as connection:
        states = [row.state for row in connection.execute(select(alert.c.state))]
    assert states == ["firing"] * 8


def test_the_mail_names_the_topics_and_tells_each_story_once(evidence: Evidence) -> None:
    shared = evidence.headlines[0]
    own = StoryLine("Oil <i>slides</i>", "https://n.example/o", ("FT",), 0.9, evidence.opened_at)
    alerts = (
        replace(evidence, severity="critical", score=9.1),
        replace(evidence, topic="Oil", score=8.0, headlines=(shared, own)),
        replace(evidence, topic="Banks\r\nBcc: x@y.example", score=7.0),
        replace(evidence, topic="Steel", score=6.0),
    )
    found = Told(alerts, topics=12)
    assert broad_subject(found) == (
        "[Critical] Bad news in 4 of 12 topics: Airlines, Oil, Banks Bcc: x@y.example and 1 more"
    )
    assert broad_sentence(found) == (
        "Bad news is surging in 4 of the 12 topics at once; this one mail stands for all of them."
    )
    envelope = Envelope(SENDER, "desk@bank.example", "<broad-1.r1.u1.abc@bank.example>",
                        "<broad-1.abc@bank.example>", "http://127.0.0.1:8501")  # fmt: skip
    raw = compose_broad(found, envelope, evidence.opened_at).as_bytes()
    assert raw == compose_broad(found, envelope, evidence.opened_at).as_bytes()
    message = email.message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds.count("image/png") == 3
    assert message["In-Reply-To"] == "<broad-1.abc@bank.example>"
    body = message.get_body(("plain",))
    page = message.get_body(("html",))
    assert body is not None
    assert page is not None
    text, html = str(body.get_content()), str(page.get_content())
    assert "Oil                      high      14 of 30 stories of the last 24 hours" in text
    assert text.count(shared.title) == 1 + 2  # the two without a story of their own repeat it
    assert "Oil &lt;i&gt;slides&lt;/i&gt;" in html
    assert "javascript:" not in html
    for n in (1, 2, 3):
        assert f"cid:chart{n}.broad-1.r1.u1.abc@bank.example" in html


def test_three_crises_in_one_tick_send_one_mail(
    engine: Engine, labeller: LabelTexts, fill: Fill, tmp_path: Path
) -> None:
    now = datetime.fromisoformat("2026-03-11T14:30:00+00:00")
    hour = now.replace(minute=0)
    fill(engine, hour - timedelta(hours=2), 40)
    items = "".join(
        f"<item><title>{word} crash {90000 + n}</title><link>https://n.example/{word}{n}</link>"
        f"<pubDate>{format_datetime(hour - timedelta(minutes=10 * n + 5))}</pubDate>"
        f"<source url='https://p.example'>{'ABCD'[n % 4]}</source></item>"
        for n in range(12)
        for word in ("airline", "bank", "oil")
    )
    feed = f"<rss version='2.0'><channel><title>Wire</title>{items}</channel></rss>".encode()

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(feed))

    watch = Monitor(
        engine,
        NewsSettings(
            feeds=("https://wire.example/rss",), recipients=("desk@bank.example",), remind_hours=2
        ),
        labeller,
        OutboxMailer(tmp_path),
        client=lambda: httpx.Client(transport=httpx.MockTransport(answer)),
        jitter=random.Random(1),
    )
    report = watch.tick(now)
    assert (len(report.alerts), report.mails.sent) == (3, 1)
    assert "3 topics fire at once: one mail tells of them all" in report.lines
    (mail,) = tmp_path.glob("*.eml")
    assert mail.name.startswith("broad-1.r1.")
    assert b"Bad news in 3 of 3 topics: " in mail.read_bytes()
    assert watch.tick(now + timedelta(hours=1)).mails.sent == 0
    with engine.begin() as connection:
        rows = alert_rows(connection)
    assert [row.mails for row in rows] == [
        {"desk@bank.example": "sent (with other topics)"} for _ in range(3)
    ]
    with engine.begin() as connection:
        acknowledge(
            connection, next(row.id for row in rows if row.evidence.topic == "Oil"), "a", now
        )
    assert watch.tick(now + timedelta(hours=3)).mails.sent == 1
    assert watch.tick(now + timedelta(hours=4)).mails.sent == 0
    again = next(path for path in tmp_path.glob("*.eml") if path != mail)
    message = email.message_from_bytes(again.read_bytes(), policy=default)
    first = email.message_from_bytes(mail.read_bytes(), policy=default)
    assert message["Subject"] == f"Reminder: {first['Subject']}"
    assert message["References"] == first["References"]
    body = message.get_body(("plain",))
    assert body is not None
    waiting = "Still firing, and not acknowledged by anybody: Airlines, Banks."
    assert str(body.get_content()).splitlines()[:2] == [waiting, ""]
    with engine.begin() as connection:
        for row in rows:
            acknowledge(connection, row.id, "a", now)
    assert watch.tick(now + timedelta(hours=6)).mails.sent == 0
