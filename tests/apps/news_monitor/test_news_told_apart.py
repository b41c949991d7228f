"""Many topics at once, and readers who chose some of them: each is told of those, and of all of
those."""

import email
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from email.policy import default
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from sqlalchemy import Engine, select

import apps.news_monitor.opening as opening_module
from apps.news_monitor.alerts import Moment, renew_alert
from apps.news_monitor.broad import Portion, Told, told_in
from apps.news_monitor.coverage import Coverage
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert, detector_config
from apps.news_monitor.labels import LabelSource
from apps.news_monitor.links import AlertRef
from apps.news_monitor.opening import Desk, open_alerts
from apps.news_monitor.outbox import deliver_due
from apps.news_monitor.reminders import owe_reminders
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.surges import Scan, SurgeRule
from apps.news_monitor.tables import model_version, topic
from apps.news_monitor.telling import Subscription
from apps.news_monitor.telling_tables import outbox, recipient
from apps.news_monitor.thresholds import FalseAlarmCurve, Severity
from apps.news_monitor.trends import Counts

SENDER = "News <news@bank.example>"
NAMES = ("Airlines", "Banks", "Energy", "Insurance", "Oil", "Retail", "Steel", "Telecoms")


class Detected:
    """Topics that open at an hour after the first moment, told as the detector has them told."""

    def __init__(
        self,
        engine: Engine,
        evidence: Evidence,
        monkeypatch: pytest.MonkeyPatch,
        *readers: Subscription,
    ) -> None:
        self.engine, self.begin, self.readers = engine, evidence.opened_at, readers
        model = {"name": "m", "fingerprint": "f", "first_used_at": self.begin}
        row = {"fingerprint": "c", "model_id": 1, "settings_json": "{}", "created_at": self.begin}
        with engine.begin() as connection:
            insert_new(connection, model_version, [model])
            insert_new(connection, topic, [{"name": name, "enabled": True} for name in NAMES])
            insert_new(connection, detector_config, [row])
            found = {row.name: row.id for row in connection.execute(select(topic))}
        self.ids = tuple(found[name] for name in NAMES)
        self.severity: Severity = "high"

        def gathered(_c: object, moment: Moment, place: int) -> tuple[Evidence, list[int]]:
            found = replace(
                evidence, topic=NAMES[place], opened_at=moment.at, severity=self.severity
            )
            return found, []

        monkeypatch.setattr(opening_module, "gather", gathered)
        monkeypatch.setattr(opening_module, "with_words", lambda found, _labeller: found)

    def opens(self, hour: float, *names: str, severity: Severity = "high") -> list[str]:
        """The mails that come of it: who, and what of."""
        before = len(self.mails())
        self.severity = severity
        opening = np.array([name in names for name in NAMES])
        cells = np.zeros((1, len(NAMES), 1))
        counted, flat = cells.astype(np.int64), cells[:, :, 0]
        moment = Moment(
            scan=Scan(
                rule=SurgeRule(),
                ends=np.array([1]),
                stories=counted,
                negative=counted,
                share=flat,
                rho=flat,
                expected_count=cells,
                expected_stories=cells,
                p_share=cells,
                p_count=cells,
                p_volume=cells,
                gate=cells.astype(np.int8),
                score=cells,
                days=np.array([84]),
            ),
            index=0,
            counts=cast(Counts, None),
            at=self.begin + timedelta(hours=hour),
            threshold=3.0,
            curve=FalseAlarmCurve.unknown(),
            topic_ids=self.ids,
            model_id=1,
            model_name="m",
            coverage=Coverage.unknown(1, len(NAMES)),
        )
        desk = Desk(1, "c", len(NAMES), self.readers, (), SENDER, cast(LabelSource, None),
                    timedelta(hours=3))  # fmt: skip
        with self.engine.begin() as connection:
            open_alerts(connection, moment, opening, desk, moment.at)
        return sorted(self.mails()[before:])

    def mails(self) -> list[str]:
        query = (
            select(outbox, recipient.c.email, alert.c.evidence_json)
            .join(recipient, recipient.c.id == outbox.c.recipient_id)
            .join(alert, alert.c.id == outbox.c.alert_id)
            .order_by(outbox.c.id)
        )
        with self.engine.begin() as connection:
            rows = connection.execute(query).all()
            said = []
            for row in rows:
                names = [Evidence.from_json(row.evidence_json).topic]
                if row.kind == "broad":
                    told = told_in(connection, row.alert_id, row.revision)
                    part = Portion.from_json(row.content_json).of(told)
                    names = sorted(evidence.topic for evidence in part.alerts)
                said.append(f"{row.email.partition('@')[0]}: {row.kind} {', '.join(names)}")
        return said


