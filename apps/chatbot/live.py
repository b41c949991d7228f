"""What is changed in the running bot without training: the risk it takes, the text of its answers.

    ROOT/NAME/live.json     beside the versions of a model, whose own files are never changed

Every change is added and none is taken away, so that each can be gone back to. The file is replaced
in one step; a running bot reads it again when it is another one (`LiveFile.changed`). An edit holds
as long as a version's own answer is what it was when the edit was made: a version that was trained
on another text says that text.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from apps.chatbot.answers import ANSWERS_FILE, Answer, AnswerBook, lint, readable
from apps.chatbot.conditions import MARK, variant_of
from shared.atomic import alone, write_text
from shared.errors import DataError, ModelError
from shared.registry import ModelVersion

FILE = "live.json"
FORMAT = 1
LONGEST_TEMPLATE, MOST_VARIANTS, LONGEST_TITLE = 10_000, 20, 120
LARGEST_RISK = 0.5


@dataclass(frozen=True)
class RiskChoice:
    """risk: the conformal alpha, None for that of training."""

    risk: float | None
    at: datetime
    by: str


@dataclass(frozen=True)
class AnswerEdit:
    """What is said to `label` in `language` where a version's own variants are `instead_of`, which
    is empty where it has none; both as they are written. title: how a customer would call it."""

    number: int
    label: str
    language: str
    title: str
    texts: tuple[str, ...]
    instead_of: tuple[str, ...]
    at: datetime
    by: str


@dataclass(frozen=True)
class Live:
    """All changes of one name, the newest last."""

    risks: tuple[RiskChoice, ...] = ()
    edits: tuple[AnswerEdit, ...] = ()

    @property
    def risk(self) -> float | None:
        return self.risks[-1].risk if self.risks else None

    @property
    def risk_since(self) -> datetime | None:
        return self.risks[-1].at if self.risks else None

    def holding(self, own: AnswerBook) -> Mapping[tuple[str, str], AnswerEdit]:
        """(label, language) -> the newest edit, where it fits the version's own answer."""
        newest = {(edit.label, edit.language): edit for edit in self.edits}
        return {
            key: edit
            for key, edit in newest.items()
            if edit.instead_of == own_texts(own, edit.label, edit.language)
        }

    def book(self, own: AnswerBook) -> AnswerBook:
        """The answers of a version with what was edited since."""
        answers = {answer.label: answer for answer in own.answers}
        for (label, language), edit in self.holding(own).items():
            was = answers.get(label, Answer(label, {}, {}))
            answers[label] = replace(
                was,
                titles={**was.titles, language: edit.title},
                texts={**was.texts, language: edit.texts},
            )
        return AnswerBook(tuple(answers.values()))

    def history(self, label: str, language: str) -> tuple[AnswerEdit, ...]:
        """Edits of one answer, the newest first."""
        found = [e for e in self.edits if (e.label, e.language) == (label, language)]
        return tuple(reversed(found))


def own_texts(book: AnswerBook, label: str, language: str) -> tuple[str, ...]:
    """Variants in exactly this language, as they are written; none where there are none."""
    answer = book.by_label.get(label)
    return tuple(answer.texts.get(language, ())) if answer else ()


