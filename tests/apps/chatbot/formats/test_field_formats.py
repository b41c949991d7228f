"""QnA Maker, Dialogflow ES and tables: what is taken, what comes back, what is refused."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chatbot.answers import Answer, AnswerBook, lint, read_answers
from apps.chatbot.formats import archives
from apps.chatbot.formats.archives import json_members
from apps.chatbot.formats.csv_export import export_csv
from apps.chatbot.formats.dialogflow_export import export_dialogflow
from apps.chatbot.formats.dialogflow_import import import_dialogflow, read_dialogflow
from apps.chatbot.formats.kept import ENTITIES_FILE, Entity, Kept, as_json, read_kept
from apps.chatbot.formats.qna import export_qna, read_qna
from apps.chatbot.formats.rasa_export import export_rasa
from apps.chatbot.formats.rasa_import import import_rasa, read_rasa
from apps.chatbot.formats.taken import TakenBot
from shared.errors import DataError
from shared.tables import Column, read_table

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs")),
    min_size=1, max_size=12,
)  # fmt: skip
TEXTS = st.lists(WORDS | st.sampled_from(["\\n", '"', "|", "a:b", "$x", "@y", "{", "[z](w)"]),
                 min_size=1, max_size=4).map(" ".join)  # fmt: skip
PLAIN = TEXTS.filter(lambda text: not set("[]{}") & set(text))
TEMPLATES = st.lists(
    PLAIN | st.sampled_from(["{order_id}", "[[ by {date}.]]", "{date}", "two\nlines"]),
    min_size=1, max_size=3,
).map(" ".join)  # fmt: skip
LABELS = TEXTS | st.sampled_from(["faq/x", "A", "a", "a_usersays_en", "..", "b_entries_en"])
BOTS = st.dictionaries(
    LABELS,
    st.tuples(
        st.lists(TEXTS, max_size=3, unique=True),
        st.lists(TEMPLATES, max_size=2, unique=True),
        st.lists(TEMPLATES, max_size=1),
    ).filter(lambda parts: bool(parts[0] or parts[1])),
    min_size=1, max_size=4,
)  # fmt: skip
Bot = dict[str, tuple[list[str], list[str], list[str]]]


def as_bot(made: Bot) -> tuple[list[str], list[str], AnswerBook]:
    rows = [(text, label) for label, (texts, _, _) in made.items() for text in texts]
    answers = []
    for label, (_, english, chinese) in made.items():
        texts = {"en": tuple(english)} | ({"zh": tuple(chinese)} if chinese else {})
        if english:
            answers.append(Answer(label, {"en": f"About: {label}|"}, texts))
    return [text for text, _ in rows], [label for _, label in rows], AnswerBook(tuple(answers))


Write = Callable[[list[str], list[str], AnswerBook, Path], object]
FORMATS: dict[str, tuple[Write, Callable[[Path], TakenBot]]] = {
    "qna": (export_qna, lambda folder: read_qna(folder / "qna.tsv")),
    "dialogflow": (export_dialogflow, lambda folder: read_dialogflow(folder / "agent.zip")),
}


@pytest.mark.parametrize("tool", FORMATS)
@settings(max_examples=40)
@given(BOTS.filter(lambda bot: any(texts for texts, _, _ in bot.values())))
def test_a_round_trip_gives_the_same_examples_and_answers(
    tmp_path_factory: pytest.TempPathFactory, tool: str, made: Bot
) -> None:
    folder = tmp_path_factory.mktemp("bot")
    texts, labels, book = as_bot(made)
    write, read = FORMATS[tool]
    write(texts, labels, book, folder)
    bot = read(folder)
    assert sorted(zip(bot.texts, bot.labels, strict=True)) == sorted(
        zip(texts, labels, strict=True)
    )
    assert dict(bot.book.by_label) == dict(book.by_label)


def test_tables_are_read_back_as_they_were(tmp_path: Path) -> None:
    texts, labels = ['=one, "two"', "three\nlines"], ["a", "b"]
    book = AnswerBook((Answer("a", {"en": "A?"}, {"en": ("Yes, {date}.", "No.")}),))
    export_csv(texts, labels, book, tmp_path, Kept((as_json([Entity(0, 4, {"entity": "n"})]), "")))
    frame = read_table(tmp_path / "examples.csv", [Column("text"), Column("label")]).frame
    assert list(zip(frame["text"], frame["label"], strict=True)) == list(
        zip(texts, labels, strict=True)
    )
    assert read_answers(tmp_path / "answers.csv", {}) == book


QNA = (
    "Question\tAnswer\tSource\tMetadata\tSuggestedQuestions\tIsContextOnly\tPrompts\tQnaId\n"
    "How do I reset it?\tHold **reset**.\\n\\nWait {5} s.\tEditorial\tkind:help|x:y\t[]\tFalse\t"
    '[{"displayOrder":0,"qnaId":2,"displayText":"It does not start"}]\t1\n'
    "reset how\tHold **reset**.\\n\\nWait {5} s.\tEditorial\t\t[]\tFalse\t[]\t1\n"
    "is anybody there\tNo good match found in KB.\tEditorial\t\t[]\tFalse\t[]\t2\n"
    "\tAn answer to nothing.\tEditorial\t\t[]\tFalse\t[]\t3\n"
)


def test_a_file_of_qna_maker(tmp_path: Path) -> None:
    path = tmp_path / "kb.tsv"
    path.write_text(QNA)
    bot = read_qna(path)
    assert list(zip(bot.texts, bot.labels, strict=True)) == [
        ("How do I reset it?", "how-do-i-reset-it"),
        ("reset how", "how-do-i-reset-it"),
        ("is anybody there", "is-anybody-there"),
    ]
    (answer,) = bot.book.answers
    assert answer.template() == "Hold **reset**.\n\nWait (5) s.\n- It does not start"
    assert answer.title() == "How do I reset it?"
    assert bot.unanswered == ("is-anybody-there",)
    assert set(bot.notes) == {
        "2 answers have braces, written as round brackets",
        "1 answers have follow-up prompts, kept as lines of text",
        "1 rows without a question or an answer were left out",
    }


def agent(**changes: Any) -> dict[str, Any]:
    """Files of a small agent."""

    def intent(name: str, messages: list[Any], **more: Any) -> dict[str, Any]:
        return {"name": name, "responses": [{"messages": messages}], **more}

    def speech(*texts: str, lang: str = "en", **more: Any) -> dict[str, Any]:
        return {"type": "0", "lang": lang, "speech": list(texts), **more}

    files: dict[str, Any] = {
        "agent.json": {"language": "en"},
        "intents/Order - status.json": intent("Order - status", [
            speech("It is at $Station.original now.", "Soon {x}."),
            speech("在路上。", lang="zh-cn"),
            {"type": 2, "lang": "en", "replies": ["Track it", "Call us"]},
            {"type": 4, "payload": {}}, speech("for a phone", platform="google")]),
        "intents/Order - status_usersays_en.json": [
            {"data": [{"text": " where is "}, {"text": "my parcel", "meta": "@thing",
                                              "alias": "what", "userDefined": True}]},
            {"data": [{"text": "is @thing:what here"}], "isTemplate": True},
        ],
        "intents/Hello.json": intent("Hello", [], contexts=["before"]),
        "intents/Hello_usersays_en.json": [{"data": [{"text": "hi"}]}],
        "intents/Default Fallback Intent.json": intent("Fallback", [speech("What?")],
                                                       fallbackIntent=True),
        "intents/Default Fallback Intent_usersays_en.json": [{"data": [{"text": "buy a horse"}]}],
        "entities/thing.json": {"name": "thing", "isRegexp": False},
        "entities/thing_entries_en.json": [{"value": "parcel", "synonyms": ["parcel", "box"]}],
        "entities/code.json": {"name": "code", "isRegexp": True},
        "entities/code_entries_en.json": [{"value": "[A-Z]+", "synonyms": ["[A-Z]+"]}],
    }  # fmt: skip
    return files | changes


def zipped(path: Path, files: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            raw = content if isinstance(content, (bytes, str)) else json.dumps(content)
            archive.writestr(name, raw)
    return path


@pytest.mark.parametrize("outer", ["", "my agent/"])
def test_an_agent_of_dialogflow(tmp_path: Path, outer: str) -> None:
    path = zipped(tmp_path / "a.zip", {outer + name: c for name, c in agent().items()})
    bot = import_dialogflow(path, tmp_path / "out")
    assert list(zip(bot.texts, bot.labels, strict=True)) == [
        ("where is my parcel", "Order - status"), ("hi", "Hello"),
    ]  # fmt: skip
    lines = "\n- Track it\n- Call us"
    assert dict(bot.book.by_label["Order - status"].texts) == {
        "en": (f"It is at {{station}} now.{lines}", f"Soon (x).{lines}"), "zh": ("在路上。",),
    }  # fmt: skip
    assert bot.kept.of(0) == (Entity(9, 18, {"entity": "thing", "role": "what"}),)
    assert bot.kept.kinds == {
        "lookups": {"thing": ("parcel",)}, "synonyms": {"parcel": ("box",)},
        "regexes": {"code": ("[A-Z]+",)},
    }  # fmt: skip
    assert bot.refused == ("buy a horse",)
    assert bot.unanswered == ("Hello",)
    assert set(bot.notes) == {
        "1 fallback intents: their phrases are to be refused",
        "1 intents follow another one only; here they stand alone",
        "1 phrases name entities instead of words (@entity:name), left out",
        "1 messages are cards, pictures or payloads, which are not kept",
        "1 responses have braces, written as round brackets",
        "2 responses have quick replies, kept as lines of text",
    }
    assert (tmp_path / "out/out_of_scope.csv").read_text() == "text\nbuy a horse\n"
    assert read_kept(tmp_path / "out" / ENTITIES_FILE).buttons == bot.kept.buttons


def test_an_exported_agent_is_what_the_console_restores(tmp_path: Path) -> None:
    book = AnswerBook((Answer("faq/a", {"en": "A?"}, {
        "en": ("Yes, {order_id}.[[ On {date}.]]",), "zh": ("是的。",)}),))  # fmt: skip
    kept = Kept((as_json([Entity(9, 15, {"entity": "my thing", "value": "parcel"})]), ""),
                {"synonyms": {"parcel": ("box",)}})  # fmt: skip
    export_dialogflow(["where is parcel", "哪里"], ["faq/a", "faq/a"], book, tmp_path, kept)
    with zipfile.ZipFile(tmp_path / "agent.zip") as archive:
        files = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    assert sorted(files) == [
        "agent.json", "entities/my_thing.json", "entities/my_thing_entries_en.json",
        "intents/faq_a.json", "intents/faq_a_usersays_en.json", "intents/faq_a_usersays_zh-cn.json",
        "package.json", "triptych.json",
    ]  # fmt: skip
    assert files["agent.json"]["supportedLanguages"] == ["zh-cn"]
    (response,) = files["intents/faq_a.json"]["responses"]
    assert [message["speech"] for message in response["messages"]] == [
        ["Yes, $order_id. On $date.", "Yes, $order_id."], ["是的。"],
    ]  # fmt: skip
    assert [p["name"] for p in response["parameters"]] == ["order_id", "date"]
    (phrase,) = files["intents/faq_a_usersays_en.json"]
    assert [(part["text"], part.get("meta")) for part in phrase["data"]] == [
        ("where is ", None), ("parcel", "@my_thing"),
    ]  # fmt: skip
    assert files["entities/my_thing_entries_en.json"] == [
        {"value": "parcel", "synonyms": ["parcel", "box"]}
    ]


def test_an_agent_that_was_changed_since_its_export_is_believed(tmp_path: Path) -> None:
    book = AnswerBook((Answer("a", {"en": "A?"}, {"en": ("Yes.[[ On {date}.]]",)}),))
    export_dialogflow(["x"], ["a"], book, tmp_path)
    with zipfile.ZipFile(tmp_path / "agent.zip") as archive:
        files: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
    intent = json.loads(files["intents/a.json"])
    intent["responses"][0]["messages"][0]["speech"] = ["Perhaps on $date."]
    zipped(tmp_path / "b.zip", files | {"intents/a.json": intent})
    assert read_dialogflow(tmp_path / "b.zip").book.by_label["a"].template() == "Perhaps on {date}."


def encrypted() -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("agent.json", "{}")
    content = bytearray(raw.getvalue())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + at] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"../agent.json": {}}, "holds the path '../agent.json', which leads out of it"),
        ({"/etc/agent.json": {}}, "holds the path '/etc/agent.json', which leads out of it"),
        ({"C:\\x\\agent.json": {}}, "which leads out of it"),
        ({"intents/a.json": "[" * 100_000}, "not readable as JSON: nested too deeply"),
        ({"intents/a.json": "{"}, "not readable as JSON: Expecting"),
        ({"intents/a.json": b"\xff\xfe"}, "not readable as JSON"),
        ({"intents/a.json": []}, "intents/a.json: expected an object"),
        ({"intents/a_usersays_en.json": "[" + " " * 40_000_000 + "]"}, "is larger unpacked than"),
        ({"readme.txt": "x"}, "no training phrase in it"),
        (b"PK\x03\x04 and then nothing", "is not a sound zip file"),
        (encrypted(), "agent.json is encrypted"),
        (None, "no such file"),
    ],
)
def test_a_hostile_archive_is_one_clear_line(
    tmp_path: Path, files: dict[str, Any] | bytes | None, complaint: str
) -> None:
    path = tmp_path / "a.zip"
    if isinstance(files, dict):
        zipped(path, files)
    elif files is not None:
        path.write_bytes(files)
    with pytest.raises(DataError) as caught:
        read_dialogflow(path)
    assert str(caught.value).startswith(str(path))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ([path.name] if files is not None else [])


def test_many_members_and_the_sum_of_sizes_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "a.zip", {f"intents/{n}.json": '{"a": "' + "x" * 90 + '"}'
                                       for n in range(10)})  # fmt: skip
    monkeypatch.setattr(archives, "LARGEST_TOTAL", 500)
    with pytest.raises(DataError, match=r"larger unpacked than"):
        list(json_members(path, ("intents",)))
    monkeypatch.setattr(archives, "MOST_MEMBERS", 9)
    with pytest.raises(DataError, match="10 files inside, more than 9"):
        list(json_members(path, ("intents",)))


RASA = """\
nlu:
- intent: status
  examples: |
    - where is [my order]{"entity": "thing", "value": "order", "role": "main"}
    - from [Rome](city) to [Bonn](city)?