@pytest.fixture
def detected(
    sqlite: Engine, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Detected]:
    return lambda *readers: Detected(sqlite, evidence, monkeypatch, *readers)


ALL = Subscription(address="all@bank.example")
TECH = Subscription(address="tech@bank.example", topics=("Telecoms",))
TWO = Subscription(address="two@bank.example", topics=("Banks", "Oil", "Steel"))


def test_who_got_no_common_mail_is_told_alone_of_what_joins(
    detected: Callable[..., Detected],
) -> None:
    desk = detected(ALL, TECH, TWO)
    assert desk.opens(0, "Airlines", "Banks", "Oil", severity="critical") == [
        "all: broad Airlines, Banks, Oil",
        "two: broad Banks, Oil",
    ]
    # A fourth is less than half as many again: the desk waits, who chose this topic does not.
    assert desk.opens(2, "Telecoms", severity="critical") == ["tech: alert Telecoms"]
    # By what this reader was told it is half as many again.
    assert desk.opens(3, "Steel", severity="critical") == [
        "all: broad Airlines, Banks, Oil, Steel, Telecoms",
        "two: broad Banks, Oil, Steel",
    ]


def test_after_the_third_common_mail_critical_ones_are_told_to_all(
    detected: Callable[..., Detected],
) -> None:
    desk = detected(ALL, TECH)
    desk.opens(0, "Airlines", "Banks", "Oil", severity="warning")
    desk.opens(1, "Steel", severity="high")
    assert desk.opens(2, "Retail", severity="critical") == [
        "all: broad Airlines, Banks, Oil, Retail, Steel"
    ]
    assert desk.opens(4, "Energy", severity="high") == []
    assert desk.opens(5, "Telecoms", severity="critical") == [
        "all: alert Telecoms",
        "tech: alert Telecoms",
    ]
    # Six hours after the last mail nothing joins it any more.
    assert desk.opens(8, "Insurance", severity="high") == ["all: alert Insurance"]


def test_who_was_told_alone_is_not_told_again_with_others(
    detected: Callable[..., Detected],
) -> None:
    desk = detected(ALL, TECH)
    assert desk.opens(0, "Telecoms") == ["all: alert Telecoms", "tech: alert Telecoms"]
    assert desk.opens(1, "Airlines", "Banks") == ["all: broad Airlines, Banks, Telecoms"]


def test_a_common_mail_tells_each_reader_what_was_chosen(
    detected: Callable[..., Detected], tmp_path: Path
) -> None:
    desk = detected(ALL, TECH, TWO)
    desk.opens(0, "Airlines", "Banks", "Oil", "Telecoms")
    deliver_due(
        desk.engine,
        OutboxMailer(tmp_path),
        now=desk.begin,
        sender=SENDER,
        dashboard_url="http://x.example",
    )
    found = {}
    for file in tmp_path.glob("*.eml"):
        message = email.message_from_bytes(file.read_bytes(), policy=default)
        assert file.name.startswith("broad-1.r1.")
        found[str(message["To"]).partition("@")[0]] = message
    assert found["all"]["Subject"] == (
        "[High] Bad news in 4 of 8 topics: Airlines, Banks, Oil and 1 more"
    )
    assert found["two"]["Subject"] == "[High] Bad news in 2 of 3 topics: Banks, Oil"
    body = found["two"].get_body(("plain",))
    assert body is not None
    assert "Airlines" not in body.get_content()
    # Who wants one of them is told as if it were alone.
    assert found["tech"]["Subject"] == "[High] Telecoms: 14 of 30 stories negative (usual 4)"


