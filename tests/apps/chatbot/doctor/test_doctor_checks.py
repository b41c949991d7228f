"""What the doctor finds in small files written for it, and what training refuses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from apps.chatbot.doctor.examination import Examination, chosen, examine
from apps.chatbot.doctor.findings import Edit, Finding, Place
from apps.chatbot.doctor.learned_checks import Judged
from apps.chatbot.doctor.reading import BotData, Sources, read_bot_data
from apps.chatbot.recipe import ChatbotRecipe
from shared.errors import DataError
from shared.settings import Home
from shared.training.examples import from_rows
from shared.training.options import TrainOptions

LABELS = ("refund", "hours", "parcel")
Read = Callable[..., BotData]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Writes files and reads them; rows: text,label lines."""

    def reading(rows: list[str], answers: str | None = None, **parts: list[str]) -> BotData:
        def file(name: str, header: str, lines: list[str]) -> Path:
            path = tmp_path / name
            path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
            return path

        said = None
        if answers is not None:
            said = tmp_path / "a.yml"
            said.write_text(answers, encoding="utf-8")
        validation = parts.get("validation")
        refused = parts.get("refused")
        lists = tmp_path / "l.yml"
        lists.write_text("\n".join(parts.get("lists", ["{}"])), encoding="utf-8")
        sources = Sources(
            (file("e.csv", "text,label", rows),),
            said,
            (file("v.csv", "text,label", validation),) if validation else (),
            file("o.csv", "text", refused) if refused else None,
            entities=lists,
        )
        return read_bot_data(sources, Home(tmp_path / "home"), lambda _: None)

    return reading


def rows_of(count: int = 6) -> list[str]:
    """Sound examples: `count` of each label, of random words, no two alike. Lines 2 … of a file."""
    letters = np.random.default_rng(3).choice(list("abcdefghiklmnoprstuw"), (3 * count, 4, 6))
    texts = [" ".join("".join(word) for word in row) for row in letters]
    return [f"{text},{LABELS[n // count]}" for n, text in enumerate(texts)]


def only(found: Examination, kind: str) -> Finding:
    (one,) = [each for each in found.findings if each.kind == kind]
    return one


def lines(finding: Finding) -> list[int]:
    return [place.line for place in finding.places]


def test_sound_data_has_no_finding(read: Read) -> None:
    found = examine(read(rows_of()))
    assert found.findings == ()
    assert found.words == "18 examples of 3 intents: 0 errors, 0 warnings"


def test_a_text_under_two_intents_is_an_error_with_place_and_fix(read: Read) -> None:
    rows = [*rows_of(), "Can I  PAY later,hours", "can i pay later,refund", "can i pay later,hours"]
    one = only(examine(read(rows)), "contradiction")
    assert one.severity == "error"
    assert one.what == "“Can I PAY later” stands under hours and refund"
    assert lines(one) == [20, 21, 22]
    assert one.fix is not None
    assert one.fix.words == "keep it under hours (2 times to 1), leave it out elsewhere"
    assert [(e.action, e.place.line) for e in one.fix.edits] == [("drop", 21)]
    assert one.fix.sure


def test_one_contradiction_in_many_rows_is_a_warning(read: Read) -> None:
    rows = rows_of(300)
    torn = ["so be it,hours", "so be it,refund"]
    assert only(examine(read([*rows, *torn])), "contradiction").severity == "warning"
    half = examine(read([*rows, *torn, "all of it,gone", "so be it,gone"]))
    assert only(half, "contradiction").severity == "error"


def test_near_copies_across_intents_go_to_the_majority(read: Read) -> None:
    same = "please tell me whether my blue kettle can be sent to france"
    rows = [*rows_of(), f"{same}!,parcel", f"{same}?,parcel", f"{same} now,refund"]
    one = only(examine(read(rows)), "near contradiction")
    assert lines(one) == [20, 21, 22]
    assert one.fix is not None
    assert one.fix.edits == (Edit("relabel", one.places[2], "refund", "parcel"),)


def test_repeats_thin_intents_and_spelling_of_labels(read: Read) -> None:
    rows = [*rows_of(), rows_of()[0], "a cheque is what i have,cheque", "i am late,Hours"]
    found = examine(read(rows))
    assert lines(only(found, "repeated example")) == [20]
    assert {each.what for each in found.findings if each.kind == "thin intent"} == {
        "cheque has 1 example, so that nothing can be measured for it",
        "Hours has 1 example, so that nothing can be measured for it",
    }
    spelt = only(found, "misspelt label")
    assert spelt.fix is not None
    assert spelt.fix.edits == (Edit("relabel", spelt.places[0], "Hours", "hours"),)


