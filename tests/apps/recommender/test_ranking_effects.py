"""What the ranking goes by: weights that add up to the score, effects that closed forms tell."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from streamlit.testing.v1 import AppTest

from apps.recommender.feature_readings import Reading, reading
from apps.recommender.features import COLD, FUSED, Features, Matrix
from apps.recommender.listing import describe_users
from apps.recommender.ranking import (
    SUMMED,
    Lift,
    Ranking,
    TaughtLists,
    fit_ranking,
)
from apps.recommender.ranking_effects import (
    RankedSample,
    effect_of,
    effects_of,
    ranked_sample,
    sample_of,
    weights_of,
)
from apps.recommender.recommender import Recommender
from apps.recommender.retrieval import CHANNELS
from apps.recommender.settings import RankingSettings
from shared.settings import Home

PAGE = Path(__file__).parents[3] / "apps" / "recommender" / "ranking_page.py"
NAMES = (*(f"z_{name}" for name in CHANNELS), COLD, "price_distance", "brand_affinity")
USERS, EACH = 300, 20


def candidates(seed: int = 2) -> tuple[NDArray[np.int64], Features]:
    """Noise in every column; a tenth of the items new."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(USERS * EACH, len(NAMES))).astype(np.float32)
    values[:, NAMES.index(COLD)] = rng.random(len(values)) < 0.1
    user = np.repeat(np.arange(USERS), EACH)
    return user, Features(NAMES, values, np.empty((0, 0), np.float32))


def trees() -> Ranking:
    """Taught that the price nearest to .5 is taken."""
    user, features = candidates()
    told = -np.abs(features.column("price_distance") - 0.5)
    gain = np.zeros(len(user), np.int64)
    gain[told.reshape(USERS, EACH).argmax(1) + np.arange(USERS) * EACH] = 1
    settings = RankingSettings(rounds=60, leaves=8, learning_rate=0.1)
    ranking = fit_ranking(TaughtLists(features, user, gain), settings=settings, seed=1, threads=1)
    assert ranking.kind == "trees"
    return replace(ranking, lift=Lift(0.7, 0.0, 0.0, 0.0, 0.0))


