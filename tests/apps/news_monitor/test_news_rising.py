"""An alert that becomes more severe while it fires: stored, told again, and told to whom it now
concerns."""

import email
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr
from sqlalchemy import Engine, select, update

import apps.news_monitor.rising as rising_module
from apps.news_monitor.alerts import follow_alert
from apps.news_monitor.articles import Article
from apps.news_monitor.coverage import Coverage
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.detection import Detector
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import ingest
from apps.news_monitor.judging_tables import alert, alert_item
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.outbox import deliver_due, enqueue
from apps.news_monitor.predictions import ActiveModel, label_pending, register_model
from apps.news_monitor.reports import owe_after_silence, owe_summary
from apps.news_monitor.responses import acknowledge, silence_topic
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.telling import Subscription, Webhook
from apps.news_monitor.telling_tables import outbox, recipient, webhook_call

HOUR = datetime(2026, 3, 11, 14, tzinfo=UTC)
SENDER = "News <news@bank.example>"
DESK, CHIEF = "desk@bank.example", "chief@bank.example"
SECRET = SecretStr("s" * 16)
GRAVE = Webhook(url="https://grave.example/", secret=SECRET, min_severity="critical")
ALL = Webhook(url="https://all.example/", secret=SECRET)
OTHER = Webhook(url="https://other.example/", secret=SECRET, topics=("Oil",))
SETTINGS = NewsSettings(
    recipients=(DESK, CHIEF),
    subscriptions=(Subscription(address=CHIEF, min_severity="critical"),),
    webhooks=(GRAVE, ALL, OTHER),
    mail_from=SENDER,
)
Ordinary = Callable[[datetime, int], list[Article]]
Story = Callable[[str, datetime, str], Article]


@dataclass
class Slow:
    """Four bad stories open an alert at 15:00 as a warning, ten more make it critical at 16:00."""

    engine: Engine
    model: ActiveModel

    def judge(self, hours: int, now: datetime | None = None) -> None:
        """The hours from 14:00 on, so many of them, each half an hour after it has passed; now:
        all of them late."""
        for n in range(hours):
            at = HOUR + timedelta(hours=n)
            detector = Detector(self.engine, self.model, SETTINGS, now=at)
            detector.run(at, now=now or at + timedelta(minutes=30))

    def rows(self) -> list[tuple[str, str, str]]:
        """(who, Message-ID up to the key, state) of each mail."""
        query = select(recipient.c.email, outbox.c.message_id, outbox.c.state).join(
            outbox, outbox.c.recipient_id == recipient.c.id
        )
        with self.engine.begin() as connection:
            found = connection.execute(query.order_by(outbox.c.id)).all()
        return [
            (row.email.partition("@")[0], row.message_id.rpartition(".u")[0], row.state)
            for row in found
        ]

    def calls(self) -> list[tuple[str, str]]:
        """(host, event) of each webhook call, in the order in which they were owed."""
        with self.engine.begin() as connection:
            rows = connection.execute(select(webhook_call).order_by(webhook_call.c.id)).all()
        assert len({row.idempotency_key for row in rows}) == len(rows)
        return [(row.url.split("/")[2].partition(".")[0], row.event) for row in rows]

    def body(self, event: str) -> dict[str, Any]:
        """Of the alert in the only call of its kind."""
        query = select(webhook_call.c.body).where(webhook_call.c.event == event)
        with self.engine.begin() as connection:
            told: dict[str, Any] = json.loads(connection.execute(query).scalar_one())
        found: dict[str, Any] = told["alert"]
        return found

    def alert(self) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(select(alert)).one()

    def severity(self) -> tuple[str, str]:
        row = self.alert()
        return row.severity, Evidence.from_json(row.evidence_json).severity

    def mails(
        self, folder: Path, now: datetime = HOUR + timedelta(hours=9)
    ) -> dict[str, EmailMessage]:
        """What is owed, by file name up to the key."""
        deliver_due(
            self.engine,
            OutboxMailer(folder),
            now=now,
            sender=SENDER,
            dashboard_url="https://dash.example",
        )
        return {
            file.name.rpartition(".u")[0] + ("" if ".u1." in file.name else " chief"):
                email.message_from_bytes(file.read_bytes(), policy=default)
            for file in folder.glob("*.eml")
        }  # fmt: skip


@pytest.fixture
def slow(engine: Engine, labeller: LabelTexts, ordinary: Ordinary, story: Story) -> Slow:
    return _slow(engine, labeller, ordinary, story)


@pytest.fixture
def slow_lite(sqlite: Engine, labeller: LabelTexts, ordinary: Ordinary, story: Story) -> Slow:
    return _slow(sqlite, labeller, ordinary, story)


