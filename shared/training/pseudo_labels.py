"""Unlabelled texts that a model is sure of, as further rows to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.near_duplicates import near_duplicate_groups
from shared.training.examples import Examples

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pseudo:
    """rows: of a pool, ascending; labels: one for each, given by a model."""

    rows: Rows
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def same_as(self, other: "Pseudo") -> bool:
        return np.array_equal(self.rows, other.rows) and self.labels == other.labels


NOTHING = Pseudo(np.empty(0, dtype=np.int64), ())


@dataclass(frozen=True, eq=False)
class Pool:
    """Unlabelled texts, none a near copy of an example; groups: (n,) of near copies among them,
    numbered on from those of the examples."""

    texts: tuple[str, ...]
    groups: Rows

    @classmethod
    def of(cls, examples: Examples, unlabelled: Sequence[str]) -> "Pool":
        """Each text once. A near copy of an example would teach nothing, and flatter the loss on
        that example where it is held out.

        Raises DataError where no text is left.
        """
        texts = [text for text in dict.fromkeys(unlabelled) if text.strip()]
        found = near_duplicate_groups([*examples.texts, *texts])
        mine = found[len(examples) :]
        fresh = np.flatnonzero(~np.isin(mine, found[: len(examples)]))
        if not len(fresh):
            raise DataError(
                "no unlabelled text to learn from: each is empty or a near copy of a labelled one"
            )
        start = int(examples.groups.max()) + 1
        return cls(tuple(texts[row] for row in fresh), start + mine[fresh])

    def beside(self, examples: Examples, pseudo: Pseudo) -> Examples:
        """The examples, and behind them the pseudo-labelled texts."""
        more = Examples(
            tuple(self.texts[row] for row in pseudo.rows),
            tuple((label,) for label in pseudo.labels),
            self.groups[pseudo.rows],
        )
        return examples.beside(more)


def surest(p: Floats, sure: NDArray[np.bool_], rooms: Rows, names: Sequence[str]) -> Pseudo:
    """The most probable label of the texts that are sure, at most so many of each label.

    p: (n, C). sure: (n,). rooms: (C,). names: (C,) labels.
    """
    best, label = p.max(1), p.argmax(1)
    chosen = [np.flatnonzero(sure & (label == j)) for j in range(len(rooms))]
    kept = [
        mine[np.argsort(-best[mine], kind="stable")][:room]
        for mine, room in zip(chosen, rooms, strict=True)
    ]
    taken = np.sort(np.concatenate(kept))
    return Pseudo(taken, tuple(names[label[row]] for row in taken))
