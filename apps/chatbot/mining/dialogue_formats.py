"""Files of past dialogues in the formats that support tools write, told apart by what they hold."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from apps.chatbot.mining.dialogue_lines import Value, readable_part, values
from apps.chatbot.mining.dialogue_tables import Columns, json_rows, moment, table_rows
from apps.chatbot.mining.dialogue_transcripts import transcript
from apps.chatbot.mining.dialogues import Dialogue, Role, Speakers, Turn, TurnRow, ended
from shared.errors import DataError
from shared.table_rows import Reject

_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
_TABLE_SUFFIXES = (".csv", ".tsv")
# Messages of one scratch transaction.
_AT_ONCE = 10_000


class DialogueFormat(StrEnum):
    """auto: by the file's name and its first record."""

    AUTO = "auto"
    CSV = "csv"
    JSONL = "jsonl"
    TRANSCRIPT = "transcript"
    RASA = "rasa"
    CHATWOOT = "chatwoot"


@dataclass(frozen=True)
class Reading:
    """How files of dialogues are to be read: see `triptych chatbot import --help`."""

    format: DialogueFormat = DialogueFormat.AUTO
    columns: Columns = field(default_factory=lambda: Columns({}))
    speakers: Speakers = field(default_factory=Speakers)


def read_dialogues(path: Path, reading: Reading) -> Iterator[Dialogue | Reject]:
    """The dialogues of a file one by one, in the order in which they begin, and what is no part of
    any. Turns of a speaker that stand apart in the file are put together on disk, not in memory.

    Raises: DataError when the file as a whole cannot be read.
    """
    chosen = reading.format if reading.format != "auto" else recognised(path)
    if chosen == DialogueFormat.TRANSCRIPT:
        yield from transcript(path, reading.speakers)
        return
    if chosen == DialogueFormat.CSV:
        yield from _gathered(table_rows(path, reading.columns, reading.speakers), path)
        return
    yield from _gathered(_json(path, chosen, reading), path)