def _slow(engine: Engine, labeller: LabelTexts, ordinary: Ordinary, story: Story) -> Slow:
    articles = ordinary(HOUR - timedelta(hours=2), 40)
    for number, at, stories in ((90000, HOUR, 4), (91000, HOUR + timedelta(hours=2), 10)):
        for n in range(stories):
            when = at - timedelta(minutes=5 * n + 5)
            articles.append(story(f"airline crash {number + n}", when, "ABCD"[n % 4]))
    with engine.begin() as connection:
        ingest(connection, articles, copies=CopyIndex(), fetched=HOUR)
        model = register_model(connection, labeller, HOUR)
    label_pending(engine, model, now=HOUR, limit=10**6, batch=512)
    return Slow(engine, model)


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def test_a_surge_that_builds_up_slowly_rises_and_is_told_again(slow: Slow, tmp_path: Path) -> None:
    slow.judge(2)
    assert slow.severity() == ("warning", "warning")
    assert slow.rows() == [("desk", "<alert-1.r1", "queued")]
    opened = slow.alert()
    slow.judge(4)
    risen = slow.alert()
    assert slow.severity() == ("critical", "critical")
    assert (risen.opened_at, risen.dedupe_key) == (opened.opened_at, opened.dedupe_key)
    now = Evidence.from_json(risen.evidence_json)
    assert (now.opened_at, now.evaluated_at) == (opened.opened_at, HOUR + timedelta(hours=2))
    with slow.engine.begin() as connection:
        assert len(connection.execute(select(alert_item)).all()) == now.negative
    # Each webhook hears of it once by what it wants, and who knows of it that it has risen.
    assert slow.calls() == [
        ("all", "alert.opened"),
        ("grave", "alert.opened"),
        ("all", "alert.risen"),
    ]
    told = slow.body("alert.risen")
    assert (told["state"], told["risen_from"]) == ("firing", "warning")
    assert told["evidence"]["severity"] == "critical"
    assert told["evidence"]["negative"] == now.negative
    assert sorted(slow.rows()) == [
        ("chief", "<alert-1.r2", "queued"),
        ("desk", "<alert-1.r1", "queued"),
        ("desk", "<alert-1.r2", "queued"),
    ]
    mails = slow.mails(tmp_path)
    first, again, chief = (mails[n] for n in ("alert-1.r1", "alert-1.r2", "alert-1.r2 chief"))
    # What was owed before still tells what it told then.
    assert first["Subject"].startswith("[Warning] Airlines: 5 of ")
    assert again["Subject"].startswith(f"Risen: [Critical] Airlines: {now.negative} of ")
    assert again["References"] == first["References"]
    said = text_of(again).splitlines()
    assert said[0].startswith(
        f"Bad news about Airlines has risen from warning to critical: {now.negative} of the "
    )
    assert said[1].startswith("It opened on Wed 11 Mar 2026, 15:00 UTC; these figures are of ")
    page = again.get_body(("html",))
    assert page is not None
    assert "has risen from warning to critical" in page.get_content()
    # To whom it is new it is told as new.
    assert chief["Subject"].startswith("[Critical] Airlines: ")
    assert text_of(chief).startswith("Bad news about Airlines is surging: ")
    assert slow.severity() == ("critical", "critical")


