"""Alerts posted to a real server on loopback: signed, once, again until they are taken."""

import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select

from apps.news_monitor.alerts import follow_alert, renew_alert
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.owed import DeliveryReport, try_again
from apps.news_monitor.telling import Webhook
from apps.news_monitor.telling_tables import webhook_call
from apps.news_monitor.webhooks import (
    OPENED,
    call_due,
    owe_calls,
    owe_resolved,
    owe_risen,
)

AT = datetime(2026, 3, 11, 14, tzinfo=UTC)
SECRET = "a secret of the receiver"
MINUTE = timedelta(minutes=1)
OpenAlert = Callable[..., int]


class Receiver(http.server.ThreadingHTTPServer):
    """Answers with the codes in line, then 204; keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.codes: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/in/secret-path"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        code = self.server.codes.pop(0) if self.server.codes else 204
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def hook(url: str, *, allow_private: bool = True, topics: tuple[str, ...] = ()) -> Webhook:
    secret = SecretStr(SECRET)
    return Webhook(url=url, secret=secret, allow_private=allow_private, topics=topics)


def call(engine: Engine, hooks: list[Webhook], now: datetime) -> DeliveryReport:
    return call_due(engine, hooks, now=now, agent="Triptych-News-Monitor/0.1")


def test_an_alert_and_its_end_are_posted_once_each_and_signed(
    engine: Engine, evidence: Evidence, open_evidence: OpenAlert, receiver: Receiver
) -> None:
    hooks = [hook(receiver.url), hook("https://other.example/", topics=("Oil",))]
    with engine.begin() as connection:
        number = open_evidence(connection, evidence)
        for _ in range(2):
            owe_calls(connection, number, OPENED, hooks, AT)
            owe_resolved(connection, hooks, AT)
    assert call(engine, hooks, AT).sent == 1
    with engine.begin() as connection:
        follow_alert(connection, number, 7.2, resolved_at=AT + 60 * MINUTE)
        for _ in range(2):
            owe_resolved(connection, hooks, AT + 60 * MINUTE)
    assert call(engine, hooks, AT + 60 * MINUTE).sent == 1
    assert call(engine, hooks, AT + 61 * MINUTE).sent == 0
    bodies = [json.loads(body) for _, body in receiver.got]
    assert [body["event"] for body in bodies] == ["alert.opened", "alert.resolved"]
    assert bodies[0]["alert"]["evidence"]["topic"] == "Airlines"
    assert bodies[1]["alert"]["resolved_at"] == "2026-03-11T15:00:00+00:00"
    for headers, body in receiver.got:
        stamp, given = headers["Triptych-Signature"].removeprefix("t=").split(",v1=")
        signed = f"{stamp}.".encode() + body
        assert given == hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert headers["Idempotency-Key"] == json.loads(body)["id"]


def test_a_rise_is_posted_once_for_each_severity_and_the_end_to_who_was_told(
    engine: Engine, evidence: Evidence, open_evidence: OpenAlert, receiver: Receiver
) -> None:
    hooks = [
        hook(receiver.url),
        hook(receiver.url + "/oil", topics=("Oil",)),
        hook(receiver.url + "/grave").model_copy(update={"min_severity": "critical"}),
    ]
    grave = replace(evidence, severity="critical", negative=20)
    with engine.begin() as connection:
        number = open_evidence(connection, evidence)
        owe_calls(connection, number, OPENED, hooks, AT)
        follow_alert(connection, number, 7.2, resolved_at=AT + 60 * MINUTE)
        owe_resolved(connection, hooks, AT + 60 * MINUTE)
        # It goes on after its end, and is graver now; what is known of it is stored first.
        renew_alert(connection, number, grave, [])
        owe_risen(connection, number, "high", hooks, AT + 90 * MINUTE, again=True)
        follow_alert(connection, number, 9.2, resolved_at=None)
        owe_resolved(connection, hooks, AT + 90 * MINUTE)
        follow_alert(connection, number, 9.2, resolved_at=AT + 120 * MINUTE)
        # Who was told of it hears of its end, though it is no longer of that webhook's choice.
        changed = [hook(receiver.url, topics=("Oil",)), *hooks[1:]]
        for _ in range(2):
            owe_resolved(connection, changed, AT + 120 * MINUTE)
    assert call(engine, hooks, AT + 120 * MINUTE).sent == 6
    told = [json.loads(body) for _, body in receiver.got]
    assert [(body["event"], body["alert"]["state"]) for body in told] == [
        ("alert.opened", "firing"),
        ("alert.resolved", "resolved"),
        ("alert.opened", "firing"),
        ("alert.risen", "firing"),
        ("alert.resolved", "resolved"),
        ("alert.resolved", "resolved"),
    ]
    assert [body["alert"]["evidence"]["severity"] for body in told] == ["high"] * 2 + [
        "critical"
    ] * 4
    assert told[3]["alert"]["risen_from"] == "high"
    assert told[3]["alert"]["resolved_at"] is None
    assert "risen_from" not in told[4]["alert"]
    assert len({body["id"] for body in told}) == 6


def test_a_rise_that_is_not_told_again_opens_it_to_who_wants_it_now(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert, receiver: Receiver
) -> None:
    known = hook(receiver.url)
    grave = hook(receiver.url + "/grave").model_copy(update={"min_severity": "critical"})
    with sqlite.begin() as connection:
        number = open_evidence(connection, evidence)
        owe_calls(connection, number, OPENED, [known, grave], AT)
        renew_alert(connection, number, replace(evidence, severity="critical"), [])
        owe_risen(connection, number, "high", [known, grave], AT, again=False)
        rows = connection.execute(select(webhook_call).order_by(webhook_call.c.id)).all()
    assert [(row.url, row.event) for row in rows] == [
        (known.url, "alert.opened"),
        (grave.url, "alert.opened"),
    ]


def test_a_busy_receiver_is_tried_again_with_the_same_key_and_body(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert, receiver: Receiver
) -> None:
    receiver.codes = [503, 429]
    hooks = [hook(receiver.url)]
    with sqlite.begin() as connection:
        owe_calls(connection, open_evidence(connection, evidence), OPENED, hooks, AT)
    place = receiver.url.removesuffix("/in/secret-path")
    assert call(sqlite, hooks, AT).lines == [
        f"alert.opened of alert 1 to {place} not sent: {place} answered HTTP 503; kept, next "
        "attempt 2026-03-11 14:01 UTC"
    ]
    assert call(sqlite, hooks, AT + MINUTE / 2).waiting == 0
    assert call(sqlite, hooks, AT + MINUTE).waiting == 1
    assert call(sqlite, hooks, AT + 6 * MINUTE).sent == 1
    assert len({(headers["Idempotency-Key"], body) for headers, body in receiver.got}) == 1
    assert len(receiver.got) == 3


def test_what_is_refused_becomes_a_dead_letter_that_can_be_tried_again(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert, receiver: Receiver
) -> None:
    receiver.codes = [404, 302, 401, 400]
    hooks = [hook(receiver.url)]
    with sqlite.begin() as connection:
        owe_calls(connection, open_evidence(connection, evidence), OPENED, hooks, AT)
    now = AT
    for _ in range(4):
        report = call(sqlite, hooks, now)
        with sqlite.begin() as connection:
            row = connection.execute(select(webhook_call)).one()
        now = row.next_try_at
    assert (report.dead, row.state, len(receiver.got)) == (1, "dead", 4)
    assert row.last_error.endswith("answered HTTP 400")
    with sqlite.begin() as connection:
        assert try_again(connection, webhook_call, row.id, now)
        assert not try_again(connection, webhook_call, row.id, now)
    assert call(sqlite, hooks, now).sent == 1


def test_a_private_address_is_refused_unless_allowed(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert, receiver: Receiver
) -> None:
    hooks = [hook(receiver.url, allow_private=False)]
    with sqlite.begin() as connection:
        owe_calls(connection, open_evidence(connection, evidence), OPENED, hooks, AT)
    (line,) = call(sqlite, hooks, AT).lines
    assert "127.0.0.1 is the private address 127.0.0.1; set allow_private = true" in line
    assert "secret-path" not in line
    assert receiver.got == []
    (line,) = call(sqlite, [], AT + 60 * MINUTE).lines
    assert "its webhook is no longer in the settings" in line


def test_a_webhook_that_fails_does_not_hold_up_the_others(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert, receiver: Receiver
) -> None:
    closed = hook("http://127.0.0.1:9/x")
    hooks = [closed, hook(receiver.url)]
    with sqlite.begin() as connection:
        number = open_evidence(connection, evidence)
        owe_calls(connection, number, OPENED, hooks, AT)
        owe_calls(connection, number, "alert.test", hooks, AT)
    report = call(sqlite, hooks, AT)
    assert (report.sent, report.waiting) == (2, 1)  # its second call was left for the next round


def test_the_time_of_a_round_is_bounded_and_retries_count_from_the_failure(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert, receiver: Receiver
) -> None:
    now = [AT]

    def clock() -> datetime:
        now[0] += MINUTE
        return now[0]

    receiver.codes = [503]
    other = hook(receiver.url + "/other")
    hooks = [hook(receiver.url), other]
    with sqlite.begin() as connection:
        owe_calls(connection, open_evidence(connection, evidence), OPENED, hooks, AT)
    report = call_due(sqlite, hooks, now=AT, agent="a", clock=clock, until=AT + 5 * MINUTE)
    assert (report.sent, report.waiting) == (0, 1)
    assert report.lines[1:] == ["webhook calls left for the next round: its time is used up"]
    with sqlite.begin() as connection:
        first, second = connection.execute(select(webhook_call).order_by(webhook_call.c.id)).all()
    assert first.next_try_at == AT + 5 * MINUTE
    assert (second.state, second.attempts) == ("queued", 0)
