"""Conditions on variants: read, told what is wrong, decided by slots and hours, kept everywhere."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chatbot.answers import Answer, AnswerBook, read_answers, say, write_answers
from apps.chatbot.bot import Bot
from apps.chatbot.conditions import Condition, Term, read_condition, variant_of, worlds
from apps.chatbot.doctor.condition_checks import lint_conditions
from apps.chatbot.doctor.findings import Finding, Place
from apps.chatbot.doctor.reading import Said
from apps.chatbot.formats.csv_export import export_csv
from apps.chatbot.formats.dialogflow_export import export_dialogflow
from apps.chatbot.formats.dialogflow_import import read_dialogflow
from apps.chatbot.formats.qna import export_qna, read_qna
from apps.chatbot.formats.rasa_export import export_rasa
from apps.chatbot.formats.rasa_import import read_rasa
from apps.chatbot.mining.draft_book import DraftBook, DraftExample, DraftIntent
from shared.errors import DataError

ALLOWED = (
    "write open, closed, a slot (order_id, no order_id) or its value (country = Germany, country "
    "!= Germany), joined by and"
)
LATE = "when: closed and no order_id"
BOOK = AnswerBook(
    (
        Answer(
            "late",
            {"en": "Late"},
            {
                "en": (f"{LATE}\nTomorrow.", "when: country = Italy\nVia {order_id}.", "Soon."),
                "zh": ("when: open\n马上。",),
            },
        ),
    )
)
NAMES = st.sampled_from(["order_id", "country", "x1"])
VALUES = (
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
    .filter(lambda text: '"' not in text)
    | st.sampled_from(["Trinidad and Tobago", "and", "a = b", "x and", "no"])
)  # fmt: skip
TERMS = (
    st.sampled_from([Term("hours", value="open"), Term("hours", value="closed")])
    | st.builds(Term, st.sampled_from(["known", "unknown"]), NAMES)
    | st.builds(Term, st.sampled_from(["is", "is not"]), NAMES, VALUES)
)
CONDITIONS = st.lists(TERMS, min_size=1, max_size=4, unique=True).map(
    lambda terms: Condition(tuple(terms))
)


@settings(max_examples=30)
@given(CONDITIONS)
def test_what_is_written_is_read_back(condition: Condition) -> None:
    assert read_condition(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "slots", "open_now", "holds"),
    [
        ("open", {}, True, True),
        ("closed", {}, True, False),
        ("order_id", {}, True, False),
        ("order_id", {"order_id": ""}, True, True),
        ("no order_id", {"order_id": "7"}, True, False),
        ("not order_id", {}, True, True),
        ("country = Italy", {"country": " ITALY "}, True, True),
        ("country = Italy", {}, True, False),
        ("country != Italy", {"country": "France"}, True, True),
        ("country != Italy", {}, True, False),
        ('where = "Trinidad and Tobago" and open', {"where": "trinidad and  tobago"}, True, True),
        ("closed and order_id", {"order_id": "7"}, True, False),
    ],
)
def test_a_condition_holds_where_all_its_parts_do(
    text: str, slots: dict[str, str], open_now: bool, holds: bool
) -> None:
    assert read_condition(text).holds(slots, open_now=open_now) is holds


@pytest.mark.parametrize(
    "text",
    [
        "", "Order", "open or closed", "x = ", 'x = "a', "= a", "no", "open and",
        "x=" + "a" * 101, "{order_id}", "x = a\x07", "known order_id",
    ],
)  # fmt: skip
def test_what_is_no_condition_is_told_what_is_allowed(text: str) -> None:
    with pytest.raises(DataError) as caught:
        read_condition(text)
    shown = " ".join(text.split())[:80]
    assert str(caught.value) == f"the condition {shown!r} cannot be read; {ALLOWED}"


def test_a_variant_whose_condition_holds_is_said_instead_of_those_without() -> None:
    answer = BOOK.by_label["late"]

    def said(language: str, open_now: bool, **slots: str) -> str | None:
        fitting = answer.fitting(language, slots, open_now=open_now)
        return say([each.template for each in fitting], slots).text if fitting else "nobody"

    assert said("en", open_now=True) == "Soon."
    assert said("en", open_now=False) == "Tomorrow."
    assert said("en", open_now=False, order_id="7") == "Soon."
    assert said("en", open_now=True, order_id="7", country="italy") == "Via 7."
    # It applies, and its slot is asked for: what is said to all others is not said instead.
    assert said("en", open_now=True, country="Italy") is None
    assert said("zh", open_now=True) == "马上。"
    assert said("zh", open_now=False) == "Tomorrow."  # in English rather than not at all
    assert answer.template("en") == "Soon."
    only = Answer("x", {"en": "X"}, {"en": ("when: closed\nLater.",)})
    assert only.fitting("en", {}, open_now=True) == ()
    assert only.template() == "Later."


def test_no_line_of_a_condition_reaches_a_customer_and_nothing_fitting_is_passed_on() -> None:
    closed = False
    book = AnswerBook(
        (*BOOK.answers, Answer("desk", {"en": "Desk"}, {"en": ("when: closed\nBack at nine.",)}))
    )
    bot = Bot.__new__(Bot)
    bot._live, bot._now, bot._is_open = None, (None, book), lambda: not closed
    assert bot.say("desk", "en", {}).passed_on
    closed = True
    spoken = bot.say("desk", "en", {})
    assert (spoken.text, spoken.when, spoken.passed_on) == ("Back at nine.", "closed", False)
    assert bot.say("late", "en", {"country": "Italy"}).text == "Tomorrow."
    assert bot.say("late", "en", {"order_id": "7"}).when == ""


YAML = """\
answers:
- label: late
  title: Late
  texts:
    en:
    - {when: [closed, no order_id], text: Tomorrow.}
    - when: country = Italy
      text: Via {order_id}.
    - Soon.
    zh:
    - |
      when: open
      马上。
