"""Reviewing drafts: each change by hand, the files they leave, and what survives a kill."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from apps.chatbot.answers import Answer, AnswerBook, read_answers, write_answers
from apps.chatbot.mining import draft_folder
from apps.chatbot.mining.draft_book import DraftBook, DraftExample, DraftIntent
from apps.chatbot.mining.draft_folder import (
    DRAFTS_FILE,
    open_drafts,
    refuse_reviewed,
    remember,
    remembered,
    save_drafts,
)
from shared.errors import DataError
from shared.settings import Home
from shared.tables import Column, read_table

PAGE = Path(__file__).parents[4] / "apps" / "chatbot" / "drafts_page.py"
EXAMPLES = """\
text,label,file,dialogue,confidence
where is it,parcel,d.jsonl,D1,0.9
"my parcel, where",parcel,d.jsonl,D2,0.7
give me money,refund,d.jsonl,D3,0.2
hello,greet,d.jsonl,D4,0.5
"""
PAIRS = """\
question,answer,label,file,dialogue,question_turns,answer_turns,confidence
where is it,On its way,parcel,d.jsonl,D1,1,2,0.9
give me money,Soon,refund,d.jsonl,D3,1,2,0.2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What an import leaves: three intents, two with answers."""
    out = tmp_path / "draft"
    out.mkdir()
    (out / "examples.csv").write_text(EXAMPLES)
    (out / "pairs.csv").write_text(PAIRS)
    write_answers(
        AnswerBook(
            (
                Answer("parcel", {"en": "Where is it?"}, {"en": ("On its way.",)}),
                Answer("refund", {"en": "Money"}, {"en": ("Soon: {our_date}.",), "zh": ("好。",)}),
            )
        ),
        out / "answers.yml",
    )
    return out


def rows(folder: Path) -> list[tuple[str, str]]:
    frame = read_table(folder / "examples.csv", [Column("text"), Column("label")]).frame
    return list(zip(frame["text"], frame["label"], strict=True))


def book_of(*labels: str) -> DraftBook:
    return DraftBook(tuple(DraftIntent(x, (DraftExample(f"{x} 1"), DraftExample(f"{x} 2")))
                           for x in labels))  # fmt: skip


def labels(book: DraftBook) -> list[str]:
    return [each.label for each in book.used]


def test_states_change_many_at_once_and_come_back() -> None:
    book = book_of("a", "b", "c").with_state(["a", "c"], "accepted")
    assert [each.state for each in book.used] == ["accepted", "open", "accepted"]
    left = book.without_open()
    assert (labels(left), [each.label for each in left.dropped]) == (["a", "c"], ["b"])
    taken = left.renamed("a", "b").brought_back([0])
    assert labels(taken) == ["b", "b_2", "c"]
    assert taken.dropped == ()


def test_renaming_refuses_what_is_taken_or_no_label() -> None:
    book = book_of("a", "b")
    assert labels(book.renamed("a", " faq/a 1 ")) == ["faq/a 1", "b"]
    with pytest.raises(DataError, match="'b' is another intent's label; merge the two instead"):
        book.renamed("a", "b")
    for odd in ("", "a|b", "x" * 81, "a\0"):
        with pytest.raises(DataError, match="a label holds letters, digits, spaces"):
            book.renamed("a", odd)
    with pytest.raises(DataError, match="there is no intent 'z' any more"):
        book.renamed("z", "y")


def test_a_merge_keeps_every_example_and_template_once() -> None:
    said = {"en": ("x", "y")}
    first = DraftIntent("a", (DraftExample("Where is it"),), {"en": "A"}, said, "open", ("a",))
    second = DraftIntent("b", (DraftExample("where is it"), DraftExample("other")), {"zh": "B"},
                         {"en": ("y", "z"), "zh": ("w",)}, "accepted", ("b", "c"))  # fmt: skip
    (whole,) = DraftBook((second, first)).merged(["a", "b"], "a").intents
    assert (whole.label, whole.state, whole.origins) == ("a", "open", ("a", "b", "c"))
    assert [each.text for each in whole.examples] == ["Where is it", "other"]
    assert whole.texts == {"en": ("x", "y", "z"), "zh": ("w",)}
    assert whole.titles == {"en": "A", "zh": "B"}
    with pytest.raises(DataError, match="choose two intents or more to merge"):
        DraftBook((first,)).merged(["a"], "a")


def test_a_split_moves_examples_and_keeps_their_source() -> None:
    book = book_of("a", "b").split("a", ["a 2"], "new")
    assert [(i.label, [e.text for e in i.examples]) for i in book.used] == [
        ("a", ["a 1"]), ("new", ["a 2"]), ("b", ["b 1", "b 2"]),
    ]  # fmt: skip
    for wrong in ([], ["a 1", "a 2"]):
        with pytest.raises(DataError, match="choose some of its examples, and not all of them"):
            book_of("a").split("a", wrong, "new")
    with pytest.raises(DataError, match="'b' is another intent's label"):
        book_of("a", "b").split("a", ["a 1"], "b")


def test_an_edit_keeps_sources_and_refuses_stray_braces() -> None:
    book = DraftBook((DraftIntent("a", (DraftExample("one", {"dialogue": "D1"}),)),))
    texts = {"en": ["Yes {date}. ", "", "No."]}
    (new,) = book.edited("a", titles={"en": " A? "}, texts=texts,
                         examples=["one", " two  words ", "", "one"]).intents  # fmt: skip
    assert [(e.text, dict(e.source)) for e in new.examples] == [
        ("one", {"dialogue": "D1"}), ("two words", {}),
    ]  # fmt: skip
    assert (new.titles, new.texts) == ({"en": "A?"}, {"en": ("Yes {date}.", "No.")})
    with pytest.raises(DataError, match=r"stray '\{'"):
        book.edited("a", titles={}, texts={"en": ["{Name}"]}, examples=["one"])
    with pytest.raises(DataError, match="a: no example is left; drop the intent instead"):
        book.edited("a", titles={}, texts={}, examples=[" "])


def test_a_review_is_written_for_training_and_survives_a_reload(folder: Path) -> None:
    opened = open_drafts(folder)
    assert labels(opened.book) == ["parcel", "refund", "greet"]
    assert opened.book.intent("parcel").confidence == pytest.approx(0.8)
    book = opened.book.with_state(["greet"], "dropped").with_state(["parcel"], "accepted")
    save_drafts(opened, book.renamed("refund", "money_back"))
    again = open_drafts(folder)
    assert again.book == book.renamed("refund", "money_back")
    assert rows(folder) == [("where is it", "parcel"), ("my parcel, where", "parcel"),
                            ("give me money", "money_back")]  # fmt: skip
    answers = read_answers(folder / "answers.yml", {})
    assert answers.by_label["money_back"].texts == {"en": ("Soon: {our_date}.",), "zh": ("好。",)}
    with pytest.raises(DataError, match="a person has reviewed its drafts"):
        refuse_reviewed(folder)
    with pytest.raises(DataError, match="no intent would be left"):
        save_drafts(again, again.book.with_state(["parcel", "money_back"], "dropped"))


@pytest.mark.parametrize("killed_at", [0, 1, 2])
def test_a_review_that_was_killed_is_finished(
    folder: Path, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the first, the second and the third of its three files."""
    opened = open_drafts(folder)
    before = [(folder / name).read_bytes() for name in ("examples.csv", "answers.yml")]
    book = opened.book.renamed("parcel", "where")
    with monkeypatch.context() as patch:
        done = 0

        def dies(function: object) -> object:
            def called(*given: object) -> object:
                nonlocal done
                if Path(str(given[-1] if not str(given[0]).endswith("json") else given[0])).parent \
                        == folder:  # fmt: skip
                    if done == killed_at:
                        raise KeyboardInterrupt
                    done += 1
                return function(*given)  # type: ignore[operator]

            return called

        for name in ("write_text", "write_table", "write_answers"):
            patch.setattr(draft_folder, name, dies(getattr(draft_folder, name)))
        with pytest.raises(KeyboardInterrupt):
            save_drafts(opened, book)
    if killed_at == 0:
        assert [(folder / n).read_bytes() for n in ("examples.csv", "answers.yml")] == before
        assert open_drafts(folder).book == opened.book
        return
    assert open_drafts(folder).book == book
    assert ("where is it", "where") in rows(folder)
    assert "where" in read_answers(folder / "answers.yml", {}).by_label


