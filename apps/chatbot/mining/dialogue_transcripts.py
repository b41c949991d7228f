"""Dialogues in plain text: `U: …` and `A: …`, `Customer: …`, `[10:32] Mara (Agent): …`."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from apps.chatbot.mining.dialogue_lines import Line, lines, readable_part
from apps.chatbot.mining.dialogues import LONGEST_TURN, Dialogue, Role, Speakers, Turn
from shared.table_rows import Reject

PEEKED = 5_000  # lines by which a file's habits are told
MOST_TURNS = 10_000  # of one dialogue; a file without separators is cut here

_STAMP = (
    r"[\[(]?(?:\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ T,]{0,2})?\d{1,2}:\d{2}(?::\d{2})?"
    r"(?:\s?[AaPp][Mm])?[\])]?"
)
_LINE = re.compile(
    rf"^\s{{0,8}}(?:{_STAMP}\s{{0,4}}[-–|]?\s{{0,4}})?(?:[-*•>]\s)?"
    r"(?P<who>[^\W\d_][\w .'’/#&-]{0,40})(?:\s?[\[(](?P<note>[^\])]{1,30})[\])])?"
    rf"(?:\s?[\[(]{_STAMP}[\])])?\s?[:：](?!//)\s{{0,8}}(?P<text>.*)$"
)
_RULE = re.compile(r"^\s{0,8}([-=*_#~])\1{2,}\s*$")
_HEAD = re.compile(
    r"(?i)^\s{0,8}[#=*-]{0,6}\s{0,4}(?:dialog(?:ue)?|conversation|chat|ticket|session|"
    r"transcript|case|"
    r"对话|会话)\s{0,4}(?:id|number|"
    r"no\.?)?\s{0,4}[#:：]?\s{0,4}(?P<id>[\w-]{0,60})\s{0,4}[:#=*-]{0,6}\s*$"
)


@dataclass(frozen=True)
class _Habits:
    """ruled: dialogues are separated by rules or headings, so blank lines mean nothing. gap: blank
    lines that separate two dialogues, where nothing else does. names: who speaks in this file."""

    ruled: bool
    gap: int
    names: frozenset[str]


@dataclass
class _Open:
    """The dialogue being read."""

    line: int
    id: str = ""
    turns: list[Turn] = field(default_factory=list)


def transcript(path: Path, speakers: Speakers) -> Iterator[Dialogue | Reject]:
    """The dialogues of a plain text. A line without a speaker belongs to the turn above it.

    They are separated by a rule (---), by a heading (Conversation 12), or else by blank lines;
    where every turn stands after a blank line, by two of them.
    """
    habits = _habits(path)
    current, blanks = _Open(1), 0
    for found in lines(path):
        if isinstance(found, Reject):
            yield found
            continue
        text = found.text
        if not text.strip():
            blanks += 1
            continue
        said = _LINE.match(text)
        head = None if said and speakers.role(said["who"]) else _HEAD.match(text)
        apart = bool(head or _RULE.match(text))
        full = len(current.turns) >= MOST_TURNS
        if apart or full or (not habits.ruled and blanks >= habits.gap and said):
            if current.turns:
                yield _closed(current, path)
            current = _Open(found.number, head["id"] if head else "")
        blanks = 0
        if not apart:
            yield from _take(current, found, said, habits, speakers)
    if current.turns:
        yield _closed(current, path)


def _closed(current: _Open, path: Path) -> Dialogue:
    name = current.id or f"line {current.line}"
    return Dialogue(name, tuple(current.turns), path.name, current.line)


def _take(
    current: _Open, found: Line, said: re.Match[str] | None, habits: _Habits, speakers: Speakers
) -> Iterator[Reject]:
    """Put a line to its dialogue: a new turn, or more of the last."""
    role = _role(said, speakers, habits) if said else None
    if role == "system":
        return
    if said and role:
        if not current.turns and not current.id:
            current.line = found.number
        current.turns.append(Turn(role, said["text"].strip(), len(current.turns)))
    elif said and said["who"].strip().casefold() in habits.names:
        yield Reject(found.number, speakers.unknown(said["who"]), readable_part(found.text))
    elif current.turns:
        last = current.turns[-1]
        if len(last.text) < LONGEST_TURN:
            current.turns[-1] = replace(last, text=f"{last.text}\n{found.text.strip()}")
    else:
        yield Reject(
            found.number,
            "no speaker: expected a line such as `U: …`, `A: …`, `Customer: …`, `Agent: …`",
            readable_part(found.text),
        )


def _role(
    said: re.Match[str], speakers: Speakers, habits: _Habits
) -> Role | Literal["system"] | None:
    """By the name, or by what stands behind it in brackets: `Mara (Agent):`."""
    known = Speakers().role
    note = said["note"] or ""
    often = said["who"].strip().casefold() in habits.names
    for name in (note, said["who"]):
        # `Note: …` and the like inside a message are no lines of the software.
        if name and (role := known(name)) and (role != "system" or often):
            return role
    # Whoever is not named by an option: only a name that speaks more than once in this file, for
    # `Note: …` inside a message is no speaker.
    who = said["who"]
    named = who.strip().casefold() in speakers.customers | speakers.agents
    return speakers.role(who) if named or often else None


def _habits(path: Path) -> _Habits:
    """How this file separates dialogues and who speaks in it, by its first lines."""
    seen = [line for line in islice(lines(path), PEEKED) if isinstance(line, Line)]
    names: Counter[str] = Counter()
    ruled, turns, after_blank, blank = False, 0, 0, True
    for line in seen:
        if not line.text.strip():
            blank = True
            continue
        said = _LINE.match(line.text)
        if said and len(said["who"].split()) <= 3:
            turns += 1
            after_blank += blank
            names[said["who"].strip().casefold()] += 1
        elif _RULE.match(line.text) or _HEAD.match(line.text):
            ruled = True
        blank = False
    spaced = turns > 2 and after_blank > 0.8 * turns
    often = {name for name, count in names.items() if count >= 3}
    return _Habits(ruled, 2 if spaced else 1, frozenset(often))