def test_what_a_common_mail_told_stays_when_one_of_its_alerts_is_renewed(
    detected: Callable[..., Detected], evidence: Evidence
) -> None:
    desk = detected(ALL)
    desk.opens(0, "Airlines", "Banks", "Oil")
    with desk.engine.begin() as connection:
        (row,) = connection.execute(select(outbox)).all()
        before = Portion.from_json(row.content_json).of(told_in(connection, row.alert_id, 1))
        worse = replace(evidence, topic="Oil", score=99.0, severity="critical")
        renew_alert(connection, before.refs[2].id, worse, [])
        renew_alert(connection, before.refs[2].id, replace(worse, score=100.0), [])
        (row,) = connection.execute(select(outbox)).all()
        told = told_in(connection, row.alert_id, 1)
        assert Portion.from_json(row.content_json).of(told) == before
    assert told.alerts[0].score == 100.0


def test_common_mails_of_an_earlier_version_tell_of_all(evidence: Evidence) -> None:
    found = Told((evidence,), 12, (AlertRef(7, "k"),))
    assert Portion.from_json(None).of(found) == found
    assert Portion.from_json('["Oil"]').of(found) == replace(found, firing=("Oil",))


@pytest.mark.parametrize("told", ["alone, before they were many", "alone, after the last of many"])
def test_who_was_told_of_one_of_many_alone_is_reminded_of_it_alone(
    detected: Callable[..., Detected], told: str
) -> None:
    """No common mail tells of it: this reader wants no other, or three have gone before it."""
    desk = detected(TECH) if "before" in told else detected(ALL, TECH)
    if "before" in told:
        assert desk.opens(0, "Telecoms") == ["tech: alert Telecoms"]
        assert desk.opens(1, "Airlines", "Banks") == []
        last = 0
    else:
        desk.opens(0, "Airlines", "Banks", "Oil", severity="warning")
        desk.opens(1, "Steel", severity="high")
        desk.opens(2, "Retail", severity="critical")
        assert desk.opens(3, "Telecoms", severity="high") == ["tech: alert Telecoms"]
        last = 3
    settings = NewsSettings(
        recipients=tuple(one.address for one in desk.readers),
        subscriptions=desk.readers,
        remind_hours=4,
        mail_from=SENDER,
    )

    def reminded(hour: float) -> list[str]:
        before = len(desk.mails())
        with desk.engine.begin() as connection:
            owe_reminders(connection, settings, desk.begin + timedelta(hours=hour))
        return desk.mails()[before:]

    assert reminded(last + 3.9) == []
    assert reminded(last + 4) == ["tech: alert Telecoms"]
    assert reminded(last + 4.1) == []
    assert reminded(last + 8) == ["tech: alert Telecoms"]
    assert reminded(last + 100) == []  # three mails about one alert


def test_what_a_common_mail_told_is_reminded_of_by_one(detected: Callable[..., Detected]) -> None:
    desk = detected(ALL, TECH)
    desk.opens(0, "Telecoms")
    desk.opens(1, "Airlines", "Banks")
    desk.opens(2, "Oil")  # is told to nobody: the next mail tells of it
    settings = NewsSettings(
        recipients=(ALL.address, TECH.address),
        subscriptions=(ALL, TECH),
        remind_hours=4,
        mail_from=SENDER,
    )
    before = len(desk.mails())
    with desk.engine.begin() as connection:
        owe_reminders(connection, settings, desk.begin + timedelta(hours=5))
    assert sorted(desk.mails()[before:]) == [
        "all: broad Airlines, Banks, Oil, Telecoms",
        "tech: broad Telecoms",
    ]
