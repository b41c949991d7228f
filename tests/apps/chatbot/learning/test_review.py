"""Decisions on lessons: by functions, by the page, by the command, by processes that are killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from apps.chatbot.answers import ANSWERS_FILE
from apps.chatbot.learning.lesson_files import accepted, export_lessons
from apps.chatbot.learning.review import accept, decided, proposed, reopen
from apps.chatbot.learning.review_rest import review_router
from apps.chatbot.opening import opened_database
from apps.chatbot.tables import lessons
from apps.chatbot.taught import Lesson
from pipelines.cli import app
from shared.errors import DataError
from shared.registry import Registry
from shared.settings import Home
from tests.apps.chatbot.learning.conftest import SAID

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
PAGE = Path(__file__).resolve().parents[4] / "apps" / "chatbot" / "review_page.py"
ROOT = Path(__file__).resolve().parents[4]
Clock = Callable[[], datetime]


def waiting(engine: Engine, *rows: dict[str, Any]) -> None:
    """Open lessons as a round of learning leaves them."""
    plain: dict[str, Any] = {
        "bot": "shop", "kind": "refused", "question": "?", "answer": "", "answer_ids": [],
        "confidence": 0.0, "must_pass": False, "proposal": "", "proposal_title": "",
        "state": "new", "found_at": NOW, "label": None, "intent": None, "probability": None,
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(insert(lessons), [{**plain, **row} for row in rows])


THREE = (
    {"question": "vouchers?", "proposal": "new: vouchers", "proposal_title": "Vouchers?",
     "intent": "hours", "probability": 0.4, "answer": "In the shop.", "confidence": 0.5},
    {"question": "sell vouchers", "proposal": "new: vouchers", "proposal_title": "Vouchers?",
     "intent": "hours", "probability": 0.6, "answer": "in the shop", "confidence": 0.7},
    {"question": "late parcel", "proposal": "track", "proposal_title": "Track", "label": "track",
     "intent": "hours", "probability": 0.55, "kind": "clicked", "must_pass": True},
)  # fmt: skip


def test_the_order_is_by_size_times_uncertainty(engine: Engine) -> None:
    waiting(
        engine, *THREE,
        {"question": "open?", "proposal": "hours", "label": "hours", "kind": "thumbs_up",
         "probability": 0.99},
        {"question": "bad", "proposal": "new: bad", "kind": "thumbs_down", "probability": 0.9},
    )  # fmt: skip
    found = proposed(engine, "shop")
    assert [(each.name, each.new, round(each.worth, 2)) for each in found] == [
        ("bad", True, 1.0),  # a thumb down: how sure the bot was says nothing
        ("vouchers", True, 1.0), ("track", False, 0.45), ("hours", False, 0.01),
    ]  # fmt: skip
    assert [lesson.question for lesson in found[1].lessons] == ["vouchers?", "sell vouchers"]
    # Two wordings of one answer: of these the surer one.
    assert found[1].answer == "in the shop"
    assert proposed(engine, "other") == ()


def test_decisions_are_kept_once_and_can_be_taken_back(engine: Engine, clock: Clock) -> None:
    waiting(engine, *THREE)
    done = accept(
        engine, "shop", [1, 2], label="  vouchers ", answer="In the shop.", by="lea", clock=clock,
        typed=["Vouchers, please", "vouchers,  PLEASE", " ", "mail me at ana@example.com"],
    )  # fmt: skip
    assert (done.lessons, done.typed, done.label) == (2, 2, "vouchers")
    again = accept(
        engine, "shop", [1, 2], label="track", by="ben", clock=clock, edited={1: "something else"}
    )
    assert again.lessons == 0
    found = accepted(engine, "shop")
    assert found.lessons == (
        Lesson("vouchers?", "vouchers"), Lesson("sell vouchers", "vouchers"),
        Lesson("Vouchers, please", "vouchers"), Lesson("mail me at <email>", "vouchers"),
    )  # fmt: skip
    assert [(a.label, a.title, a.template) for a in found.answers] == [
        ("vouchers", "Vouchers", "In the shop.")
    ]
    assert found.must_pass == ()
    with pytest.raises(DataError) as error:
        accept(engine, "shop", [3], label="track", by="lea", clock=clock, edited={3: " "})
    assert str(error.value) == "a question is empty: untick it to leave it out"
    accept(
        engine,
        "shop",
        [3],
        label="track",
        by="lea",
        clock=clock,
        edited={3: "parcel late, bo@x.de"},
    )
    assert accepted(engine, "shop").must_pass == (Lesson("parcel late, <email>", "track"),)
    assert {row["decided_by"] for row in decided(engine, "shop")} == {"lea"}
    # The answer stays while one lesson of its intent does.
    reopen(engine, "shop", [1, 2])
    assert accepted(engine, "shop").answers
    reopen(engine, "shop", [4, 5])
    assert not accepted(engine, "shop").answers
    assert {row["id"] for row in decided(engine, "shop")} == {3}


def test_nothing_to_learn_from_is_said(engine: Engine, clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        accept(engine, "shop", [], label="x", typed=["  "], by="lea", clock=clock)
    assert str(error.value) == "no question was chosen and none was typed in"
    with pytest.raises(DataError) as error:
        accept(engine, "shop", [], label="x", typed=["a" * 1001], by="lea", clock=clock)
    assert str(error.value) == (
        "the example 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'… has 1001 characters; at most 1000"
    )
    with pytest.raises(DataError) as error:
        export_lessons(engine, "shop", tmp_path)
    assert str(error.value) == (
        "nothing has been accepted for 'shop': `triptych chatbot review collect` proposes lessons, "
        "`triptych chatbot review accept` and the page Review accept them"
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "chat.db"] or not list(tmp_path.glob("*.csv"))


TEACHING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from apps.chatbot.learning.lesson_files import export_lessons
from apps.chatbot.learning.review import accept
from shared.storage import create_engine
engine = create_engine(sys.argv[1])
for n in range(10_000):
    accept(engine, "shop", [], label=f"intent {n % 7}", typed=[f"question number {n}"],
           answer=f"answer {n}", by="mia", clock=lambda: datetime.now(UTC))
    export_lessons(engine, "shop", Path(sys.argv[2]))
    print(n, flush=True)
"""