def test_leaks_name_both_places(read: Read) -> None:
    copy = rows_of()[0]
    found = examine(
        read(rows_of(), validation=[copy, "never seen before,hours"], refused=[copy.split(",")[0]])
    )
    leaks = [each for each in found.findings if each.kind == "leak"]
    assert [[f"{Path(p.file).name}:{p.line}" for p in each.places] for each in leaks] == [
        ["v.csv:2", "e.csv:2"],
        ["o.csv:2", "e.csv:2"],
    ]
    assert leaks[0].fix is not None
    assert leaks[1].fix is not None
    assert (leaks[0].fix.sure, leaks[1].fix.sure) == (True, False)


ANSWERS = """\
answers:
- label: refund
  text: Your order {oder_id} is refunded soon. It will be on {our_date} at the latest.
- label: Hours
  text: We open at nine.
- label: parcle
  text: Write to <email> about parcels, they are {size_of_box} wide.
- label: gift
  texts: {en: ["Gifts are wrapped. [[Yours is {colour}.]]"]}
"""


def test_template_lint(read: Read) -> None:
    found = examine(read(rows_of(), ANSWERS))
    assert [(each.kind, each.severity, lines(each), each.way_out) for each in found.findings] == [
        ("misspelt label", "error", [4], "call it 'hours'"),
        ("no answer", "warning", [14], "add an answer with the label parcel"),
        ("never asked", "warning", [6], "give it to parcel, which has no answer"),
        (
            "never asked", "warning", [8],
            "leave the answer out; better: add examples of how customers ask for it",
        ),
        (
            "unfilled slot", "warning", [2],
            "make its sentence optional: “Your order {oder_id} is refunded soon. "
            "[[It will be on {our_date} at the latest.]]”",
        ),
        ("unknown slot", "warning", [2], "write {order_id}"),
        (
            "unknown slot", "warning", [6],
            "use one of email, date, amount, order_id, customer_name, phone, list its values in an "
            "entities file, or leave it to be asked for",
        ),
        ("mask", "warning", [6], "write the slot {email}"),
        (
            "unknown slot", "warning", [8],
            "use one of email, date, amount, order_id, customer_name, phone, or list its values in "
            "an entities file",
        ),
    ]  # fmt: skip


def test_an_intent_without_an_answer_is_told(read: Read) -> None:
    found = examine(read(rows_of(), "answers: [{label: refund, text: You get your money.}]"))
    assert [(e.kind, lines(e)) for e in found.findings] == [("no answer", [8]), ("no answer", [14])]


def judged(data: BotData, p: list[list[float]]) -> Judged:
    rows = data.rows
    examples = from_rows([r.text for r in rows], [(r.label,) for r in rows], "single")
    return Judged(examples, np.array(p, dtype=np.float32))


def test_a_model_finds_wrong_labels_and_overlaps(read: Read) -> None:
    """Columns: hours, parcel, refund. Row 0, a refund, is surely a parcel; three of the twelve rows
    of hours and refund, without row 0, are taken for the other: 25 %."""
    data = read(rows_of())
    p = {"hours": [0.8, 0.1, 0.1], "parcel": [0.1, 0.8, 0.1], "refund": [0.1, 0.1, 0.8]}
    table = [p[row.label] for row in data.rows]
    table[0] = [0.05, 0.9, 0.05]
    table[1] = table[2] = p["hours"]
    table[6] = p["refund"]
    found = examine(data, lambda each: judged(each, table))
    wrong = only(found, "wrong label")
    assert lines(wrong) == [2]
    assert wrong.fix is not None
    assert wrong.fix.words == "label it parcel"
    overlap = only(found, "overlap")
    assert lines(overlap) == [3, 4, 8]
    assert "hours and refund overlap: 3 of their 12 examples (25%)" in overlap.what
    assert overlap.fix is not None
    assert [(e.action, e.old, e.new) for e in overlap.fix.edits] == [("merge", "refund", "hours")]


def test_a_model_decides_a_tie(read: Read) -> None:
    data = read([*rows_of(), "so be it,hours", "so be it,refund"])
    sure = [[0.1, 0.1, 0.8]] * len(data.rows)
    one = only(examine(data, lambda each: judged(each, sure)), "contradiction")
    assert one.fix is not None
    assert "keep it under refund (the other examples speak for it)" in one.fix.words
    tie = only(examine(data), "contradiction")
    assert tie.fix is not None
    assert not tie.fix.sure


def test_what_cannot_be_judged_is_a_note(read: Read) -> None:
    def never(_: BotData) -> Judged:
        raise DataError("too few rows")

    assert examine(read(rows_of()), never).notes == (
        "Labels and overlaps were not judged by a model: too few rows",
    )


