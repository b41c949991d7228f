"""How much more data would bring: the fusion trained on growing parts, and a power law through it.

The error falls about as floor + scale * n ** -rate (Hestness et al. 2017, Deep Learning Scaling is
Predictable, Empirically; Viering and Loog 2023, The Shape of Learning Curves, section 4). Trained
without fine-tuning: that takes seconds, and where more rows no longer help the fusion they seldom
help a fine-tuned encoder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.evaluation.metrics import correct
from shared.inference.runtime import Embedder
from shared.training.examples import Examples, split
from shared.training.fusion import fit_fused

SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)
AHEAD = (2, 4)  # times the rows there are: farther out a power law is a guess
TEST_SHARE = 0.2
LEAST_OF_A_LABEL = 2
DRAWS = 300
RATES = (0.05, 1.5)  # of error curves as measured; outside, few points have been taken for a trend
RATES_TRIED = 60
WORTH = 0.005  # half a point of accuracy: less is not worth labelling for

Floats = NDArray[np.float64]
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Measured:
    """What one repeat gave. sizes: (s,) rows trained on, ascending; right: (s, t) whether each of
    the t test rows was labelled right; groups: (t,) equal for near duplicates."""

    sizes: NDArray[np.int64]
    right: NDArray[np.bool_]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class Point:
    """Share of test rows right after training on n rows, with its 95 % interval over the repeats'
    test rows; measured or foreseen."""

    n: int
    accuracy: float
    low: float
    high: float
    measured: bool


@dataclass(frozen=True)
class Gain:
    """What `times` the rows would add to the accuracy, with its 95 % interval."""

    times: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """points: measured and foreseen, ascending. floor, scale, rate: of the error."""

    points: tuple[Point, ...]
    gains: tuple[Gain, ...]
    floor: float
    scale: float
    rate: float

    @property
    def words(self) -> str:
        """The curve in a sentence or two."""
        last = [point for point in self.points if point.measured][-1]
        told = "; ".join(
            f"{gain.times} times as many would bring {100 * gain.value:+.1f} points "
            f"({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
            for gain in self.gains
        )
        twice = self.gains[0]
        if twice.high < WORTH:
            advice = "more rows of the same kind would bring little: look at the labels it confuses"
        elif twice.low >= WORTH:
            advice = "more rows pay"
        else:
            advice = "whether more rows pay cannot be told from these"
        return (
            f"{last.n:,} rows give an accuracy of {last.accuracy:.3f}; {told}: {advice}. The "
            "intervals are those of the curve drawn on, if the trend holds."
        )


def measure_curve(
    examples: Examples,
    *,
    embedder: Embedder,
    shares: Sequence[float] = SHARES,
    repeats: int = 3,
    seed: int = 13,
    threads: int = 2,
    say: Say = lambda _: None,
) -> tuple[Measured, ...]:
    """Train on growing nested parts of the rows; test on rows set aside anew in each repeat.

    Every label keeps its share, and at least two rows, in each part. embedder: is asked for the
    same texts again and again; give one that remembers.
    Raises DataError: rows that cannot be split, or fewer than 3 different sizes.
    """
    found = []
    for repeat in range(repeats):
        cut = split(examples, fraction=TEST_SHARE, seed=seed + repeat)
        place = _places(cut.train, seed + repeat)
        parts = [np.flatnonzero(place < share) for share in sorted(shares)]
        rows = {len(part): part for part in parts}
        if len(rows) < 3:
            raise DataError(
                f"{len(examples)} rows give {len(rows)} different sizes to train on, and a curve "
                "needs 3: give more rows"
            )
        right = []
        for size, part in rows.items():
            fit = fit_fused(
                cut.train.take(part), embedder=embedder, kind=examples.kind,
                seed=seed + repeat, threads=threads,
            )  # fmt: skip
            decided = fit.classifier.decide(fit.classifier.predict_proba(cut.validation.texts))
            hit = right_rows(decided, fit.classifier.labels, cut.validation)
            say(f"repeat {repeat + 1}: {size:,} rows, accuracy {hit.mean():.3f}")
            right.append(hit)
        found.append(Measured(np.array(list(rows)), np.array(right), cut.validation.groups))
    return tuple(found)


def fit_curve(measured: Sequence[Measured], *, seed: int = 13) -> LearningCurve:
    """The power law through the mean errors, and what it says of two and four times the rows.

    Intervals: bootstrap over repeats and, within them, over groups of test rows, each draw fitted
    anew. The same test rows serve all sizes of a repeat, and are drawn for all of them together.
    """
    rng = np.random.default_rng(seed)
    sizes = np.array([each.sizes for each in measured]).mean(0)  # (s,)
    ahead = np.array([times * sizes[-1] for times in AHEAD])
    errors = np.array([1 - each.right.mean(1) for each in measured])  # (repeats, s)
    tests = sum(each.right.shape[1] for each in measured)
    law = _power_law(sizes, errors.mean(0)[None], tests)[0]
    drawn = np.array([_drawn(measured, rng) for _ in range(DRAWS)])  # (draws, s)
    laws = _power_law(sizes, drawn, tests)
    seen = 1 - drawn
    foreseen = np.stack([1 - _error(laws, n) for n in (sizes[-1], *ahead)], 1)
    points = [
        _point(n, 1 - e, column, measured=True)
        for n, e, column in zip(sizes, errors.mean(0), seen.T, strict=True)
    ]
    points += [
        _point(n, float(1 - _error(law, n)), column, measured=False)
        for n, column in zip(ahead, foreseen.T[1:], strict=True)
    ]
    gains = []
    for times, n, column in zip(AHEAD, ahead, foreseen.T[1:], strict=True):
        low, high = np.quantile(column - foreseen[:, 0], [0.025, 0.975])
        gain = _error(law, sizes[-1]) - _error(law, n)
        gains.append(Gain(times, float(gain), float(low), float(high)))
    return LearningCurve(tuple(points), tuple(gains), *map(float, law))


def _places(train: Examples, seed: int) -> Floats:
    """(n,) where each row stands in a random order of its label's rows: 0 first, below 1; the
    first LEAST_OF_A_LABEL rows of each label come at 0."""
    rng = np.random.default_rng(seed)
    place = np.zeros(len(train))
    kinds = np.unique(["|".join(sorted(row)) for row in train.labels], return_inverse=True)[1]
    for kind in range(kinds.max() + 1):
        rows = rng.permutation(np.flatnonzero(kinds == kind))
        place[rows] = np.arange(len(rows)) / len(rows)
        place[rows[:LEAST_OF_A_LABEL]] = 0.0
    return place


def right_rows(
    decided: NDArray[np.bool_], labels: Sequence[str], test: Examples
) -> NDArray[np.bool_]:
    """(t,) exact match; a row with a label that was not learned is wrong."""
    known = np.array([set(row) <= set(labels) for row in test.labels])
    return np.asarray(correct(test.targets(labels), decided) & known)


def _power_law(sizes: Floats, errors: Floats, tests: int) -> Floats:
    """(d, 3) floor, scale and rate for each row of (d, s) errors; weighted by what chance does to
    an error measured on `tests` rows. For each rate of a grid, floor and scale are linear.

    The floor is seldom seen in five points: a normal prior at half the lowest error, with that
    error as its standard deviation, keeps it from running to either end.
    """
    weight = tests / np.maximum(errors * (1 - errors), 1 / tests)  # (d, s)
    lowest = np.maximum(errors.min(1), 1e-6)
    believed, firmness = 0.5 * lowest, lowest**-2
    best, least = np.empty((len(errors), 3)), np.full(len(errors), np.inf)
    for rate in np.geomspace(*RATES, RATES_TRIED):
        x = sizes**-rate
        w, wx, wxx = weight.sum(1), weight @ x, weight @ x**2
        wy, wxy = (weight * errors).sum(1), (weight * errors) @ x
        floor = ((wy + firmness * believed) * wxx - wx * wxy) / ((w + firmness) * wxx - wx**2)
        floor = np.clip(floor, 0.0, lowest)
        scale = np.maximum((wxy - floor * wx) / wxx, 0.0)
        off = floor[:, None] + scale[:, None] * x - errors
        loss = (weight * off**2).sum(1) + firmness * (floor - believed) ** 2
        better = loss < least
        least[better] = loss[better]
        best[better] = np.stack([floor, scale, np.full(len(errors), rate)], 1)[better]
    return best


def _error(law: Floats, n: float) -> Floats:
    """law: (..., 3)."""
    return np.asarray(law[..., 0] + law[..., 1] * n ** -law[..., 2])


def _drawn(measured: Sequence[Measured], rng: np.random.Generator) -> Floats:
    """(s,) mean errors of a bootstrap draw of repeats and, in each, of groups of test rows."""
    errors = []
    for repeat in rng.integers(len(measured), size=len(measured)):
        each = measured[repeat]
        _, inverse = np.unique(each.groups, return_inverse=True)
        groups = int(inverse.max()) + 1
        weight = np.bincount(rng.integers(groups, size=groups), minlength=groups)[inverse]
        errors.append(1 - (each.right @ weight) / weight.sum())
    return np.asarray(np.mean(errors, axis=0))


def _point(n: float, accuracy: float, drawn: Floats, *, measured: bool) -> Point:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Point(round(n), float(accuracy), float(low), float(high), measured)
