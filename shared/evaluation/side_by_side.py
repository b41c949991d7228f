"""Two models, or one before and after something was done to it, on the same rows part by part."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.evaluation.paired import Loss, can_fail, holm, loss_of

LEVEL = 0.05  # of an error in either direction, over all parts of a family


@dataclass(frozen=True)
class PairedFigure:
    """Mean scores (0..1) of two models on the same n rows of a part. low, high: 95 % interval of
    after minus before. worse, better: one-sided p of a loss, of a gain this large by chance alone,
    corrected by Holm over the parts it was tested with that could reach LEVEL at all (Tarone)."""

    part: str
    n: int
    before: float
    after: float
    low: float
    high: float
    worse: float
    better: float


@dataclass(frozen=True)
class SideBySide:
    """A table for the report. before, after: what its columns are called. line: what came of it,
    for the end of a training; notes: what else a reader must know."""

    title: str
    before: str
    after: str
    line: str
    figures: tuple[PairedFigure, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """before, after: (n,) scores of the same rows, n > 0. groups: (n,) ids of rows that speak with
    one voice; each row alone by default."""

    name: str
    before: ArrayLike
    after: ArrayLike
    groups: ArrayLike | None = None


def paired_figures(parts: Sequence[Part], *, seed: int = 13) -> tuple[PairedFigure, ...]:
    """One figure a part, tested as one family in each direction.

    >>> found = paired_figures([Part("x", [1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0])])
    >>> round(found[0].before, 2), found[0].after, found[0].worse, found[0].better
    (0.83, 0.0, 0.03125, 1.0)
    """
    lost = [loss_of(p.after, p.before, groups=p.groups, seed=seed) for p in parts]
    won = [loss_of(p.before, p.after, groups=p.groups, seed=seed) for p in parts]
    worse, better = _corrected(lost), _corrected(won)
    return tuple(
        PairedFigure(
            part.name,
            loss.n,
            float(np.asarray(part.before, np.float64).mean()),
            float(np.asarray(part.after, np.float64).mean()),
            -loss.high,
            -loss.low,
            float(worse[row]),
            float(better[row]),
        )
        for row, (part, loss) in enumerate(zip(parts, lost, strict=True))
    )


def _corrected(losses: Sequence[Loss]) -> NDArray[np.float64]:
    may = can_fail([loss.changed for loss in losses], LEVEL)
    p = np.ones(len(losses))
    p[may] = holm([loss.p for loss, tested in zip(losses, may, strict=True) if tested])
    return p
