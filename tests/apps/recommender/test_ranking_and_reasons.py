"""The final ranking learns what was planted; reasons are what removal really costs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.recommender.arrivals import new_items, places_kept, with_new_items
from apps.recommender.features import COLD, FUSED, Features, ranks, standardised
from apps.recommender.interactions import DAY, Interactions
from apps.recommender.ranking import (
    LIFTS,
    NO_LIFT,
    Ranking,
    TaughtLists,
    fit_fusion,
    fit_ranking,
    gains,
    load_ranking,
    new_item_lift,
    save_ranking,
)
from apps.recommender.reasons import reason, removal_losses, shared_words, shortened, word_counts
from apps.recommender.retrieval import CHANNELS
from apps.recommender.settings import RankingSettings
from shared.errors import ModelError

SETTINGS = RankingSettings(rounds=60, leaves=8, learning_rate=0.1)
NAMES = (*(f"z_{name}" for name in CHANNELS), "cold", "price_distance")


def lists_of(rule: str, users: int = 400, each: int = 20) -> TaughtLists:
    """Candidates with noise in every column; the taken one is the best by `rule`."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(users * each, len(NAMES))).astype(np.float32)
    values[:, NAMES.index("cold")] = 0.0
    told = {
        "together": values[:, 1] + 0.3 * rng.normal(size=len(values)),
        "near the price": -np.abs(values[:, -1] - 0.5),
    }[rule]
    user = np.repeat(np.arange(users), each)
    gain = np.zeros(len(values), np.int64)
    gain[told.reshape(users, each).argmax(1) + np.arange(users) * each] = 1
    return TaughtLists(Features(NAMES, values, np.empty((0, 0), np.float32)), user, gain)


def test_the_fusion_finds_the_channel_that_tells() -> None:
    weights = fit_fusion(lists_of("together"))
    assert weights[: len(CHANNELS)].argmax() == CHANNELS.index("together")
    assert weights[1] > 5 * np.delete(weights[: len(CHANNELS)], 1).max()
    assert (np.delete(weights, FUSED.index(COLD)) >= 0).all()


def test_lambdamart_learns_a_preference_no_weighted_sum_can_say() -> None:
    ranking = fit_ranking(lists_of("near the price"), settings=SETTINGS, seed=1, threads=1)
    assert ranking.kind == "trees"
    assert ranking.judged["fusion"] < 0.4
    assert ranking.judged["trees"] > 0.7
    assert max(ranking.importance, key=lambda name: ranking.importance[name]) == "price_distance"


def test_the_fusion_is_kept_where_trees_do_not_beat_it() -> None:
    few = lists_of("together", users=40)
    ranking = fit_ranking(few, settings=SETTINGS, seed=1, threads=1)
    assert ranking.kind == "fusion"
    assert list(ranking.judged) == ["fusion"]


@pytest.mark.parametrize("rule", ["together", "near the price"])
def test_a_saved_ranking_scores_the_same(rule: str, tmp_path: Path) -> None:
    lists = lists_of(rule)
    ranking = fit_ranking(lists, settings=SETTINGS, seed=1, threads=1)
    save_ranking(ranking, tmp_path)
    again = load_ranking(tmp_path)
    assert again.kind == ranking.kind
    assert again.score(lists.features, 1) == pytest.approx(ranking.score(lists.features, 1))


def test_trees_take_their_own_features_from_what_is_told() -> None:
    """A model of an older version is told more than it knows."""
    lists = lists_of("near the price")
    ranking = fit_ranking(lists, settings=SETTINGS, seed=1, threads=1)
    known = lists.features
    more = Features(
        ("z_recent", *known.names, "z_latest"),
        np.pad(known.values, ((0, 0), (1, 1))),
        known.spreads,
    )
    assert ranking.score(more, 1) == pytest.approx(ranking.score(known, 1))
    less = Features(known.names[:-1], known.values[:, :-1], known.spreads)
    with pytest.raises(ModelError) as caught:
        ranking.score(less, 1)
    assert str(caught.value) == (
        f"the ranking was trained on {len(NAMES)} features, got {len(NAMES) - 1}: "
        "price_distance missing"
    )


