"""Behaviour tests of a model: what must not move it, what must, and what it must know.

invariance   the text is changed in a way that changes nothing: the prediction must stay
direction    the text is turned round: the label it had must not become more probable
minimum      the answer is known and simple: the prediction must be that
Rates come with Wilson's interval (Wilson 1927; Brown et al. 2001), because the rows may be few and
the rate near 0. Source of the three kinds: Ribeiro et al. 2020, CheckList.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Literal, Protocol, Self, TypeVar

from shared.evaluation.audit_report import render
from shared.evaluation.intervals import Interval
from shared.evaluation.perturbations import Pair, Perturbation

Kind = Literal["invariance", "direction", "minimum"]
Area = Literal["robustness", "bias", "function"]
WORST = 5
TOLERANCE = 0.05  # how much a label's probability may rise when the text is turned round


class Reading(Protocol):
    """What a model makes of one text. label: its prediction; said: the same for a person."""

    @property
    def label(self) -> str: ...
    @property
    def said(self) -> str: ...

    def same_as(self, other: Self) -> bool:
        """Whether an invariant model may read both."""
        ...

    def shift_to(self, other: Self) -> float:
        """What this prediction gains (above 0) or loses in the other reading."""
        ...


R = TypeVar("R", bound=Reading)
Read = Callable[[Sequence[str]], Sequence[R]]


@dataclass(frozen=True)
class LabelReading:
    """A classifier's. probabilities: of every label, calibrated. note: put beside the label."""

    label: str
    probabilities: Mapping[str, float]
    note: str = ""

    @property
    def said(self) -> str:
        about = f"{self.label} {self.probabilities.get(self.label, 0.0):.0%}"
        return f"{about}, {self.note}" if self.note else about

    def same_as(self, other: "LabelReading") -> bool:
        return self.label == other.label

    def shift_to(self, other: "LabelReading") -> float:
        """Difference of the probability of this reading's label."""
        return other.probabilities.get(self.label, 0.0) - self.probabilities.get(self.label, 0.0)


@dataclass(frozen=True)
class Test:
    """name: what is done to the text. expects: what then must hold, in words."""

    __test__ = False  # not one of pytest's

    name: str
    area: Area
    kind: Kind
    expects: str
    perturb: Perturbation


@dataclass(frozen=True)
class Case:
    """One row. shift: how the support of the first prediction changed."""

    before: str
    after: str
    said_before: str
    said_after: str
    shift: float
    failed: bool


@dataclass(frozen=True)
class TestResult:
    """rows: those that the change applies to. rate: share of them that fail, None without rows.
    mean_shift: mean of the absolute shifts, None without rows. right_before, right_after: share
    with the true label, None where no labels were given. worst: failures first, the largest shift
    first.
    """

    __test__ = False

    name: str
    area: Area
    kind: Kind
    expects: str
    rows: int
    failed: int
    rate: Interval | None
    mean_shift: float | None
    right_before: float | None
    right_after: float | None
    worst: tuple[Case, ...]


@dataclass(frozen=True)
class AuditReport:
    """What a model was tested with and how it did. data: one line on the rows."""

    title: str
    app: str
    model: str
    data: str
    results: tuple[TestResult, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The whole report as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2, allow_nan=False)

    def write(self, page: Path) -> Path:
        """The page, and the same as JSON beside it; returns the page's path."""
        page.parent.mkdir(parents=True, exist_ok=True)
        page.with_suffix(".json").write_text(self.to_json() + "\n", encoding="utf-8")
        page.write_text(render(self), encoding="utf-8")
        return page


def run_test(
    test: Test,
    texts: Sequence[str],
    read: Read[R],
    *,
    labels: Sequence[str] | None = None,
    seed: int = 13,
) -> TestResult:
    """Perturb every text it applies to and compare. labels: the true ones, where they are known.

    Each text has a random generator of its own, so that a row's change does not depend on others.
    """
    chosen: list[tuple[int, Pair]] = []
    for row, text in enumerate(texts):
        pair = test.perturb(text, random.Random(f"{seed} {test.name} {text}"))
        if pair is not None:
            chosen.append((row, pair))
    before = read([pair[0] for _, pair in chosen])
    after = read([pair[1] for _, pair in chosen])
    cases = [
        _case(test.kind, pair, old, new)
        for (_, pair), old, new in zip(chosen, before, after, strict=True)
    ]
    true = None if labels is None else [labels[row] for row, _ in chosen]
    return _result(test, cases, _right(before, true), _right(after, true))


def run_minimum(
    name: str,
    expects: str,
    texts: Sequence[str],
    labels: Sequence[str],
    read: Read[LabelReading],
) -> TestResult:
    """Simple cases with their answers. shift: what the right label lacks of certainty."""
    readings = read(texts)
    cases = [
        Case(
            text,
            text,
            f"expected: {label}",
            r.said,
            r.probabilities.get(label, 0.0) - 1.0,
            r.label != label,
        )
        for text, label, r in zip(texts, labels, readings, strict=True)
    ]
    test = Test(name, "function", "minimum", expects, lambda _, __: None)
    return _result(test, cases, None, _right(readings, labels))


def remembered(read: Read[R]) -> Read[R]:
    """The same, and a text that was read before is not read again: every test begins with the
    rows as they are."""
    known: dict[str, R] = {}

    def reading(texts: Sequence[str]) -> list[R]:
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        if fresh:
            known.update(zip(fresh, read(fresh), strict=True))
        return [known[text] for text in texts]

    return reading


def wilson(failed: int, rows: int, level: float = 0.95) -> Interval:
    """The share with Wilson's score interval; rows above 0.

    None of ten: between 0 and z² / (10 + z²).

    >>> round(wilson(0, 10).high, 3)
    0.278
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = failed / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * (share * (1 - share) / rows + z * z / (4 * rows**2)) ** 0.5
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def _case(kind: Kind, pair: Pair, old: R, new: R) -> Case:
    shift, moved = old.shift_to(new), not old.same_as(new)
    # Turned round, another label is as good as less of the same.
    failed = moved if kind == "invariance" else not moved and shift > TOLERANCE
    return Case(*pair, old.said, new.said, shift, failed)


def _right(readings: Sequence[Reading], labels: Sequence[str] | None) -> float | None:
    if labels is None or not readings:
        return None
    return sum(r.label == y for r, y in zip(readings, labels, strict=True)) / len(readings)


def _result(
    test: Test,
    cases: Sequence[Case],
    right_before: float | None,
    right_after: float | None,
) -> TestResult:
    failed = sum(case.failed for case in cases)
    ranked = sorted(cases, key=lambda case: (not case.failed, -abs(case.shift)))
    return TestResult(
        test.name,
        test.area,
        test.kind,
        test.expects,
        len(cases),
        failed,
        wilson(failed, len(cases)) if cases else None,
        sum(abs(case.shift) for case in cases) / len(cases) if cases else None,
        right_before,
        right_after,
        tuple(case for case in ranked[:WORST] if case.failed or abs(case.shift) > TOLERANCE),
    )
