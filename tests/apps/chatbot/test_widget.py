"""The chat for web pages: its route, and the script in a real browser."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import sync_playwright
from sqlalchemy import Engine

from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations
from apps.chatbot.phrases import phrases_for
from apps.chatbot.rate_limit import RateLimit
from apps.chatbot.settings import ChatbotSettings
from apps.chatbot.turns import Limits
from apps.chatbot.widget_rest import PATH, widget_site
from shared.errors import SettingsError
from shared.settings import load_section

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
EN = phrases_for("en")
ANA, BEN = "a" * 32, "b" * 32
SHOP = "https://shop.example"
HOSTILE = "<img src=x onerror=\"document.title='caught'\"> {{7*7}}"


@pytest.fixture
def talk(scripted_bot: Bot, engine: Engine) -> Conversations:
    return Conversations(
        scripted_bot, engine, model="demo@1", limits=Limits(2, 2), clock=lambda: NOW
    )


@pytest.fixture
def client(talk: Conversations) -> Iterator[TestClient]:
    service = FastAPI()
    limit = RateLimit(20, lambda: 0.0)
    service.mount(PATH, widget_site(talk, origins=(SHOP,), limit=limit))
    with TestClient(service) as made:
        yield made


def post(client: TestClient, **body: Any) -> Any:
    answer = client.post(f"{PATH}/messages", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_visitor_sees_both_sides_of_the_own_chat_and_no_more(
    client: TestClient, talk: Conversations
) -> None:
    assert post(client, visitor=ANA) == {"messages": [], "person": False}
    told = post(client, visitor=ANA, message="unsure", message_id="m1")
    assert [(each["from"], each["text"]) for each in told["messages"]] == [
        ("customer", "unsure"), ("bot", EN.clarify),
    ]  # fmt: skip
    assert [each["payload"] for each in told["messages"][1]["buttons"]] == [
        "/track", "/refund", "/none_of_these",
    ]  # fmt: skip
    # Sent again it is one message; what is known already does not come again.
    assert post(client, visitor=ANA, message="unsure", message_id="m1") == told
    last = told["messages"][-1]["id"]
    chosen = post(client, visitor=ANA, after=last, message="/refund")["messages"]
    assert [each["text"] for each in chosen] == ["/refund", "Refunds take five days."]
    # Nothing of how the bot decides leaves the house.
    assert set(chosen[1]) == {"id", "from", "text", "at", "buttons"}
    passed = post(client, visitor=ANA, after=chosen[-1]["id"], message="human please")
    assert passed["person"] is True
    (chat,) = talk.handovers.listed()
    talk.handovers.take(chat.id, "mia")
    talk.handovers.reply(chat.id, "mia", "Gladly.")
    news = post(client, visitor=ANA, after=passed["messages"][-1]["id"])
    assert [(each["from"], each["text"]) for each in news["messages"]] == [
        ("notice", EN.joined), ("agent", "Gladly."),
    ]  # fmt: skip
    assert post(client, visitor=BEN)["messages"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"visitor": "ana"}, {"visitor": "A" * 32}, {"visitor": ANA, "message": "x" * 2_001},
        {"visitor": ANA, "message": "x", "message_id": "a b"}, {"visitor": ANA, "after": -1}, {},
    ],
)  # fmt: skip
def test_what_is_no_visit_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post(f"{PATH}/messages", json=body).status_code == 422


def test_only_pages_of_the_named_sites_may_ask(client: TestClient) -> None:
    def allowed(origin: str) -> str | None:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "content-type"}  # fmt: skip
        answer = client.options(f"{PATH}/messages", headers=asked)
        return answer.headers.get("access-control-allow-origin")

    assert allowed(SHOP) == SHOP
    assert allowed("https://other.example") is None


def test_one_address_cannot_write_without_end(client: TestClient) -> None:
    for number in range(20):
        post(client, visitor=f"{number:032x}")
    answer = client.post(f"{PATH}/messages", json={"visitor": ANA})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "*", "ftp://a"])
def test_a_site_that_is_none_is_one_line(origin: str) -> None:
    with pytest.raises(SettingsError, match=r"expected sites such as 'https://shop\.example'"):
        load_section(
            ChatbotSettings, "chatbot", file=None,
            environ={"TRIPTYCH_CHATBOT__WIDGET_ORIGINS": f'["{origin}"]'},
        )  # fmt: skip


@pytest.fixture
def address(talk: Conversations) -> Iterator[str]:
    """Of a real server of the chat, on loopback."""
    service = FastAPI()
    service.mount(PATH, widget_site(talk, origins=(), limit=RateLimit(600, time.monotonic)))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(service, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}{PATH}/"
        server.should_exit = True
        thread.join(10)


def test_the_chat_in_a_browser(address: str) -> None:
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("chromium is not installed; .ci/run installs it")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text))
        page.goto(address)
        page.get_by_role("button", name="Open the chat").click()
        box = page.get_by_role("textbox", name="Write a message")
        box.fill("unsure")
        box.press("Enter")
        page.get_by_role("button", name="Get a refund").click()
        page.get_by_text("Refunds take five days.").wait_for()
        # The choice is shown by its title, and the options hold no longer.
        assert page.get_by_role("log").get_by_text("/refund").count() == 0
        assert page.get_by_role("button", name="Track a parcel").is_disabled()
        box.fill(HOSTILE)
        box.press("Enter")
        page.get_by_text(EN.reject).wait_for()
        assert page.get_by_text(HOSTILE).count() == 1
        assert page.locator("img").count() == 0
        assert page.title() != "caught"
        # Another page of the same tab goes on where this one stopped.
        page.reload()
        page.get_by_role("button", name="Open the chat").click()
        page.get_by_text("Refunds take five days.").wait_for()
        page.keyboard.press("Escape")
        assert page.get_by_role("dialog").count() == 0
        browser.close()
    assert complaints == []
