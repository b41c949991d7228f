"""A whole import: the folder it leaves, what training reads of it, and what it keeps to itself."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from apps.chatbot.answers import Answer, AnswerBook, read_answers
from apps.chatbot.bot import Bot, Spoken
from apps.chatbot.mining.answer_choice import Encode
from apps.chatbot.mining.dialogue_formats import Reading
from apps.chatbot.mining.dialogue_import import Imported, import_dialogues, kept_vectors
from apps.chatbot.questions import read_questions
from shared.errors import DataError
from shared.settings import Home

MATTERS = {
    "opening hours": "The opening hours of our shop are nine to six.",
    "gift cards": "Our gift cards are valid for three years after purchase.",
    "kettle returns": "Kettle returns are free for thirty days: print a label for the kettle.",
}


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    """Twelve dialogues about three matters, one about another, one unusable."""
    rows = []
    for n, begin in enumerate(("tell me about", "what are your", "please explain the", "and your")):
        for matter, answer in MATTERS.items():
            turns = [
                ("customer", "Hello"),
                ("agent", "Hi, this is Mara. How can I help?"),
                ("customer", f"{begin} {matter}? My mail is c{n}@example.com"),
                ("agent", "One moment please."),
                ("agent", f"{answer} Have a nice day!"),
                ("customer", "thank you"),
            ]
            rows.append({"id": f"{matter}-{n}", "turns": turns})
    rows.append(
        {
            "id": "odd",
            "turns": [("customer", "do you buy horses?"), ("agent", "We never buy any horses.")],
        }
    )
    rows.append({"id": "alone", "turns": [("customer", "anybody there who can help me?")]})
    path = tmp_path / "past.jsonl"
    lines = [
        json.dumps({"id": r["id"], "turns": [{"speaker": s, "text": t} for s, t in r["turns"]]})
        for r in rows
    ]
    path.write_text("\n".join([*lines, "{torn"]), encoding="utf-8")
    return path


@pytest.fixture
def imported(dialogues: Path, tmp_path: Path, words_encode: Encode) -> Imported:
    return import_dialogues([dialogues], tmp_path / "out", Reading(), words_encode)


@pytest.mark.usefixtures("imported")
def test_training_reads_what_an_import_writes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    questions = read_questions(out / "examples.csv", {}, Home(tmp_path / "home"), print)
    book = read_answers(out / "answers.yml", {})
    assert sorted(answer.template() for answer in book.answers) == sorted(MATTERS.values())
    assert set(questions.labels) == {answer.label for answer in book.answers}
    said = {answer.label: answer.template() for answer in book.answers}
    for text, label in zip(questions.texts, questions.labels, strict=True):
        assert next(words for matter, words in MATTERS.items() if matter in text) == said[label]
    assert len(questions.texts) == 12


@pytest.mark.usefixtures("imported")
def test_every_pair_says_where_it_comes_from(tmp_path: Path) -> None:
    pairs = pd.read_csv(tmp_path / "out" / "pairs.csv", keep_default_na=False)
    assert len(pairs) == 12
    assert set(pairs["file"]) == {"past.jsonl"}
    assert set(pairs["dialogue"]) == {f"{matter}-{n}" for matter in MATTERS for n in range(4)}
    assert set(pairs["question_turns"]) == {2}
    assert set(pairs["answer_turns"]) == {"3|4"}
    assert pairs["confidence"].between(0, 1).all()
    examples = pd.read_csv(tmp_path / "out" / "examples.csv", keep_default_na=False)
    assert list(examples.columns) == ["text", "label", "file", "dialogue", "turn", "confidence"]


def test_what_is_not_used_is_counted_and_listed(imported: Imported, tmp_path: Path) -> None:
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv", keep_default_na=False)
    assert [(row.line, row.reason) for row in rejects.itertuples()] == [
        (14, "a dialogue in which only the customer speaks"),
        (
            15,
            "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (13, "asked too rarely to be an intent"),
    ]
    assert imported.dialogues == 13
    assert imported.requests == 13
    assert sum(imported.rejected.values()) == 2
    assert imported.dropped == {"asked too rarely to be an intent": 1}
    assert imported.words == (
        "13 dialogues, 13 requests: 12 examples of 3 intents; 1 requests not used, 2 rows rejected"
    )
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "asked too rarely to be an intent" in page
    assert "The opening hours of our shop are nine to six." in page


@pytest.mark.usefixtures("imported")
def test_nothing_personal_is_written(tmp_path: Path) -> None:
    for path in (tmp_path / "out").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "@example.com" not in text, path
        assert "Mara" not in text, path


def test_a_report_escapes_what_customers_write(tmp_path: Path, words_encode: Encode) -> None:
    path = tmp_path / "d.txt"
    said = (
        "U: where is <script>alert(1)</script> my order {n}?\nA: Your order is under My orders.\n"
    )
    path.write_text("\n".join(said.format(n="please " * n) for n in range(3)))
    import_dialogues([path], tmp_path / "out", Reading(), words_encode)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.usefixtures("imported")
def test_a_failed_import_leaves_no_report_and_the_old_tables(
    dialogues: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = (out / "examples.csv").read_bytes()

    def dies(texts: Sequence[str]) -> NDArray[np.float32]:
        raise KeyboardInterrupt(len(texts))

    with pytest.raises(KeyboardInterrupt):
        import_dialogues([dialogues], out, Reading(), dies)
    assert not (out / "report.html").exists()
    assert (out / "examples.csv").read_bytes() == before
    assert [path.name for path in out.iterdir() if path.name.endswith(".part")] == []


def test_dialogues_without_a_request_are_one_clear_line(
    tmp_path: Path, words_encode: Encode
) -> None:
    path = tmp_path / "d.txt"
    path.write_text("U: hello\nA: Hello, how can I help?\n")
    with pytest.raises(DataError) as caught:
        import_dialogues([path], tmp_path / "out", Reading(), words_encode)
    assert str(caught.value) == (
        f"{path}: no customer's request in 1 dialogues; who speaks is told by --speaker-column, "
        "--customer and --agent, the format by --format"
    )


def test_vectors_are_asked_for_in_portions_and_once(words_encode: Encode) -> None:
    asked: list[int] = []

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.append(len(texts))
        return words_encode(texts)

    vectors = kept_vectors(encode)
    texts = [f"text {n}" for n in range(2_500)]
    first = vectors([*texts, "text 0"])
    assert asked == [1024, 1024, 452]
    assert (vectors(texts[::-1]) == first[2_499::-1]).all()
    assert asked == [1024, 1024, 452]


def test_a_slot_of_the_firm_is_handed_over_and_not_asked_for() -> None:
    class OnlyAnswers(Bot):
        def __init__(self, answers: AnswerBook) -> None:
            self._now = (None, answers)
            self._live = None
            self._is_open = lambda: True

    bot = OnlyAnswers(
        AnswerBook(
            (
                Answer("refund", {"en": "Refund"}, {"en": ("It comes on {our_date}.",)}),
                Answer("order", {"en": "Order"}, {"en": ("Order {order_id} is here.",)}),
            )
        )
    )
    assert bot.say("refund", "en", {"date": "3 May"}) == Spoken(
        "I understand that this is about: Refund. I have no answer to it yet, so I am passing you "
        "on to a colleague.",
        None,
        passed_on=True,
    )
    assert bot.say("order", "en", {}) == Spoken(
        "I can help with that. Please tell me your order id.", "order_id"
    )
