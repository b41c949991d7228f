"""The inbox over a real database: what an agent sees and does, without torch."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from apps.chatbot.answers import ANSWERS_FILE, AnswerBook
from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations
from apps.chatbot.opening import chatbot_settings, handovers_on, opened_database
from apps.chatbot.phrases import phrases_for
from apps.chatbot.tables import deliveries
from apps.chatbot.turns import Limits
from shared.registry import Registry
from shared.settings import Home

PAGE = Path(__file__).resolve().parents[3] / "apps" / "chatbot" / "inbox_page.py"
EN = phrases_for("en")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def talk(
    tmp_path: Path, scripted_bot: Bot, answer_book: AnswerBook, monkeypatch: pytest.MonkeyPatch
) -> Conversations:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    home = Home(tmp_path)
    (tmp_path / "model").mkdir()
    answer_book.save(tmp_path / "model" / ANSWERS_FILE)
    Registry(home.models, now).publish("demo", tmp_path / "model", app="chatbot", metrics={})
    engine = opened_database(home)
    return Conversations(
        scripted_bot, engine, model="demo@1", limits=Limits(2, 2), clock=now,
        handovers=handovers_on(engine, chatbot_settings(), now),
    )  # fmt: skip


def opened(agent: str = "mia") -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    if agent:
        page.text_input(key="agent").set_value(agent).run()
        assert not page.exception
    return page


def press(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception


def test_nobody_without_a_name_takes_a_chat(talk: Conversations) -> None:
    talk.handle("ana", "human please")
    page = opened(agent="")
    assert [note.value for note in page.info] == [
        "Write your name at the left: chats are taken and answered under it."
    ]
    assert len(page.button) == 0


def test_a_chat_is_taken_answered_with_a_suggestion_and_given_back(talk: Conversations) -> None:
    talk.handle("ana", "hours for order KB-20418 ?")
    talk.handle("ana", "human **now** please")
    page = opened()
    press(page, "Open chat 1")
    texts = [text.value for text in page.text]
    assert "ana: The customer asks for a person." in texts
    assert "human **now** please" in texts
    press(page, "Take this chat")
    assert [note.value for note in page.success] == ["The chat is yours."]
    talk.handle("ana", "track it")
    page.run()
    assert not page.exception
    use = [button for button in page.button if button.label == "Use"]
    assert len(use) == 2  # "track" and "hours": the bot ranks them for the last message
    use[0].click().run()
    assert page.text_area[0].value == "Parcel KB-20418 is on its way."
    page.text_area[0].set_value("Parcel KB-20418 comes today.").run()
    press(page, "Send")
    assert page.text_area[0].value == ""
    press(page, "Return to the bot")
    assert [each.text for each in talk.said_since("ana", 0)][-2:] == [
        "Parcel KB-20418 comes today.", EN.returned,
    ]  # fmt: skip
    assert page.info[-1].value == "The chat was returned by mia. The bot answers now."


def test_who_comes_second_is_told_and_may_take_over(talk: Conversations) -> None:
    talk.handle("ana", "human please")
    page = opened("ben")
    press(page, "Open chat 1")
    talk.handovers.take(1, "mia")  # between what ben sees and his click
    press(page, "Take this chat")
    assert "handover 1 is with mia since" in page.error[0].value
    press(page, "Take over from mia")
    assert talk.handovers.listed()[0].agent == "ben"


def test_an_unfilled_slot_is_not_sent(talk: Conversations) -> None:
    talk.handle("ana", "human please")
    page = opened()
    press(page, "Open chat 1")
    press(page, "Take this chat")
    page.text_area[0].set_value("Parcel {order_id} is late.").run()
    press(page, "Send")
    assert page.error[0].value == (
        "the answer still has {order_id} in it: write the customer's own value there"
    )
    assert page.text_area[0].value == "Parcel {order_id} is late."


def test_what_the_webhook_was_not_told_can_be_tried_again(talk: Conversations) -> None:
    with talk.engine.begin() as connection:
        connection.execute(
            deliveries.insert().values(
                event="message", sender="ana", body="{}", state="dead", attempts=9,
                next_try_at=now(), last_error="answered 500", created_at=now() - timedelta(hours=1),
            )
        )  # fmt: skip
    page = opened()
    assert page.dataframe[0].value["last answer"].tolist() == ["answered 500"]
    press(page, "Try all again")
    assert talk.handovers.deliveries.listed("dead") == ()


def test_inbox_and_review_do_not_import_what_trains() -> None:
    pages = "import apps.chatbot.inbox_page, apps.chatbot.review_page"
    code = f"{pages}, sys; assert not {{'torch', 'sklearn'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
