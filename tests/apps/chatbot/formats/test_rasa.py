"""Rasa bots in and out: what is taken, what is noted, and that a round trip changes nothing."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chatbot.answers import Answer, AnswerBook, lint, read_answers
from apps.chatbot.formats.rasa_export import export_rasa
from apps.chatbot.formats.rasa_files import example_lines, without_annotations
from apps.chatbot.formats.rasa_import import import_rasa, read_rasa
from shared.errors import DataError
from shared.tables import Column, read_table

NLU = """\
version: "3.1"
nlu:
- intent: faq/hours
  examples: |
    - when are you open
    - open on [Sunday](day)?
    - yes
- intent: order_status
  examples: |
    - where is [my order]{"entity": "thing", "value": "order", "role": "main"}
    - where is my order
    - see [the page](https://example.com/help)
- intent: chat
  examples:
  - text: |
      - hello there
- intent: lost
  examples: |
    - i lost it
- synonym: order
  examples: |
    - my order
    - purchase
- lookup: day
  examples: |
    - Sunday
- regex: code
  examples: |
    - [A-Z]{2}\\d+
"""
DOMAIN = """\
version: "3.1"
slots:
  currency: {type: text, initial_value: $, mappings: [{type: custom}]}
responses:
  utter_faq/hours:
  - text: We open at nine.
  - text: On Sundays we are closed.
    condition: [{type: slot, name: Day, value: Sunday}, {type: slot, name: vip, value: null}]
  - text: To whom it may concern.
    condition: [{type: intent, name: x}]
  utter_faq/extra:
  - text: Parking is free.
  utter_status:
  - text: "Order {ORDER-id} costs {currency}5. {{ok}}"
    buttons: [{title: Track it, payload: /track}]
  utter_hello:
  - text: Hello!
"""
RULES = """\
rules:
- rule: status
  steps:
  - intent: order_status
  - action: utter_status
stories:
- story: chat
  steps:
  - or: [{intent: chat}, {intent: other}]
  - action: utter_hello
  - intent: lost
  - action: utter_status
"""


@pytest.fixture
def bot_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bot"
    for name, text in {
        "data/nlu.yml": NLU, "domain.yml": DOMAIN, "data/rules.yml": RULES, "config.yml": "x: 1",
        "tests/test_nlu.yml": "nlu:\n- intent: wrong\n  examples: |\n    - never\n",
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_bot_becomes_examples_and_answers(bot_folder: Path, tmp_path: Path) -> None:
    bot = import_rasa(bot_folder, tmp_path / "out")
    assert list(zip(bot.texts, bot.labels, strict=True)) == [
        ("when are you open", "faq/hours"),
        ("open on Sunday?", "faq/hours"),
        ("yes", "faq/hours"),
        ("where is my order", "order_status"),
        ("see [the page](https://example.com/help)", "order_status"),
        ("hello there", "chat"),
        ("i lost it", "lost"),
    ]
    texts = {answer.label: dict(answer.texts) for answer in bot.book.answers}
    assert texts == {
        "faq/hours": {
            "en": (
                "We open at nine.",
                "when: day = Sunday and no vip\nOn Sundays we are closed.",
            )
        },
        "order_status": {"en": ("Order {order_id} costs $5. ((ok))\n- Track it",)},
        "chat": {"en": ("Hello!",)},
        "faq/extra": {"en": ("Parking is free.",)},
    }
    # A retrieval intent is shown by a customer's words, and by its name where it has none.
    titles = {answer.label: dict(answer.titles) for answer in bot.book.answers}
    assert titles == {
        "faq/hours": {"en": "Open on Sunday?"},
        "order_status": {"en": "Order status"},
        "chat": {"en": "Chat"},
        "faq/extra": {"en": "Extra"},
    }
    assert bot.unanswered == ("lost",)
    assert set(bot.notes) == {
        "1 responses have a condition, which is not kept",
        "1 responses have buttons, kept as lines of text",
        "1 responses have braces that are no slot, written as round brackets",
        "1 examples that stand twice under one intent were taken once",
    }
    frame = read_table(tmp_path / "out/examples.csv", [Column("text"), Column("label")]).frame
    assert list(frame["text"]) == list(bot.texts)
    assert json.loads(frame["entities"][3]) == [
        {
            "start": 9,
            "end": 17,
            "properties": {"entity": "thing", "value": "order", "role": "main"},
        }
    ]
    read_back = read_answers(tmp_path / "out/answers.yml", {})
    assert {a.label: dict(a.texts) for a in read_back.answers} == texts
    assert yaml.safe_load((tmp_path / "out/entities.yml").read_text()) == {
        "synonyms": {"order": ["my order", "purchase"]},
        "lookups": {"day": ["Sunday"]},
        "regexes": {"code": ["[A-Z]{2}\\d+"]},
        "buttons": [
            {
                "label": "order_status",
                "template": texts["order_status"]["en"][0],
                "choices": [{"title": "Track it", "payload": "/track"}],
            }
        ],
    }
    assert "lost" in (tmp_path / "out/report.html").read_text()


def test_annotations_of_all_spellings() -> None:
    text, entities = without_annotations('to [a](x) and [b](y:B) and [c]{"entity": "z"} [d]{bad}')
    assert text == "to a and b and c [d]{bad}"
    assert [(text[e.start : e.end], dict(e.properties)) for e in entities] == [
        ("a", {"entity": "x"}),
        ("b", {"entity": "y", "value": "B"}),
        ("c", {"entity": "z"}),
    ]


def test_examples_as_text_and_as_lists() -> None:
    assert example_lines("  - one\n  -two \nno\n-\n- - three") == ["one", "two", "- three"]
    assert example_lines(["one", {"text": "- two\n- three\n"}, {"x": 1}, 4]) == [
        "one", "two", "three",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "holds no .yml"),
        ({"domain.yml": "a: [1"}, "not readable as YAML"),
        ({"domain.yml": "intents: [a]"}, "no example of an intent"),
        ({"data/nlu.yml": "a: &x [1]\nb: [" + "*x," * 200 + "]"}, "more than 100 aliases"),
        ({"data/nlu.yml": "[" * 5_000}, "not readable as YAML"),
    ],
)
def test_a_folder_that_is_no_bot_is_one_clear_line(
    tmp_path: Path, files: dict[str, str], complaint: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read_rasa(tmp_path)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_outside_the_folder_are_not_read(bot_folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yml"
    outside.write_text("nlu:\n- intent: stolen\n  examples: |\n    - secret\n")
    (bot_folder / "data" / "link.yml").symlink_to(outside)
    assert "stolen" not in read_rasa(bot_folder).labels


def test_an_export_is_what_rasa_reads(tmp_path: Path) -> None:
    book = AnswerBook(
        (
            Answer("faq/a b", {"en": "A?"}, {"en": ("Yes.[[ On {date}.]]",), "zh": ("是的。",)}),
            Answer("Odd name!", {"en": "Odd"}, {"en": ("Order {order_id} is odd.",)}),
        )
    )
    texts, labels = ("one [x](y)", "two", "three"), ("faq/a b", "Odd name!", "none")
    written = export_rasa(texts, labels, book, tmp_path)
    assert (written.examples, written.intents, written.answers) == (3, 3, 2)
    assert written.notes == ("1 examples with a space put into brackets",)
    domain = yaml.safe_load((tmp_path / "domain.yml").read_text())
    assert domain["intents"] == ["faq", "Odd_name", "none"]
    assert list(domain["responses"]) == ["utter_faq/a_b", "utter_Odd_name"]
    assert [v["text"] for v in domain["responses"]["utter_faq/a_b"]] == ["Yes.", "是的。"]
    assert set(domain["slots"]) == {"date", "order_id"}
    nlu = yaml.safe_load((tmp_path / "data/nlu.yml").read_text())["nlu"]
    assert [entry["intent"] for entry in nlu] == ["faq/a_b", "Odd_name", "none"]
    assert nlu[0]["examples"] == "- one [x] (y)\n"
    rules = yaml.safe_load((tmp_path / "data/rules.yml").read_text())["rules"]
    assert [[next(iter(step.values())) for step in rule["steps"]] for rule in rules] == [
        ["faq", "utter_faq"],
        ["Odd_name", "utter_Odd_name"],
    ]


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=30
).map(lambda text: " ".join(text.split()))
PLAIN = WORDS.filter(lambda text: text and not set("[]{}") & set(text))
TEMPLATES = st.lists(
    PLAIN | st.sampled_from(["{order_id}", "[[ by {date}.]]", "{date}"]), min_size=1, max_size=4
).map(" ".join)
PAIRS = st.dictionaries(
    PLAIN | st.sampled_from(["faq/x", "faq/y", "faq/x y", "A", "a", "no", "- 1", "123"]),
    st.tuples(
        st.lists(PLAIN, min_size=1, max_size=4, unique=True),
        st.lists(TEMPLATES, max_size=3, unique=True),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25)
@given(PAIRS)
def test_a_round_trip_gives_the_same_pairs(
    tmp_path_factory: pytest.TempPathFactory, pairs: dict[str, tuple[list[str], list[str]]]
) -> None:
    folder = tmp_path_factory.mktemp("bot")
    rows = [(text, label) for label, (texts, _) in pairs.items() for text in texts]
    book = AnswerBook(
        tuple(
            Answer(label, {"en": f"About {label}"}, {"en": tuple(templates)})
            for label, (_, templates) in pairs.items()
            if templates
        )
    )
    export_rasa([text for text, _ in rows], [label for _, label in rows], book, folder)
    bot = read_rasa(folder)
    assert list(zip(bot.texts, bot.labels, strict=True)) == rows
    assert bot.book.answers == book.answers
    for answer in bot.book.answers:
        for template in answer.texts["en"]:
            lint(template, "round trip")