def recognised(path: Path) -> DialogueFormat:
    """The format of a file, by its suffix and, of JSON, by its first value.

    Raises: DataError when it is of no format known here.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if suffix in _TABLE_SUFFIXES:
        return DialogueFormat.CSV
    if suffix in (".parquet", ".xlsx", ".xls", ".zip", ".yml", ".yaml"):
        raise DataError(
            f"{path}: dialogues are read from .csv .tsv .jsonl .json and plain text (.txt), each "
            "also .gz" + ("; a Rasa bot's folder: --rasa DIR" if suffix.startswith(".y") else "")
        )
    if suffix not in _JSON_SUFFIXES:
        return DialogueFormat.TRANSCRIPT
    for found in islice(values(path), 20):
        if isinstance(found, Value) and isinstance(found.value, dict):
            if _is_rasa(found.value):
                return DialogueFormat.RASA
            if _is_chatwoot(found.value):
                return DialogueFormat.CHATWOOT
            break
    return DialogueFormat.JSONL


def _is_rasa(value: Mapping[str, Any]) -> bool:
    events = value.get("events")
    if isinstance(events, list):
        return any(isinstance(event, dict) and "event" in event for event in events[:50])
    return isinstance(value.get("event"), str) and "sender_id" in value


def _is_chatwoot(value: Mapping[str, Any]) -> bool:
    if "message_type" in value:
        return True
    return any(
        isinstance(message, dict) and "message_type" in message
        for conversation in _chatwoot_conversations(value)
        for message in _chatwoot_messages(conversation)[:50]
    )


def _json(
    path: Path, chosen: DialogueFormat, reading: Reading
) -> Iterator[Dialogue | TurnRow | Reject]:
    for found in values(path):
        if isinstance(found, Reject):
            yield found
            continue
        line, value = found.number, found.value
        if chosen == DialogueFormat.RASA:
            yield from _rasa(value, line, path)
        elif chosen == DialogueFormat.CHATWOOT:
            yield from _chatwoot(value, line, path)
        else:
            wrapped = _wrapped(value)
            for record in wrapped if wrapped is not None else [value]:
                yield from json_rows(record, line, path, reading.columns, reading.speakers)


def _wrapped(value: Any) -> list[Any] | None:
    """The dialogues of an object that holds nothing but a list of them."""
    if isinstance(value, dict):
        for name in ("dialogues", "dialogs", "conversations", "data", "tickets"):
            if isinstance(value.get(name), list):
                return list(value[name])
    return None


def _rasa(value: Any, line: int, path: Path) -> Iterator[Dialogue | TurnRow | Reject]:
    """A tracker with its events, or one event as an event broker writes it."""
    if isinstance(value, dict) and isinstance(value.get("events"), list):
        yield from _tracker(value, line, path)
    elif isinstance(value, dict) and "event" in value and value.get("sender_id") is not None:
        role = _rasa_role(value)
        if role:
            when = moment(value.get("timestamp"))
            text = str(value["text"]).strip()
            yield TurnRow(str(value["sender_id"]), role, text, line, when)
    else:
        why = "is no Rasa tracker (sender_id, events) and no event (event, sender_id)"
        yield Reject(line, why, readable_part(str(value)[:500]))


def _rasa_role(event: Any) -> Role | None:
    """Who speaks in an event; nobody in actions, slots and clicks on a button (/intent)."""
    if not isinstance(event, dict) or not isinstance(event.get("text"), str):
        return None
    if not event["text"].strip():
        return None
    if event.get("event") == "user":
        return None if event["text"].startswith("/") else "customer"
    return "agent" if event.get("event") == "bot" else None


def _tracker(value: Mapping[str, Any], line: int, path: Path) -> Iterator[Dialogue]:
    """One dialogue for each session of the tracker; a paused one went on to a person."""
    name, session = str(value.get("sender_id", f"line {line}")), 1
    turns: list[Turn] = []
    paused = False
    for number, event in enumerate(value["events"]):
        kind = event.get("event") if isinstance(event, dict) else None
        starts = kind == "action" and event.get("name") == "action_session_start"
        if starts and turns:
            yield Dialogue(f"{name}#{session}", tuple(turns), path.name, line, None, paused)
            turns, session, paused = [], session + 1, False
        paused = paused or kind == "pause"
        if role := _rasa_role(event):
            turns.append(Turn(role, event["text"].strip(), number))
    if turns:
        shown = f"{name}#{session}" if session > 1 else name
        yield Dialogue(shown, tuple(turns), path.name, line, None, paused)


def _chatwoot_conversations(value: Any) -> list[Any]:
    """The conversations in what the API or an export gives: one, or a list under `payload`."""
    while isinstance(value, dict):
        inner = next((value[k] for k in ("payload", "data", "conversations") if k in value), None)
        if isinstance(inner, list) and inner:
            first = inner[0]
            if isinstance(first, dict) and ("messages" in first or "message_type" not in first):
                return inner
            return [value]  # the messages of one conversation
        if not isinstance(inner, dict):
            return [value]
        value = inner
    return []


def _chatwoot_messages(conversation: Any) -> list[Any]:
    if not isinstance(conversation, dict):
        return []
    several = (conversation.get(name) for name in ("messages", "payload", "data"))
    return next((found for found in several if isinstance(found, list)), [])


_CHATWOOT_ROLES: Mapping[Any, Role] = {
    0: "customer", "0": "customer", "incoming": "customer",
    1: "agent", "1": "agent", "outgoing": "agent",
}  # fmt: skip


def _chatwoot(value: Any, line: int, path: Path) -> Iterator[Dialogue | TurnRow | Reject]:
    if isinstance(value, dict) and "message_type" in value:
        role, text = _chatwoot_turn(value)
        if role:
            name = str(value.get("conversation_id", f"line {line}"))
            yield TurnRow(name, role, text, line, moment(value.get("created_at")))
        return
    conversations = _chatwoot_conversations(value)
    for place, conversation in enumerate(conversations, start=1):
        messages = [m for m in _chatwoot_messages(conversation) if isinstance(m, dict)]
        if not messages:
            shown = readable_part(str(conversation)[:500])
            yield Reject(line, f"conversation {place} has no messages", shown)
            continue
        messages.sort(key=lambda message: moment(message.get("created_at")) or 0.0)
        found = [(number, *_chatwoot_turn(message)) for number, message in enumerate(messages)]
        name = conversation.get("display_id", conversation.get("id"))
        if name is None:
            name = messages[0].get("conversation_id", f"line {line}")
        meta = conversation.get("meta")
        status = conversation.get("status") or (
            meta.get("status") if isinstance(meta, dict) else ""
        )
        resolved, transferred = ended(str(status or ""))
        turns = tuple(Turn(role, text, number) for number, role, text in found if role)
        yield Dialogue(str(name), turns, path.name, line, resolved or None, transferred)


def _chatwoot_turn(message: Mapping[str, Any]) -> tuple[Role | None, str]:
    """Private notes, activities and templates are nobody's words."""
    kind, content = message.get("message_type"), message.get("content")
    if message.get("private") is True or not isinstance(content, str) or not content.strip():
        return None, ""
    role = _CHATWOOT_ROLES.get(kind) if isinstance(kind, str | int) else None
    return role, content.strip()


