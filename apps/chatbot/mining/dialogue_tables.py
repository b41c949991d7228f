"""Dialogues in tables and in JSON: a row for each message, or a record for each dialogue."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apps.chatbot.mining.dialogue_lines import readable_part, records, unusable
from apps.chatbot.mining.dialogues import Dialogue, Speakers, Turn, TurnRow, ended
from shared.errors import DataError
from shared.table_rows import Reject, unique_names

# What exports call the columns, most telling first; options name any other.
NAMES: Mapping[str, tuple[str, ...]] = {
    ours: tuple(theirs.split())
    for ours, theirs in {
        "dialogue": "dialogue dialogue_id dialog_id dialog conversation_id conversationid "
        "conversation conv_id chat_id chatid ticket_id ticketid ticket session_id sessionid "
        "thread_id case_id sender_id id",
        "speaker": "speaker role author_role sender_type author_type sender from author "
        "participant direction inbound who",
        "text": "text message utterance content body comment msg",
        "time": "time timestamp at created_at sent_at datetime date created ts",
        "status": "resolved status outcome state",
    }.items()
}
_TURNS = ("turns", "messages", "utterances", "dialogue", "dialog", "log", "events", "comments")
OPTION_OF = {name: f"--{name}-column" for name in ("dialogue", "speaker", "text", "time", "status")}


@dataclass(frozen=True)
class Columns:
    """Our name -> the file's, for the columns the user has named; the rest are recognised."""

    named: Mapping[str, str]

    def find(self, ours: str, present: Sequence[str]) -> str | None:
        """The file's column for one of ours, None where it has none."""
        if ours in self.named:
            return self.named[ours] if self.named[ours] in present else None
        folded = {name.strip().casefold().replace(" ", "_"): name for name in reversed(present)}
        return next((folded[name] for name in NAMES[ours] if name in folded), None)

    def value(self, ours: str, record: Mapping[str, Any]) -> Any:
        """The record's value for one of ours, None where it has none."""
        column = self.find(ours, list(record))
        return None if column is None else record[column]


def table_rows(path: Path, columns: Columns, speakers: Speakers) -> Iterator[TurnRow | Reject]:
    """The messages of a CSV or TSV.

    Raises: DataError when the file cannot be read or a column is missing.
    """
    source = records(path)
    header = next((found for found in source if not isinstance(found, Reject)), None)
    if header is None:
        raise DataError(f"{path}: holds no line with text")
    names = unique_names(header[1])
    found = {ours: columns.find(ours, names) for ours in NAMES}
    for ours in ("dialogue", "speaker", "text"):
        if found[ours] is None:
            missing = f"no column {columns.named[ours]!r}" if ours in columns.named else (
                f"no column for the {ours} (such as {', '.join(NAMES[ours][:3])})"
            )  # fmt: skip
            raise DataError(
                f"{path}: {missing}; the file has: {', '.join(names[:20])} "
                f"(name the right one with {OPTION_OF[ours]})"
            )
    for row in source:
        if isinstance(row, Reject):
            yield row
            continue
        line, cells = row
        if len(cells) != len(names):
            why = f"{len(cells)} fields, expected {len(names)} ({', '.join(names[:6])})"
            yield Reject(line, why, readable_part(",".join(cells)))
            continue
        record = dict(zip(names, cells, strict=True))
        chosen = {ours: record[theirs] if theirs else None for ours, theirs in found.items()}
        yield from _row(chosen, line, ",".join(cells), speakers)


def json_rows(
    record: Any, line: int, path: Path, columns: Columns, speakers: Speakers
) -> Iterator[Dialogue | TurnRow | Reject]:
    """One JSON object: a dialogue with its turns in a list, or one message."""
    shown = readable_part(str(record)[:500])
    if not isinstance(record, dict):
        yield Reject(line, "is no JSON object", shown)
        return
    turns = next((record[name] for name in _TURNS if isinstance(record.get(name), list)), None)
    if turns is None:
        yield from _row(
            {ours: columns.value(ours, record) for ours in NAMES}, line, shown, speakers
        )
        return
    name = columns.value("dialogue", record)
    said: list[Turn] = []
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict):
            yield Reject(line, f"turn {number} is no JSON object", readable_part(str(turn)[:500]))
            continue
        chosen = {ours: columns.value(ours, turn) for ours in NAMES}
        chosen["dialogue"] = "-"
        for row in _row(chosen, line, str(turn)[:500], speakers, f"turn {number}: "):
            if isinstance(row, Reject):
                yield row
            else:
                said.append(Turn(row.role, row.text, number))
    resolved, transferred = _end(columns, record)
    yield Dialogue(
        str(name) if isinstance(name, str | int) else f"line {line}",
        tuple(said),
        path.name,
        line,
        resolved,
        transferred,
    )


def _end(columns: Columns, record: Mapping[str, Any]) -> tuple[bool | None, bool]:
    """How the dialogue ended, by whatever the record says of it."""
    if "status" in columns.named:
        return ended(_text(columns.value("status", record)) or "")
    resolved, transferred = None, False
    for name in NAMES["status"]:
        said, passed = ended(_text(record.get(name)) or "")
        resolved = said if resolved is None else resolved
        transferred = transferred or passed
    return resolved, transferred


def _row(
    chosen: Mapping[str, Any], line: int, shown: str, speakers: Speakers, where: str = ""
) -> Iterator[TurnRow | Reject]:
    """A message from its values; nothing for lines of the software itself."""
    texts = {ours: _text(chosen[ours]) for ours in ("dialogue", "speaker", "text")}
    for ours, text in texts.items():
        if not text:
            why = f"{where}{ours} is {'missing' if text is None else 'empty'}"
            yield Reject(line, why, readable_part(shown))
            return
    if why := next(filter(None, (unusable(text or "") for text in texts.values())), ""):
        yield Reject(line, f"{where}{why}", readable_part(shown))
        return
    role = speakers.role(texts["speaker"] or "")
    if role == "system":
        return
    if role is None:
        why = f"{where}{speakers.unknown(texts['speaker'] or '')}"
        yield Reject(line, why, readable_part(shown))
        return
    yield TurnRow(
        texts["dialogue"] or "",
        role,
        texts["text"] or "",
        line,
        moment(chosen.get("time")),
        _text(chosen.get("status")) or "",
    )


def _text(value: object) -> str | None:
    """Text of a scalar; None of anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value).strip()
    if isinstance(value, dict):  # {"role": …}, {"type": …}, {"name": …} of nested exports
        inner = next((value[k] for k in ("role", "type", "text", "name") if k in value), None)
        return inner.strip() if isinstance(inner, str) else None
    return None


def moment(value: object) -> float | None:
    """Seconds since 1970 of an ISO 8601 time or a number of s, ms, µs or ns; None of others."""
    text = _text(value)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        try:
            read = datetime.fromisoformat(text)
        except ValueError:
            return None
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(number):
        return None
    while abs(number) >= 1e11:  # as for tables: 1e11 s is the year 5138
        number /= 1000
    return number