def test_the_fusion_weighs_what_is_taken_of_late() -> None:
    lists = lists_of("together")
    known = lists.features
    late = known.values[:, [NAMES.index("z_together")]]
    values = np.hstack([known.values, late, 0 * late])
    values[:, NAMES.index("z_together")] = 0.0
    names = (*NAMES, "z_recent", "z_latest")
    weights = fit_fusion(replace(lists, features=Features(names, values, known.spreads)))
    assert FUSED[weights.argmax()] == "recent"


def test_new_items_are_lifted_where_it_brings_more_than_it_may_cost() -> None:
    """Forty lists of an old item above a new one by .1, .2 … 4.0 points. In thirty the old one was
    taken, in those of .3, .6 … 3.0 the new one: each list that the lift turns costs, or brings,
    1 - 1/log2(3). The lift of 1.0 turns the lists of .1 to .9: six of the old ones, three of the
    new ones."""
    gaps = np.arange(1, 41) / 10
    scores = np.column_stack([gaps, 0 * gaps]).astype(np.float32).ravel()
    values = np.tile([[0.0], [1.0]], (40, 1)).astype(np.float32)
    new = np.arange(1, 41) % 3 == 0
    new[30:] = False
    gain = np.column_stack([~new, new]).astype(np.int64).ravel()
    lists = TaughtLists(
        Features((COLD,), values, np.empty((0, 0), np.float32)), np.repeat(np.arange(40), 2), gain
    )
    turned = 1 - 1 / np.log2(3)
    unit = np.sqrt(np.mean(gaps**2)) / 2
    lift = new_item_lift(lists, scores, cost=6.5 * turned / 30)
    # The first of the steps that turns the third, .9; to turn the next one, 1.2, costs too much.
    assert lift.by == pytest.approx(min(x * unit for x in LIFTS if x * unit > 0.9))
    assert lift.by < 1.0
    assert (lift.new_before, lift.new) == pytest.approx((1 - turned, 1 - 0.7 * turned))
    assert (lift.others_before, lift.others) == pytest.approx((1, 1 - 6 * turned / 30))
    assert lift.line.startswith("new items are lifted by 0.9")
    assert lift.line.endswith("1.0000 -> 0.9262 for the others, a price of 7.4%")
    # One list may be turned: none of the new ones is.
    assert new_item_lift(lists, scores, cost=1.5 * turned / 30) == replace(
        lift, by=0.0, new=lift.new_before, others=1.0
    )
    assert new_item_lift(lists, scores, cost=0.0) == NO_LIFT
    # Nine lists with a new item say too little.
    few = lists.keep(lists.user != 2)
    assert new_item_lift(few, scores[lists.user != 2], cost=0.5) == NO_LIFT
    ranking = Ranking((), np.zeros(len(FUSED)), None, {}, lift)
    told = lists_of("together", users=1, each=4).features
    told.values[:, NAMES.index(COLD)] = [0, 1, 0, 1]
    assert ranking.score(told).tolist() == pytest.approx([0, lift.by, 0, lift.by])


def test_a_place_of_the_first_ten_is_kept_for_a_new_item() -> None:
    """ann's best new item is her twelfth, bob's his second, cid has none."""
    user = np.repeat([0, 1, 2], 13)
    score = np.tile(np.arange(13, 0, -1), 3).astype(np.float32)
    new = np.zeros(39, bool)
    new[[11, 12, 13 + 1, 13 + 11]] = True
    dealt, moved = with_new_items(score, user, new, 1)
    assert np.flatnonzero(moved).tolist() == [11]
    assert np.argsort(-dealt[:13]).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 9, 10, 12]
    assert sorted(dealt[:13]) == sorted(score[:13])
    assert dealt[13:].tolist() == score[13:].tolist()
    dealt, moved = with_new_items(score, user, new, 2)
    assert np.argsort(-dealt[:13]).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 8, 9, 10]
    assert np.argsort(-dealt[13:26]).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 9, 10, 12]
    assert np.flatnonzero(moved).tolist() == [11, 12, 13 + 11]
    assert with_new_items(score, user, new, 0)[0].tolist() == score.tolist()


