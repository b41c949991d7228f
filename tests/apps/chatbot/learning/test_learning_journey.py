"""From questions that nobody could answer to a live answer: by REST, in a database of each kind."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from apps.chatbot.answers import read_answers
from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations
from apps.chatbot.handover_rest import handover_router
from apps.chatbot.learning.collecting import Collected, collect
from apps.chatbot.learning.lesson_files import export_lessons
from apps.chatbot.learning.live_teaching import LiveTeaching
from apps.chatbot.learning.review import Proposal, accept, decided, proposed, reject, reopen
from apps.chatbot.mining.answer_choice import Encode
from apps.chatbot.rest import chat_router
from apps.chatbot.turns import Limits
from shared.errors import DataError
from tests.apps.chatbot.learning.conftest import SAID

NewBot = Callable[[], Bot]
Clock = Callable[[], datetime]
VOUCHERS = (
    "do you sell gift vouchers? My mail is ana@example.com",
    "can somebody tell me whether gift vouchers are sold",
    "gift vouchers for sale?",
)
ANSWER = "Gift vouchers are sold in the shop under Presents and can be printed at home."


class Desk:
    """A service over one bot, as customers and agents use it."""

    def __init__(self, bot: Bot, engine: Engine, clock: Clock) -> None:
        self.talk = Conversations(
            bot, engine, model="shop@1", limits=Limits(2, 1), clock=clock,
            teaching=LiveTeaching(bot, engine, "shop"),
        )  # fmt: skip
        service = FastAPI()
        service.include_router(chat_router(bot, self.talk))
        service.include_router(handover_router(self.talk.handovers, lambda: bot.answers))
        self.client = TestClient(service)

    def say(self, sender: str, message: str) -> dict[str, Any]:
        sent = {"sender": sender, "message": message}
        done = self.client.post("/webhooks/rest/webhook", json=sent)
        assert done.status_code == 200, done.text
        last: dict[str, Any] = done.json()[-1]
        return last

    def answer(self, *texts: str) -> None:
        """An agent takes the only chat that waits, answers and closes it."""
        (chat,) = self.client.get("/v1/handovers").json()
        path = f"/v1/handovers/{chat['id']}"
        self.client.post(f"{path}/take", json={"agent": "mia"})
        for text in texts:
            done = self.client.post(f"{path}/reply", json={"agent": "mia", "text": text})
            assert done.status_code == 200, done.text
        self.client.post(f"{path}/close", json={"agent": "mia"})


def new_proposal(found: tuple[Proposal, ...]) -> Proposal:
    (proposal,) = [each for each in found if each.new]
    return proposal


def test_from_a_handed_over_question_to_a_live_answer(
    new_bot: NewBot, each_engine: Engine, words_encode: Encode, clock: Clock, tmp_path: Path
) -> None:
    desk = Desk(new_bot(), each_engine, clock)
    for sender, question in zip(("ana", "bob", "cy"), VOUCHERS, strict=True):
        assert desk.say(sender, question)["custom"]["decision"] == "handover"
        desk.answer("Hello, this is Mia. One moment please.", ANSWER)
    found = collect(each_engine, "shop", SAID, words_encode, clock=clock)
    assert found == Collected(conversations=3, found=3, waiting=3, proposals=1)
    proposal = new_proposal(proposed(each_engine, "shop"))
    # Greeting and hold are no answer; the mail address is masked; all chats were about it.
    assert (proposal.answer, proposal.share) == (ANSWER, 1.0)
    assert "gift" in proposal.name
    first = next(each for each in proposal.lessons if "<email>" in each.question)
    assert "ana@example.com" not in str(proposal)
    assert (first.kind, first.handover, first.agent, first.message) == ("handed_over", 1, "mia", 1)

    numbers = [lesson.id for lesson in proposal.lessons]
    done = accept(
        each_engine, "shop", numbers, label="gift_vouchers", answer=ANSWER, must_pass=True,
        by="lea", clock=clock,
    )  # fmt: skip
    assert done.lessons == 3
    teaching = desk.talk.teaching
    assert teaching is not None
    assert teaching.refresh()
    assert not teaching.refresh()
    told = desk.say("dora", "do you sell gift vouchers?")
    assert (told["custom"]["decision"], told["text"]) == ("answer", ANSWER)
    assert told["custom"]["intent"] == "gift_vouchers"
    assert "taught since the training" in told["custom"]["why"]
    # What was known before is answered as before, and a second process knows the same after start.
    assert desk.say("dora", "where parcel tracking")["text"] == SAID.by_label["track"].template()
    other = new_bot()
    assert LiveTeaching(other, each_engine, "shop").refresh()
    assert other.reply([VOUCHERS[2]])[0].intent == "gift_vouchers"

    (tmp_path / "own.csv").write_text("text,label\nold question,track\n" + VOUCHERS[2] + ",hours\n")
    out = tmp_path / "lessons"
    written = export_lessons(each_engine, "shop", out, examples=tmp_path / "own.csv")
    assert (written.examples, written.answers, written.must_pass, written.moved) == (4, 1, 3, 1)
    rows = pd.read_csv(out / "examples.csv")
    assert rows.set_index("text").loc[VOUCHERS[2], "label"] == "gift_vouchers"
    assert read_answers(out / "answers.yml", {}).by_label["gift_vouchers"].template() == ANSWER

    reopen(each_engine, "shop", numbers)
    assert teaching.refresh()
    assert desk.say("eva", VOUCHERS[2])["custom"]["intent"] != "gift_vouchers"
    with pytest.raises(KeyError):
        desk.talk.bot.answers.by_label["gift_vouchers"]


def test_a_second_round_finds_nothing_twice_and_leaves_decisions(
    new_bot: NewBot, engine: Engine, words_encode: Encode, clock: Clock
) -> None:
    desk = Desk(new_bot(), engine, clock)
    desk.say("ana", VOUCHERS[0])
    desk.answer(ANSWER)
    collect(engine, "shop", SAID, words_encode, clock=clock)
    (lesson,) = proposed(engine, "shop")[0].lessons
    reject(engine, "shop", [lesson.id], by="lea", clock=clock)
    assert reject(engine, "shop", [lesson.id], by="ben", clock=clock).lessons == 0
    desk.say("bob", VOUCHERS[1])
    assert collect(engine, "shop", SAID, words_encode, clock=clock).found == 0  # still open
    desk.answer(ANSWER)
    assert collect(engine, "shop", SAID, words_encode, clock=clock).found == 1
    assert [row["decided_by"] for row in decided(engine, "shop")] == ["lea"]
    # The lessons of another bot on the same database are not these.
    assert collect(engine, "other", SAID, words_encode, clock=clock).waiting == 0


def test_a_round_that_breaks_off_is_done_again(
    new_bot: NewBot, engine: Engine, words_encode: Encode, clock: Clock
) -> None:
    desk = Desk(new_bot(), engine, clock)
    for sender, question in zip(("ana", "bob"), VOUCHERS, strict=False):
        desk.say(sender, question)
        desk.answer(ANSWER)
    calls = 0

    def breaking(texts: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:  # the lessons are written, the proposals are not
            raise KeyboardInterrupt
        return words_encode(texts)

    with pytest.raises(KeyboardInterrupt):
        collect(engine, "shop", SAID, breaking, clock=clock)
    written = proposed(engine, "shop")
    assert sum(len(each.lessons) for each in written) == 2
    assert collect(engine, "shop", SAID, words_encode, clock=clock).waiting == 2
    assert new_proposal(proposed(engine, "shop")).answer == ANSWER


HOSTILE = (
    "\x00\x07 voucher\u202e please help with it", "{our_secret} {{7*7}} {order_id} vouchers",
    "=cmd|'/c calc'!A1 and gift vouchers", "<script>alert(1)</script> gift vouchers",
    "礼品卡" * 400, "a" * 9_000, "- [x](javascript:1) `gift` vouchers **now**",
)  # fmt: skip


def test_hostile_text_is_learned_from_as_text(
    new_bot: NewBot, engine: Engine, words_encode: Encode, clock: Clock, tmp_path: Path
) -> None:
    desk = Desk(new_bot(), engine, clock)
    for number, text in enumerate(HOSTILE):
        if desk.say(f"s{number}", text)["custom"]["decision"] != "handover":
            desk.say(f"s{number}", "i want to talk to a human")
        desk.answer("Your code is 1234 for %s and <b>bold</b>, dear customer of ours.")
    collect(engine, "shop", SAID, words_encode, clock=clock)
    found = proposed(engine, "shop")
    assert sum(len(each.lessons) for each in found) == len(HOSTILE)
    for each in found:
        assert len(each.name) <= 200
        assert all(len(lesson.question) <= 1_000 for lesson in each.lessons)
        assert re.fullmatch(r"[\w-]+", each.name), each.name
    numbers = [lesson.id for each in found for lesson in each.lessons]
    for label, answer, complaint in (
        ("", "", "an intent needs a name of 1 to 200 characters"),
        ("x" * 201, "", "an intent needs a name of 1 to 200 characters"),
        ("none_of_these", "", "'none_of_these' is no name for an intent: it is a button's or a "
         "decision's"),
        ("fine", "Hello {Name}", "the answer to fine: the template 'Hello {Name}' has a stray "
         "'{'; slots are written {order_id}: small letters, digits and _, optional parts "
         "[[like this]]"),
    ):  # fmt: skip
        with pytest.raises(DataError) as error:
            accept(engine, "shop", numbers, label=label, answer=answer, by="lea", clock=clock)
        assert str(error.value) == complaint
    assert not decided(engine, "shop")
    accept(engine, "shop", numbers, label="odd\x00\nname", by="lea", clock=clock)
    bot = desk.talk.bot
    assert LiveTeaching(bot, engine, "shop").refresh()
    assert bot.reply([HOSTILE[4]])[0].intent == "odd name"
    export_lessons(engine, "shop", tmp_path)
    assert len(pd.read_csv(tmp_path / "examples.csv")) == len(HOSTILE)
