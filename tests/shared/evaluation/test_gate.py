"""The gate's promises: an equal candidate is seldom blocked, one that harms a label often."""

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.evaluation.gate import (
    GateLimits,
    Latency,
    Verdict,
    calibration_beyond_chance,
    judge,
)
from shared.evaluation.outcomes import Case, Outcomes, Pair

ROWS, LABELS = 1000, 20
QUICK = Latency(1.0, 1.0)


def outcomes(
    scores: NDArray[np.float64] | NDArray[np.bool_],
    labels: NDArray[np.int64],
    confidence: NDArray[np.float64] | None = None,
) -> Outcomes:
    n = len(scores)
    short = np.arange(n) % 3 == 0
    stated = np.empty((n, 0)) if confidence is None else confidence[:, None]
    return Outcomes(
        task="intent",
        keys=tuple(map(str, range(n))),
        scores=scores.astype(float),
        labels=tuple((f"l{label}",) for label in labels),
        parts={"short": short, "long": ~short},
        groups=np.arange(n),
        confidence=stated,
        right=scores[:, None] > 0.5 if confidence is not None else np.empty((n, 0), bool),
    )


def contest(rng: np.random.Generator, harm: float = 0.0, rows: int = ROWS) -> Pair:
    """Two noisy models with the same chance of being right on each row; `harm` is taken from the
    candidate's chance on label 0."""
    labels = rng.integers(LABELS, size=rows)
    chance = rng.beta(8, 1, rows)
    before = rng.random(rows) < chance
    again = np.where(rng.random(rows) < 0.25, rng.random(rows) < chance, before)
    harmed = again & ~((labels == 0) & (rng.random(rows) < harm))
    return Pair(outcomes(harmed, labels), outcomes(before, labels))


def names(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.blocking]


def test_an_equal_candidate_is_blocked_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(0)
    limits = GateLimits()
    verdicts = [judge([contest(rng)], limits, latency=QUICK) for _ in range(400)]
    blocked = sum(not verdict.passed for verdict in verdicts)
    # At most .05 of 400; 32 or more would have a chance of .006.
    assert blocked < 32


def test_a_candidate_that_harms_one_label_is_blocked_and_the_label_is_named() -> None:
    rng = np.random.default_rng(1)
    limits = GateLimits()
    verdicts = [judge([contest(rng, harm=0.4)], limits, latency=QUICK) for _ in range(100)]
    caught = sum("intent, label l0" in names(verdict) for verdict in verdicts)
    assert caught >= 90
    innocent = sum(
        any("label" in name and name != "intent, label l0" for name in names(v)) for v in verdicts
    )
    assert innocent <= 5


def test_a_candidate_worse_everywhere_by_four_points_is_blocked() -> None:
    rng = np.random.default_rng(2)
    caught = 0
    for _ in range(100):
        pair = contest(rng)
        worse = pair.candidate.scores * (rng.random(ROWS) > 0.05)
        candidate = outcomes(worse, np.array([int(row[0][1:]) for row in pair.production.labels]))
        caught += "intent" in names(judge([Pair(candidate, pair.production)], GateLimits()))
    assert caught >= 95


def test_scores_between_zero_and_one_are_tested_too() -> None:
    rng = np.random.default_rng(3)
    labels = np.zeros(300, int)
    before = rng.random(300)
    alike = [
        Pair(outcomes(before + noise, labels), outcomes(before - noise, labels))
        for noise in rng.normal(0, 0.05, (60, 300))
    ]
    assert sum(not judge([pair], GateLimits()).passed for pair in alike) <= 8
    worse = Pair(
        outcomes(before - 0.02 + rng.normal(0, 0.05, 300), labels), outcomes(before, labels)
    )
    assert "intent" in names(judge([worse], GateLimits()))


def test_a_small_slice_is_undecided_and_blocks_only_where_the_gate_is_strict() -> None:
    labels = np.r_[np.zeros(200, int), np.ones(5, int)]
    same = outcomes(np.ones(205), labels)
    easy = judge([Pair(same, same)], GateLimits(), latency=QUICK)
    assert easy.passed
    small = {check.name: check for check in easy.checks}["intent, label l1"]
    assert small.status == "undecided"
    assert small.reason.startswith("no difference on 5 rows (loss at most 28.0 points)")
    assert any(line.startswith("undecided  1 slices and labels") for line in easy.lines)
    strict = judge([Pair(same, same)], GateLimits(strict=True), latency=QUICK)
    assert "intent, label l1" in names(strict)


def test_few_rows_judge_nothing() -> None:
    same = outcomes(np.ones(12), np.zeros(12, int))
    verdict = judge([Pair(same, same)], GateLimits(), latency=QUICK)
    assert [c.reason for c in verdict.blocking] == [
        "12 rows that neither model was trained on; 50 are needed to judge by ([gate] least_rows)"
    ]
    assert names(judge([], GateLimits())) == ["rows"]


def test_every_must_pass_case_must_pass() -> None:
    same = outcomes(np.ones(60), np.zeros(60, int))
    cases = [Case("hi", "greet", "greet", True), Case("bye", "leave", "greet", False)]
    verdict = judge([Pair(same, same)], GateLimits(), cases=cases, latency=QUICK)
    assert [c.reason for c in verdict.blocking] == ["1 of 2 fail: 'bye' gives greet, not leave"]
    assert judge([Pair(same, same)], GateLimits(), cases=cases[:1], latency=QUICK).passed


@pytest.mark.parametrize(
    ("candidate", "production", "passes"),
    [(40.0, 10.0, True), (120.0, 100.0, True), (200.0, 100.0, False)],
)
def test_a_slow_candidate_is_blocked(candidate: float, production: float, passes: bool) -> None:
    same = outcomes(np.ones(60), np.zeros(60, int))
    slow = Latency(candidate, production)
    assert judge([Pair(same, same)], GateLimits(), latency=slow).passed is passes


def test_calibration_is_judged_beyond_chance_and_beside_production() -> None:
    rng = np.random.default_rng(4)
    labels = np.zeros(2000, int)
    sure = rng.uniform(0.6, 1.0, 2000)
    right = (rng.random(2000) < sure).astype(float)
    honest = outcomes(right, labels, sure)
    boasting = outcomes(right, labels, np.minimum(1.0, sure + 0.15))
    assert names(judge([Pair(boasting, honest)], GateLimits())) == ["intent, calibration"]
    assert judge([Pair(boasting, boasting)], GateLimits()).passed
    assert judge([Pair(honest, boasting)], GateLimits()).passed


def test_a_calibrated_model_has_no_calibration_error_beyond_chance_however_few_rows() -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(40):
        sure = rng.uniform(0.5, 1.0, 60)
        found.append(calibration_beyond_chance(sure, rng.random(60) < sure))
    beyond, p = np.array(found).T
    assert abs(beyond.mean()) < 0.02
    assert (p <= 0.05).mean() < 0.2


def test_near_duplicates_speak_with_one_voice() -> None:
    labels = np.zeros(400, int)
    before, after = np.ones(400), np.r_[np.zeros(40), np.ones(360)]
    production, candidate = outcomes(before, labels), outcomes(after, labels)
    assert not judge([Pair(candidate, production)], GateLimits()).passed
    together = np.r_[np.zeros(40, int), np.arange(1, 361)]
    one = Outcomes(**{**vars(production), "groups": together})
    assert judge([Pair(candidate, one)], GateLimits()).passed
