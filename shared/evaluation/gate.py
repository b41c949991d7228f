"""The promotion gate: may a candidate take production's place? One mechanism for all applications.

What is tested, on rows that neither model was trained on:
    null hypothesis  the two models are exchangeable: on each row (each group of near duplicates)
                     either could have had the other's score
    alternative      the candidate's mean score is lower
    tests            exact and one-sided, on each task as a whole and on each slice and label
    error level      half of `error` over the tasks, half over all their parts, each by Holm's
                     correction over the tests that could fail at all (Tarone)
So a candidate equal to production is blocked by chance in at most `error` of all comparisons.
A part whose interval still allows a loss of more than the margin is called undecided: with so few
rows, "not worse" has not been shown. It does not block unless the gate is strict.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shared.evaluation.metrics import calibration_error
from shared.evaluation.outcomes import Case, Pair
from shared.evaluation.paired import Loss, can_fail, holm, loss_of
from shared.settings import Section

SECTION = "gate"
Status = Literal["passed", "failed", "undecided"]
CHANCE_DRAWS = 200
CASES_LISTED = 5


class GateLimits(Section):
    """[gate] of triptych.toml. error: chance of blocking an equal candidate by its scores. margin,
    part_margin: losses to be ruled out, as shares of a row's score: overall, on a slice or label.
    least_rows: fewer judge nothing. calibration: error beyond chance. latency_ratio: candidate's
    time over production's; latency_milliseconds: nobody notices less, whatever the ratio.
    must_pass: model name -> file of cases it must pass, beside those its application has. strict:
    what is undecided blocks too.
    """

    error: float = Field(default=0.05, gt=0, lt=0.5)
    margin: float = Field(default=0.02, gt=0, lt=1)
    part_margin: float = Field(default=0.10, gt=0, lt=1)
    least_rows: int = Field(default=50, ge=1)
    calibration: float = Field(default=0.05, gt=0, lt=1)
    latency_ratio: float = Field(default=1.5, ge=1)
    latency_milliseconds: float = Field(default=50.0, ge=0)
    must_pass: dict[str, Path] = Field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True)
class Latency:
    """Median milliseconds for one row alone, both models in turn in one process."""

    candidate: float
    production: float


@dataclass(frozen=True)
class Check:
    """One thing looked at. loss: of a test on scores, with its corrected p; else None."""

    name: str
    status: Status
    reason: str
    loss: Loss | None = None
    corrected: float | None = None

    @property
    def is_part(self) -> bool:
        """True of a slice or label, false of what concerns all rows."""
        return self.loss is not None and ", " in self.name


@dataclass(frozen=True)
class Verdict:
    """All checks. strict: an undecided one blocks as well. cases: the must-pass cases that one of
    the checks is about."""

    checks: tuple[Check, ...]
    strict: bool = False
    cases: tuple[Case, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.blocking

    @property
    def blocking(self) -> tuple[Check, ...]:
        """What speaks against promotion."""
        bad = ("failed", "undecided") if self.strict else ("failed",)
        return tuple(check for check in self.checks if check.status in bad)

    @property
    def lines(self) -> tuple[str, ...]:
        """One for a failed check or one about the whole; the other parts are counted."""
        told: list[str] = []
        small: list[str] = []
        fine: list[str] = []
        for check in self.checks:
            if check.status == "failed" or not check.is_part:
                told.append(f"{check.status:<9}  {check.name}: {check.reason}")
            else:
                (small if check.status == "undecided" else fine).append(check.name)
        if fine:
            told.append(f"passed     {len(fine)} slices and labels are not worse beyond noise")
        if small:
            told.append(f"undecided  {len(small)} slices and labels have too few rows to tell: "
                        + _listed(small))  # fmt: skip
        return tuple(told)

    def as_dict(self) -> dict[str, Any]:
        return {"passed": self.passed, "strict": self.strict,
                "checks": [asdict(check) for check in self.checks],
                "must_pass": [asdict(case) for case in self.cases]}  # fmt: skip


def judge(
    pairs: Sequence[Pair],
    limits: GateLimits,
    *,
    cases: Sequence[Case] | None = None,
    latency: Latency | None = None,
    seed: int = 13,
) -> Verdict:
    """Compare a candidate with production; every check gives its reason.

    cases: the must-pass cases, None where there are none. latency: None: not measured.
    """
    checks: list[Check] = []
    level = limits.error / 2
    enough = [pair for pair in pairs if len(pair.production) >= limits.least_rows]
    checks += [_too_few(pair, limits) for pair in pairs if len(pair.production) < limits.least_rows]
    if not pairs:
        checks.append(Check("rows", "failed", "there is no row to compare the two on"))
    whole = [(pair.task, _loss(pair, None, seed)) for pair in enough]
    checks += _tested(whole, level, limits.margin)
    parts = [
        (f"{pair.task}, {name}", _loss(pair, rows, seed))
        for pair in enough
        for name, rows in pair.parts.items()
        if rows.any()
    ]
    checks += _tested(parts, level, limits.part_margin)
    checks += [check for pair in enough for check in _calibration(pair, limits, seed)]
    checks += [_must_pass(cases), _latency(latency, limits)]
    return Verdict(tuple(checks), limits.strict, tuple(cases or ()))


def calibration_beyond_chance(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], *, seed: int = 13
) -> tuple[float, float]:
    """The expected calibration error less what chance alone gives a perfectly calibrated model on
    these rows, and the share of perfect models that have a larger one.

    Source: consistency resampling, Bröcker and Smith, Weather and Forecasting 22, 2007.
    """
    error = calibration_error(confidence, right)
    rng = np.random.default_rng(seed)
    chance = np.array(
        [
            calibration_error(confidence, rng.random(len(confidence)) < confidence)
            for _ in range(CHANCE_DRAWS)
        ]
    )
    return float(error - chance.mean()), float((chance >= error).mean())


def _loss(pair: Pair, rows: NDArray[np.bool_] | None, seed: int) -> Loss:
    ours, theirs = pair.candidate.scores, pair.production.scores
    groups = pair.production.groups
    if rows is not None:
        ours, theirs, groups = ours[rows], theirs[rows], groups[rows]
    return loss_of(ours, theirs, groups=groups, seed=seed)


def _tested(named: Sequence[tuple[str, Loss]], level: float, margin: float) -> list[Check]:
    """One family of tests at `level` altogether."""
    losses = [loss for _, loss in named]
    may_fail = can_fail([loss.changed for loss in losses], level)
    corrected = np.ones(len(losses))
    corrected[may_fail] = holm([loss.p for loss, may in zip(losses, may_fail, strict=True) if may])
    return [
        _scored(name, loss, float(p), level, margin)
        for (name, loss), p in zip(named, corrected, strict=True)
    ]


def _scored(name: str, loss: Loss, p: float, level: float, margin: float) -> Check:
    moved = "worse" if loss.value > 0 else "better"
    figure = (
        f"{100 * abs(loss.value):.1f} points {moved} on {loss.n:,} rows "
        f"(95 % interval of the loss {100 * loss.low:+.1f} to {100 * loss.high:+.1f})"
    )
    if loss.value == 0:
        figure = f"no difference on {loss.n:,} rows (loss at most {100 * loss.high:.1f} points)"
    if p <= level and loss.value > 0:
        reason = f"{figure}: worse beyond noise, corrected p = {p:.2g}"
        return Check(name, "failed", reason, loss, p)
    if loss.high > margin:
        reason = f"{figure}: not worse beyond noise, but a loss of {100 * margin:.0f} points or "
        reason += "more cannot be ruled out with so few rows"
        return Check(name, "undecided", reason, loss, p)
    reason = f"{figure}: a loss of {100 * margin:.0f} points or more is ruled out"
    return Check(name, "passed", reason, loss, p)


def _too_few(pair: Pair, limits: GateLimits) -> Check:
    return Check(
        pair.task,
        "failed",
        f"{len(pair.production)} rows that neither model was trained on; {limits.least_rows} are "
        "needed to judge by ([gate] least_rows)",
    )


def _calibration(pair: Pair, limits: GateLimits, seed: int) -> list[Check]:
    """Fails beyond the limit, beyond chance, and where production itself is no worse."""
    ours, theirs = pair.candidate, pair.production
    if not ours.confidence.size:
        return []
    beyond, p = calibration_beyond_chance(ours.confidence.ravel(), ours.right.ravel(), seed=seed)
    before = 0.0
    if theirs.confidence.size:
        before, _ = calibration_beyond_chance(
            theirs.confidence.ravel(), theirs.right.ravel(), seed=seed
        )
    bad = beyond > limits.calibration and p <= 0.01 and beyond > before
    return [
        Check(
            f"{pair.task}, calibration",
            "failed" if bad else "passed",
            f"confidence and accuracy lie {max(beyond, 0):.3f} apart beyond chance "
            f"(production {max(before, 0):.3f}, limit {limits.calibration:g})",
        )
    ]


def _must_pass(cases: Sequence[Case] | None) -> Check:
    if not cases:
        return Check("must-pass cases", "undecided", "none were given")
    failed = [case for case in cases if not case.passed]
    if not failed:
        return Check("must-pass cases", "passed", f"all {len(cases)} pass{_sources(cases)}")
    told = "; ".join(
        f"{case.asked!r} gives {case.given or 'nothing'}, not {case.expected}"
        for case in failed[:CASES_LISTED]
    )
    more = f"; and {len(failed) - CASES_LISTED} more" if len(failed) > CASES_LISTED else ""
    counted = f"{len(failed)} of {len(cases)} fail{_sources(failed)}"
    return Check("must-pass cases", "failed", f"{counted}: {told}{more}")


def _sources(cases: Sequence[Case]) -> str:
    """How many come from where, "" where that is not said."""
    counts = Counter(case.source for case in cases if case.source)
    told = ", ".join(f"{count} from {source}" for source, count in counts.items())
    return f" ({told})" if told else ""


def _latency(latency: Latency | None, limits: GateLimits) -> Check:
    if latency is None:
        return Check("latency", "undecided", "not measured: there is no text to measure it on")
    ratio = latency.candidate / max(latency.production, 1e-9)
    over = ratio > limits.latency_ratio and latency.candidate > limits.latency_milliseconds
    return Check(
        "latency",
        "failed" if over else "passed",
        f"{latency.candidate:.1f} ms for one row, production {latency.production:.1f} ms: "
        f"{ratio:.2f} times (allowed: {limits.latency_ratio:g} times, or "
        f"{limits.latency_milliseconds:g} ms)",
    )


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