def test_new_items_get_places_by_their_share_of_the_catalogue() -> None:
    shares = {0: 0, 4: 0, 5: 1, 14: 1, 15: 2, 60: 2}
    assert {new: places_kept(np.arange(100) < new, 2) for new in shares} == shares
    assert places_kept(np.ones(100, bool), 0) == 0


def test_what_was_listed_long_ago_and_never_taken_is_dead_stock() -> None:
    """Item 0 was taken; when the log ends 1 is 10 days old, 2 is 11, the age of 3 is unknown."""
    log = Interactions(
        ("ann",), 4, np.zeros(1, np.int32), np.zeros(1, np.int32),
        np.array([100 * DAY]), np.ones(1, np.float32), has_clock=True,
    )  # fmt: skip
    created = np.array([50 * DAY, 90 * DAY, 89 * DAY, -1])
    assert np.flatnonzero(new_items(log, created, 10)).tolist() == [1, 3]
    assert np.flatnonzero(new_items(log, created, None)).tolist() == [1, 2, 3]


def test_trees_that_were_cut_short_are_refused(tmp_path: Path) -> None:
    save_ranking(fit_ranking(lists_of("near the price"), settings=SETTINGS, seed=1, threads=1),
                 tmp_path)  # fmt: skip
    (tmp_path / "ranking.txt").unlink()
    with pytest.raises(ModelError) as caught:
        load_ranking(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'ranking.txt'}: is missing from the model folder"


def test_grades_grow_with_the_weight_of_the_event() -> None:
    assert gains(np.array([0.5, 1, 3, 8, 1000], np.float32)).tolist() == [1, 1, 2, 4, 5]


def test_scores_are_standardised_and_ranked_within_a_user() -> None:
    user = np.array([0, 0, 1, 1, 1])
    score = np.array([1, 3, 7, 7, 7], np.float32)
    scaled, spread = standardised(score, user, 2)
    assert scaled.tolist() == [-1, 1, 0, 0, 0]
    assert spread.tolist() == [1, 0]
    place = ranks(np.array([1, 3, 2, 9, 5], np.float32), user)
    assert np.expm1(place) == pytest.approx([1, 0, 2, 0, 1])


def test_a_loss_is_what_recomputing_without_the_item_shows() -> None:
    rng = np.random.default_rng(4)
    weights = rng.random((3, 5))
    near = rng.random((3, 5, 2)).astype(np.float32)
    shares = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    losses = removal_losses(shares, near)
    for user in range(3):
        for gone in range(5):
            rest = np.delete(np.arange(5), gone)
            left = weights[user, rest] / weights[user, rest].sum()
            without = left @ near[user, rest]
            assert losses[user, gone] == pytest.approx(
                shares[user] @ near[user] - without, abs=1e-5
            )


def test_the_only_item_of_a_history_carries_all_of_it() -> None:
    losses = removal_losses(np.array([[0.0, 1.0]], np.float32), np.full((1, 2, 1), 0.4, np.float32))
    assert losses[0, 1, 0] == pytest.approx(0.4)


def test_a_reason_is_one_line_for_a_person() -> None:
    assert reason("Tea pot", "together", (), "popular") == (
        'because of "Tea pot": often chosen together'
    )
    assert reason("Tea pot", "words", ("tea", "pot"), "popular") == (
        'because of "Tea pot": both: tea, pot'
    )
    assert reason(None, "words", (), "popular in the last 30 days") == "popular in the last 30 days"


def test_long_titles_are_cut_at_a_blank() -> None:
    cut = shortened("word " * 30)
    assert len(cut) <= 60
    assert cut.endswith("word…")
    assert shortened("short") == "short"


def test_shared_words_are_those_of_both_texts() -> None:
    left, right = "Green Tea with the old Pot", "a pot for GREEN tea, old, with lid"
    assert shared_words(left, right, {"green": 2, "tea": 9, "pot": 1, "old": 5}) == (
        "pot", "green", "old",
    )  # fmt: skip


def test_a_word_is_counted_once_a_text() -> None:
    assert word_counts(["Tea tea pot", "TEA"]) == {"tea": 2, "pot": 1}
