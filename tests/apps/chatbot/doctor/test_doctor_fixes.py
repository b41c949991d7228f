"""Fixes on copies: what is written, what stays, what is refused; by function, page and command."""

import json
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from apps.chatbot.answers import read_answers
from apps.chatbot.doctor.examination import chosen, examine
from apps.chatbot.doctor.findings import Edit, Finding, Fix, Place
from apps.chatbot.doctor.fixing import write_fixed
from apps.chatbot.doctor.folder import load, save
from apps.chatbot.doctor.reading import Sources, read_bot_data
from apps.chatbot.formats.kept import read_kept
from pipelines.cli import app
from shared.errors import DataError
from shared.settings import Home

PAGE = Path(__file__).parents[4] / "apps" / "chatbot" / "doctor_page.py"
ROWS = """\
text,label,source
where is my parcel,parcel,a
WHERE is my parcel,parcel,b
where is my parcel,refund,c
i want my money,refund,d
give it back,Refund,e
,refund,f
"""
ANSWERS = """\
answers:
- label: parcel
  texts: {en: ["It is with {carrir_order_id}.", "On its way."], zh: [在路上。]}
- label: refund
  text: You will have it on {our_date}. Please wait until then without worry.
"""


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    (tmp_path / "e.csv").write_text(ROWS)
    (tmp_path / "a.yml").write_text(ANSWERS, encoding="utf-8")
    (tmp_path / "l.yml").write_text("lookups: {a: [One, two], b: [one]}\nsynonyms: {two: [2]}\n")
    return Sources((tmp_path / "e.csv",), tmp_path / "a.yml", entities=tmp_path / "l.yml")


def test_copies_are_mended_and_the_files_stay(sources: Sources, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    data = read_bot_data(sources, home, lambda _: None)
    found = examine(data).findings
    before = [path.read_bytes() for path in sources.files]
    wanted = chosen(found, ["sure", "unfilled-slot", "double-value"])
    fixed = write_fixed(wanted, sources, data, tmp_path / "new", overwrite=False)
    assert [path.read_bytes() for path in sources.files] == before
    names = ("e.csv", "answers.yml", "entities.yml")
    assert fixed.written == tuple(str(tmp_path / "new" / name) for name in names)
    assert read_kept(tmp_path / "new/entities.yml").kinds == {
        "synonyms": {"two": ("2",)}, "lookups": {"a": ("One", "two"), "b": ()},
    }  # fmt: skip
    rows = pd.read_csv(tmp_path / "new/e.csv").to_numpy().tolist()
    assert rows == [
        ["where is my parcel", "parcel", "a"],
        ["i want my money", "refund", "d"],
        ["give it back", "refund", "e"],
    ]
    book = read_answers(tmp_path / "new/answers.yml", {})
    assert book.by_label["refund"].template() == (
        "[[You will have it on {our_date}.]] Please wait until then without worry."
    )
    assert book.by_label["parcel"].texts["zh"] == ("在路上。",)
    with pytest.raises(DataError, match=r"e\.csv: is there already; --overwrite replaces it"):
        write_fixed(wanted, sources, data, tmp_path / "new", overwrite=False)
    with pytest.raises(DataError, match=r"e\.csv: is your own file; choose another folder"):
        write_fixed(wanted, sources, data, tmp_path, overwrite=True)


def merge(place: Place, old: str, new: str) -> Finding:
    return Finding("overlap", "warning", "", (place,),
                   Fix("", (Edit("merge", place, old, new),)))  # fmt: skip


def test_merges_follow_each_other_and_end(sources: Sources, tmp_path: Path) -> None:
    """parcel -> refund -> Refund -> parcel: a circle ends where it would begin again."""
    data = read_bot_data(sources, Home(tmp_path / "home"), lambda _: None)
    place = data.rows[0].place
    two = [merge(place, "parcel", "refund"), merge(place, "refund", "Refund")]
    write_fixed(two, sources, data, tmp_path / "two", overwrite=False)
    assert set(pd.read_csv(tmp_path / "two/e.csv")["label"]) == {"Refund"}
    three = [*two, merge(place, "Refund", "parcel")]
    write_fixed(three, sources, data, tmp_path / "three", overwrite=False)
    assert len(pd.read_csv(tmp_path / "three/e.csv")) == 5


def test_a_question_answer_table_gets_the_other_answer(tmp_path: Path) -> None:
    path = tmp_path / "qa.csv"
    path.write_text("question,answer\nwhere is it,On its way.\nmoney,You get it.\nwhen,On its way.")
    sources = Sources((path,))
    data = read_bot_data(sources, Home(tmp_path / "home"), lambda _: None)
    old, new = data.rows[1].label, data.rows[0].label
    fix = Fix("", (Edit("relabel", data.rows[1].place, old, new),))
    finding = Finding("wrong label", "warning", "", (data.rows[1].place,), fix)
    write_fixed([finding], sources, data, tmp_path / "new", overwrite=False)
    assert set(pd.read_csv(tmp_path / "new/qa.csv")["answer"]) == {"On its way."}


def test_the_page_mends_what_is_ticked(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.setenv("TRIPTYCH_HOME", str(home.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert page.info[0].value.startswith("Nothing has been examined yet.")
    save(examine(read_bot_data(sources, home, lambda _: None)), sources, home.doctor / "e")
    page = page.run()
    assert not page.exception
    page.button[0].click().run()
    assert page.session_state.ticked == {
        "misspelt-label-1",
        "repeated-example-1",
        "contradiction-1",
    }
    kinds = next(box for box in page.selectbox if box.label == "Kind")
    page = kinds.set_value("unfilled slot").run()
    page.checkbox[0].check().run()
    write = next(b for b in page.button if b.label.startswith("Write copies"))
    assert write.label == "Write copies with 4 fixes"
    write.click().run()
    assert not page.exception
    assert page.success[0].value.endswith("Your own files are as they were.")
    fixed = home.doctor / "e" / "fixed"
    assert len(pd.read_csv(fixed / "e.csv")) == 3
    assert "[[You will have it" in (fixed / "answers.yml").read_text()
    sources.examples[0].write_text(ROWS + "new,refund,g\n")
    page.run()
    assert "has changed since" in page.warning[0].value


def test_the_command_tells_writes_and_reads_back(sources: Sources, tmp_path: Path) -> None:
    call = ["data", "doctor", "chatbot", "--examples", str(sources.examples[0]), "--answers",
            str(sources.answers), "--entities", str(sources.entities), "--quick",
            "--home", str(tmp_path / "home"),
            "--output", str(tmp_path / "out")]  # fmt: skip
    done = CliRunner().invoke(app, [*call, "--fix", "sure"])
    assert done.exit_code == 0, done.output
    assert (
        "error contradiction-1: “where is my parcel” stands under parcel and refund" in done.output
    )
    told = json.loads(CliRunner().invoke(app, [*call, "--json"]).stdout)
    assert (told["errors"], told["examples"]) == (1, 5)
    saved = load(tmp_path / "out")
    assert [each.id for each in saved.findings] == [each["id"] for each in told["findings"]]
    assert saved.changed() is None
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "stands under parcel and refund" in page