def test_files_changed_by_hand_are_read_anew(folder: Path) -> None:
    opened = open_drafts(folder)
    save_drafts(opened, opened.book.with_state(["parcel"], "accepted").with_state(["greet"],
                "dropped"))  # fmt: skip
    text = (folder / "examples.csv").read_text()
    (folder / "examples.csv").write_text(text + "by hand,parcel,,,\n")
    again = open_drafts(folder)
    parcel = again.book.intent("parcel")
    assert (parcel.state, parcel.examples[-1].text) == ("accepted", "by hand")
    assert [each.label for each in again.book.dropped] == ["greet"]


def test_two_reviews_at_once_do_not_overwrite_each_other(folder: Path) -> None:
    one, two = open_drafts(folder), open_drafts(folder)
    save_drafts(one, one.book.renamed("parcel", "x"))
    with pytest.raises(DataError, match="was changed meanwhile; load the page again"):
        save_drafts(two, two.book.renamed("parcel", "y"))
    assert labels(open_drafts(folder).book) == ["x", "refund", "greet"]


def test_a_broken_review_is_one_clear_line(folder: Path) -> None:
    for content in ("{", "[]", json.dumps({"intents": [{"label": 1}]}), "[" * 100_000):
        (folder / DRAFTS_FILE).write_text(content)
        with pytest.raises(DataError, match="not a readable review") as caught:
            open_drafts(folder)
        assert "\n" not in str(caught.value)


