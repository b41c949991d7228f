"""Audits: rates counted by hand, the interval in closed form, worst cases first, a safe page."""

import doctest
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.evaluation import audit
from shared.evaluation.audit import (
    AuditReport,
    LabelReading,
    Test,
    remembered,
    run_minimum,
    run_test,
    wilson,
)
from shared.evaluation.perturbations import Pair, Perturbation, upper_case


def read(texts: Sequence[str]) -> list[LabelReading]:
    """ "loud" is as probable as capitals are frequent."""
    found = []
    for text in texts:
        loud = sum(c.isupper() for c in text) / len(text)
        shares = {"loud": loud, "quiet": 1 - loud}
        found.append(LabelReading("loud" if loud >= 0.5 else "quiet", shares))
    return found


def first_capital(text: str, _: random.Random) -> Pair | None:
    return (text, text[0].upper() + text[1:]) if text[0].islower() else None


def made(kind: audit.Kind, perturb: Perturbation = first_capital) -> Test:
    return Test("first letter", "robustness", kind, "the label stays", perturb)


TEXTS = ["ab", "abcd", "Abcd", "a"]


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(audit).failed == 0


def test_changed_predictions_are_counted_over_the_rows_that_were_changed() -> None:
    found = run_test(made("invariance"), TEXTS, read, labels=["quiet", "quiet", "quiet", "loud"])
    # "Ab" and "A" become loud, "Abcd" stays quiet at .75; "Abcd" itself has nothing to change.
    assert (found.rows, found.failed) == (3, 2)
    assert found.rate == wilson(2, 3)
    assert found.mean_shift == pytest.approx((0.5 + 0.25 + 1) / 3)
    assert found.right_before == pytest.approx(2 / 3)
    assert found.right_after == pytest.approx(2 / 3)
    assert [case.after for case in found.worst] == ["A", "Ab", "Abcd"]
    assert [case.failed for case in found.worst] == [True, True, False]
    assert (found.worst[0].said_before, found.worst[0].said_after) == ("quiet 100%", "loud 100%")


def test_turned_round_only_a_rise_of_the_same_label_fails() -> None:
    def quieter(text: str, _: random.Random) -> Pair | None:
        return text, text.lower() + "zz"

    found = run_test(made("direction", quieter), ["Abc", "ABc", "abc"], read)
    # "Abc" was quiet at .67 and is at 1; "ABc" was loud and is quiet; "abc" was at 1 already.
    assert (found.rows, found.failed) == (3, 1)
    assert found.worst[0].before == "Abc"


def test_simple_cases_must_be_right() -> None:
    found = run_minimum("simple", "known", ["AB", "ab", "aB"], ["loud", "loud", "loud"], read)
    assert (found.rows, found.failed) == (3, 1)
    assert found.right_after == pytest.approx(2 / 3)
    assert (found.worst[0].said_before, found.worst[0].shift) == ("expected: loud", -1.0)


def test_without_rows_there_is_no_rate() -> None:
    found = run_test(made("invariance", upper_case), ["AB"], read)
    assert (found.rows, found.rate, found.mean_shift, found.worst) == (0, None, None, ())


@pytest.mark.parametrize(
    ("failed", "rows", "low", "high"),
    # Newcombe 1998, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_that_of_the_literature(
    failed: int, rows: int, low: float, high: float
) -> None:
    found = wilson(failed, rows)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_a_row_is_perturbed_alike_whoever_stands_beside_it() -> None:
    def drawn(text: str, draw: random.Random) -> Pair | None:
        return text, f"{text}{draw.random()}"

    seen: list[list[str]] = []

    def note(texts: Sequence[str]) -> list[LabelReading]:
        seen.append(list(texts))
        return read(texts)

    run_test(made("invariance", drawn), ["ab"], note)
    run_test(made("invariance", drawn), ["cd", "ab"], note)
    run_test(made("invariance", drawn), ["ab"], note, seed=14)
    alone, beside, reseeded = seen[1], seen[3], seen[5]
    assert alone == beside[1:]
    assert alone != reseeded


def test_a_text_is_read_once_and_answered_each_time() -> None:
    asked: list[str] = []

    def note(texts: Sequence[str]) -> list[LabelReading]:
        asked.extend(texts)
        return read(texts)

    reading = remembered(note)
    assert [r.label for r in reading(["AB", "ab", "AB"])] == ["loud", "quiet", "loud"]
    assert reading(["ab", "x"])[1].label == "quiet"
    assert reading([]) == []
    assert asked == ["AB", "ab", "x"]


def test_the_page_escapes_what_it_shows_and_the_json_holds_all(tmp_path: Path) -> None:
    evil = ["<script>alert(1)</script>"]
    result = run_test(made("invariance", lambda t, _: (t, t.upper())), evil, read)
    report = AuditReport("Audit", "chatbot", "bot@1", "1 row", (result,), ("note & more",))
    page = report.write(tmp_path / "deep" / "audit.html").read_text(encoding="utf-8")
    assert "<script>" not in page.lower()
    assert "&lt;script&gt;alert(1)" in page
    assert "note &amp; more" in page
    stored = json.loads((tmp_path / "deep" / "audit.json").read_text(encoding="utf-8"))
    assert stored["results"][0]["failed"] == 1
