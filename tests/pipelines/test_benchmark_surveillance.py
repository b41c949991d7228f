"""Our rule beside the R package `surveillance`: skipped where R has no such package."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import nbinom

import pipelines.benchmark_headlines as headlines_module
from pipelines.benchmark_headlines import measure_headlines
from pipelines.benchmark_power import drawn_stream
from pipelines.benchmark_surveillance import (
    SETTLED,
    WANTING,
    Asked,
    RScores,
    agreement,
    ask_r,
    missing_r,
)
from pipelines.surge_scenarios import Scenario, inject
from shared.errors import DataError
from shared.settings import Home
from shared.training.options import TrainOptions

WITH_R = pytest.mark.skipif(missing_r() != "", reason=missing_r())


@WITH_R
def test_thresholds_of_our_baseline_are_those_of_the_package() -> None:
    found = agreement(3, days=20, topics=3)
    assert found.days == 60
    assert found.within_one >= 0.95
    assert found.largest <= 2
    assert found.expected == pytest.approx(1.0, abs=0.01)


@WITH_R
def test_the_scores_of_the_package_are_those_of_its_own_threshold() -> None:
    rng = np.random.default_rng(4)
    counts = rng.negative_binomial(2.0, 0.5, 120)
    counts[115] = 30
    flat, ratio = ask_r([Asked("flat", counts, 110, 119), Asked("ratio", counts, 110, 119)])
    assert flat["day"].tolist() == list(range(111, 121))  # counted from 1
    phi, mean = flat["dispersion"], flat["expected"]
    chance = nbinom.sf(counts[110:] - 1, mean / (phi - 1.0), 1.0 / phi)
    assert flat["score"].to_numpy() == pytest.approx(-np.log10(chance), rel=1e-6)
    assert flat["score"].idxmax() == ratio["score"].idxmax() == 5


@WITH_R
def test_a_surge_is_asked_of_r_for_its_own_topic_alone() -> None:
    stream = drawn_stream(5, seed=2)
    days = np.arange(400, 402)
    surged = inject(stream, Scenario("s", 9.0, 2), 3, 400, np.random.default_rng(1))
    rule = RScores("weekday", stream)
    assert (rule(surged, days) == 0).all()
    assert [(one.first, one.last) for one in rule.asked] == [(400, 401)]
    rule.answers, rule.base = iter(ask_r(rule.asked)), np.zeros((stream.days, 10))
    scores = rule(surged, days)
    assert set(np.flatnonzero(scores.any(axis=0))) == {3}
    assert scores[:, 3].max() > 2
    assert SETTLED < 400


def test_without_r_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(headlines_module, "missing_r", lambda: WANTING)
    said: list[str] = []
    home = Home(tmp_path)
    ask = (home.root, ["surveillance"], TrainOptions(seed=1), home, said.append)
    assert list(measure_headlines(*ask, named=False)) == []
    assert said == [f"skipped surveillance: {WANTING}"]
    with pytest.raises(DataError) as caught:
        list(measure_headlines(*ask, named=True))
    assert str(caught.value) == WANTING