def _gathered(
    found: Iterator[Dialogue | TurnRow | Reject], path: Path
) -> Iterator[Dialogue | Reject]:
    """Messages that stand alone put together by their dialogue; the rest as it comes.

    They wait in a database that SQLite keeps in a nameless file: it is gone with the process.
    """
    with closing(sqlite3.connect("", isolation_level=None)) as scratch:
        scratch.execute("PRAGMA synchronous = OFF")
        scratch.execute("CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        scratch.execute(
            "CREATE TABLE turns (dialogue INTEGER, role TEXT, text TEXT, line INTEGER, time REAL, "
            "status TEXT)"
        )
        waiting: list[TurnRow] = []
        for item in found:
            if not isinstance(item, TurnRow):
                yield item
                continue
            waiting.append(item)
            if len(waiting) >= _AT_ONCE:
                _store(scratch, waiting)
                waiting = []
        _store(scratch, waiting)
        yield from _stored(scratch, path)


def _store(scratch: sqlite3.Connection, rows: Sequence[TurnRow]) -> None:
    scratch.execute("BEGIN")
    scratch.executemany(
        "INSERT OR IGNORE INTO names (name) VALUES (?)", ((row.dialogue,) for row in rows)
    )
    scratch.executemany(
        "INSERT INTO turns SELECT id, ?, ?, ?, ?, ? FROM names WHERE name = ?",
        ((r.role, r.text, r.line, r.time, r.status, r.dialogue) for r in rows),
    )
    scratch.execute("COMMIT")


def _stored(scratch: sqlite3.Connection, path: Path) -> Iterator[Dialogue]:
    """By time where each message of a dialogue has one, else as they stood in the file."""
    query = (
        "SELECT t.dialogue, n.name, t.role, t.text, t.line, t.time, t.status FROM turns t "
        "JOIN names n ON n.id = t.dialogue ORDER BY t.dialogue, t.rowid"
    )
    group: list[tuple[Any, ...]] = []
    for row in scratch.execute(query):
        if group and group[0][0] != row[0]:
            yield _dialogue_of(group, path)
            group = []
        group.append(row)
    if group:
        yield _dialogue_of(group, path)


def _dialogue_of(group: Sequence[tuple[Any, ...]], path: Path) -> Dialogue:
    rows = list(group)
    numbered = {id(row): number for number, row in enumerate(rows)}
    if all(row[5] is not None for row in rows):
        rows.sort(key=lambda row: row[5])
    resolved, transferred = None, False
    for row in rows:
        said, passed = ended(row[6])
        resolved = resolved if said is None else said
        transferred = transferred or passed
    turns = tuple(Turn(row[2], row[3], numbered[id(row)]) for row in rows)
    return Dialogue(group[0][1], turns, path.name, group[0][4], resolved, transferred)
