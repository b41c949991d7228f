"""Intents with their figures and answers; an edit is checked, kept, said and taken back."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert
from streamlit.testing.v1 import AppTest

from apps.chatbot.answers import ANSWERS_FILE, Answer, AnswerBook
from apps.chatbot.decision import Policy
from apps.chatbot.entities.entities import Entities
from apps.chatbot.entities.lists import EntityLists
from apps.chatbot.held_rows import HeldRow, HeldRows
from apps.chatbot.intent_figures import (
    Confused,
    intent_figures,
    must_pass_texts,
    rendered,
    warnings_of,
)
from apps.chatbot.learning.review import accept
from apps.chatbot.live import answers_of
from apps.chatbot.opening import opened_database, reading
from apps.chatbot.tables import conversations, messages
from shared.evaluation.audit import wilson
from shared.registry import ModelVersion, Registry
from shared.settings import Home

PAGE = Path(__file__).resolve().parents[3] / "apps" / "chatbot" / "intents_page.py"
PAIRS = (
    ("hours", "hours"), ("hours", "hours"), ("hours", "refund"), ("hours", "track"),
    ("hours", "refund"), ("refund", "refund"), ("track", "refund"),
)  # fmt: skip


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def version(
    tmp_path: Path, answer_book: AnswerBook, monkeypatch: pytest.MonkeyPatch
) -> ModelVersion:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    folder = tmp_path / "made"
    folder.mkdir()
    known = answer_book.answers[:2]
    AnswerBook((*known, Answer("gift", {"en": "Gifts"}, {"en": ("We wrap.",)}))).save(
        folder / ANSWERS_FILE
    )
    Entities(EntityLists({"lookups": {"city": ("Oslo", "Rome")}})).save(folder)
    rows = tuple(HeldRow(a, ((b, 0.9),), 0.0, False, True) for a, b in PAIRS)
    examples = {"hours": 12, "refund": 3, "track": 4}
    HeldRows(rows, (0.5,), Policy(1.0, 4, ()), 0.05, examples).save(folder)
    engine = opened_database(Home(tmp_path))
    with engine.begin() as connection:
        connection.execute(
            insert(conversations).values(sender="ana", state={}, revision=1, updated_at=now())
        )
        for decision in ("answer", "answer", "clarify"):
            connection.execute(
                insert(messages).values(
                    sender="ana", role="bot", text="x", decision=decision, intent="hours",
                    probability=0.9, model="desk@1", at=now(),
                )
            )  # fmt: skip
    engine.dispose()
    registry = Registry(tmp_path / "models", now)
    return registry.publish("desk", folder, app="chatbot", metrics={})


def test_figures_of_each_intent_are_counted_from_the_held_out_rows(
    version: ModelVersion, tmp_path: Path
) -> None:
    with reading(Home(tmp_path)) as connection:
        found = {f.label: f for f in intent_figures(version, connection, now=now())}
    assert list(found) == ["gift", "hours", "refund", "track"]
    hours, refund, gift = found["hours"], found["refund"], found["gift"]
    assert (hours.examples, hours.used, hours.learned, hours.edited) == (12, 2, True, False)
    known = wilson(2, 5)
    assert (hours.recall.value, hours.recall.low, hours.recall.high) == (
        known.value, known.low, known.high,
    )  # fmt: skip
    assert hours.confused == (Confused("refund", 2), Confused("track", 1))
    assert (refund.precision.value, refund.precision.n, refund.answer) == (1 / 4, 4, None)
    assert (gift.examples, gift.learned, gift.recall.value) == (0, False, None)
    assert hours.matches("OPEN nine")
    assert not hours.matches("open ten")


def test_templates_are_shown_in_their_two_extremes_and_linted() -> None:
    (bare, asks) = rendered(("Fine.[[ Until {date}.]]", "Parcel {order_id}."))
    assert (bare.bare, bare.filled) == ("Fine.", "Fine. Until ‹date›.")
    assert (asks.bare, asks.filled) == (None, "Parcel ‹order id›.")
    (warning,) = warnings_of(["Fine.", "Parcel {oder_id}."], "track", "en")
    assert warning.startswith("Variant 2: the answer to track has the slot {oder_id}, which")


def test_must_pass_cases_come_from_lessons_and_from_the_file_of_the_gate(tmp_path: Path) -> None:
    cases = tmp_path / "cases.csv"
    cases.write_text("text,label\nopen when?,hours\nmoney back,refund\nopen now?,hours\n")
    engine = opened_database(Home(tmp_path))
    accept(
        engine, "desk", [], label="hours", typed=["Open now?"], must_pass=True, by="lea", clock=now
    )
    environ = {"TRIPTYCH_GATE__MUST_PASS": f'{{"desk": "{cases}"}}'}
    assert must_pass_texts("desk", environ, engine) == {
        "hours": (("Open now?", "lessons"), ("open when?", "cases.csv")),
        "refund": (("money back", "cases.csv"),),
    }
    assert must_pass_texts("other", environ, engine) == {}
    engine.dispose()


def press(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception


def test_an_answer_is_edited_checked_and_taken_back(version: ModelVersion) -> None:
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    next(box for box in page.selectbox if box.label == "Intent").set_value("hours").run()
    assert page.text_area[0].value == "We open at nine."
    page.text_area[0].set_value("We open at {time").run()
    assert page.error[0].value.startswith("variant 1: the template 'We open at {time' has a stray")
    press(page, "Save")
    assert answers_of(version).by_label["hours"].texts["en"] == ("We open at nine.",)
    page.text_area[0].set_value("From ten.\n---\nWe open at ten, <b>not</b> {order_id}.").run()
    press(page, "Save")
    assert page.success[0].value == "Saved: the running bot says it from now on."
    assert answers_of(version).by_label["hours"].texts["en"] == (
        "From ten.", "We open at ten, <b>not</b> {order_id}.",
    )  # fmt: skip
    assert page.dataframe[1].value.set_index("intent")["answer"].to_dict() == {
        "gift": "found by its text", "hours": "edited", "refund": "none", "track": "as trained",
    }  # fmt: skip
    page.text_area[0].set_value("when: open and order_id = x\nLater.\n---\nFrom ten.").run()
    assert page.warning[0].value == (
        "Variant 1: the answer to hours has a text that is never said, when open and order_id "
        "= x: {order_id} is never found to be 'x' (mend the condition)"
    )
    page.text_area[0].set_value("when: city\nIn {city}.\n---\nFrom ten.").run()
    assert len(page.warning) == 0
    page.text_area[0].set_value("when: at night\nLater.\n---\nFrom ten.").run()
    assert page.error[0].value == (
        "variant 1 of hours: the condition 'at night' cannot be read; write open, closed, a slot "
        "(order_id, no order_id) or its value (country = Germany, country != Germany), joined by "
        "and"
    )
    page.text_area[0].set_value("when:  no  order_id\nLater.\n---\nFrom ten.").run()
    press(page, "Save")
    assert answers_of(version).by_label["hours"].texts["en"] == (
        "when: no order_id\nLater.", "From ten.",
    )  # fmt: skip
    assert "Variant 1 of 2, said when no order_id, as written" in [c.value for c in page.caption]
    press(page, "Back to the answer of training")
    assert answers_of(version).by_label["hours"].texts["en"] == ("We open at nine.",)


def test_intents_are_searched_and_filtered(version: ModelVersion) -> None:
    del version
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    slots = next(each for each in page.expander if each.label.startswith("Slots filled"))
    assert slots.label == "Slots filled from lists and marked examples: 1"
    assert slots.dataframe[0].value.to_dict("records") == [
        {"entity": "city", "slot": "city", "values": 2, "patterns": 0, "marked": 0,
         "would be found": 0, "of these wrong": 0}
    ]  # fmt: skip
    search(page, "parcel")
    assert page.dataframe[1].value["intent"].tolist() == ["track"]
    search(page, "nothing like it")
    assert page.info[0].value == "No intent is like that."


def search(page: AppTest, words: str) -> None:
    next(field for field in page.text_input if field.label == "Search").set_value(words).run()
    assert not page.exception