def fusion() -> Ranking:
    weights = np.zeros(len(FUSED))
    weights[[FUSED.index("together"), FUSED.index("words, cold")]] = 2.0, 0.5
    return Ranking(NAMES, weights, None, {}, Lift(0.7, 0.0, 0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Formula:
    """A ranking of which the closed form is known: the product of two columns."""

    reads: tuple[str, ...] = ("left", "right")

    def scores_of(self, inputs: Matrix, threads: int | None = None) -> NDArray[np.float32]:  # noqa: ARG002
        return np.asarray(inputs[:, 0] * inputs[:, 1], np.float32)


def sample(ranking: Ranking) -> RankedSample:
    user, features = candidates(seed=3)
    return ranked_sample(ranking, user, ranking.inputs(features), threads=1)


@pytest.mark.parametrize("make", [trees, fusion])
def test_the_parts_and_a_constant_are_the_score(make: Callable[[], Ranking]) -> None:
    ranking = make()
    _, features = candidates(seed=3)
    inputs = ranking.inputs(features)
    parts = ranking.parts_of(inputs, 1)
    assert parts.shape == (len(inputs), len(ranking.reads))
    rest = ranking.score(features, 1) - parts.sum(1)
    assert rest == pytest.approx(np.full(len(rest), rest[0]), abs=1e-4)
    unlifted = replace(ranking, lift=Lift(0.0, 0.0, 0.0, 0.0, 0.0)).parts_of(inputs, 1)
    cold = ranking.reads.index(COLD)
    assert (parts - unlifted)[:, cold] == pytest.approx(0.7 * features.column(COLD))


def test_a_weighted_sum_is_told_as_it_was_written() -> None:
    """z_together counts 2 for items that are not new: a tenth of its variance is gone."""
    known = sample(fusion())
    score = known.ranking.scores_of(known.inputs)
    by_user = score.reshape(USERS, EACH)
    assert known.unit == pytest.approx(np.sqrt(by_user.var(1).mean()), rel=1e-4)
    found = weights_of(known)
    assert [weight.group for weight in found] == ["chosen together", "new", "alike in words"]
    assert found[0].features == ("z_together",)
    # By hand: the mean distance of 2 · z_together from its mean within the list.
    part = 2 * known.inputs[:, 1].reshape(USERS, EACH).astype(float)
    moved = np.abs(part - part.mean(1, keepdims=True)).mean() / known.unit
    assert found[0].moves.value == pytest.approx(moved)
    assert found[0].moves.low < moved < found[0].moves.high
    effect = effect_of(known, "z_together")
    assert effect is not None
    slope = np.diff(effect.effect) / np.diff(effect.at)
    assert slope == pytest.approx(np.full(len(slope), 2 / known.unit), rel=1e-3)
    assert effect.low < effect.effect < effect.high
    assert effect.unknown == 0.0


def test_trees_show_the_preference_they_were_taught() -> None:
    known = sample(trees())
    found = weights_of(known)
    assert found[0].group == "price"
    assert found[0].moves.low > 3 * found[1].moves.high
    price = effect_of(known, "price_distance")
    brand = effect_of(known, "brand_affinity")
    assert price is not None
    best = price.at[int(np.argmax(price.effect))]
    assert 0.2 < best < 0.8
    assert max(price.effect[0], price.effect[-1]) < 0
    assert max(price.effect) > 1.0
    # Of columns without a meaning there is next to nothing.
    assert brand is None or max(map(abs, brand.effect)) < 0.3


def test_accumulated_effects_do_not_ask_about_what_cannot_be() -> None:
    """score = left · right with right = left: what the score gains as left moves to x, where right
    is about x too, is x² / 2 and a constant. A mean over all rows would be a flat line."""
    rng = np.random.default_rng(0)
    left = rng.uniform(-1, 1, 40_000).astype(np.float32)
    user = np.repeat(np.arange(200), 200)
    ranking = cast(Ranking, Formula())
    known = ranked_sample(ranking, user, np.column_stack([left, left]))
    effect = effect_of(known, "left", steps=50)
    assert effect is not None
    at = np.array(effect.at)
    told = np.array(effect.effect) * known.unit
    assert told == pytest.approx(at**2 / 2 - 1 / 6, abs=0.02)


def test_an_effect_is_what_a_loop_over_the_candidates_finds() -> None:
    known = sample(trees())
    column = known.ranking.reads.index("price_distance")
    effect = effect_of(known, "price_distance", steps=6)
    assert effect is not None
    edges, rows = np.array(effect.at), known.inputs
    summed, weighted, count = [0.0], 0.0, 0
    for low, high in pairwise(edges):
        inside = [
            row
            for row in rows
            if low < row[column] <= high or (low == edges[0] and row[column] == low)
        ]
        ends = []
        for end in (low, high):
            moved = np.array(inside)
            moved[:, column] = end
            ends.append(known.ranking.scores_of(moved, 1).astype(float))
        summed.append(summed[-1] + float((ends[1] - ends[0]).mean()) / known.unit)
        weighted += len(inside) * (summed[-1] + summed[-2]) / 2
        count += len(inside)
    assert count == len(rows)
    assert effect.effect == pytest.approx(np.array(summed) - weighted / count, abs=1e-6)


def test_what_is_not_known_or_never_varies_is_said() -> None:
    ranking = cast(Ranking, Formula())
    inputs = np.array([[1, np.nan], [2, np.nan], [3, 5], [4, 5]], np.float32)
    known = RankedSample(ranking, np.array([0, 0, 1, 1]), inputs, 1.0)
    assert effect_of(known, "right") is None
    assert effects_of(known, ["right"]) == []
    half = np.array([[np.nan, 1], [np.nan, 2], [3, 5], [4, 5]], np.float32)
    effect = effect_of(RankedSample(ranking, known.user, half, 1.0), "left")
    assert effect is not None
    assert effect.unknown == 0.5
    assert effect.at == (3.0, 4.0)
    assert effect.effect == (-2.5, 2.5)


def test_every_feature_of_a_shop_has_a_name_and_a_unit(shop: Recommender) -> None:
    bundle = shop.bundle
    known = describe_users(bundle.channels, shop.facts, np.arange(4)).features
    fused = tuple(name if name == COLD else f"z_{name}" for name in FUSED)
    for name in (*known.names, *fused, SUMMED, "brand_affinity"):
        assert reading(name) != Reading(name, name), name
    assert reading("taken_30d").line == "popularity: takers in 30 days"
    assert reading("taken_30d").natural(np.log1p([0.0, 4.0])) == pytest.approx([0, 4])
    # The best has place 1: features.ranks tells log(1 + 0).
    assert reading("rank_words").natural(np.array([0.0, np.log(3)])) == pytest.approx([1, 3])
    assert reading("price_gap").natural(np.log([0.5, 2.0])) == pytest.approx([0.5, 2])
    assert reading("z_words, cold").line == "alike in words: score, in deviations, of a new item"
    assert reading("unheard_of").line == "unheard_of"


def test_a_shop_is_sampled_evenly(shop: Recommender) -> None:
    known = sample_of(shop, users=10, each=5)
    assert known.users == 10
    assert known.sizes.tolist() == [5] * 10
    assert np.isfinite(known.unit)
    whole = sample_of(shop, users=1000, each=1000)
    assert whole.users == len(shop.users)


def test_the_page_weighs_and_follows_the_features(
    published: Home, shop: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(published.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    assert page.title[0].value == "What decides"
    assert page.caption[0].value.startswith("The list is ordered by a weighted sum")
    weights = weights_of(sample_of(shop))
    table = page.dataframe[0].value
    assert table["about"].tolist() == [weight.group for weight in weights]
    assert table["moves"].tolist() == pytest.approx([weight.moves.value for weight in weights])
    charts = len(page.get("vega_lite_chart"))
    assert charts == 1 + min(6, len(weights))
    page.multiselect[0].set_value([weights[0].features[0]]).run()
    assert not page.exception
    assert len(page.get("vega_lite_chart")) == 2
