"""The REST service as its clients call it: the real process on loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pandas as pd
import pytest
import schemathesis

# Of each operation and kind: as many bodies and parameters as its document allows, and as many that
# it does not.
DRAWN = 10
# Nothing that a client can send them is wrong.
ALWAYS_RIGHT = ("GET /health", "GET /v1/conversations/{sender}/tracker")


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[httpx.Client]:
    """A client of `triptych serve` over the journeys' models."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("triptych")), "serve", "--port", str(port)],
        env={**os.environ, "TRIPTYCH_HOME": str(home)},
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        for _ in range(240):
            try:
                client.get("/health")
                break
            except httpx.TransportError:
                time.sleep(0.5)
        yield client
    process.terminate()
    process.wait(20)


def test_health_names_the_models_that_serve(service: httpx.Client) -> None:
    assert service.get("/health").json() == {
        "status": "ok",
        "models": {"chatbot": "chatbot@1", "news": "news@1", "recommender": "recommender@1"},
    }


def test_a_rasa_client_gets_rasas_answer(service: httpx.Client) -> None:
    sent = {"sender": "ana", "message": "let me talk to a person please"}
    (message,) = service.post("/webhooks/rest/webhook", json=sent).json()
    assert message["recipient_id"] == "ana"
    assert message["text"].startswith("I am passing you on to a colleague")
    assert message["custom"]["decision"] == "handover"
    assert "buttons" not in message


def test_parsing_changes_no_conversation_and_ranks_the_intents(service: httpx.Client) -> None:
    parsed = service.post("/model/parse", json={"text": "where is my order"}).json()
    assert parsed["intent"] == parsed["intent_ranking"][0]
    confidences = [intent["confidence"] for intent in parsed["intent_ranking"]]
    assert confidences == sorted(confidences, reverse=True)
    assert parsed["entities"] == []


@pytest.mark.parametrize(
    "message",
    [
        "", " \n\t", "\x00\x07", "{order_id} {{ 7*7 }}", "<script>alert(1)</script>", "退" * 9000,
        "0" * 10_000, "where ist мой заказ مرحبا שלום 退款 ｆｕｌｌ e\u0301\u0301\u0301 \U0001f600",
    ],
)  # fmt: skip
def test_hostile_messages_get_an_answer_without_a_brace(
    service: httpx.Client, message: str
) -> None:
    answer = service.post("/webhooks/rest/webhook", json={"sender": "eve", "message": message})
    assert answer.status_code == 200
    assert not set("{}") & set(answer.json()[0]["text"])


@pytest.mark.parametrize(
    "body", [{}, {"message": 7}, {"sender": "", "message": "x"}, {"message": "x" * 100_000}]
)
def test_a_body_that_is_none_is_refused(service: httpx.Client, body: dict[str, object]) -> None:
    assert service.post("/webhooks/rest/webhook", json=body).status_code == 422


def test_customers_at_the_same_time_each_get_their_own_answer(service: httpx.Client) -> None:
    def ask(number: int) -> str:
        sent = {"sender": f"customer-{number}", "message": "I want a human"}
        (message,) = service.post("/webhooks/rest/webhook", json=sent).json()
        return str(message["recipient_id"])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == [f"customer-{n}" for n in range(40)]


def test_news_labels_and_recommendations_come_over_rest_too(service: httpx.Client) -> None:
    (label,) = service.post("/v1/news/label", json={"texts": ["Bank admits fraud"]}).json()
    assert label["sentiment"] in ("negative", "neutral", "positive")
    rows = service.post("/v1/recommend", json={"users": ["u0001", "new"], "k": 3}).json()
    assert [row["rank"] for row in rows] == [1, 2, 3, 1, 2, 3]


def test_what_a_user_did_counts_at_the_next_request(service: httpx.Client) -> None:
    def listed() -> list[str]:
        rows = service.post("/v1/recommend", json={"users": ["rest-user"], "k": 5}).json()
        return [row["item_id"] for row in rows]

    popular = listed()
    event = {"user_id": "rest-user", "item_id": popular[0], "event": "buy",
             "timestamp": "2025-01-02T03:04:05Z"}  # fmt: skip
    sent = {"events": [event, event, {**event, "user_id": " ", "event": "view"}]}
    assert service.post("/v1/events", json=sent).json() == {
        "received": 3, "added": 1, "left": {"without a user": 1, "there already": 1}
    }  # fmt: skip
    assert popular[0] not in listed()
    again = {"received": 1, "added": 0, "left": {"there already": 1}}
    assert service.post("/v1/events", json={"events": [event]}).json() == again