- synonym: order
  examples: |
    - my order
- lookup: city
  examples: |
    - Rome
- regex: code
  examples: |
    - [A-Z]{2}
responses:
  utter_status:
  - text: "Order {id} is here."
    buttons: [{title: Track it, payload: /track}]
"""


def test_rasa_gets_back_entities_synonyms_lookups_and_buttons(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/domain.yml").write_text(RASA)
    bot = import_rasa(tmp_path / "old", tmp_path / "draft")
    kept = read_kept(tmp_path / "draft" / ENTITIES_FILE)
    assert kept.kinds == bot.kept.kinds
    whole = Kept(bot.kept.entities, kept.kinds, kept.buttons)
    export_rasa(bot.texts, bot.labels, bot.book, tmp_path / "new", whole)
    again = read_rasa(tmp_path / "new")
    assert again.kept == bot.kept
    assert (again.texts, again.book) == (bot.texts, bot.book)
    domain = yaml.safe_load((tmp_path / "new/domain.yml").read_text())
    assert domain["entities"] == ["city", "code", "thing"]
    assert domain["responses"]["utter_status"][0]["text"] == "Order {id} is here."
    assert domain["responses"]["utter_status"][0]["buttons"] == [
        {"title": "Track it", "payload": "/track"}
    ]
    assert "[Rome]" in (tmp_path / "new/data/nlu.yml").read_text()


@pytest.mark.parametrize("text", ["{a} $b [[c]]", "\0{x}\1", "]] }} {{ok}}"])
def test_braces_of_others_never_become_ours(tmp_path: Path, text: str) -> None:
    files = agent()
    files["intents/Hello.json"]["responses"][0]["messages"] = [{"type": "0", "speech": text}]
    bot = read_dialogflow(zipped(tmp_path / "a.zip", files))
    lint(bot.book.by_label["Hello"].template(), "here")