class LiveFile:
    """The changes of one model name. clock: stamps them; none is needed to read."""

    def __init__(self, folder: Path, clock: Callable[[], datetime] | None = None) -> None:
        """folder: that of the name, with its versions in it."""
        self.path = folder / FILE
        self._clock = clock

    @classmethod
    def of(cls, version: ModelVersion, clock: Callable[[], datetime] | None = None) -> "LiveFile":
        return cls(version.path.parent, clock)

    @property
    def changed(self) -> tuple[int, int, int] | None:
        """Differs when the file was replaced; None while there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def read(self) -> Live:
        """Raises ModelError when the file is damaged."""
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            if stored["format"] != FORMAT:
                raise ModelError(f"{self.path}: format {stored['format']!r}, expected {FORMAT}")
            return Live(
                tuple(RiskChoice(**each | {"at": _at(each)}) for each in stored["risks"]),
                tuple(_edit(each) for each in stored["edits"]),
            )
        except FileNotFoundError:
            return Live()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{self.path}: not readable ({error}); move it away to serve the model as trained"
            ) from None

    def choose_risk(self, risk: float | None, by: str) -> Live:
        """Have the running bot take this risk; None: that of training.

        Raises DataError: not between 0 and 0.5.
        """
        if risk is not None and not 0 < risk < LARGEST_RISK:
            raise DataError(f"risk {risk}: expected more than 0 and less than {LARGEST_RISK}")
        with self._changing() as live:
            made = replace(live, risks=(*live.risks, RiskChoice(risk, self._now(), by)))
            self._write(made)
        return made

    def edit_answer(
        self,
        own: AnswerBook,
        label: str,
        language: str,
        *,
        texts: Sequence[str],
        title: str,
        seen: Sequence[str],
        by: str,
    ) -> Live:
        """Have the running bot say these templates.

        own: the version's answers as trained. seen: the templates that the writer saw.

        Raises DataError: a bad template or title, or somebody has changed the answer since.
        """
        kept = checked(texts, title, label)
        with self._changing() as live:
            present = own_texts(live.book(own), label, language)
            if present != tuple(seen):
                raise DataError(
                    f"the answer to {label} was changed by somebody else meanwhile; nothing was "
                    "saved: copy your text, and load the page again"
                )
            edit = AnswerEdit(
                number=len(live.edits) + 1, label=label, language=language,
                title=title.strip() or readable(label), texts=kept,
                instead_of=own_texts(own, label, language), at=self._now(), by=by,
            )  # fmt: skip
            made = replace(live, edits=(*live.edits, edit))
            self._write(made)
        return made

    def _now(self) -> datetime:
        if self._clock is None:
            raise ValueError("a LiveFile that writes needs a clock")
        return self._clock()

    def _write(self, live: Live) -> None:
        stored = {"format": FORMAT, **asdict(live)}
        write_text(self.path, json.dumps(stored, ensure_ascii=False, indent=1, default=_written))

    @contextmanager
    def _changing(self) -> Iterator[Live]:
        """The changes so far, with every other writer of this name waiting."""
        with alone(self.path.parent.parent / f".{self.path.parent.name}.live.lock"):
            yield self.read()


def checked(texts: Sequence[str], title: str, label: str) -> tuple[str, ...]:
    """The variants without the space around them, each once. Raises DataError."""
    kept = tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if not kept:
        raise DataError(f"the answer to {label} is empty: write what the bot is to say")
    if len(kept) > MOST_VARIANTS:
        raise DataError(f"{len(kept)} variants; at most {MOST_VARIANTS} are kept")
    if len(title) > LONGEST_TITLE or "\n" in title:
        raise DataError(f"the title has {len(title)} characters: one line of {LONGEST_TITLE}")
    for number, text in enumerate(kept, start=1):
        if len(text) > LONGEST_TEMPLATE:
            raise DataError(
                f"variant {number} has {len(text):,} characters; at most {LONGEST_TEMPLATE:,}"
            )
        if any(ord(c) < 32 and c not in "\n\t" for c in (*text, *title)):
            raise DataError(
                f"variant {number} has control characters in it: paste it as plain text"
            )
        lint(text, f"variant {number} of {label}" if text.startswith(MARK) else f"variant {number}")
    return tuple(dict.fromkeys(variant_of(text).written for text in kept))


def answers_of(version: ModelVersion) -> AnswerBook:
    """What a version says now: its own answers with what was edited since. Raises ModelError."""
    return LiveFile.of(version).read().book(AnswerBook.load(version.path / ANSWERS_FILE))


def _edit(stored: Mapping[str, Any]) -> AnswerEdit:
    return AnswerEdit(
        **{
            **stored,
            "texts": tuple(stored["texts"]),
            "instead_of": tuple(stored["instead_of"]),
            "at": _at(stored),
        }
    )


def _at(stored: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(stored["at"])


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r}")