def test_a_home_lists_folders_that_are_still_there(folder: Path, tmp_path: Path) -> None:
    index = tmp_path / "home" / "drafts.json"
    remember(tmp_path / "gone", index)
    remember(folder, index)
    remember(folder, index)
    assert remembered(index) == (folder,)
    index.write_text("{")
    assert remembered(index) == ()


def button(page: AppTest, label: str) -> AppTest:
    (one,) = [each for each in page.button if each.label == label]
    run: AppTest = one.click().run()
    assert not run.exception
    return run


def test_the_page_reviews_many_drafts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.setenv("TRIPTYCH_HOME", str(home.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert page.info[0].value.startswith("Nothing has been imported yet.")
    remember(folder, home.drafts)
    page = page.run()
    assert not page.exception
    assert page.dataframe[0].value["intent"].tolist() == ["parcel", "refund", "greet"]
    assert page.dataframe[0].value["look first"].tolist() == [
        "few examples", "needs what only you know, unsure pairs, few examples",
        "no answer, few examples",
    ]  # fmt: skip
    page.multiselect(key="chosen").set_value(["parcel", "refund"]).run()
    page = button(page, "Merge 2")
    assert page.success[0].value == "2 merged into parcel."
    assert rows(folder)[2] == ("give me money", "parcel")
    page.multiselect(key="chosen").set_value(["parcel"]).run()
    page = button(page, "Accept 1")
    page = button(page, "Drop all that are not accepted")
    assert {label for _, label in rows(folder)} == {"parcel"}
    (area,) = [each for each in page.text_area if each.label.startswith("Answer (en)")]
    assert area.value == "On its way.\n---\nSoon: {our_date}."
    area.set_value("It is {oops")
    page = button(page, "Save")
    assert "stray '{'" in page.error[0].value
    (area,) = [each for each in page.text_area if each.label.startswith("Answer (en)")]
    area.set_value("It is on its way.")
    page = button(page, "Save")
    assert read_answers(folder / "answers.yml", {}).by_label["parcel"].texts["en"] == (
        "It is on its way.",
    )
    fresh = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert fresh.dataframe[0].value["state"].tolist() == ["accepted"]
    assert len(fresh.dataframe[1].value) == 2  # the pairs it comes from
