"""How models fared row by row: what the promotion gate compares, and what a version keeps of it.

held_out.json   in a model folder: the outcomes on the rows held out in training, so that two
                versions that were judged on the same rows can be compared without these rows. It
                holds hashes of texts and no text.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError
from shared.evaluation.slices import text_parts

FILE = "held_out.json"
FORMAT = 1
DECIMALS = 5  # of scores and confidences on disk


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One model on n rows of one task, such as "sentiment".

    keys: what identifies a row with its truth, each once. scores: (n,) 0..1, higher is better: 1
    or 0 for right or wrong, or the NDCG of a user's list. labels: the true labels of each row,
    perhaps none. parts: slice -> (n,). groups: (n,) equal for rows that are near duplicates.
    confidence, right: (n, k) the k probabilities stated for each row, and whether what each was
    stated of holds; k = 0 where none are stated. shown, decisions: (n,) the row and what the model
    made of it, for people; empty when read from a folder.
    """

    task: str
    keys: tuple[str, ...]
    scores: NDArray[np.float64]
    labels: tuple[tuple[str, ...], ...]
    parts: Mapping[str, NDArray[np.bool_]]
    groups: NDArray[np.int64]
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    shown: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: NDArray[np.int64]) -> "Outcomes":
        """The rows at these numbers, in that order."""

        def some(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[i] for i in rows) if values else ()

        return replace(
            self,
            keys=some(self.keys),
            scores=self.scores[rows],
            labels=some(self.labels),
            parts={name: part[rows] for name, part in self.parts.items()},
            groups=self.groups[rows],
            confidence=self.confidence[rows],
            right=self.right[rows],
            shown=some(self.shown),
            decisions=some(self.decisions),
        )


@dataclass(frozen=True, eq=False)
class Pair:
    """A candidate and production at one task, row by row the same rows."""

    candidate: Outcomes
    production: Outcomes

    @property
    def task(self) -> str:
        return self.production.task

    @property
    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """The slices as production has them, and the rows of each true label."""
        labels = self.production.labels
        names = sorted({name for row in labels for name in row})
        return {
            **self.production.parts,
            **{f"label {name}": np.array([name in row for row in labels]) for name in names},
        }


@dataclass(frozen=True)
class Case:
    """A must-pass case: what was asked, what must come, what came. source: where the case comes
    from, in a word or two, "" where all come from one place."""

    asked: str
    expected: str
    given: str
    passed: bool
    source: str = ""


@dataclass(frozen=True)
class Change:
    """A row on which the decisions differ. better: by the scores, None where they are equal."""

    task: str
    row: str
    truth: str
    production: str
    candidate: str
    better: bool | None


Serve = Callable[[Sequence[str]], object]


@dataclass(frozen=True, eq=False)
class Contest:
    """Two models on somebody's rows.

    candidate, production: task by task in one order, on the same rows. seen: for each task, (n,)
    rows that one of the two was trained on. serve: candidate's and production's way of serving
    some rows, to be timed; asked: rows to time them on. notes: for a person.
    """

    candidate: tuple[Outcomes, ...]
    production: tuple[Outcomes, ...]
    seen: tuple[NDArray[np.bool_], ...]
    serve: tuple[Serve, Serve]
    asked: tuple[str, ...]
    notes: tuple[str, ...]

    def pairs(self) -> tuple[Pair, ...]:
        """The rows that neither was trained on."""
        found = []
        for ours, theirs, seen in zip(self.candidate, self.production, self.seen, strict=True):
            rows = np.flatnonzero(~seen)
            found.append(Pair(ours.take(rows), theirs.take(rows)))
        return tuple(found)

    def changes(self) -> tuple[Change, ...]:
        """Every row whose decision differs, also rows that one was trained on."""
        return tuple(
            change
            for ours, theirs in zip(self.candidate, self.production, strict=True)
            for change in _changes(ours, theirs)
        )


def text_outcomes(
    task: str,
    texts: Sequence[str],
    labels: Sequence[Sequence[str]],
    scores: NDArray[Any],
    *,
    groups: NDArray[np.int64],
    known_words: Collection[str],
    decisions: Sequence[str],
    confidence: NDArray[Any] | None = None,
    right: NDArray[np.bool_] | None = None,
) -> Outcomes:
    """Outcomes on texts, with the slices of slices.py. confidence, right: (n,) or (n, k)."""
    n = len(texts)
    if confidence is None or right is None:
        confidence, right = np.empty((n, 0)), np.empty((n, 0), np.bool_)
    return Outcomes(
        task=task,
        keys=row_keys(texts, labels),
        scores=np.asarray(scores, np.float64),
        labels=tuple(tuple(row) for row in labels),
        parts=text_parts(texts, known_words),
        groups=np.asarray(groups),
        confidence=np.asarray(confidence, np.float64).reshape(n, -1 if n else 0),
        right=np.asarray(right).reshape(n, -1 if n else 0),
        shown=tuple(texts),
        decisions=tuple(decisions),
    )