def test_two_processes_teach_one_is_killed_and_nothing_is_lost(
    engine: Engine, clock: Clock, tmp_path: Path
) -> None:
    out = tmp_path / "lessons"
    process = subprocess.Popen(
        [sys.executable, "-c", TEACHING, str(engine.url), str(out)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "0\n"
            for n in range(5):
                accept(engine, "shop", [], label="mine", typed=[f"my own {n}"], by="lea",
                       clock=clock)  # fmt: skip
                export_lessons(engine, "shop", out)
        finally:
            process.send_signal(signal.SIGKILL)
        told = [0, *(int(line) for line in process.stdout.read().split())]
    # Whole files whenever it was killed; one more call brings them to what the database has.
    before = pd.read_csv(out / "examples.csv")
    assert list(before.columns) == ["text", "label"]
    written = export_lessons(engine, "shop", out)
    rows = pd.read_csv(out / "examples.csv")
    texts = set(rows["text"])
    assert {f"my own {n}" for n in range(5)} | {f"question number {n}" for n in told} <= texts
    assert len(rows) == len(texts) == written.examples
    assert set(before["text"]) <= texts
    assert accepted(engine, "shop").revision == len(texts)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """With a model of which only the answers are there: page and command need no more."""
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    made = Home(tmp_path)
    (tmp_path / "model").mkdir()
    SAID.save(tmp_path / "model" / ANSWERS_FILE)
    Registry(made.models, lambda: NOW).publish(
        "shop", tmp_path / "model", app="chatbot", metrics={}
    )
    waiting(opened_database(made), *THREE)
    return made


def opened() -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    return page


def press(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception


def test_the_page_takes_corrects_and_rejects(home: Home) -> None:
    page = opened()
    # Without a name all is there to be read, and nothing is decided.
    table = page.dataframe[0].value
    assert table["intent"].tolist() == ["vouchers", "track"]
    assert table["questions"].tolist() == [2, 1]
    assert page.caption[0].value.endswith("before you write your name at the left.")
    page.text_input(key="title-vouchers-1").set_value("Vouchers, please").run()
    for label in ("Accept 2 of 2", "Reject 2"):
        press(page, label)
        assert page.error[0].value == (
            "Write your name at the left first: decisions are kept under it."
        )
    assert page.text_input(key="title-vouchers-1").value == "Vouchers, please"
    assert not accepted(opened_database(home), "shop").lessons
    page.text_input(key="agent").set_value("lea").run()
    assert page.text_area(key="answer-vouchers-1").value == "in the shop"
    page.text_input(key="label-vouchers-1").set_value("gift_vouchers")
    page.text_area(key="answer-vouchers-1").set_value("At {Store").run()
    press(page, "Accept 2 of 2")
    assert page.error[0].value.startswith("the answer to gift_vouchers: the template 'At {Store'")
    page.text_area(key="answer-vouchers-1").set_value("At the {store}.")
    page.text_area(key="typed-vouchers-1").set_value("gift card?\n\nany vouchers").run()
    press(page, "Accept 2 of 2")
    assert page.success[0].value.startswith("4 questions taken as examples of gift_vouchers")
    press(page, "Reject 1")
    assert page.success[0].value == "1 question rejected."
    assert "review collect --model shop" in page.info[0].value
    found = accepted(opened_database(home), "shop")
    assert {lesson.label for lesson in found.lessons} == {"gift_vouchers"}
    assert [answer.template for answer in found.answers] == ["At the {store}."]
    assert page.code[0].value == "triptych chatbot review export --model shop --output lessons"


@pytest.mark.usefixtures("home")
def test_the_command_does_the_same(tmp_path: Path) -> None:
    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["chatbot", "review", *words])
        assert done.exit_code == code, done.output
        return done.output

    shop = ("--model", "shop")
    listed = run("list", *shop)
    assert "vouchers  (new intent, 2 questions)" in listed
    assert "answered: in the shop" in listed
    done = json.loads(
        run("accept", "--proposal", "vouchers", "--label", "vouchers", "--answer", "Here.",
            "--must-pass", "--by", "lea", "--json", *shop)
    )  # fmt: skip
    assert done == {"lessons": 2, "typed": 0, "label": "vouchers"}
    assert run("reject", "3", "--by", "lea", *shop) == "1 question rejected\n"
    assert run("list", *shop) == "Nothing waits for a decision: triptych chatbot review collect\n"
    assert "rejected  track" in run("list", "--decided", *shop)
    run("accept", "--label", "late", "--example", "too late?", "--by", "lea", *shop)
    out = tmp_path / "lessons"
    assert run("export", "--output", str(out), *shop).splitlines() == [
        f"3 examples, 1 answers and 2 must-pass cases written to {out}",
        f"Next: triptych train chatbot --examples {out / 'examples.csv'} --answers "
        f"{out / 'answers.yml'} --name shop",
        "Then: triptych models promote shop VERSION, which asks the must-pass cases",
    ]
    assert run("reopen", "1", "2", *shop) == "2 questions wait again\n"
    refused = CliRunner().invoke(
        app, ["chatbot", "review", "reject", "--proposal", "none", "--by", "lea", *shop]
    )
    assert str(refused.exception) == "no proposal is called 'none'; there are: vouchers"
    refused = CliRunner().invoke(app, ["chatbot", "review", "reject", "3", "--by", "lea", *shop])
    assert str(refused.exception) == (
        "lesson 3 does not wait for a decision: `triptych chatbot review list` names those that do"
    )


def test_rest_decides_as_page_and_command_do(engine: Engine) -> None:
    waiting(engine, *THREE)
    service = FastAPI()
    service.include_router(review_router(engine, "shop", lambda: NOW))
    client = TestClient(service)

    def post(what: str, **body: Any) -> tuple[int, Any]:
        answer = client.post(f"/v1/lessons/{what}", json={"agent": " lea ", **body})
        return answer.status_code, answer.json()

    listed = client.get("/v1/lessons").json()
    assert [(each["name"], len(each["lessons"])) for each in listed] == [
        ("vouchers", 2), ("track", 1),
    ]  # fmt: skip
    assert listed == [each.as_dict() for each in proposed(engine, "shop")]
    assert len(client.get("/v1/lessons?limit=1").json()) == 1
    assert post("accept", lessons=[1, 9], label="vouchers") == (
        404, {"detail": "lesson 9: there is none of that number"}
    )  # fmt: skip
    status, told = post("accept", lessons=[1], label="vouchers", answer="At {Store}")
    assert (status, told["detail"][:46]) == (400, "the answer to vouchers: the template 'At {Stor")
    assert post("reopen", lessons=[1])[1] == {
        "detail": "lesson 1 waits for a decision; nothing was changed"
    }
    edited = [{"lesson": 2, "question": "gift vouchers?"}]
    assert post(
        "accept", lessons=[1, 2, 1], label="vouchers", answer="Here.", examples=["any vouchers"],
        edited=edited, must_pass=True,
    ) == (200, {"lessons": 2, "typed": 1, "label": "vouchers"})  # fmt: skip
    assert post("reject", lessons=[3, 2]) == (
        409,
        {"detail": f"lesson 2 was accepted by lea at {NOW:%Y-%m-%d %H:%M} UTC; nothing was "
         "changed"},
    )  # fmt: skip
    found = accepted(engine, "shop")
    assert {lesson.text for lesson in found.must_pass} >= {"gift vouchers?", "any vouchers"}
    assert post("reject", lessons=[3]) == (200, {"lessons": 1, "typed": 0, "label": None})
    assert client.get("/v1/lessons").json() == []
    rows = client.get("/v1/lessons/decided").json()
    assert {row["id"]: row["state"] for row in rows if row["id"] <= 3} == {
        1: "accepted", 2: "accepted", 3: "rejected",
    }  # fmt: skip
    assert post("reopen", lessons=[3]) == (200, {"lessons": 1, "typed": 0, "label": None})
    assert [each["name"] for each in client.get("/v1/lessons").json()] == ["track"]
    # Another bot's lessons are not these.
    other = FastAPI()
    other.include_router(review_router(engine, "other", lambda: NOW))
    assert TestClient(other).get("/v1/lessons").json() == []
    sent = {"agent": "lea", "lessons": [3]}
    assert TestClient(other).post("/v1/lessons/reject", json=sent).status_code == 404
