"""Trials with users: assignment, team draft, analysis against closed forms and simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from apps.recommender.trial import Arm, arms_of, draw, interleaved, team_draft
from apps.recommender.trial_analysis import (
    analyse_interleaved,
    analyse_split,
    credited,
    mean_effect,
    rate_effect,
    users_needed,
    vote_effect,
    wilson,
)
from shared.errors import DataError

USERS = [f"user{number}" for number in range(20_000)]
OLD, NEW = "shop@1", "shop@2"


def test_an_arm_follows_from_trial_and_user_alone() -> None:
    arms = [Arm(OLD, 0.5), Arm(NEW, 0.5)]
    one = arms_of("spring", USERS, arms)
    assert arms_of("spring", USERS[::-1], arms) == one[::-1]
    assert draw("spring", "user1") == pytest.approx(draw("spring", "user1"))
    # Another trial divides the users anew: the two assignments are independent.
    other = arms_of("autumn", USERS, arms)
    table = pd.crosstab(np.array(one), np.array(other))
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_shares_are_kept_and_draws_are_even() -> None:
    counts = pd.Series(arms_of("s", USERS, [Arm("a", 0.7), Arm("b", 0.2), Arm("c", 0.1)]))
    found = counts.value_counts()
    assert (
        stats.chisquare([found["a"], found["b"], found["c"]], [14_000, 4_000, 2_000]).pvalue > 0.001
    )
    assert stats.kstest([draw("s", user) for user in USERS], "uniform").pvalue > 0.001


@pytest.mark.parametrize(
    ("arms", "told"),
    [
        ([Arm("a", 1.0)], "arms a 1: expected two or more with shares above 0 that sum to 1"),
        ([Arm("a", 0.5), Arm("b", 0.6)],
         "arms a 0.5, b 0.6: expected two or more with shares above 0 that sum to 1"),
        ([Arm("a", 0.5), Arm("a", 0.5)], "arms a, a: expected different versions"),
    ],
)  # fmt: skip
def test_arms_that_make_no_trial(arms: list[Arm], told: str) -> None:
    with pytest.raises(DataError) as caught:
        arms_of("s", ["u"], arms)
    assert str(caught.value) == told


def test_a_team_draft_takes_each_captain_s_best_in_turn() -> None:
    starts = set()
    for seed in range(20):
        found = team_draft([*"abcd"], [*"bxyz"], 4, np.random.default_rng(seed))
        items, teams = [item for item, _ in found], [team for _, team in found]
        assert len(set(items)) == 4
        assert teams[:2].count(0) == teams[2:].count(0) == 1  # one pick of each in a round
        starts.add(tuple(items[:2]))
    # a first: then b is the other's best; b first: then a.
    assert starts == {("a", "b"), ("b", "a")}


def test_equal_lists_credit_both_arms_alike() -> None:
    """The draft is fair: over many users a click on any place goes to either arm half the time."""
    teams = np.array(
        [[team for _, team in team_draft([*"abcdef"], [*"abcdef"], 6, np.random.default_rng(s))]
         for s in range(2000)]
    )  # fmt: skip
    assert teams.mean(0) == pytest.approx(np.full(6, 0.5), abs=0.05)


def test_a_list_that_ends_early_passes_and_none_is_no_list() -> None:
    rng = np.random.default_rng(0)
    assert sorted(team_draft(["a"], [*"bcd"], 9, rng)) == [("a", 0), ("b", 1), ("c", 1), ("d", 1)]
    assert team_draft([], [], 3, rng) == []


def test_interleaved_lists_keep_score_and_reason_of_who_picked() -> None:
    def lists(items: str, reason: str) -> pd.DataFrame:
        return pd.DataFrame(
            [("u", item, rank, 1.0 / rank, reason) for rank, item in enumerate(items, 1)],
            columns=["user_id", "item_id", "rank", "score", "reason"],
        )

    both = (lists("ab", "old"), lists("cd", "new"))
    frame = interleaved("t", (OLD, NEW), both, 3)
    assert frame["rank"].tolist() == [1, 2, 3]
    assert (frame["reason"] == frame["arm"].map({OLD: "old", NEW: "new"})).all()
    pd.testing.assert_frame_equal(frame, interleaved("t", (OLD, NEW), both, 3))


def test_events_count_on_what_was_shown_in_the_days_of_the_trial() -> None:
    lists = pd.DataFrame({"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"],
                          "arm": [OLD, OLD, NEW]})  # fmt: skip
    days = pd.to_datetime(["2024-01-01", "2024-01-05", "2024-01-08", "2024-01-05"], utc=True)
    events = pd.DataFrame({"user_id": ["u", "u", "u", "v"], "item_id": ["a", "b", "a", "b"],
                           "timestamp": days, "weight": 1.0})  # fmt: skip
    begins, ends = pd.Timestamp("2024-01-02", tz="UTC"), pd.Timestamp("2024-01-08", tz="UTC")
    found = credited(lists, events, begins, ends)
    assert found[["user_id", "item_id", "arm"]].to_numpy().tolist() == [["u", "b", OLD]]


def test_a_difference_of_rates_as_published() -> None:
    """Newcombe 1998, table II, example (a), 56/70 against 48/80: .0524 to .3339 by method 10."""
    found = rate_effect("m", 48, 80, 56, 70)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    # The pooled z-test is Pearson's chi-square of the same table.
    table = [[48, 32], [56, 14]]
    assert found.p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_a_difference_of_means_is_welch_s() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, 40), rng.normal(1, 3, 25)
    found = mean_effect("m", one, other)
    welch = stats.ttest_ind(other, one, equal_var=False)
    interval = welch.confidence_interval()
    assert (found.p, found.low, found.high) == pytest.approx(
        (welch.pvalue, interval.low, interval.high)
    )
    same = mean_effect("m", np.zeros(3), np.zeros(3))
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_sizes_and_least_effects_by_closed_form() -> None:
    assert users_needed(0.10, 0.02) == 3841
    # The least effect is 2.8016 standard errors: 1.9600 for 5 %, 0.8416 for 80 %.
    found = rate_effect("m", 500, 1000, 500, 1000)
    assert found.least == pytest.approx(2.8016 * np.sqrt(0.5 * 0.5 * 2 / 1000), rel=1e-4)


def test_a_true_effect_of_that_size_is_found_in_four_of_five_trials() -> None:
    rng = np.random.default_rng(1)
    n, rate = 2000, 0.3
    least = rate_effect("m", int(n * rate), n, int(n * rate), n).least
    found = np.array([
        rate_effect("m", int(x0), n, int(x1), n).p < 0.05
        for x0, x1 in zip(rng.binomial(n, rate, 150), rng.binomial(n, rate + least, 150),
                          strict=True)
    ])  # fmt: skip
    assert found.mean() == pytest.approx(0.8, abs=0.09)


def test_intervals_of_votes_hold_the_truth_in_95_of_100_cases() -> None:
    rng = np.random.default_rng(2)
    held = []
    for _ in range(250):
        wins, losses, _ties = rng.multinomial(60, [0.4, 0.3, 0.3])
        found = vote_effect("m", int(wins), int(losses), 60)
        held.append(found.low <= 0.05 <= found.high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.04)
    # Five of five: the sign test.
    assert vote_effect("m", 5, 0, 5).p == pytest.approx(2 * 0.5**5)
    assert vote_effect("m", 0, 0, 0).verdict == "not told apart"


def split_lists(first: int, second: int) -> pd.DataFrame:
    arms = [OLD] * first + [NEW] * second
    users = [f"u{number}" for number in range(len(arms))]
    return pd.DataFrame({"user_id": users, "item_id": "a", "rank": 1, "arm": arms})


def test_a_split_is_measured_over_all_users_shown_something() -> None:
    lists = split_lists(100, 100)
    hits = lists[lists.index.isin([*range(10), *range(100, 130)])].assign(weight=8.0)
    found = analyse_split(lists, hits, [OLD, NEW], [0.5, 0.5])
    assert [(arm.users, arm.takers, arm.value) for arm in found.arms] == [
        (100, 10, 80.0), (100, 30, 240.0)
    ]  # fmt: skip
    rate, worth = found.effects
    assert rate.value == pytest.approx(0.2)
    assert rate.verdict == "better"
    assert worth.value == pytest.approx(1.6)
    assert found.mismatch == pytest.approx(1.0)
    # What was taken back is no taking.
    back = pd.concat([hits, hits.iloc[:10].assign(weight=-8.0)])
    assert analyse_split(lists, back, [OLD, NEW], [0.5, 0.5]).arms[0].takers == 0


def test_arms_of_other_sizes_than_wanted_are_not_believed() -> None:
    found = analyse_split(split_lists(1000, 800), split_lists(1, 1).assign(weight=1.0),
                          [OLD, NEW], [0.5, 0.5])  # fmt: skip
    assert found.mismatch == pytest.approx(stats.chisquare([1000, 800]).pvalue)
    assert "is not to be believed" in found.lines[-1]
    with pytest.raises(DataError, match=r"^arm shop@2: 0 users; two are the least to compare$"):
        analyse_split(split_lists(9, 0), split_lists(1, 0).assign(weight=1.0), [OLD, NEW], [1, 1])


def test_interleaved_users_vote() -> None:
    shown = pd.DataFrame({"user_id": ["u", "u", "v", "w", "x"], "item_id": [*"abaaa"],
                          "arm": [OLD, NEW, NEW, NEW, OLD]})  # fmt: skip
    hits = shown.iloc[:4].assign(weight=[1.0, 1.0, 8.0, 2.0])
    found = analyse_interleaved(shown, hits, [OLD, NEW])
    (effect,) = found.effects
    assert effect.second == pytest.approx((2 + 0.5) / 3)
    assert found.notes == ("2 users prefer shop@2, 0 prefer shop@1, 1 neither",)
    with pytest.raises(DataError, match=r"^user 'u' is in two arms: these lists are interleaved$"):
        analyse_split(shown, hits, [OLD, NEW], [0.5, 0.5])