def label_scores(
    given: NDArray[np.bool_], names: Sequence[str], truth: Sequence[Sequence[str]]
) -> NDArray[np.float64]:
    """(n,) F1 of the labels given, 1 where none was due and none was given; of one label each it
    is right or wrong. given: (n, C) in the order of `names`; a true label that is not in `names`
    is missed.

    >>> label_scores(np.array([[True, True], [False, False]]), ("a", "b"), [("a",), ()]).round(2)
    array([0.67, 1.  ])
    """
    column = {name: j for j, name in enumerate(names)}
    due = np.zeros(given.shape, dtype=np.bool_)
    unknown = np.zeros(len(given))
    for row, labels in enumerate(truth):
        for label in labels:
            if label in column:
                due[row, column[label]] = True
            else:
                unknown[row] += 1
    involved = given.sum(1) + due.sum(1) + unknown
    hits = (given & due).sum(1)
    return np.asarray(np.where(involved > 0, 2 * hits / np.maximum(involved, 1), 1.0))


def row_keys(shown: Sequence[str], labels: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """A hash of each row's text and truth, numbered where a row occurs again."""
    seen: Counter[str] = Counter()
    keys = []
    for text, truth in zip(shown, labels, strict=True):
        content = "\x1f".join([text, *sorted(truth)])
        key = hashlib.blake2b(content.encode(), digest_size=10).hexdigest()
        keys.append(f"{key}.{seen[key]}")
        seen[key] += 1
    return tuple(keys)


def common_rows(candidate: Sequence[Outcomes], production: Sequence[Outcomes]) -> tuple[Pair, ...]:
    """Task by task the rows that both have, with the same truth; for tasks that both have."""
    found = []
    known = {theirs.task: theirs for theirs in production}
    for ours in candidate:
        if ours.task not in known:
            continue
        theirs = known[ours.task]
        place = {key: row for row, key in enumerate(theirs.keys)}
        mine = np.array([row for row, key in enumerate(ours.keys) if key in place], np.int64)
        other = np.array([place[ours.keys[row]] for row in mine], np.int64)
        found.append(Pair(ours.take(mine), theirs.take(other)))
    return tuple(found)


def save_outcomes(outcomes: Sequence[Outcomes], folder: Path) -> None:
    """Write held_out.json, without texts and decisions."""
    tasks = [
        {
            "task": each.task,
            "keys": each.keys,
            "scores": each.scores.round(DECIMALS).tolist(),
            "labels": each.labels,
            "parts": {name: np.flatnonzero(rows).tolist() for name, rows in each.parts.items()},
            "groups": each.groups.tolist(),
            "confidence": each.confidence.round(DECIMALS).tolist(),
            "right": each.right.astype(int).tolist(),
        }
        for each in outcomes
    ]
    text = json.dumps({"format": FORMAT, "tasks": tasks}, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def load_outcomes(folder: Path) -> tuple[Outcomes, ...]:
    """What save_outcomes wrote; nothing for a version from before outcomes were kept.

    Raises ModelError when the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return ()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ModelError(f"{path}: format {data['format']!r}, expected {FORMAT}")
        return tuple(_read(task) for task in data["tasks"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: damaged outcomes: {error}") from None


def _read(task: dict[str, Any]) -> Outcomes:
    n = len(task["keys"])

    def member(rows: list[int]) -> NDArray[np.bool_]:
        out = np.zeros(n, dtype=np.bool_)
        out[rows] = True
        return out

    return Outcomes(
        task=task["task"],
        keys=tuple(task["keys"]),
        scores=np.array(task["scores"], np.float64),
        labels=tuple(tuple(row) for row in task["labels"]),
        parts={name: member(rows) for name, rows in task["parts"].items()},
        groups=np.array(task["groups"], np.int64),
        confidence=np.array(task["confidence"], np.float64).reshape(n, -1 if n else 0),
        right=np.array(task["right"], np.bool_).reshape(n, -1 if n else 0),
    )


def _changes(ours: Outcomes, theirs: Outcomes) -> list[Change]:
    gain = ours.scores - theirs.scores
    return [
        Change(
            ours.task,
            ours.shown[row],
            " | ".join(ours.labels[row]),
            theirs.decisions[row],
            ours.decisions[row],
            None if gain[row] == 0 else bool(gain[row] > 0),
        )
        for row in range(len(ours))
        if ours.decisions[row] != theirs.decisions[row]
    ]
