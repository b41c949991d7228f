"""Labelled texts, checked before anything is trained on them, and split without leakage."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.inference.classifier import Kind
from shared.tables import Table
from shared.text import near_duplicate_groups

SEPARATOR = "|"  # joins several labels in one cell of a table
LISTED = 5  # how many names a message lists before it says "and n more"


@dataclass(frozen=True)
class Examples:
    """Texts with their labels; rows of one group never lie on both sides of a split.

    texts: (n,) none empty. labels: (n,) tuples of label names: exactly one each where kind is
    "single", any number (also none) where it is "multi". groups: (n,) int64, equal for near
    duplicates.

    Raises DataError when an entry is empty, a row has a wrong number of labels, or lengths differ.
    """

    texts: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    groups: NDArray[np.int64]
    kind: Kind = "single"

    def __post_init__(self) -> None:
        if not len(self.texts) == len(self.labels) == len(self.groups):
            raise DataError(
                f"{len(self.texts)} texts, {len(self.labels)} label entries and {len(self.groups)} "
                "groups: the three must be equally many"
            )
        for row, (text, labels) in enumerate(zip(self.texts, self.labels, strict=True), start=1):
            if not text.strip():
                raise DataError(f"example {row} has an empty text: fill it in or remove the row")
            if any(not label.strip() for label in labels):
                raise DataError(f"example {row} ({_short(text)}) has an empty label")
            if self.kind == "single" and len(labels) != 1:
                raise DataError(
                    f"example {row} ({_short(text)}) has {len(labels)} labels, expected exactly 1"
                )

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def names(self) -> tuple[str, ...]:
        """The label names that occur, sorted."""
        return tuple(sorted({label for labels in self.labels for label in labels}))

    @property
    def single(self) -> tuple[str, ...]:
        """(n,) the one label of each row; only for kind "single"."""
        if self.kind != "single":
            raise DataError('these examples are of kind "multi": a row may have several labels')
        return tuple(labels[0] for labels in self.labels)

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> "Examples":
        """The examples at these row numbers, in that order."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Examples(
            tuple(self.texts[i] for i in chosen),
            tuple(self.labels[i] for i in chosen),
            self.groups[chosen],
            self.kind,
        )

    def beside(self, more: "Examples | None") -> "Examples":
        """These rows, and behind them those; groups are compared by number."""
        if more is None:
            return self
        return Examples(
            (*self.texts, *more.texts),
            (*self.labels, *more.labels),
            np.concatenate([self.groups, more.groups]),
            self.kind,
        )

    def targets(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """(n, len(names)) membership matrix. A label that is not in `names` has no column."""
        column = {name: j for j, name in enumerate(names)}
        matrix = np.zeros((len(self), len(names)), dtype=np.bool_)
        for row, labels in enumerate(self.labels):
            for label in labels:
                if label in column:
                    matrix[row, column[label]] = True
        return matrix


@dataclass(frozen=True)
class Split:
    """Two parts that share no group, and what the reader of the report must know about them."""

    train: Examples
    validation: Examples
    notes: tuple[str, ...] = field(default=())


def from_rows(texts: Sequence[str], labels: Sequence[Sequence[str]], kind: Kind) -> Examples:
    """Examples with near duplicates grouped. Empty input raises DataError."""
    if not texts:
        raise DataError("no examples: at least two texts with different labels are needed")
    kept = tuple(tuple(dict.fromkeys(row)) for row in labels)
    return Examples(tuple(texts), kept, near_duplicate_groups(texts), kind)


def from_table(
    table: Table, kind: Kind, *, text_column: str = "text", label_column: str = "label"
) -> Examples:
    """The rows of a table that was read with a text and a label column.

    kind "multi": `|` joins the labels of a row, rows with the same text are joined into one row
    with the labels of both, and an empty cell means that no label applies.
    kind "single": the cell is the label, whatever it holds.
    """
    texts = [str(text) for text in table.frame[text_column]]
    cells = [str(cell).strip() for cell in table.frame[label_column]]
    if kind == "single":
        return from_rows(texts, [(cell,) for cell in cells], kind)
    merged: dict[str, list[str]] = {}
    for text, cell in zip(texts, cells, strict=True):
        names = [name.strip() for name in cell.split(SEPARATOR) if name.strip()]
        merged.setdefault(text, []).extend(names)
    return from_rows(list(merged), list(merged.values()), kind)


def check(examples: Examples, validation: Examples | None = None) -> tuple[str, ...]:
    """What a person should know before training on these examples; nothing is changed.

    Notes: labels seen once, labels without a row in validation, validation labels that training
    does not know, one text under several labels.
    Raises DataError with fewer than two labels (one, where kind is "multi").
    """
    _require_labels(examples)
    notes = [*_seen_once(examples), *_contradictions(examples)]
    if validation is not None:
        known, measured = set(examples.names), set(validation.names)
        if unmeasured := sorted(known - measured):
            notes.append(
                f"{_count(unmeasured, 'label')} no row in the validation part and "
                f"cannot be measured: {_listed(unmeasured)}"
            )
        if unknown := sorted(measured - known):
            rows = sum(any(name in unknown for name in labels) for labels in validation.labels)
            notes.append(
                f"{_count(unknown, 'label')} no row in the training part, so that {rows} "
                f"validation rows count as wrong: {_listed(unknown)}"
            )
    return tuple(notes)


def split(examples: Examples, *, fraction: float = 0.1, seed: int = 13) -> Split:
    """Cut off a validation part: groups stay whole, each label keeps its share where it can.

    fraction: share of the rows in the validation part, 0 < fraction < 1. A label that only one
    group has stays in the training part: it can be learned and not be measured.
    Source of the assignment: Sechidis et al. 2011, iterative stratification, over groups.
    """
    _require_fraction(fraction)
    _require_labels(examples)
    part = _filled(examples, _assign(examples, (1 - fraction, fraction), seed), fraction, seed)
    return _parts(examples, np.flatnonzero(part != 1), np.flatnonzero(part == 1), ())


def split_by(
    examples: Examples, keys: Sequence[Any], *, fraction: float = 0.1, seed: int = 13
) -> Split:
    """Cut off whole dialogues (or users, sources): rows with one key stay on one side.

    keys: (n,) hashable. Validation rows with a near duplicate in the training part are left out
    of both, and the notes say how many.
    """
    _require_fraction(fraction)
    _require_lengths(examples, keys, "keys")
    distinct = list(dict.fromkeys(keys))
    order = np.random.default_rng(seed).permutation(len(distinct))
    size = Counter(keys)
    wanted, taken = fraction * len(examples), 0
    held: set[Any] = set()
    for at in order:
        if taken < wanted and len(held) < len(distinct) - 1:
            held.add(distinct[at])
            taken += size[distinct[at]]
    return _without_twins(examples, np.array([key in held for key in keys], dtype=np.bool_))


def split_by_time(
    examples: Examples, times: Sequence[Any] | NDArray[Any], *, fraction: float = 0.1
) -> Split:
    """The latest rows become the validation part; rows of one moment stay on one side.

    times: (n,) comparable. Validation rows with a near duplicate in the training part are left
    out of both, and the notes say how many.
    """
    _require_fraction(fraction)
    _require_lengths(examples, times, "times")
    moments = np.asarray(times)
    cut = np.sort(moments)[min(len(moments) - 1, round(len(moments) * (1 - fraction)))]
    return _without_twins(examples, moments >= cut)


def folds(
    examples: Examples, k: int, seed: int
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]:
    """k pairs (training rows, held-out rows), stratified, no group on both sides of a pair.

    Rows of a label that only one group has are in every training side and in no held-out side.
    Raises DataError when k is below 2 or above the number of groups.
    """
    _require_labels(examples)
    groups = len(np.unique(examples.groups))
    if not 2 <= k <= groups:
        raise DataError(f"{k} folds of {groups} groups of examples: expected 2 to {groups} folds")
    part = _assign(examples, (1 / k,) * k, seed)
    return tuple((np.flatnonzero(part != f), np.flatnonzero(part == f)) for f in range(k))


def _assign(examples: Examples, shares: tuple[float, ...], seed: int) -> NDArray[np.int64]:
    """(n,) part of each row; -1 for rows of a label that lies in one group only.

    Labels are dealt out rarest first, of each label the largest groups first, each to the part
    that still lacks most of that label. With two parts, -1 counts as the first.
    """
    rng = np.random.default_rng(seed)
    codes, inverse = np.unique(examples.groups, return_inverse=True)
    names = examples.names
    counts = np.zeros((len(codes), len(names) + 1))  # rows of each label in each group; last: rows
    np.add.at(counts[:, :-1], inverse, examples.targets(names).astype(np.float64))
    np.add.at(counts[:, -1], inverse, 1.0)
    part = np.full(len(codes), -1, dtype=np.int64)
    pinned = np.zeros(len(codes), dtype=np.bool_)
    in_groups = (counts > 0).sum(0)
    for j in np.flatnonzero(in_groups[:-1] == 1):
        pinned |= counts[:, j] > 0
    wanted = np.outer(shares, counts[~pinned].sum(0))  # (parts, labels + 1)
    jitter = rng.permutation(len(codes))
    for j in [*np.argsort(in_groups[:-1], kind="stable"), len(names)]:
        mine = np.flatnonzero((counts[:, j] > 0) & (part < 0) & ~pinned)
        for g in mine[np.lexsort((jitter[mine], -counts[mine, -1]))]:
            lack, room = wanted[:, j], wanted[:, -1]
            best = np.flatnonzero(lack >= lack.max() - 1e-9)
            chosen = best[np.argmax(room[best] + 1e-6 * rng.random(len(best)))]
            part[g] = chosen
            wanted[chosen] -= counts[g]
    return part[inverse]


def _filled(
    examples: Examples, part: NDArray[np.int64], fraction: float, seed: int
) -> NDArray[np.int64]:
    """With two or three groups a label the second part's share of each rounds to nothing. Where it
    has less than half of its rows, labels by lot give it one group each, and keep another."""
    wanted = fraction * (part >= 0).sum()
    if (part == 1).sum() >= wanted / 2:
        return part
    part = part.copy()
    targets = examples.targets(examples.names)
    for label in np.random.default_rng(seed).permutation(targets.shape[1]):
        if (part == 1).sum() >= wanted:
            break
        own = np.unique(examples.groups[targets[:, label] & (part == 0)])
        if len(own) < 2 or (targets[:, label] & (part == 1)).any():
            continue
        for group in own:
            moved = examples.groups == group
            rest = targets[(part != 1) & ~moved]
            if rest[:, targets[moved].any(0)].any(0).all():
                part[moved] = 1
                break
    return part


def _parts(
    examples: Examples,
    train: NDArray[np.int64],
    held: NDArray[np.int64],
    notes: tuple[str, ...],
) -> Split:
    if not len(train) or not len(held):
        raise DataError(
            f"{len(examples)} examples in {len(np.unique(examples.groups))} groups cannot be "
            "split: one side would be empty; give more examples or a validation file"
        )
    learn, measure = examples.take(train), examples.take(held)
    return Split(learn, measure, (*notes, *check(learn, measure)))


def _without_twins(examples: Examples, late: NDArray[np.bool_]) -> Split:
    twin = late & np.isin(examples.groups, examples.groups[~late])
    notes: tuple[str, ...] = ()
    if twin.any():
        notes = (f"{int(twin.sum())} validation rows left out: near duplicates of training rows",)
    return _parts(examples, np.flatnonzero(~late), np.flatnonzero(late & ~twin), notes)


def _require_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise DataError(f"a validation share of {fraction}: expected more than 0 and less than 1")


def _require_lengths(examples: Examples, values: Sequence[Any] | NDArray[Any], what: str) -> None:
    if len(values) != len(examples):
        raise DataError(f"{len(values)} {what} for {len(examples)} examples: expected one for each")


def _require_labels(examples: Examples) -> None:
    names = examples.names
    needed = 2 if examples.kind == "single" else 1
    if len(names) < needed:
        found = f"only the label {names[0]!r}" if names else "no label at all"
        raise DataError(
            f"{len(examples)} examples have {found}: at least {needed} different "
            f"{'labels are' if needed > 1 else 'label is'} needed to learn from"
        )


def _seen_once(examples: Examples) -> list[str]:
    count = Counter(label for labels in examples.labels for label in labels)
    once = sorted(label for label, n in count.items() if n == 1)
    if not once:
        return []
    return [
        f"{_count(once, 'label')} one example only, which stays in the training part, so that "
        f"nothing can be measured for it: {_listed(once)}"
    ]


def _contradictions(examples: Examples) -> list[str]:
    if examples.kind != "single":
        return []
    seen: dict[str, set[str]] = {}
    for text, (label,) in zip(examples.texts, examples.labels, strict=True):
        seen.setdefault(text.strip().casefold(), set()).add(label)
    double = {text: labels for text, labels in seen.items() if len(labels) > 1}
    if not double:
        return []
    text, labels = next(iter(sorted(double.items())))
    return [
        f"{len(double)} texts occur under more than one label, such as {_short(text)} under "
        f"{' and '.join(sorted(labels))}"
    ]


def _count(names: Sequence[str], noun: str) -> str:
    return f"1 {noun} has" if len(names) == 1 else f"{len(names)} {noun}s have"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"


def _short(text: str, width: int = 40) -> str:
    return repr(text if len(text) <= width else text[: width - 1] + "…")
