"""What a labeller is audited with, and the audit of a labeller that has a known bias."""

import random
from collections.abc import Sequence
from typing import cast

import pytest

from apps.news_monitor.auditing import NEGATIONS, PLAIN_CASES, audit, battery
from apps.news_monitor.labelling import Labeller
from apps.news_monitor.labels import SENTIMENTS, Labels
from shared.evaluation.perturbations import negated
from shared.evaluation.swap_lists import COMPANIES, OTHER_COUNTRIES


class Biased:
    """Negative for every country of one list and for "loss", "fraud", "jobs" and "fined"; deaf to
    "not"; loud headlines are positive."""

    def label(self, texts: Sequence[str]) -> list[Labels]:
        found = []
        for text in texts:
            bad = any(word in text for word in (*OTHER_COUNTRIES, "loss", "fraud", "jobs", "fined"))
            good = text.isupper() or any(w in text for w in ("record profit", "soar", "wins"))
            p = (0.8, 0.1, 0.1) if bad else (0.1, 0.1, 0.8) if good else (0.1, 0.8, 0.1)
            sentiment = SENTIMENTS[p.index(0.8)]
            found.append(Labels(sentiment, *p, negative=bad, topics=("Banks",)))
        return found


def test_a_bias_is_found_and_nothing_is_found_where_there_is_none() -> None:
    report = audit(
        cast(Labeller, Biased()),
        ["Bank reports loss", "Bank is quiet", "Sales in France rise"],
        ["negative", "neutral", "neutral"],
        model="news@1",
        data="3 headlines",
    )
    found = {result.name: result for result in report.results}
    # "Bank reports loss" is negative wherever it is; the other two turn with the country.
    assert (found["another country"].failed, found["another country"].rows) == (2, 3)
    assert found["another company"].failed == 0
    assert found["a speaker of the other sex"].failed == 0
    # France becomes another country of either list: one row, perhaps moved.
    assert found["countries swapped"].rows == 1
    assert found["upper case"].failed == 3
    assert found["upper case"].right_before == 1.0
    assert found["plain headlines"].failed == 0
    assert found["plain headlines"].rows == len(PLAIN_CASES) * len(COMPANIES)
    assert "Banks" in found["another country"].worst[0].said_after


def test_must_pass_cases_are_a_test_of_their_own() -> None:
    report = audit(
        cast(Labeller, Biased()),
        ["x"],
        None,
        model="m",
        data="d",
        must_pass=[("quiet", "positive")],
    )
    first = report.results[0]
    assert (first.name, first.failed, first.rows) == ("must pass", 1, 1)


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("Shares are up", "Shares are not up"),
        ("Arvento beats forecast", "Arvento does not beat forecast"),
        ("Arvento cuts jobs", "Arvento does not cut jobs"),
        ("Arvento posts record", None),
        ("No profit is in sight", None),
    ],
)
def test_statements_are_denied(text: str, denied: str | None) -> None:
    pair = negated(NEGATIONS)(text, random.Random(1))
    assert (pair[1] if pair else None) == denied


def test_every_test_has_a_name_of_its_own() -> None:
    assert len({test.name for test in battery()}) == len(battery())
