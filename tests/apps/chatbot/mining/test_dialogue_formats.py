"""Reading dialogues: every format, what is broken, and that a file is never held whole."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chatbot.mining.dialogue_formats import DialogueFormat, Reading, read_dialogues, recognised
from apps.chatbot.mining.dialogue_lines import records
from apps.chatbot.mining.dialogue_tables import Columns, moment
from apps.chatbot.mining.dialogues import Dialogue, Speakers
from shared.errors import DataError
from shared.table_rows import Reject

Said = list[tuple[str, str]]


def read(path: Path, **options: Any) -> tuple[list[Dialogue], list[Reject]]:
    found = list(read_dialogues(path, Reading(**options)))
    return (
        [each for each in found if isinstance(each, Dialogue)],
        [each for each in found if isinstance(each, Reject)],
    )


def said(dialogue: Dialogue) -> Said:
    return [(turn.role, turn.text) for turn in dialogue.turns]


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_turns_of_a_dialogue_need_not_be_neighbours_and_go_by_time(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "d.csv",
        "conversation_id,author,body,created_at\n"
        "7,Customer,hello,2025-01-01T10:00:00Z\n"
        "8,Customer,other,1735725600\n"
        '7,Agent,"second, with ""quotes""\nand a line",2025-01-01T10:02:00Z\n'
        "7,Customer,between,2025-01-01T10:01:00+00:00\n",
    )
    dialogues, rejects = read(path)
    assert rejects == []
    assert [dialogue.id for dialogue in dialogues] == ["7", "8"]
    assert said(dialogues[0]) == [
        ("customer", "hello"),
        ("customer", "between"),
        ("agent", 'second, with "quotes"\nand a line'),
    ]
    assert [turn.number for turn in dialogues[0].turns] == [0, 2, 1]
    assert [dialogue.line for dialogue in dialogues] == [2, 3]


def test_columns_and_speakers_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "d.csv", "case,nick,said\n1,Rosa,hi\n1,Mara,hello\n1,System,joined\n")
    columns = Columns({"dialogue": "case", "speaker": "nick", "text": "said"})
    dialogues, rejects = read(path, columns=columns, speakers=Speakers.named(["rosa"], []))
    assert said(dialogues[0]) == [("customer", "hi"), ("agent", "hello")]
    assert rejects == []
    _, rejects = read(path, columns=columns)
    assert [(reject.line, reject.reason) for reject in rejects] == [
        (
            line,
            f"speaker {name!r} is neither customer nor agent; name it with --customer or --agent "
            "(with one side named, all others are the other side)",
        )
        for line, name in ((2, "Rosa"), (3, "Mara"))
    ]


def test_a_missing_column_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = written(tmp_path, "d.csv", "id,who,words\n1,customer,hi\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: no column for the text (such as text, message, utterance); the file has: "
        "id, who, words (name the right one with --text-column)"
    )
    with pytest.raises(DataError, match=r"no column 'wrds'; .*--text-column"):
        read(path, columns=Columns({"text": "wrds"}))


def test_a_broken_row_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    rows = [b"id,speaker,text", b"1,customer,hi", b'1,agent,"never closed', b"1,agent"]
    rows += [b"1,agent,", b"1,agent,nul\0", *[b"1,agent,yes"] * 200, b"1,agent,caf\xe9"]
    path.write_bytes(b"\n".join(rows) + b"\n")
    dialogues, rejects = read(path)
    assert len(dialogues[0].turns) == 201
    assert sorted((reject.line, reject.reason) for reject in rejects) == [
        (3, 'a quote (") opens here and never closes'),
        (4, "2 fields, expected 3 (id, speaker, text)"),
        (5, "text is empty"),
        (6, "holds a NUL character"),
        (207, "byte 0xe9 is not UTF-8"),
    ]


def test_a_file_in_another_encoding_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes("id,speaker,text\n1,customer,café\n1,agent,crème\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"2 of 3 lines are not UTF-8 .*iconv -f CP1252 -t UTF-8"):
        read(path)


@settings(max_examples=40)
@given(st.lists(st.lists(st.text('a,;"\n é'), min_size=2, max_size=2), min_size=1, max_size=6))
def test_csv_records_are_those_of_the_csv_module(rows: list[list[str]]) -> None:
    import csv
    import io
    import tempfile

    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["x", "y"], *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), "d.csv", text.getvalue())
        found = [record[1] for record in records(path) if not isinstance(record, Reject)]
    assert found == [["x", "y"], *rows]


def test_jsonl_with_a_dialogue_a_line(tmp_path: Path) -> None:
    first = {
        "dialog_id": "a",
        "status": "transferred",
        "turns": [
            {"speaker": "customer", "text": "hi"},
            {"speaker": "robot-9", "text": "beep"},
            {"speaker": "agent", "text": "hello"},
        ],
    }
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(gzip.compress(f"{json.dumps(first)}\n{{broken\n[1]\n".encode()))
    dialogues, rejects = read(path)
    (dialogue,) = dialogues
    assert said(dialogue) == [("customer", "hi"), ("agent", "hello")]
    assert [turn.number for turn in dialogue.turns] == [0, 2]
    assert (dialogue.resolved, dialogue.transferred) == (False, True)
    assert [reject.line for reject in rejects] == [1, 2, 3]
    assert rejects[0].reason.startswith("turn 1: speaker 'robot-9' is neither")
    assert rejects[1].reason.startswith("not JSON: ")
    assert rejects[2].reason == "is no JSON object"


def test_a_pretty_printed_array_is_read_value_by_value(tmp_path: Path) -> None:
    several = [
        {"id": n, "messages": [{"role": "user", "content": f"hi {n}" * 9_000}]} for n in range(40)
    ]
    path = written(tmp_path, "d.json", json.dumps(several, indent=2))
    dialogues, rejects = read(path)
    assert [dialogue.id for dialogue in dialogues] == [str(n) for n in range(40)]
    assert dialogues[1].line == 11
    assert rejects == []
    torn = written(tmp_path, "torn.json", json.dumps(several[:3], indent=2)[:-90])
    dialogues, rejects = read(torn)
    assert [dialogue.id for dialogue in dialogues] == ["0", "1"]
    assert rejects[0].reason.startswith("not JSON from here on")


@pytest.mark.parametrize(
    "content",
    [
        "U: hi\nA: hello\nmore of it\n\nU: two\nA: 2\n",
        "Customer: hi\n\nAgent: hello\nmore of it\n\n\nCustomer: two\n\nAgent: 2\n",
        "# Conversation 1\n[10:32] Client: hi\n[10:33] Mara (Agent): hello\nmore of it\n"
        "# Conversation 2\nvisitor: two\n\nsupport : 2\n",
        "客户：hi\n客服：hello\nmore of it\n---\n客户：two\n\n客服：2\n",
    ],
)
def test_transcripts_in_the_usual_spellings(tmp_path: Path, content: str) -> None:
    dialogues, rejects = read(written(tmp_path, "d.txt", content))
    assert rejects == []
    assert [said(dialogue) for dialogue in dialogues] == [
        [("customer", "hi"), ("agent", "hello\nmore of it")],
        [("customer", "two"), ("agent", "2")],
    ]


def test_a_transcript_line_without_a_speaker_and_a_speaker_nobody_knows(tmp_path: Path) -> None:
    path = written(
        tmp_path, "d.txt", "what is this\nU: hi\nNote: stays\nA: hello\n" + "Zed: hm\n" * 3
    )
    dialogues, rejects = read(path)
    assert said(dialogues[0]) == [("customer", "hi\nNote: stays"), ("agent", "hello")]
    assert [reject.line for reject in rejects] == [1, 5, 6, 7]
    dialogues, rejects = read(path, speakers=Speakers.named([], ["Zed"]))
    assert len(dialogues[0].turns) == 5
    assert [reject.line for reject in rejects] == [1]


def test_rasa_trackers_are_cut_at_their_sessions(tmp_path: Path) -> None:
    def session(text: str) -> list[dict[str, Any]]:
        return [
            {"event": "action", "name": "action_session_start"},
            {"event": "user", "text": text},
            {"event": "slot", "name": "x", "value": "y"},
            {"event": "user", "text": "/affirm"},
            {"event": "bot", "text": "answer"},
            {"event": "bot", "text": None},
        ]

    tracker = {"sender_id": "s1", "events": [*session("one"), *session("two"), {"event": "pause"}]}
    path = written(tmp_path, "t.json", json.dumps(tracker))
    assert recognised(path) == DialogueFormat.RASA
    dialogues, _ = read(path)
    assert [(d.id, said(d)[0][1], d.transferred) for d in dialogues] == [
        ("s1#1", "one", False),
        ("s1#2", "two", True),
    ]
    events = [
        {"sender_id": "s2", "event": "user", "text": "hi", "timestamp": 2.0},
        {"sender_id": "s2", "event": "bot", "text": "hello", "timestamp": 3.5},
        {"sender_id": "s2", "event": "user", "text": "first", "timestamp": 1},
    ]
    broker = written(tmp_path, "e.jsonl", "\n".join(map(json.dumps, events)))
    assert recognised(broker) == DialogueFormat.RASA
    (dialogue,), _ = read(broker)
    assert [text for _, text in said(dialogue)] == ["first", "hi", "hello"]


def test_chatwoot_without_notes_and_activities(tmp_path: Path) -> None:
    def message(kind: object, content: str, at: int, **more: object) -> dict[str, object]:
        return {"message_type": kind, "content": content, "created_at": at, **more}

    conversation = {
        "id": 12,
        "status": "resolved",
        "messages": [
            message(1, "answer", 30),
            message(0, "question", 10, conversation_id=12),
            message("outgoing", "a note", 20, private=True),
            message(2, "Conversation was marked resolved", 40),
        ],
    }
    for name, value in {
        "one.json": conversation,
        "list.json": [conversation],
        "api.json": {"data": {"meta": {}, "payload": [conversation]}},
        "messages.json": {"meta": {"status": "resolved"}, "payload": conversation["messages"]},
    }.items():
        path = written(tmp_path, name, json.dumps(value))
        assert recognised(path) == DialogueFormat.CHATWOOT, name
        (dialogue,), rejects = read(path)
        assert said(dialogue) == [("customer", "question"), ("agent", "answer")], name
        assert rejects == []
        assert (dialogue.id, dialogue.resolved) == ("12", True), name


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("d.csv", b"", "is empty (0 bytes)"),
        ("d.csv", b"PK\x03\x04rest", "is an Excel or zip file; save it as CSV (UTF-8)"),
        ("d.csv.gz", b"\x1f\x8bnot really", "is not a sound gzip file"),
        ("d.jsonl", b"hello", "begins with 'h', expected JSON: an object or an array"),
        ("d.yml", b"a: 1", "a Rasa bot's folder: --rasa DIR"),
    ],
)
def test_a_file_that_is_none_is_one_clear_line(
    tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "absent.csv")


def test_hostile_json_is_a_reject(tmp_path: Path) -> None:
    deep = "[" * 100_000
    path = written(
        tmp_path, "d.jsonl", '{"id": 1, "speaker": "user", "text": "hi"}\n' + deep + "\n"
    )
    dialogues, rejects = read(path)
    assert len(dialogues) == 1
    assert [(reject.line, len(reject.row)) for reject in rejects] == [(2, 500)]


def test_reading_holds_no_file_whole(tmp_path: Path) -> None:
    turn = "x" * 2_000
    path = tmp_path / "d.jsonl"
    with path.open("w") as stream:
        for n in range(1_200):
            turns = [{"speaker": "user", "text": turn}, {"speaker": "agent", "text": "ok"}]
            stream.write(json.dumps({"id": n, "turns": turns}) + "\n")
    assert path.stat().st_size > 2_400_000
    tracemalloc.start()
    count = sum(1 for _ in read_dialogues(path, Reading()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 1_200
    assert peak < 1_000_000


def test_moments_of_all_units() -> None:
    same = 1_700_000_000.0
    for written_as in (1_700_000_000, 1_700_000_000_000, "1700000000", "2023-11-14T22:13:20Z"):
        assert moment(written_as) == same
    assert [moment(bad) for bad in ("soon", "", None, "nan", [1])] == [None] * 5
