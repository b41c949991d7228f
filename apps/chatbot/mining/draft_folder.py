"""A folder of drafts on disk: examples.csv and answers.yml, and drafts.json behind them.

drafts.json holds the whole review and is replaced first; the two files that training takes are
written from it. It records what they were before and are to be, so that a review that was killed
between two files is finished when it is opened again, while files that somebody changed by hand are
read anew and never overwritten unseen.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from apps.chatbot.answers import AnswerBook, read_answers, write_answers
from apps.chatbot.mining.draft_book import DraftBook, DraftExample, DraftIntent
from apps.chatbot.mining.import_report import ANSWERS_FILE, EXAMPLES_FILE
from shared.atomic import alone, write_text
from shared.errors import DataError
from shared.tables import Column, read_table, write_table

DRAFTS_FILE = "drafts.json"
_LOCK = ".drafts.lock"
_WRITTEN = (EXAMPLES_FILE, ANSWERS_FILE)


@dataclass(frozen=True)
class OpenDrafts:
    """book: the drafts. seen: what the folder's files were when it was read; "" for none."""

    folder: Path
    book: DraftBook
    seen: Mapping[str, str]


def open_drafts(folder: Path) -> OpenDrafts:
    """The drafts of a folder as they were left, finishing what a killed review began.

    Raises: DataError when its files cannot be read.
    """
    with _locked(folder):
        saved = _saved(folder)
        if saved is not None:
            now = _digests(folder)
            before, after = saved["before"], saved["after"]
            if now == after:
                return OpenDrafts(folder, saved["book"], _all_digests(folder))
            if all(now[name] in (before[name], after[name]) for name in _WRITTEN):
                _write_files(saved["book"], folder)
                return OpenDrafts(folder, saved["book"], _all_digests(folder))
        book = _of_files(folder, saved["book"] if saved is not None else None)
        return OpenDrafts(folder, book, _all_digests(folder))


def save_drafts(drafts: OpenDrafts, book: DraftBook) -> OpenDrafts:
    """Write the book in place of the one that was opened.

    Raises: DataError where no intent would be left, somebody else changed the folder meanwhile, or
    it cannot be written.
    """
    folder = drafts.folder
    if not book.used:
        raise DataError("no intent would be left; bring one back, or import again")
    with _locked(folder):
        if _all_digests(folder) != dict(drafts.seen):
            raise DataError(f"{folder}: was changed meanwhile; load the page again")
        content = {
            "before": _digests(folder), "after": _digests_of(book),
            "intents": [each.as_dict() for each in book.intents],
        }  # fmt: skip
        try:
            write_text(folder / DRAFTS_FILE, json.dumps(content, ensure_ascii=False, indent=1))
            _write_files(book, folder)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from None
        return OpenDrafts(folder, book, _all_digests(folder))


def _saved(folder: Path) -> dict[str, Any] | None:
    path = folder / DRAFTS_FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        book = DraftBook(tuple(DraftIntent.of_dict(each) for each in content["intents"]))
        names = {key: {n: str(content[key][n]) for n in _WRITTEN} for key in ("before", "after")}
        return {"book": book, **names}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not a readable review ({error}); move it away") from None


def _of_files(folder: Path, known: DraftBook | None) -> DraftBook:
    """What the two files hold; states and dropped intents as far as a review knew them."""
    table = read_table(folder / EXAMPLES_FILE, [Column("text"), Column("label")])
    examples: dict[str, list[DraftExample]] = {}
    more = [name for name in table.frame.columns if name not in ("text", "label")]
    for record in table.frame.to_dict("records"):
        source = {str(n): str(record[n]) for n in more if str(record[n])}
        own = examples.setdefault(str(record["label"]).strip(), [])
        own.append(DraftExample(str(record["text"]), source))
    path = folder / ANSWERS_FILE
    book = read_answers(path, {}) if path.exists() and path.stat().st_size > 16 else AnswerBook()
    states = {each.label: each for each in known.used} if known else {}
    labels = dict.fromkeys((*examples, *book.by_label))
    intents = []
    for label in labels:
        answer, old = book.by_label.get(label), states.get(label)
        intents.append(
            DraftIntent(
                label, tuple(examples.get(label, ())),
                dict(answer.titles) if answer else {}, dict(answer.texts) if answer else {},
                old.state if old else "open", old.origins if old else (label,),
            )
        )  # fmt: skip
    return DraftBook((*intents, *(known.dropped if known else ())))


def _frame(book: DraftBook) -> pd.DataFrame:
    rows = [
        {"text": example.text, "label": intent.label, **example.source}
        for intent in book.used
        for example in intent.examples
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame(rows, columns=[*names]).fillna("")


def _write_files(book: DraftBook, folder: Path) -> None:
    write_table(_frame(book), folder / EXAMPLES_FILE)
    write_answers(book.answers(), folder / ANSWERS_FILE)


def _digests_of(book: DraftBook) -> dict[str, str]:
    """Of the files as `_write_files` would leave them."""
    with tempfile.TemporaryDirectory(prefix="drafts-") as name:
        _write_files(book, Path(name))
        return _digests(Path(name))


def _digests(folder: Path) -> dict[str, str]:
    return {name: _digest(folder / name) for name in _WRITTEN}


def _all_digests(folder: Path) -> dict[str, str]:
    return {name: _digest(folder / name) for name in (*_WRITTEN, DRAFTS_FILE)}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One review at a time reads or writes the folder; the system lets go when a process ends."""
    with ExitStack() as held:
        try:
            held.enter_context(alone(folder / _LOCK))
        except OSError as error:
            raise DataError(f"{folder}: cannot be opened: {error.strerror or error}") from None
        yield


def refuse_reviewed(folder: Path) -> None:
    """Raises DataError where a person has reviewed the drafts of a folder, which an import would
    replace."""
    if (folder / DRAFTS_FILE).exists():
        raise DataError(
            f"{folder}: a person has reviewed its drafts, which an import would replace; choose "
            f"another --output, or move {DRAFTS_FILE} away"
        )


def remember(folder: Path, index: Path) -> None:
    """Note a folder of drafts in a home's list, the newest first.

    Raises: DataError when the list cannot be written.
    """
    known = [path for path in remembered(index) if path != folder.resolve()]
    try:
        write_text(index, json.dumps([str(path) for path in (folder.resolve(), *known)][:100]))
    except OSError as error:
        raise DataError(f"{index}: cannot be written: {error.strerror or error}") from None


def remembered(index: Path) -> tuple[Path, ...]:
    """The folders of a home's list that still hold drafts."""
    try:
        names = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    paths = (Path(name) for name in names if isinstance(name, str))
    return tuple(path for path in paths if (path / EXAMPLES_FILE).is_file())
