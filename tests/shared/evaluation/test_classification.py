"""The report's parts, on cases small enough to count by hand."""

import numpy as np
import pytest

from shared.evaluation.classification import calibration_bins, judge_multi, judge_single
from shared.evaluation.leakage import Copies

TEXTS = ["where is it", "give me my money back", "late late late late late", "gone", "退款"]
TRUTH = ["track", "refund", "track", "track", "refund"]
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])


def test_single_label_figures_are_those_counted_by_hand() -> None:
    judged = judge_single(TEXTS, TRUTH, ["track", "refund"], PROBABILITIES)
    values = {m.name: m.value for m in judged.measures}
    assert values["accuracy"] == pytest.approx(4 / 5)
    # track: precision 2/2, recall 2/3, F1 4/5; refund: precision 2/3, recall 2/2, F1 4/5
    assert values["macro F1"] == pytest.approx(4 / 5)
    assert [(f.label, f.n, f.recall) for f in judged.per_label] == [
        ("track", 3, pytest.approx(2 / 3)),
        ("refund", 2, 1.0),
    ]
    (mistake,) = judged.confusions
    assert (mistake.true, mistake.predicted, mistake.count) == ("track", "refund", 1)
    assert mistake.examples == ("late late late late late",)


def test_a_label_the_model_does_not_know_counts_as_wrong_and_is_listed() -> None:
    judged = judge_single(TEXTS, ["lost", *TRUTH[1:]], ["track", "refund"], PROBABILITIES)
    assert judged.measures[0].value == pytest.approx(3 / 5)
    assert judged.per_label[-1].label == "lost"
    assert judged.per_label[-1].recall == 0.0


def test_a_label_without_held_out_rows_claims_nothing() -> None:
    wide = np.hstack([PROBABILITIES, np.zeros((5, 1))])
    last = judge_single(TEXTS, TRUTH, ["track", "refund", "other"], wide).per_label[-1]
    assert (last.n, last.precision, last.recall, last.f1) == (0, None, None, None)


def test_rivals_are_measured_on_the_same_rows() -> None:
    rival = {"always refund": np.tile([0.0, 1.0], (5, 1))}
    (baseline,) = judge_single(
        TEXTS, TRUTH, ["track", "refund"], PROBABILITIES, rivals=rival
    ).baselines
    assert baseline.name == "always refund"
    assert baseline.measures[0].value == pytest.approx(2 / 5)
    assert baseline.measures[0].n == 5


def test_slices_need_enough_rows_and_are_no_copy_of_the_whole() -> None:
    texts = ["zz qq"] * 30 + ["zz qq zz qq zz qq"] * 30
    truth = ["track"] * 60
    scores = np.array([[0.9, 0.1]] * 30 + [[0.2, 0.8]] * 30)
    slices = judge_single(texts, truth, ["track", "refund"], scores).slices
    found = {s.name: (s.n, s.measures[0].value) for s in slices}
    assert found["up to 4 words"] == (30, 1.0)
    assert found["5 to 19 words"] == (30, 0.0)
    few = judge_single(texts[15:], truth[15:], ["track", "refund"], scores[15:]).slices
    assert "up to 4 words" not in {s.name for s in few}


def test_rows_with_words_that_training_never_had_are_a_slice() -> None:
    texts = ["track my card"] * 25 + ["track my zzyzx"] * 25
    scores = np.array([[0.9, 0.1]] * 25 + [[0.9, 0.1], [0.2, 0.8]] * 12 + [[0.9, 0.1]])
    slices = judge_single(
        texts, ["track"] * 50, ["track", "refund"], scores, known_words={"track", "my", "card"}
    ).slices
    found = {s.name: s.measures[0].value for s in slices}
    assert found["every word known from training"] == 1.0
    assert found["one word not seen in training"] == pytest.approx(13 / 25)


def test_figures_are_given_with_and_without_copies_of_training_rows() -> None:
    texts = [f"text {n}" for n in range(60)]
    near = np.arange(60) < 20
    scores = np.array([[0.9, 0.1]] * 20 + [[0.9, 0.1], [0.1, 0.9]] * 20)
    judged = judge_single(
        texts, ["track"] * 60, ["track", "refund"], scores, copies=Copies(near, near)
    )
    values = {m.name: m.value for m in judged.measures}
    rows = {m.name: m.n for m in judged.measures}
    assert values["accuracy"] == pytest.approx(40 / 60)
    assert values["accuracy without training copies"] == pytest.approx(0.5)
    assert (rows["accuracy"], rows["accuracy without training copies"]) == (60, 40)
    slices = {s.name: s.measures[0].value for s in judged.slices}
    assert (slices["copies of training rows"], slices["no training copies"]) == (1.0, 0.5)
    clean = judge_single(
        texts,
        ["track"] * 60,
        ["track", "refund"],
        scores,
        copies=Copies(~near & near, near & ~near),
    )
    assert {m.name for m in clean.measures} == {"accuracy", "macro F1", "calibration error"}


def test_labels_have_intervals_that_hold_their_f1() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(["a", "b"], 300, p=[0.9, 0.1])
    right = rng.random(300) < 0.8
    scores = np.where((truth == "a")[:, None] == right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
    often, seldom = judge_single(["x"] * 300, list(truth), ["a", "b"], scores).per_label
    for label in (often, seldom):
        assert label.f1_low is not None
        assert label.f1 is not None
        assert label.f1_high is not None
        assert label.f1_low < label.f1 < label.f1_high
    widths = [(f.f1_high or 0.0) - (f.f1_low or 0.0) for f in (often, seldom)]
    assert widths[1] > 2 * widths[0]
    never = judge_single(["x"] * 300, ["a"] * 300, ["a", "c"], scores).per_label[1]
    assert (never.n, never.f1_low, never.f1_high) == (0, None, None)


def test_multi_label_figures_are_those_counted_by_hand() -> None:
    truth = np.array([[1, 1], [1, 0], [0, 0]], bool)
    said = np.array([[1, 0], [1, 0], [0, 1]], bool)
    judged = judge_multi(["a", "b", "c"], truth, ["x", "y"], said, said.astype(float))
    values = {m.name: m.value for m in judged.measures}
    assert values["exact match"] == pytest.approx(1 / 3)
    # hits 2; said 3 and meant 3
    assert values["micro F1"] == pytest.approx(2 * 2 / 6)
    # x: 2 hits of 2 and 2; y: none
    assert values["macro F1"] == pytest.approx(0.5)
    assert {(c.true, c.predicted) for c in judged.confusions} == {("x | y", "x"), ("(none)", "y")}


def test_calibration_bins_hold_their_rows() -> None:
    bins = calibration_bins(np.array([0.95, 0.92, 0.55]), np.array([True, False, True]))
    assert [(round(b.low, 1), b.n, round(b.accuracy, 2)) for b in bins] == [
        (0.5, 1, 1.0),
        (0.9, 2, 0.5),
    ]