def test_an_item_imported_while_the_service_runs_is_served(
    service: httpx.Client, triptych: Callable[..., Any], tmp_path: Path, inputs: Path
) -> None:
    near = pd.read_csv(inputs / "items.csv").iloc[0]
    new = {"item_id": "REST-1", "title": near["title"], "categories": near["categories"]}
    pd.DataFrame([new]).to_csv(tmp_path / "new.csv", index=False)
    wish = {"item_id": "REST-1", "k": 3}
    unknown = service.post("/v1/similar", json=wish)
    assert (unknown.status_code, unknown.json()) == (
        404, {"detail": "item 'REST-1' is not in the catalogue"}
    )  # fmt: skip
    done = triptych("recommender", "import", "--items", tmp_path / "new.csv")
    assert done.returncode == 0, done.stderr
    assert "items: 1 of 1 added" in done.stdout
    rows = service.post("/v1/similar", json=wish).json()
    assert near["item_id"] in [row["item_id"] for row in rows]
    assert set(rows[0]) == {"item_id", "title", "together", "words", "meaning"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/recommend", {"users": []}),
        ("/v1/recommend", {"users": ["u" * 201]}),
        ("/v1/recommend", {"users": ["u"], "k": 0}),
        ("/v1/similar", {"k": 3}),
        ("/v1/events", {"events": []}),
        ("/v1/events", {"events": [{"user_id": "u", "item_id": "i", "timestamp": "soon"}]}),
        ("/v1/events", {"events": [{"user_id": "u", "item_id": "i", "event": "stole"}]}),
        ("/v1/events", {"events": [{"user_id": "u", "item_id": "i"}] * 1001}),
    ],
)
def test_what_the_recommender_cannot_take_is_refused(
    service: httpx.Client, path: str, body: dict[str, object]
) -> None:
    assert service.post(path, json=body).status_code == 422


def test_the_routes_are_in_the_openapi_document(service: httpx.Client) -> None:
    paths = service.get("/openapi.json").json()["paths"]
    assert {"/v1/recommend", "/v1/similar", "/v1/events"} <= set(paths)
    decisions = ("accept", "reject", "reopen")
    assert {"/v1/lessons", *(f"/v1/lessons/{each}" for each in decisions)} <= set(paths)


def test_beyond_this_machine_a_token_is_demanded(home: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("triptych")), "serve", "--host", "0.0.0.0"],
        env={k: v for k, v in os.environ.items() if k != "TRIPTYCH_TOKEN"}
        | {"TRIPTYCH_HOME": str(home)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "triptych: --host 0.0.0.0 can be reached from other machines: set TRIPTYCH_TOKEN to a "
        "secret that clients send as `Authorization: Bearer …`, or listen on 127.0.0.1"
    )


def broken_promises(service: httpx.Client, document: str) -> list[str]:
    """Where the service does not keep to its own document: another status, another body, a wrong
    request taken, a right one refused, a crash."""
    schema = schemathesis.openapi.from_url(f"{service.base_url}{document}")
    found = []
    for each in schema.get_all_operations():
        operation = each.ok()
        for kind in schemathesis.GenerationMode:
            if kind.is_negative and operation.label in ALWAYS_RIGHT:
                continue

            @hypothesis.settings(
                max_examples=DRAWN,
                derandomize=True,
                deadline=None,
                phases=(hypothesis.Phase.generate,),
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(case=operation.as_strategy(generation_mode=kind))
            def keeps_to_it(case: Any) -> None:
                case.call_and_validate()

            try:
                keeps_to_it()
            except (Exception, BaseExceptionGroup) as error:
                found.append(f"{operation.label}, {kind.value}: {error}")
    return found


@pytest.mark.parametrize("document", ["/openapi.json", "/widget/openapi.json"])
def test_the_service_keeps_to_its_openapi_document(service: httpx.Client, document: str) -> None:
    assert broken_promises(service, document) == []
