"""The routes over a scripted bot: what customers, Rasa's clients and agents send and get."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select

from apps.chatbot.answers import AnswerBook
from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations
from apps.chatbot.handover import Handovers
from apps.chatbot.handover_rest import handover_router
from apps.chatbot.phrases import phrases_for
from apps.chatbot.rate_limit import RateLimit
from apps.chatbot.rest import chat_router
from apps.chatbot.settings import ChatbotSettings
from apps.chatbot.tables import feedback
from apps.chatbot.turns import Limits
from pipelines.serve import refuse_body
from shared.errors import SettingsError
from shared.settings import load_section

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
EN = phrases_for("en")


@pytest.fixture
def client(scripted_bot: Bot, answer_book: AnswerBook, engine: Engine) -> Iterator[TestClient]:
    talk = Conversations(
        scripted_bot, engine, model="demo@1", limits=Limits(2, 2), clock=lambda: NOW
    )
    service = FastAPI()
    service.add_exception_handler(RequestValidationError, refuse_body)
    service.include_router(chat_router(scripted_bot, talk, RateLimit(20, lambda: 0.0)))
    service.include_router(handover_router(talk.handovers, lambda: answer_book))
    with TestClient(service) as made:
        yield made


def say(client: TestClient, message: str, **more: Any) -> Any:
    sent = {"sender": "ana", "message": message, **more}
    answer = client.post("/webhooks/rest/webhook", json=sent)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(client: TestClient, path: str, **body: Any) -> tuple[int, Any]:
    answer = client.post(path, json=body)
    return answer.status_code, answer.json()


def test_a_chat_as_both_sides_see_it(client: TestClient) -> None:
    (passed,) = say(client, "human please")
    assert passed["custom"]["decision"] == "handover"
    (entry,) = client.get("/v1/handovers").json()
    chat = f"/v1/handovers/{entry['id']}"
    assert post(client, f"{chat}/take", agent="mia")[1]["state"] == "taken"
    code, refused = post(client, f"{chat}/take", agent="ben")
    assert (code, refused) == (409, {
        "detail": f"handover {entry['id']} is with mia since 09:30 UTC; only they can take it, or "
        "you take it over from them"
    })  # fmt: skip
    # While mia is in charge the bot is silent; what she says comes with the next message, and to
    # whoever fetches it.
    (joined,) = say(client, "refund me")
    assert (joined["text"], joined["custom"]["from"]) == (EN.joined, "notice")
    seen = client.get(chat).json()
    assert seen["waiting_before"] == 0
    assert [each["text"] for each in seen["suggestions"]] == [
        "Refunds take five days.", "Parcel {order_id} is on its way.", "We open at nine.",
    ]  # fmt: skip
    assert [(each["role"], each["why"]) for each in seen["transcript"]] == [
        ("customer", ""), ("bot", "the customer asks for a person"), ("notice", ""),
        ("customer", ""),
    ]  # fmt: skip
    code, said = post(client, f"{chat}/reply", agent="mia", text="Gladly.", message_id="r1")
    assert (code, said["text"], said["agent"]) == (200, "Gladly.", "mia")
    assert post(client, f"{chat}/reply", agent="mia", text="Gladly.", message_id="r1")[1] == said
    after = f"/v1/conversations/ana/messages?after={joined['custom']['message_id']}"
    fetched = client.get(after).json()
    assert [(each["id"], each["from"], each["text"]) for each in fetched] == [
        (said["id"], "agent", "Gladly.")
    ]
    assert [each["text"] for each in say(client, "thanks")] == ["Gladly."]
    assert say(client, "thanks") == []
    assert post(client, f"{chat}/return", agent="mia")[1]["state"] == "returned"
    assert [each["text"] for each in say(client, "hours")] == [EN.returned, "We open at nine."]
    assert client.get("/v1/handovers").json() == []
    (ended,) = client.get("/v1/handovers?state=returned&state=closed").json()
    assert ended["ended_by"] == "mia"
    assert client.get("/v1/conversations/ana/tracker").json()["paused"] is False


def test_a_parsed_text_says_where_its_values_stand(client: TestClient) -> None:
    text = "on 2026-03-04 I paid €12.50\nfor order KB-20418, write to ana.b@example.com"
    parsed = client.post("/model/parse", json={"text": text}).json()
    found = [(each["entity"], each["value"], each["extractor"]) for each in parsed["entities"]]
    assert found == [
        ("date", "2026-03-04", "triptych"),
        ("amount", "€12.50", "triptych"),
        ("order_id", "KB-20418", "triptych"),
        ("email", "ana.b@example.com", "triptych"),
    ]
    for each in parsed["entities"]:
        assert text[each["start"] : each["end"]] == each["value"]
    assert client.post("/model/parse", json={"text": "hello"}).json()["entities"] == []


def test_several_requests_get_an_entry_each(client: TestClient) -> None:
    asked = "Refund, how long does it take? Also hours, what are they?"
    entries = say(client, asked)
    assert [(each["text"], each["custom"]["read"]) for each in entries] == [
        ("Refunds take five days.", "Refund, how long does it take?"),
        ("We open at nine.", "hours, what are they?"),
    ]
    # The text outside a conversation is understood as one.
    parsed = client.post("/model/parse", json={"text": asked}).json()
    assert (parsed["intent"]["name"], parsed["text"]) == ("refund", asked)


def test_a_message_sent_again_is_answered_alike(client: TestClient) -> None:
    first = say(client, "unsure", metadata={"message_id": "m1"})
    assert say(client, "unsure", metadata={"message_id": "m1"}) == first
    assert [button["payload"] for button in first[0]["buttons"]] == [
        "/track", "/refund", "/none_of_these",
    ]  # fmt: skip
    # Ids that are none, or too long, harm nothing.
    for strange in ({"a": 1}, "", None, "x" * 5000):
        say(client, "hours", metadata={"message_id": strange})


@pytest.mark.parametrize("sender", ["a/b", "你好", "x y?"])
def test_any_sender_has_messages_and_a_tracker(client: TestClient, sender: str) -> None:
    from urllib.parse import quote

    say(client, "hours", sender=sender)
    path = f"/v1/conversations/{quote(sender, safe='')}"
    (said,) = client.get(f"{path}/messages").json()
    assert said["text"] == "We open at nine."
    assert client.get(f"{path}/tracker").json()["sender_id"] == sender


def test_thumbs_belong_to_a_message_of_that_customer(client: TestClient, engine: Engine) -> None:
    (told,) = say(client, "hours")
    number = told["custom"]["message_id"]
    up = {"sender": "ana", "message_id": number, "value": "up"}
    assert post(client, "/v1/feedback", **up) == (200, {"message_id": number, "value": "up"})
    assert post(client, "/v1/feedback", **{**up, "value": "down", "comment": "no"})[0] == 200
    with engine.connect() as connection:
        (row,) = connection.execute(select(feedback)).all()
    assert tuple(row) == (number, "down", "no", NOW)
    assert post(client, "/v1/feedback", **{**up, "sender": "bob"}) == (
        404, {"detail": f"message {number}: 'bob' was told nothing by it"}
    )  # fmt: skip
    assert post(client, "/v1/feedback", **{**up, "message_id": number - 1})[0] == 404
    assert post(client, "/v1/feedback", **{**up, "value": "sideways"})[0] == 422


def test_who_writes_too_often_is_told_when_to_come_again(client: TestClient) -> None:
    for _ in range(20):
        say(client, "hours")
    sent = {"sender": "ana", "message": "hours"}
    answer = client.post("/webhooks/rest/webhook", json=sent)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert answer.json() == {"detail": "too many messages of this sender; the next one in 3 s"}
    assert say(client, "hours", sender="bob")


def test_a_bucket_fills_again_at_its_rate() -> None:
    now = [0.0]
    limit = RateLimit(2, lambda: now[0])
    assert [limit.wait("a"), limit.wait("a"), limit.wait("a")] == [0, 0, 30]
    now[0] = 29
    assert limit.wait("a") == pytest.approx(1)
    now[0] = 30
    assert limit.wait("a") == 0
    now[0] = 10_000
    assert [limit.wait("a") for _ in range(3)] == [0, 0, 30]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/v1/handovers/1/take", {"agent": "mia"}, 404),
        ("/v1/handovers/0/take", {"agent": "mia"}, 422),
        (f"/v1/handovers/{10**30}/take", {"agent": "mia"}, 422),
        ("/v1/handovers/1/take", {"agent": " \n"}, 422),
        ("/v1/handovers/1/take", {"agent": "a\x00b"}, 422),
        ("/v1/handovers/1/reply", {"agent": "mia", "text": "x" * 10_001}, 422),
        ("/v1/handovers/deliveries/7/retry", {}, 404),
        ("/webhooks/rest/webhook", {"sender": "a\x00", "message": "x"}, 422),
        ("/webhooks/rest/webhook", {"sender": "s" * 201, "message": "x"}, 422),
    ],
)
def test_what_cannot_be_is_refused(
    client: TestClient, path: str, body: dict[str, Any], code: int
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == code
    assert "detail" in answer.json()


@pytest.mark.parametrize(
    "message", ["\x00", "\ud800", "\u202e\u0007", "{{7*7}}", "退" * 9000], ids=range(5)
)
def test_a_hostile_message_harms_no_queue(client: TestClient, message: str) -> None:
    say(client, "human please")
    body = json.dumps({"sender": "ana", "message": message}).encode()
    answer = client.post(
        "/webhooks/rest/webhook", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == (422 if message == "\ud800" else 200)
    (entry,) = client.get("/v1/handovers").json()
    assert client.get(f"/v1/handovers/{entry['id']}").status_code == 200


def test_the_document_names_what_each_route_may_answer(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {
        "/v1/handovers", "/v1/handovers/{handover_id}", "/v1/handovers/{handover_id}/take",
        "/v1/handovers/{handover_id}/reply", "/v1/handovers/{handover_id}/return",
        "/v1/handovers/{handover_id}/close", "/v1/handovers/deliveries",
        "/v1/handovers/deliveries/{delivery_id}/retry", "/v1/feedback",
        "/v1/conversations/{sender}/messages", "/v1/conversations/{sender}/tracker",
    } <= set(paths)  # fmt: skip
    take = paths["/v1/handovers/{handover_id}/take"]["post"]["responses"]
    assert set(take) == {"200", "400", "401", "404", "409", "422", "503"}
    assert "429" in paths["/webhooks/rest/webhook"]["post"]["responses"]


ANSWERING = """
import sys
from datetime import UTC, datetime
from apps.chatbot.handover import Handovers
from shared.storage import create_engine
queue = Handovers(create_engine(sys.argv[1]), clock=lambda: datetime.now(UTC))
(chat,) = queue.listed()
queue.take(chat.id, "mia")
for n in range(int(sys.argv[2]), 100_000):
    queue.reply(chat.id, "mia", f"answer {n}", client_id=f"r{n}")
    print(n, flush=True)
