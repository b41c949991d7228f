"""The pages as a person meets them: the real dashboard in a real browser."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def dashboard(home: Path) -> Iterator[str]:
    """The address of a running `triptych dashboard` over the journeys' home."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("triptych")), "dashboard", "--port", str(port)],
        env={**os.environ, "TRIPTYCH_HOME": str(home)},
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urlopen(f"{address}/_stcore/health", timeout=2)
            break
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    yield address
    os.killpg(process.pid, 15)
    process.wait(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed; .ci/run installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, dashboard: str) -> Iterator[Any]:
    """A tab; a page that shows a traceback or logs an error fails the test."""
    tab = browser.new_page(viewport={"width": 1280, "height": 950}, base_url=dashboard)
    tab.set_default_timeout(WAIT_MS)
    yield tab
    assert tab.locator('[data-testid="stException"]').count() == 0
    tab.close()


def test_the_front_door_lists_the_models_with_their_report(page: Any) -> None:
    page.goto("/")
    page.get_by_role("heading", name="Models").wait_for()
    for title in ("Chatbot", "News", "Recommender"):
        page.get_by_role("heading", name=title, exact=True).wait_for()
    page.frame_locator("iframe").get_by_text("Beside simpler ways").wait_for()


def test_a_conversation_from_a_question_to_a_person(page: Any) -> None:
    page.goto("/chat_page")
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("I want to speak to a human please")
    box.press("Enter")
    page.get_by_text("passing you on to a colleague").wait_for()
    page.get_by_text("handed over").wait_for()
    page.get_by_text("Why this?").click()
    page.get_by_text("The customer asks for a person").wait_for()


def test_an_answer_shows_its_words_and_the_questions_behind_it(page: Any) -> None:
    page.goto("/chat_page")
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("<i>where is my parcel</i>")
    box.press("Enter")
    page.get_by_text("Why this?").click()
    page.get_by_text("What spoke for").wait_for()
    marked = page.get_by_test_id("stHtml").first
    assert marked.inner_text() == "<i>where is my parcel</i>"
    assert marked.locator("span[style*=background]").count() > 0
    assert marked.locator("i").count() == 0
    page.get_by_text("The training questions most like it").wait_for()


def test_markup_in_a_message_is_text(page: Any) -> None:
    page.goto("/chat_page")
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("<script>document.title='owned'</script> {order_id} **bold**")
    box.press("Enter")
    page.get_by_text("<script>document.title='owned'</script> {order_id} **bold**").wait_for()
    assert page.title() != "owned"


def test_the_review_opens_to_anybody(page: Any) -> None:
    page.goto("/review_page")
    page.get_by_role("heading", name="Review", exact=True).wait_for()
    page.get_by_text(re.compile("No question waits for a decision|what is worth most")).wait_for()
    page.get_by_label("Your name").wait_for()


def test_a_user_is_shown_with_history_and_recommendations(page: Any) -> None:
    page.goto("/recommender_page")
    page.get_by_text("What the user did").wait_for()
    page.get_by_text("What we recommend").wait_for()


def test_what_decides_is_drawn(page: Any) -> None:
    page.goto("/ranking_page")
    page.get_by_text("How the score follows a feature").wait_for()
    page.get_by_test_id("stVegaLiteChart").nth(1).locator("canvas, svg").first.wait_for()


@pytest.mark.parametrize(
    ("path", "heading"), [("/overview_page", "News monitor"), ("/alerts_page", "Alerts")]
)
def test_the_news_pages_open(page: Any, path: str, heading: str) -> None:
    page.goto(path)
    page.get_by_role("heading", name=heading, exact=True).first.wait_for()


def test_a_headline_is_labelled_and_its_words_say_why(page: Any) -> None:
    page.goto("/headline_page")
    box = page.get_by_label("Headline", exact=True)
    box.fill("<b>Airline</b> shares plunge after profit warning")
    box.press("Enter")
    marked = page.get_by_test_id("stHtml").filter(has_text="plunge").first
    marked.wait_for()
    assert marked.inner_text() == "<b>Airline</b> shares plunge after profit warning"
    assert marked.locator("span[style*=background]").count() > 0
    assert marked.locator("b").count() == 0
    page.get_by_text("What spoke for").first.wait_for()


def test_the_runs_page_shows_each_training_and_what_was_confused(page: Any) -> None:
    page.goto("/runs_page")
    page.get_by_role("heading", name="Runs", exact=True).wait_for()
    # Which runs stand there depends on the journeys before this one: those that fine-tuned first.
    spent = page.get_by_test_id("stMetric").first
    spent.get_by_text(re.compile("^(Fine-tuning|Whole run, without fine-tuning)$")).wait_for()
    page.get_by_role("heading", name="Side by side").wait_for()
    page.get_by_role("heading", name="What is taken for what").wait_for()


def test_a_knowledge_base_that_is_uploaded_becomes_drafts_to_train_with(
    page: Any, home: Path
) -> None:
    rows = "\n".join(f"{ask}\tWe open at nine.\tfaq" for ask in ("when do you open?", "hours?"))
    page.goto("/import_page")
    page.get_by_role("combobox", name="What").click()
    page.get_by_role("option", name="A QnA Maker knowledge base").click()
    # The uploader of the choice before would take the file with it.
    page.get_by_text("Questions and answers.").wait_for()
    page.locator('[data-test-script-state="notRunning"]').wait_for()
    page.locator("input[type=file]").set_input_files(
        {
            "name": "faq.tsv",
            "mimeType": "text/tab-separated-values",
            "buffer": f"Question\tAnswer\tSource\n{rows}\n".encode(),
        }
    )
    page.get_by_text("faq.tsv").first.wait_for()
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("Look it through on the page Drafts").wait_for()
    assert (home / "uploads" / "support" / "faq.tsv").is_file()
    page.goto("/train_page")
    page.get_by_role("combobox", name="Drafts").click()
    page.get_by_role("option", name=str(home / "imports" / "support")).click()
    page.get_by_label("Examples").wait_for()
    drafted = str(home / "imports" / "support" / "examples.csv")
    page.locator(f'input[value="{drafted}"]').wait_for()