def test_findings_are_chosen_by_id_kind_or_sureness(read: Read) -> None:
    found = examine(read([*rows_of(), rows_of()[0], "x y z,thin", "so be it,hours",
                          "so be it,refund"])).findings  # fmt: skip
    assert [each.id for each in chosen(found, ["sure"])] == ["repeated-example-1"]
    assert [each.id for each in chosen(found, ["thin-intent", "contradiction-1"])] == [
        "contradiction-1", "thin-intent-1",
    ]  # fmt: skip
    with pytest.raises(DataError) as caught:
        chosen(found, ["everything"])
    assert str(caught.value) == (
        "--fix everything: no such finding here; expected sure, the id of a finding or one of "
        "contradiction, repeated-example, thin-intent"
    )


def test_findings_survive_json() -> None:
    one = Finding("leak", "warning", "w", (Place("a", 2),), None, "look", "leak-1")
    assert Finding.of_dict(one.as_dict()) == one


def test_training_refuses_errors_in_one_line_that_names_the_command(tmp_path: Path) -> None:
    examples, answers = tmp_path / "my questions.csv", tmp_path / "a.yml"
    rows = [*rows_of(), "so be it,hours", "so be it,refund"]
    examples.write_text("\n".join(["frage,label", *rows]))
    answers.write_text("answers: [{label: Parcel, text: It is on its way.}]")
    recipe = ChatbotRecipe((examples,), answers=answers, mapping={"text": "frage"})
    home = Home(tmp_path / "home")
    with pytest.raises(DataError) as caught:
        recipe.fit(tmp_path / "m", options=TrainOptions(), home=home, say=lambda _: None)
    assert str(caught.value) == (
        f"{examples}:20, {examples}:21: “so be it” stands under hours and refund and 1 more error; "
        f"see them all with their fixes: triptych data doctor chatbot --examples '{examples}' "
        f"--text-column frage --answers {answers}"
    )


LISTS = """\
lookups:
  city: [Oslo, Rome]
  brand:
  - Oslo
  - soon
regexes:
  postcode:
  - (?=1)1
  refund: ['(?=x)']""".split("\n")


def test_lists_fill_the_slots_of_answers(read: Read) -> None:
    answers = """\
answers:
- label: hours
  texts:
    en:
    - {when: city = rome, text: "In {city} at nine."}
    - {when: city = Paris, text: Never.}
    - Nine.
- {label: refund, text: "Your {brnd} and {postcode}."}
- {label: parcel, text: Yes.}
"""
    found = examine(read(rows_of(), answers, lists=LISTS))
    assert only(found, "idle condition").what == (
        "the answer to hours has a text that is never said, when city = Paris: {city} is never "
        "found to be 'Paris'"
    )
    slot = only(found, "unknown slot")
    assert slot.what == "the answer to refund has the slot {brnd}, which nothing fills"
    assert slot.way_out == "write {brand}"


def test_values_that_would_be_found_wrongly(read: Read) -> None:
    rows = [f"{line.split(',')[0]} soon,{line.split(',')[1]}" for line in rows_of()]
    found = examine(read(rows, lists=LISTS))
    double = only(found, "double value")
    assert double.what == "“Oslo” is listed as city and as brand: it fills both slots"
    assert lines(double) == [2, 4]
    assert double.way_out == "keep it as city (it stands there first), leave it out elsewhere"
    common = only(found, "common value")
    assert common.what == (
        "“soon” of brand stands in 18 examples of 3 intents that do not mark it: it may be found "
        "where something else is meant"
    )
    pattern = only(found, "unusable pattern")
    assert (pattern.severity, lines(pattern)) == ("error", [8])
    assert pattern.what == (
        "the regular expression “(?=1)1” of postcode cannot be matched in linear time (invalid "
        "perl operator: (?=); write it without look-around and back-references"
    )
    edits = [each.fix.edits for each in (double, common, pattern) if each.fix]
    assert [(e.place.line, e.old) for several in edits for e in several] == [
        (4, "Oslo"), (5, "soon"), (8, "(?=1)1"),
    ]  # fmt: skip


def test_what_examples_mark_is_no_common_word(tmp_path: Path) -> None:
    marked = '"[{""start"": 0, ""end"": 4, ""properties"": {""entity"": ""brand""}}]"'
    table = "\n".join(["text,label,entities", *(
        f"soon {line},{marked}" for line in rows_of()
    )])  # fmt: skip
    (tmp_path / "m.csv").write_text(table)
    (tmp_path / "n.yml").write_text("lookups: {brand: [soon]}")
    sources = Sources((tmp_path / "m.csv",), entities=tmp_path / "n.yml")
    data = read_bot_data(sources, Home(tmp_path / "home"), lambda _: None)
    assert data.filled == ("brand",)
    assert examine(data).findings == ()