"""


def test_a_killed_process_loses_and_doubles_nothing(scripted_bot: Bot, engine: Engine) -> None:
    """Killed while it answers; another goes on from what it was told had gone, and the last answer,
    whose fate it cannot know, is sent again under its id."""
    talk = Conversations(
        scripted_bot, engine, model="demo@1", limits=Limits(2, 2), clock=lambda: datetime.now(UTC),
        handovers=Handovers(engine, clock=lambda: datetime.now(UTC)),
    )  # fmt: skip
    talk.handle("ana", "human please")
    process = subprocess.Popen(
        [sys.executable, "-c", ANSWERING, str(engine.url), "0"],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    known = [0, *(int(line) for line in process.stdout.read().split())]
    process.wait()
    process.stdout.close()
    (chat,) = talk.handovers.listed()
    assert (chat.state, chat.agent) == ("taken", "mia")
    for n in range(known[-1], known[-1] + 3):
        talk.handovers.reply(chat.id, "mia", f"answer {n}", client_id=f"r{n}")
    said = [each.text for each in talk.said_since("ana", 0) if each.role == "agent"]
    assert said[-500:] == [f"answer {n}" for n in range(known[-1] + 3)][-len(said) :]


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"HOURS": "mon 9-5"},
         "environment TRIPTYCH_CHATBOT__HANDOVER__HOURS = ['mon 9-5'], expected opening hours such "
         "as 'mon-fri 09:00-12:30 13:30-17:00', not 'mon 9-5'"),
        ({"WEBHOOK_URL": "https://desk.example/in", "WEBHOOK_SECRET": "short"},
         "environment TRIPTYCH_CHATBOT__HANDOVER__WEBHOOK_SECRET = '**********', expected 16 "
         "characters or more, which sign what is sent to webhook_url: set "
         "TRIPTYCH_CHATBOT__HANDOVER__WEBHOOK_SECRET"),
        ({"WEBHOOK_URL": "ftp://desk.example"},
         "environment TRIPTYCH_CHATBOT__HANDOVER__WEBHOOK_URL = 'ftp://desk.example', expected an "
         "http:// or https:// address, not 'ftp://desk.example'"),
        ({"TIME_ZONE": "Middle/Earth"},
         "environment TRIPTYCH_CHATBOT__HANDOVER__TIME_ZONE = 'Middle/Earth', expected a time zone "
         "as Europe/Berlin or UTC"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_one_line(environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_section(
            ChatbotSettings, "chatbot", file=None,
            environ={f"TRIPTYCH_CHATBOT__HANDOVER__{key}": v for key, v in environ.items()},
        )  # fmt: skip
    assert str(error.value) == complaint