def test_killed_within_a_rise_the_same_rows_come_of_it(
    slow_lite: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_lite.judge(2)

    def cut(*arguments: Any, **named: Any) -> int:
        enqueue(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(rising_module, "enqueue", cut)
        with pytest.raises(KeyboardInterrupt):
            slow_lite.judge(3)
    assert slow_lite.severity() == ("warning", "warning")
    assert slow_lite.rows() == [("desk", "<alert-1.r1", "queued")]
    slow_lite.judge(3)
    slow_lite.judge(4)
    assert sorted(slow_lite.rows())[1:] == [
        ("desk", "<alert-1.r1", "queued"),
        ("desk", "<alert-1.r2", "queued"),
    ]
    assert slow_lite.alert().revision == 2


def test_what_somebody_looks_into_is_told_to_the_others_alone(slow_lite: Slow) -> None:
    slow_lite.judge(2)
    with slow_lite.engine.begin() as connection:
        acknowledge(connection, 1, DESK, HOUR + timedelta(hours=1))
    slow_lite.judge(3)
    assert slow_lite.severity() == ("critical", "critical")
    assert [row[:2] for row in slow_lite.rows()] == [
        ("desk", "<alert-1.r1"),
        ("chief", "<alert-1.r2"),
    ]
    assert slow_lite.calls() == [("all", "alert.opened"), ("grave", "alert.opened")]


def test_of_a_silenced_topic_a_rise_is_stored_and_told_to_nobody(slow_lite: Slow) -> None:
    slow_lite.judge(2)
    with slow_lite.engine.begin() as connection:
        silence_topic(connection, 1, 24, DESK, HOUR + timedelta(hours=1))
    slow_lite.judge(3)
    assert slow_lite.severity() == ("critical", "critical")
    assert [row[0] for row in slow_lite.rows()] == ["desk"]
    assert slow_lite.calls() == [("all", "alert.opened")]


def over(slow: Slow, hours: float) -> None:
    """What is owed of silences, so long after HOUR."""
    with slow.engine.begin() as connection:
        owe_after_silence(connection, SETTINGS, HOUR + timedelta(hours=hours))


def test_what_rose_in_a_silence_is_told_once_it_is_over(slow: Slow, tmp_path: Path) -> None:
    """To who was told of it before as a rise, to whom it concerns now as new."""
    slow.judge(2)
    with slow.engine.begin() as connection:
        silence_topic(connection, 1, 6, DESK, HOUR + timedelta(hours=1))
    slow.judge(4)
    over(slow, 6)
    assert [row[0] for row in slow.rows()] == ["desk"]
    for _ in range(2):
        over(slow, 7.5)
    assert sorted(row[:2] for row in slow.rows()) == [
        ("chief", "<alert-1.r2"),
        ("desk", "<alert-1.r1"),
        ("desk", "<alert-1.r2"),
    ]
    assert slow.calls()[1:] == [("grave", "alert.opened"), ("all", "alert.risen")]
    again = slow.mails(tmp_path)["alert-1.r2"]
    assert text_of(again).startswith("Bad news about Airlines has risen from warning to critical: ")


def test_what_rose_in_a_silence_and_is_over_with_it_is_told_to_nobody(slow_lite: Slow) -> None:
    slow_lite.judge(2)
    with slow_lite.engine.begin() as connection:
        silence_topic(connection, 1, 6, DESK, HOUR + timedelta(hours=1))
    slow_lite.judge(3)
    with slow_lite.engine.begin() as connection:
        follow_alert(connection, 1, 9.0, resolved_at=HOUR + timedelta(hours=6))
    over(slow_lite, 7)
    with slow_lite.engine.begin() as connection:  # it goes on after all
        follow_alert(connection, 1, 9.0, resolved_at=None)
    over(slow_lite, 8)
    assert [row[0] for row in slow_lite.rows()] == ["desk"]
    assert slow_lite.calls() == [("all", "alert.opened")]


def test_three_mails_about_one_alert_are_enough_for_who_had_them(slow_lite: Slow) -> None:
    slow_lite.judge(2)
    with slow_lite.engine.begin() as connection:  # two reminders have gone
        connection.execute(update(alert).values(revision=3))
    slow_lite.judge(3)
    assert [row[:2] for row in slow_lite.rows()] == [
        ("desk", "<alert-1.r1"),
        ("chief", "<alert-1.r3"),
    ]
    assert slow_lite.alert().revision == 3
    # The reminders were mails: a webhook has heard of it once so far.
    assert slow_lite.calls()[1:] == [("grave", "alert.opened"), ("all", "alert.risen")]


def test_what_opened_and_rose_in_a_pause_is_owed_once(slow_lite: Slow) -> None:
    slow_lite.judge(4, now=HOUR + timedelta(hours=12))
    assert slow_lite.severity() == ("critical", "critical")
    assert sorted(slow_lite.rows()) == [
        ("chief", "<alert-1.r2", "offline"),
        ("desk", "<alert-1.r1", "offline"),
    ]


def test_what_rose_in_a_pause_is_told_in_its_summary(slow_lite: Slow, tmp_path: Path) -> None:
    slow_lite.judge(2)
    back = HOUR + timedelta(hours=12)
    with slow_lite.engine.begin() as connection:
        connection.execute(update(outbox).values(state="sent"))
    slow_lite.judge(3, now=back)
    with slow_lite.engine.begin() as connection:
        line = owe_summary(connection, SETTINGS, back)
    # Nothing else of the time since the alert opened is told as missed.
    assert line == (
        "back after 10 hours: 0 hours judged late, 1 alert meanwhile, told in one summary"
    )
    assert sorted(slow_lite.rows())[:2] == [
        ("chief", "<alert-1.r2", "joined"),
        ("chief", "<offline-20260311T160000.r1", "queued"),
    ]
    mails = slow_lite.mails(tmp_path, back)
    assert "Still going on: Airlines (since " in text_of(mails["offline-20260311T160000.r1"])


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few of the usual sources deliver."""

    def all_of(found: Coverage, moment: int, _needed: float) -> NDArray[np.bool_]:
        return np.ones_like(found.share[moment], dtype=bool)

    with monkeypatch.context() as thin:
        thin.setattr(Coverage, "held", all_of)
        yield


def test_nothing_rises_while_too_few_sources_deliver(
    slow_lite: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_lite.judge(2)
    with held(monkeypatch):
        slow_lite.judge(3)
    assert slow_lite.severity() == ("warning", "warning")
    slow_lite.judge(4)
    assert slow_lite.severity() == ("critical", "critical")
