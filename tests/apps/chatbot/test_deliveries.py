"""What the outside is told, over a real HTTP server on loopback: signed, in order, until it is."""

import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from sqlalchemy import Engine, func, select

from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations
from apps.chatbot.deliveries import LEASE, RETRY_SECONDS, Deliveries
from apps.chatbot.handover import Handovers
from apps.chatbot.phrases import phrases_for
from apps.chatbot.tables import deliveries
from apps.chatbot.turns import Limits
from shared.errors import DataError

SECRET = "a secret of many characters"
EN = phrases_for("en")


class Clock:
    now = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Listener(HTTPServer):
    """Keeps what it is sent: (headers, body); answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.taken: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/chat"


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as made:
        thread = Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def on(engine: Engine, url: str, clock: Clock) -> Deliveries:
    return Deliveries(engine, url=url, secret=SECRET, clock=clock)


def note(queue: Deliveries, engine: Engine, sender: str, text: str) -> None:
    with engine.begin() as connection:
        queue.note(connection, "message", sender, {"message": {"text": text}})


def texts(listener: Listener) -> list[str]:
    return [json.loads(body)["message"]["text"] for _, body in listener.taken]


def test_a_whole_chat_is_told_and_signed(
    scripted_bot: Bot, engine: Engine, listener: Listener, clock: Clock
) -> None:
    queue = on(engine, listener.url, clock)
    talk = Conversations(
        scripted_bot, engine, model="demo@1", limits=Limits(2, 2), clock=clock,
        handovers=Handovers(engine, clock=clock, deliveries=queue),
    )  # fmt: skip
    talk.handle("ana", "hours")
    talk.handle("ana", "human please")
    (chat,) = talk.handovers.listed()
    talk.handovers.take(chat.id, "mia")
    talk.handle("ana", "refund me")
    talk.handovers.reply(chat.id, "mia", "Gladly. 好的")
    talk.handovers.close(chat.id, "mia")
    assert queue.deliver_due() == 7
    bodies = [json.loads(body) for _, body in listener.taken]
    assert [body["event"] for body in bodies] == [
        "handover.waiting", "message", "handover.taken", "message", "message", "message",
        "handover.closed",
    ]  # fmt: skip
    first = bodies[0]
    assert first["sender"] == "ana"
    assert first["handover"]["reason"] == "the customer asks for a person"
    assert first["handover"]["ranking"][0] == {"name": "hours", "confidence": 0.9}
    assert [(each["from"], each["text"]) for each in first["transcript"]] == [
        ("customer", "hours"), ("bot", "We open at nine."), ("customer", "human please"),
        ("bot", EN.handover),
    ]  # fmt: skip
    said = [(b["message"]["from"], b["message"]["text"]) for b in bodies if "message" in b]
    assert said == [
        ("notice", EN.joined), ("customer", "refund me"), ("agent", "Gladly. 好的"),
        ("notice", EN.ended),
    ]  # fmt: skip
    for headers, body in listener.taken:
        seconds, digest = (part[2:] for part in headers["X-Triptych-Signature"].split(",v"))
        assert int(seconds) == int(clock.now.timestamp())
        expected = hmac.new(SECRET.encode(), f"{seconds}.".encode() + body, "sha256")
        assert hmac.compare_digest(digest, expected.hexdigest())
    assert queue.deliver_due() == 0


@pytest.mark.parametrize("status", [500, 404, 302])
def test_what_is_refused_is_tried_again_and_given_up_in_the_end(
    engine: Engine, listener: Listener, clock: Clock, status: int
) -> None:
    queue = on(engine, listener.url, clock)
    listener.status = status
    note(queue, engine, "ana", "one")
    for wait in RETRY_SECONDS:
        assert queue.deliver_due() == 0
        (kept,) = queue.listed("queued")
        assert kept.last_error == f"answered {status}"
        assert kept.next_try_at == clock.now + timedelta(seconds=wait)
        clock.now += timedelta(seconds=wait - 1)
        assert queue.deliver_due() == 0  # not yet
        clock.now += timedelta(seconds=1)
    queue.deliver_due()
    (dead,) = queue.listed("dead")
    assert dead.attempts == len(listener.taken) == len(RETRY_SECONDS) + 1
    assert queue.deliver_due() == 0
    listener.status = 204
    queue.retry(dead.id)
    assert queue.deliver_due() == 1
    assert queue.listed("dead") == ()
    with pytest.raises(DataError, match="no dead one of that number"):
        queue.retry(dead.id)


def test_one_customers_messages_go_in_order_and_hold_up_nobody_else(
    engine: Engine, listener: Listener, clock: Clock
) -> None:
    queue = on(engine, listener.url, clock)
    listener.status = 500
    note(queue, engine, "ana", "first")
    queue.deliver_due()
    listener.status, listener.taken = 200, []
    note(queue, engine, "ana", "second")
    note(queue, engine, "bob", "other")
    assert queue.deliver_due() == 1
    assert texts(listener) == ["other"]
    clock.now += timedelta(seconds=RETRY_SECONDS[0])
    assert queue.deliver_due() == 2
    assert texts(listener) == ["other", "first", "second"]


def test_nobody_there_is_told_in_words(engine: Engine, clock: Clock) -> None:
    queue = on(engine, "http://127.0.0.1:1/", clock)
    note(queue, engine, "ana", "one")
    assert queue.deliver_due() == 0
    (kept,) = queue.listed("queued")
    assert kept.last_error.startswith("ConnectError: ")


def test_what_a_dead_process_was_sending_goes_again(
    each_engine: Engine, listener: Listener, clock: Clock
) -> None:
    queue = on(each_engine, listener.url, clock)
    note(queue, each_engine, "ana", "one")
    assert queue._claim() is not None  # and then it is killed
    assert queue.deliver_due() == 0
    clock.now += LEASE
    assert queue.deliver_due() == 1


def test_several_processes_send_each_once(
    each_engine: Engine, listener: Listener, clock: Clock
) -> None:
    queue = on(each_engine, listener.url, clock)
    for n in range(20):
        note(queue, each_engine, f"customer {n % 7}", str(n))
    sent: list[int] = []
    threads = [Thread(target=lambda: sent.append(queue.deliver_due())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent) == 20
    assert sorted(map(int, texts(listener))) == list(range(20))


def test_without_an_address_nothing_is_kept_and_old_ones_are_forgotten(
    engine: Engine, listener: Listener, clock: Clock
) -> None:
    note(on(engine, "", clock), engine, "ana", "one")
    queue = on(engine, listener.url, clock)
    note(queue, engine, "ana", "two")

    def rows() -> int | None:
        with engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(deliveries))

    assert queue.deliver_due() == 1
    assert rows() == 1
    clock.now += timedelta(days=8)
    queue.deliver_due()
    assert rows() == 0
