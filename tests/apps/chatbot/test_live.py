"""What is changed without training: kept, applied to the version it was made for, refused."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apps.chatbot.answers import Answer, AnswerBook
from apps.chatbot.live import Live, LiveFile
from shared.errors import DataError, ModelError

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
OWN = AnswerBook(
    (
        Answer("hours", {"en": "Opening hours"}, {"en": ("We open at nine.",), "zh": ("九点",)}),
        Answer("refund", {"en": "Get a refund"}, {"en": ("Refunds take five days.",)}),
    )
)


@pytest.fixture
def file(tmp_path: Path) -> LiveFile:
    (tmp_path / "desk").mkdir()
    return LiveFile(tmp_path / "desk", lambda: NOW)


def edit(file: LiveFile, *texts: str, seen: str = "We open at nine.", label: str = "hours") -> Live:
    return file.edit_answer(
        OWN, label, "en", texts=texts, title="Hours", seen=(seen,) if seen else (), by="mia"
    )


def test_without_a_file_everything_is_as_trained(file: LiveFile) -> None:
    assert file.read() == Live()
    assert file.changed is None
    assert file.read().book(OWN) == OWN


def test_an_edit_is_said_and_other_answers_and_languages_stay(file: LiveFile) -> None:
    made = edit(file, " We open at ten. ", "From ten.", "From ten.")
    assert file.read() == made
    book = made.book(OWN)
    assert book.by_label["hours"].texts == {"en": ("We open at ten.", "From ten."), "zh": ("九点",)}
    assert book.title("hours") == "Hours"
    assert book.by_label["refund"] == OWN.by_label["refund"]
    assert [answer.label for answer in book.answers] == ["hours", "refund"]


def test_an_intent_without_an_answer_gets_one(file: LiveFile) -> None:
    book = edit(file, "Send it back.", seen="", label="returns").book(OWN)
    assert book.by_label["returns"] == Answer(
        "returns", {"en": "Hours"}, {"en": ("Send it back.",)}
    )


def test_an_edit_of_an_edit_counts_and_the_first_can_be_gone_back_to(file: LiveFile) -> None:
    edit(file, "Ten.")
    made = edit(file, "Eleven.", seen="Ten.")
    assert made.book(OWN).by_label["hours"].texts["en"] == ("Eleven.",)
    assert [each.texts for each in made.history("hours", "en")] == [("Eleven.",), ("Ten.",)]
    assert edit(file, "We open at nine.", seen="Eleven.").book(OWN).by_label["hours"].texts == (
        OWN.by_label["hours"].texts
    )


def test_a_version_trained_on_another_text_says_that_text(file: LiveFile) -> None:
    made = edit(file, "Ten.")
    retrained = AnswerBook((Answer("hours", {"en": "Opening hours"}, {"en": ("We open at 8.",)}),))
    assert made.book(retrained) == retrained
    assert made.holding(retrained) == {}


def test_of_two_who_edit_at_once_the_second_is_told(file: LiveFile) -> None:
    edit(file, "Ten.")
    with pytest.raises(DataError) as caught:
        edit(file, "Eleven.")
    assert str(caught.value) == (
        "the answer to hours was changed by somebody else meanwhile; nothing was saved: copy your "
        "text, and load the page again"
    )
    assert len(file.read().edits) == 1


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (("", " \n "), "the answer to hours is empty: write what the bot is to say"),
        (
            ("Parcel {order id}.",),
            "variant 1: the template 'Parcel {order id}.' has a stray '{'; slots are written "
            "{order_id}: small letters, digits and _, optional parts [[like this]]",
        ),
        (
            ("Fine.", "a\x07b"),
            "variant 2 has control characters in it: paste it as plain text",
        ),
        (("x" * 10_001,), "variant 1 has 10,001 characters; at most 10,000"),
        (tuple(str(n) for n in range(21)), "21 variants; at most 20 are kept"),
    ],
)
def test_what_may_not_be_said_is_not_kept(
    file: LiveFile, texts: tuple[str, ...], told: str
) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        edit(file, *texts)
    assert file.changed is None


def test_a_risk_is_chosen_and_given_back(file: LiveFile) -> None:
    assert file.choose_risk(0.02, "mia").risk == 0.02
    before = file.changed
    assert file.choose_risk(None, "ben").risk is None
    assert file.changed != before
    assert [(each.risk, each.by) for each in file.read().risks] == [(0.02, "mia"), (None, "ben")]
    for wrong in (0.0, 0.5, -1.0, float("nan")):
        with pytest.raises(DataError, match=f"^risk {wrong}: expected more than 0 and less than"):
            file.choose_risk(wrong, "mia")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "risks": [{}]}'])
def test_a_damaged_file_is_named(file: LiveFile, text: str) -> None:
    file.path.write_text(text)
    with pytest.raises(ModelError, match=re.escape(str(file.path))):
        file.read()


def test_what_is_kept_is_plain_json(file: LiveFile) -> None:
    edit(file, "十点。")
    stored = json.loads(file.path.read_text(encoding="utf-8"))
    assert stored["edits"][0]["texts"] == ["十点。"]
    assert stored["edits"][0]["at"] == "2026-03-02T09:30:00+00:00"
