"""From files of past dialogues to what a chatbot is trained on: examples, answers, a report.

Reading streams; what is kept in memory are the masked requests and answers. Vectors of texts are
kept in the home's cache as they are computed, so an import that is killed goes on there when it is
run again. Results are written at the end, the report last: a folder without one is of no whole run.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.chatbot.answers import write_answers
from apps.chatbot.mining.answer_choice import Chosen, Dropped, Encode, Pair, choose_answers
from apps.chatbot.mining.answer_clusters import Cluster, cluster_answers
from apps.chatbot.mining.answer_mining import Exchange, exchanges_of
from apps.chatbot.mining.dialogue_formats import DialogueFormat, Reading, read_dialogues, recognised
from apps.chatbot.mining.dialogues import Dialogue
from apps.chatbot.mining.drafts import Draft, book_of, drafts_of
from apps.chatbot.mining.import_report import ANSWERS_FILE, EXAMPLES_FILE, REPORT_FILE, import_page
from apps.chatbot.mining.pairs_file import PAIRS_FILE
from shared.atomic import replacing, write_text
from shared.errors import DataError
from shared.near_duplicates import near_duplicate_key
from shared.table_rows import Reject
from shared.tables import write_table
from shared.text import mask_personal_data

REJECTS_FILE = "rejects.csv"
# Texts whose vectors are computed and kept at one time.
ENCODED_AT_ONCE = 1024
# Below this confidence a pair is kept apart: neither an example nor an answer.
UNSURE = 0.3
_REPORTED_EVERY = 20_000  # dialogues

RARE = "asked too rarely to be an intent"
DOUBTFUL = "the answer is unlike the question, and nothing speaks for it"
TWICE = "the same question was answered otherwise more often"


@dataclass(frozen=True)
class Imported:
    """What an import found. drafts: the largest first. rejected: reason -> rows that were not read.
    dropped: reason -> requests that gave no example. rare: clusters too small for an intent."""

    files: tuple[tuple[str, str], ...]
    dialogues: int
    turns: int
    requests: int
    drafts: tuple[Draft, ...]
    rejected: dict[str, int]
    dropped: dict[str, int]
    boilerplate: dict[str, int]
    rare: tuple[Cluster, ...]
    output: str
    notes: tuple[str, ...] = ()

    @property
    def examples(self) -> int:
        return sum(len(draft.questions) for draft in self.drafts)

    @property
    def words(self) -> str:
        """The outcome in one line."""
        return (
            f"{self.dialogues:,} dialogues, {self.requests:,} requests: {self.examples:,} examples "
            f"of {len(self.drafts):,} intents; {sum(self.dropped.values()):,} requests not used, "
            f"{sum(self.rejected.values()):,} rows rejected"
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "files": [{"file": name, "format": kind} for name, kind in self.files],
            "dialogues": self.dialogues,
            "turns": self.turns,
            "requests": self.requests,
            "pairs": sum(len(draft.cluster.pairs) for draft in self.drafts),
            "examples": self.examples,
            "intents": [
                {
                    "label": draft.label,
                    "title": draft.title,
                    "pairs": len(draft.cluster.pairs),
                    "confidence": round(draft.confidence, 3),
                    "answer": draft.templates[0].text if draft.templates else "",
                }
                for draft in self.drafts
            ],
            "rejected": self.rejected,
            "dropped": self.dropped,
            "rare_clusters": len(self.rare),
            "notes": list(self.notes),
            "output": self.output,
        }


@dataclass
class _Read:
    """What reading has counted."""

    dialogues: int = 0
    turns: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    exchanges: list[Exchange] = field(default_factory=list)


def import_dialogues(
    paths: Sequence[Path],
    output: Path,
    reading: Reading,
    encode: Encode,
    *,
    min_questions: int = 2,
    say: Callable[[str], None] = lambda _: None,
) -> Imported:
    """Read the files and write EXAMPLES_FILE, ANSWERS_FILE, PAIRS_FILE, REJECTS_FILE and
    REPORT_FILE into the folder `output`.

    encode: unit vectors of texts, such as `kept_vectors` gives. min_questions: different questions
    that a cluster needs to be an intent.

    Raises: DataError when a file cannot be read, or no request in it was answered.
    """
    formats = tuple((path.name, _format(path, reading)) for path in paths)
    (output / REPORT_FILE).unlink(missing_ok=True)
    with _rejects(output / REJECTS_FILE) as reject:
        read = _Read()
        for path in paths:
            _take(path, reading, read, reject, say)
        if not read.exchanges:
            raise DataError(_nothing(paths, read))
        say(f"{len(read.exchanges):,} requests in {read.dialogues:,} dialogues; choosing answers")
        chosen = choose_answers(read.exchanges, encode)
        say(f"{len(chosen.pairs):,} answered; putting answers of one meaning together")
        sure = [pair for pair in chosen.pairs if pair.confidence >= UNSURE]
        clusters = cluster_answers(sure, encode)
        drafts, rare, minimum = drafts_of(clusters, min_questions)
        dropped = [*chosen.dropped, *_left_out(read.exchanges, chosen, drafts, rare)]
        for each in dropped:
            exchange = each.exchange
            reject(exchange.file, Reject(exchange.line, each.reason, exchange.question))
    found = Imported(
        formats, read.dialogues, read.turns, len(read.exchanges), drafts, dict(read.rejected),
        dict(Counter(each.reason for each in dropped)), dict(chosen.boilerplate), rare, str(output),
        _notes(min_questions, minimum, drafts),
    )  # fmt: skip
    if not drafts:
        raise DataError(
            f"{paths[0]}: {len(read.exchanges)} requests, but none with an answer that can be used "
            f"({'; '.join(f'{n} times: {why}' for why, n in found.dropped.items())})"
        )
    _write(found, output)
    return found


def _format(path: Path, reading: Reading) -> str:
    chosen = reading.format
    return str(recognised(path) if chosen == DialogueFormat.AUTO else chosen)


def _take(
    path: Path,
    reading: Reading,
    read: _Read,
    reject: Callable[[str, Reject], None],
    say: Callable[[str], None],
) -> None:
    """Read one file."""
    before, rows = read.dialogues, sum(read.rejected.values())
    for found in read_dialogues(path, reading):
        if isinstance(found, Reject):
            read.rejected[_kind(found.reason)] += 1
            reject(path.name, found)
            continue
        why = _useless(found)
        if why:
            read.rejected[why] += 1
            reject(path.name, Reject(found.line, why, found.id))
            continue
        read.dialogues += 1
        read.turns += len(found.turns)
        read.exchanges += exchanges_of(found)
        if read.dialogues % _REPORTED_EVERY == 0:
            say(f"{path.name}: {read.dialogues - before:,} dialogues read")
    bad = sum(read.rejected.values()) - rows
    say(
        f"{path.name}: {read.dialogues - before:,} dialogues" + (f", {bad} rejected" if bad else "")
    )


def _useless(dialogue: Dialogue) -> str:
    roles = {turn.role for turn in dialogue.turns}
    if not roles:
        return "a dialogue without messages"
    return "" if len(roles) == 2 else f"a dialogue in which only the {min(roles)} speaks"


def _kind(reason: str) -> str:
    """The reason without what is of one row, for counting."""
    if reason.startswith("speaker "):
        return "a speaker that is neither customer nor agent"
    return reason.split(": ", 1)[1] if reason.startswith("turn ") else reason[:120]


def _nothing(paths: Sequence[Path], read: _Read) -> str:
    shown = "; ".join(f"{count} times: {why}" for why, count in read.rejected.most_common(3))
    where = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    return (
        f"{where}: no customer's request in {read.dialogues} dialogues"
        + (f" ({shown})" if shown else "")
        + "; who speaks is told by --speaker-column, --customer and --agent, the format by --format"
    )


def _left_out(
    exchanges: Sequence[Exchange], chosen: Chosen, drafts: Sequence[Draft], rare: Sequence[Cluster]
) -> Iterator[Dropped]:
    """Exchanges with a pair that is in no draft, and why."""
    at = {(e.file, e.dialogue, e.turns): e for e in exchanges}
    rarely = {id(pair) for cluster in rare for pair in cluster.pairs}
    used = {id(pair) for draft in drafts for pair in draft.cluster.pairs}
    asked = {near_duplicate_key(q): draft.label for draft in drafts for q in draft.questions}
    label = {id(pair): draft.label for draft in drafts for pair in draft.cluster.pairs}
    for pair in chosen.pairs:
        reason = ""
        if id(pair) in used:
            own = asked.get(near_duplicate_key(pair.question))
            reason = "" if own == label[id(pair)] else TWICE
        elif id(pair) in rarely:
            reason = RARE
        else:
            reason = DOUBTFUL if pair.confidence < UNSURE else TWICE
        if reason:
            yield Dropped(at[pair.file, pair.dialogue, pair.question_turns], reason)


def _notes(wanted: int, minimum: int, drafts: Sequence[Draft]) -> tuple[str, ...]:
    notes = []
    if minimum < wanted:
        notes.append(
            f"Fewer than two intents have {wanted} different questions, so {minimum} had to do: "
            f"a bot "
            "of these examples will be unsure. More dialogues are what it needs."
        )
    thin = sum(len(draft.questions) < 5 for draft in drafts)
    if thin:
        notes.append(
            f"{thin} of {len(drafts)} intents have fewer than 5 examples; --min-questions 5 leaves "
            "them out, more dialogues make them better."
        )
    return tuple(notes)


@contextmanager
def _rejects(path: Path) -> Iterator[Callable[[str, Reject], None]]:
    """A function that adds a row to the file of rejects, which is replaced when all went well."""
    try:
        with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(("file", "line", "reason", "row"))

            def add(file: str, reject: Reject) -> None:
                shown = mask_personal_data(reject.row).replace("\r", " ")
                rows.writerow((file, reject.line, reject.reason, shown))

            yield add
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None


def _write(found: Imported, output: Path) -> None:
    rows = [
        (question, draft.label, pair.file, pair.dialogue, pair.question_turns[0], pair.confidence)
        for draft in found.drafts
        for question, pair in _sources(draft)
    ]
    columns = ["text", "label", "file", "dialogue", "turn", "confidence"]
    write_table(pd.DataFrame(rows, columns=columns), output / EXAMPLES_FILE)
    write_answers(book_of(found.drafts), output / ANSWERS_FILE)
    write_table(_pairs(found.drafts), output / PAIRS_FILE)
    write_text(output / REPORT_FILE, import_page(found))


def _sources(draft: Draft) -> Iterator[tuple[str, Pair]]:
    by_text = {pair.question: pair for pair in reversed(draft.cluster.pairs)}
    yield from ((question, by_text[question]) for question in draft.questions)


def _pairs(drafts: Sequence[Draft]) -> pd.DataFrame:
    """Every pair with where it comes from."""
    rows = [
        (
            pair.question, pair.answer.text, draft.label, pair.file, pair.dialogue,
            "|".join(map(str, pair.question_turns)), "|".join(map(str, pair.answer_turns)),
            round(pair.similarity, 3), pair.recurrence, pair.confidence, wording,
        )
        for draft in drafts
        for pair, wording in zip(draft.cluster.pairs, draft.cluster.wordings, strict=True)
    ]  # fmt: skip
    names = (
        "question answer label file dialogue question_turns answer_turns similarity recurrence "
        "confidence wording"
    )
    return pd.DataFrame(rows, columns=names.split())


def kept_vectors(encode: Encode, say: Callable[[str], None] = lambda _: None) -> Encode:
    """`encode` in portions, so that a cache behind it keeps what is done when the run is killed;
    each text of a run is asked for once."""
    known: dict[str, NDArray[np.float32]] = {}

    def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        for start in range(0, len(missing), ENCODED_AT_ONCE):
            part = missing[start : start + ENCODED_AT_ONCE]
            known.update(zip(part, encode(part), strict=True))
            if len(missing) > ENCODED_AT_ONCE:
                say(
                    f"{min(start + ENCODED_AT_ONCE, len(missing)):,} of {len(missing):,} texts read"
                )
        return np.stack([known[text] for text in texts]) if len(texts) else encode([])

    return vectors