"""


def test_a_file_with_conditions_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "answers.yml"
    path.write_text(YAML, encoding="utf-8")
    assert read_answers(path, {}) == BOOK
    write_answers(BOOK, path)
    assert read_answers(path, {}) == BOOK
    texts = yaml.safe_load(path.read_text(encoding="utf-8"))["answers"][0]["texts"]
    assert texts["en"][0] == {"when": "closed and no order_id", "text": "Tomorrow."}
    assert texts["en"][2] == "Soon."
    BOOK.save(tmp_path / "answers.json")
    assert AnswerBook.load(tmp_path / "answers.json") == BOOK


@pytest.mark.parametrize(
    ("variant", "told"),
    [
        ("{when: on Sundays, text: Hi.}",
         f", line 2, answer to hours: the condition 'on Sundays' cannot be read; {ALLOWED}"),
        ("{when: closed, say: Hi.}",
         ": answer 1 (line 2): a text has the key 'say'; expected `text`, and `when` where it has "
         "a condition"),
        ("{when: closed}", ": answer 1 (line 2) has an empty text"),
        ('{when: closed, text: "when: open\\nHi."}',
         ", line 2, answer to hours: a text has two conditions; join them: when: closed and …"),
        ('"when: Sundays\\nHi."',
         f", answer 1: the condition 'Sundays' cannot be read; {ALLOWED}"),
        ('"when: open"',
         ", answer 1: nothing is said when open: write the text below the condition"),
        ("{when: closed, text: 'Hi {Name}'}",
         ", answer 1: the template 'Hi {Name}' has a stray '{'; slots are written {order_id}: "
         "small letters, digits and _, optional parts [[like this]]"),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_named_with_file_intent_and_what_is_allowed(
    tmp_path: Path, variant: str, told: str
) -> None:
    path = tmp_path / "answers.yml"
    path.write_text(f"answers:\n- label: hours\n  texts:\n    en: [{variant}]\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_answers(path, {})
    assert str(caught.value) == f"{path}{told}"


def test_one_text_has_its_condition_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "answers.yml"
    path.write_text("answers:\n- {label: a, when: open, text: Now.}\n", encoding="utf-8")
    assert read_answers(path, {}).by_label["a"].texts == {"en": ("when: open\nNow.",)}
    path.write_text("answers:\n- {label: a, when: open, texts: {en: Now.}}\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_answers(path, {})
    assert str(caught.value) == (
        f"{path}: answer 1: `when` belongs to one of the texts: {{when: closed, text: …}}"
    )


def test_a_version_from_before_says_what_looks_like_a_condition_as_text() -> None:
    assert variant_of("when: you like\nCome by.").template == "when: you like\nCome by."


def test_exports_that_are_imported_again_have_the_conditions(tmp_path: Path) -> None:
    texts, labels = ["when does it come"], ["late"]
    tools: tuple[tuple[str, Callable[..., object], Callable[[Path], AnswerBook]], ...] = (
        ("rasa", export_rasa, lambda folder: read_rasa(folder).book),
        ("qna", export_qna, lambda folder: read_qna(folder / "qna.tsv").book),
        ("flow", export_dialogflow, lambda folder: read_dialogflow(folder / "agent.zip").book),
        ("csv", export_csv, lambda folder: read_answers(folder / "answers.csv", {})),
    )
    for name, export, back in tools:
        folder = tmp_path / name
        folder.mkdir()
        export(texts, labels, BOOK, folder)
        answer = back(folder).by_label["late"]
        assert answer.texts == BOOK.by_label["late"].texts, name
    said = (tmp_path / "rasa" / "domain.yml").read_text(encoding="utf-8")
    domain = yaml.safe_load(said)
    variants = domain["responses"]["utter_late"]
    assert [each["text"] for each in variants] == [
        "Tomorrow.",
        "Via {order_id}.",
        "Soon.",
        "马上。",
    ]
    assert variants[0]["condition"] == [{"type": "slot", "name": "order_id", "value": None}]
    assert variants[1]["condition"] == [{"type": "slot", "name": "country", "value": "Italy"}]
    assert "condition" not in variants[2]
    assert set(domain["slots"]) == {"order_id", "country"}
    # Somebody has changed it in Rasa since: that counts.
    (tmp_path / "rasa" / "domain.yml").write_text(
        said.replace("value: Italy", "value: Spain"), encoding="utf-8"
    )
    changed = read_rasa(tmp_path / "rasa").book.by_label["late"].texts["en"]
    assert changed[:2] == (f"{LATE}\nTomorrow.", "when: country = Spain\nVia {order_id}.")


def test_a_draft_keeps_conditions_when_it_is_edited_and_merged() -> None:
    def draft(label: str, *texts: str) -> DraftIntent:
        return DraftIntent(label, (DraftExample(label),), {"en": label}, {"en": texts})

    book = DraftBook((draft("a", "One."), draft("b", "Two.")))
    book = book.edited(
        "a", titles={"en": "A"}, texts={"en": ["when:  closed\nLater.", "One."]}, examples=["a"]
    )
    assert book.intent("a").texts == {"en": ("when: closed\nLater.", "One.")}
    merged = book.merged(["a", "b"], "a").answers()
    assert merged.by_label["a"].texts["en"] == ("when: closed\nLater.", "One.", "Two.")
    with pytest.raises(DataError, match=r"^a: the condition 'Mondays' cannot be read; write open"):
        book.edited("a", titles={}, texts={"en": ["when: Mondays\nNo."]}, examples=["a"])


def findings(*variants: tuple[str, str], always_open: bool = False) -> list[Finding]:
    said = [
        Said("late", "en", text, Place("a.yml", 1), when) for when, text in variants
    ]  # fmt: skip
    return list(lint_conditions(said, always_open=always_open))


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ("open and closed", "its parts exclude each other"),
        ("order_id and no order_id", "its parts exclude each other"),
        ("country = Italy and country = Spain", "its parts exclude each other"),
        ("plan = gold", "nothing fills {plan}"),
        ("our_date", "nothing fills {our_date}"),
        ("order_id = gold", "{order_id} is never found to be 'gold'"),
        ("closed", "[chatbot.handover] has no hours, so it is always open"),
    ],
)
def test_a_condition_that_nothing_can_satisfy_is_found(when: str, why: str) -> None:
    hours = "always open" in why
    (found,) = findings((when, "Never."), ("", "To {country}."), always_open=hours)
    assert (found.kind, found.severity) == ("idle condition", "warning")
    assert found.what == (f"the answer to late has a text that is never said, when {when}: {why}")
    assert found.fix is not None
    assert found.fix.edits[0].old == "Never."


def test_a_misspelt_slot_in_a_condition_is_guessed() -> None:
    (found,) = findings(("oder_id", "Known."), ("", "Else."))
    assert found.way_out == "mend the condition: did you mean order_id?"


@pytest.mark.parametrize(
    ("conditions", "missing"),
    [
        (["closed"], "when it is open"),
        (["open", "closed and order_id"], "when it is closed and while order_id is not known"),
        (["order_id"], "while order_id is not known"),
        (["no order_id"], "when order_id is known"),
        (["country = Italy", "no country"], "when country is another"),
    ],
)
def test_an_intent_that_says_nothing_to_somebody_is_found(
    conditions: list[str], missing: str
) -> None:
    (found,) = findings(*((when, "To {country}.") for when in conditions))
    assert found.kind == "no fallback"
    assert found.what == (
        f"every text of the answer to late has a condition, and none holds {missing}: the bot "
        "passes on to a person"
    )


def test_conditions_that_leave_nobody_out_and_sound_ones_are_no_finding() -> None:
    assert findings(("open", "Now."), ("closed", "Later.")) == []
    assert findings(("open", "Now."), always_open=True) == []
    assert findings(("order_id = AB-12345", "It."), ("", "Else.")) == []
    assert findings(("country = Italy", "To {country}."), ("country != Italy", "B."),
                    ("no country", "C.")) == []  # fmt: skip


def test_worlds_are_all_customers_that_conditions_tell_apart() -> None:
    conditions = [read_condition("x = a"), read_condition("no y and open")]
    found = list(worlds(conditions))
    # x unknown, a, another; y unknown, known; open or closed.
    assert len(found) == 3 * 2 * 2
    assert len({(tuple(sorted(slots.items())), is_open) for slots, is_open in found}) == 12
