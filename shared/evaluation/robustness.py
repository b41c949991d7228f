"""What slips in writing cost a model, before and after something was done about it.

Two mixtures of slips: TAUGHT, which altered copies of training rows may hold, and UNTAUGHT, which
nothing learns from. A remedy is worth keeping if it helps against the second, and rows without
slips do not pay for it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.perturbations import Perturbation, typos
from shared.evaluation.side_by_side import LEVEL, PairedFigure, Part, SideBySide, paired_figures

Score = Callable[[Sequence[str], Sequence[tuple[str, ...]]], NDArray[np.float64]]
"""Texts and their true labels to (n,) scores, 0..1: right or wrong, or the F1 of several labels."""

AS_THEY_ARE = "rows as they are"
# Rows that are altered, drawn where there are more: each costs the encoder four more texts.
MOST_ALTERED = 600


@dataclass(frozen=True)
class Change:
    """A way to alter a text without changing what it means."""

    name: str
    perturb: Perturbation


TAUGHT = Change("letters swapped or dropped", typos(("swap", "drop")))
UNTAUGHT = Change("letters doubled, or keys beside struck", typos(("double", "key")))


@dataclass(frozen=True, eq=False)
class Judged:
    """Labelled rows that nothing was fitted on. groups: (n,) equal for near duplicates."""

    texts: Sequence[str]
    labels: Sequence[tuple[str, ...]]
    groups: NDArray[np.int64]

    def drawn(self, most: int, seed: int) -> "Judged":
        """At most so many of the rows, in their order."""
        rows = np.arange(len(self.texts))
        if len(rows) > most:
            rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
        kept = rows.tolist()
        return Judged([self.texts[n] for n in kept], [self.labels[n] for n in kept],
                      self.groups[rows])  # fmt: skip

    def altered(self, change: Change, seed: int) -> "Judged":
        """The rows that the change applies to, changed."""
        pairs = [
            change.perturb(text, random.Random(f"{seed} judged by {change.name} {text}"))
            for text in self.texts
        ]
        rows = [row for row, pair in enumerate(pairs) if pair is not None]
        return Judged(
            [pair[1] for pair in pairs if pair is not None],
            [self.labels[row] for row in rows],
            self.groups[rows],
        )


def under_slips(
    before: Score, after: Score, rows: Judged, *, seed: int = 13
) -> tuple[PairedFigure, ...]:
    """Rows as they are, with slips of the kinds that copies hold, and of others; in that order.

    The first is tested for itself, the other two, of MOST_ALTERED rows at most, as a family.
    """
    parts = []
    few = rows.drawn(MOST_ALTERED, seed)
    for name, part in (
        (AS_THEY_ARE, rows),
        *((change.name, few.altered(change, seed)) for change in (TAUGHT, UNTAUGHT)),
    ):
        if len(part.texts):
            old, new = (model(part.texts, part.labels) for model in (before, after))
            parts.append(Part(name, old, new, part.groups))
    return (*paired_figures(parts[:1], seed=seed), *paired_figures(parts[1:], seed=seed))


def helps(figures: Sequence[PairedFigure]) -> bool:
    """Whether the gain on slips that nothing was taught is beyond noise, and more than what rows
    as they are lose, which itself is within noise."""
    if len(figures) < 3:
        return False
    clean, untaught = figures[0], figures[-1]
    gain = untaught.after - untaught.before
    return (
        untaught.better <= LEVEL
        and clean.worse > LEVEL
        and gain > max(clean.before - clean.after, 0.0)
    )


def said(figures: Sequence[PairedFigure]) -> str:
    """The figures in one line.

    >>> said([PairedFigure("rows as they are", 9, 0.8, 0.9, -0.1, 0.3, 1.0, 0.5)])
    'rows as they are .800 to .900 (9 rows)'
    """
    return ", ".join(
        f"{f.part} {_share(f.before)} to {_share(f.after)} ({f.n:,} rows)" for f in figures
    )


def slips_table(
    remedies: Sequence[str], before: Score, after: Score, rows: Judged, *, task: str, seed: int
) -> SideBySide:
    """For the report: what the remedies that were kept do on rows that they were not chosen by."""
    figures = under_slips(before, after, rows, seed=seed)
    done = " and ".join(remedies)
    return SideBySide(
        f"Slips in writing, {task}: before and after {done}",
        "before",
        "after",
        f"slips, {task}, {done}: {said(figures)}",
        figures,
        ("The remedies were chosen on a part of the training rows, not on these.",),
    )


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
