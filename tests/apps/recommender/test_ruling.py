"""The step that lays the shop's rules over a ranking, against one user worked through in plain
Python, and by hand."""

import math
from datetime import date

import numpy as np
import pytest

from apps.recommender.day_rules import NO_LIMIT, DayRules
from apps.recommender.ruling import (
    DRAWN,
    LEFT_OUT,
    LIMITED,
    OVER_LIMIT,
    OVERTAKEN,
    VARIED,
    apply_rules,
    draw_numbers,
    fate_notes,
    kept_share,
    lot,
    rule_notes,
)

DAY = date(2026, 12, 1)


def rules(
    n: int,
    *,
    refused: dict[int, int] | None = None,
    boost: dict[int, float] | None = None,
    groups: list[list[int]] | None = None,
    most: tuple[int, ...] = (),
    unexplored: tuple[int, ...] = (),
    diversity: float = 0.0,
    explore: float = 0.0,
) -> DayRules:
    left_out, boosts = np.zeros(n, np.int16), np.zeros(n, np.float32)
    for item, why in (refused or {}).items():
        left_out[item] = why
    for item, by in (boost or {}).items():
        boosts[item] = by
    own = groups or [[] for _ in range(n)]
    padded = np.zeros((n, max(map(len, own))), np.int64)
    for item, numbers in enumerate(own):
        padded[item, : len(numbers)] = numbers
    new = np.zeros(n, bool)
    new[list(unexplored)] = True
    return DayRules(
        day=DAY,
        refusals=("blocked", "price"),
        refused=left_out,
        boosters=("", "sale"),
        boosted=(boosts != 0).astype(np.int16),
        boost=boosts,
        groups=padded,
        most=np.array((NO_LIMIT, *most), np.int64),
        unexplored=new,
        diversity=diversity,
        explore=explore,
    )


def plainly(
    item: list[int], score: list[float], given: DayRules, vectors: np.ndarray, k: int, draw: int
) -> list[int]:
    """The list of one user as its definition says it, place by place."""
    mean = math.fsum(score) / len(score)
    deviation = math.sqrt(math.fsum((s - mean) ** 2 for s in score) / len(score)) or 1.0
    value = [
        (s - mean) / deviation + float(given.boost[i]) for s, i in zip(score, item, strict=True)
    ]
    free = [c for c, i in enumerate(item) if not given.refused[i]]
    least, most = min(value[c] for c in free), max(value[c] for c in free)
    relevance = {c: (value[c] - least) / (most - least) if most > least else 0.0 for c in free}
    lots = lot(np.array([draw], np.uint64), np.array([item]))[0]
    listed: list[int] = []
    for at in range(k):
        counts = [
            sum(group in given.groups[item[c]].tolist() for c in listed)
            for group in range(len(given.most))
        ]
        left = [
            c
            for c in free
            if c not in listed
            and all(counts[g] < given.most[g] for g in given.groups[item[c]].tolist() if g)
        ]
        if not left:
            break
        new = [c for c in left if given.unexplored[item[c]]]
        if at >= k - int(given.explore * k + 0.5) and new:
            listed.append(min(new, key=lambda c: int(lots[c])))
            continue

        def worth(c: int) -> float:
            near = max([0.0, *(float(vectors[item[c]] @ vectors[item[o]]) for o in listed)])
            return (1 - given.diversity) * relevance[c] - given.diversity * near

        listed.append(max(left, key=worth))
    return listed


@pytest.mark.parametrize("seed", range(40))
def test_lists_are_those_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    users, n, depth, k = 5, 30, 18, 6
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    given = rules(
        n,
        refused={int(i): 1 for i in rng.choice(n, 6, replace=False)},
        boost={int(i): float(rng.normal()) for i in rng.choice(n, 5, replace=False)},
        groups=[sorted({int(g) for g in rng.integers(1, 5, rng.integers(0, 3))}) for _ in range(n)],
        most=(1, 2, 2, 3),
        unexplored=tuple(int(i) for i in rng.choice(n, 5, replace=False)),
        diversity=(0.0, 0.3, 0.7)[seed % 3],
        explore=(0.0, 0.34)[seed % 2],
    )
    item = np.stack([rng.choice(n, depth, replace=False) for _ in range(users)])
    score = -np.sort(-rng.normal(size=(users, depth)), axis=1).astype(np.float32)
    lengths = rng.integers(1, depth + 1, users)
    item[np.arange(depth) >= lengths[:, None]] = -1
    score[item < 0] = -np.inf
    draw = draw_numbers([f"u{row}" for row in range(users)], DAY)
    ruled = apply_rules(item, score, given, vectors, k, draw)
    for row in range(users):
        own = item[row, : lengths[row]].tolist()
        if all(given.refused[i] for i in own):
            expected: list[int] = []
        else:
            scores = score[row, : lengths[row]].tolist()
            expected = plainly(own, scores, given, vectors, k, int(draw[row]))
        assert [p for p in ruled.place[row].tolist() if p >= 0] == expected
        for column, fate in enumerate(ruled.fate[row, : lengths[row]].tolist()):
            if fate >= 0:
                assert ruled.place[row, fate] == column
            else:
                assert column not in expected
                assert (fate == LEFT_OUT) == (given.refused[own[column]] > 0)


ITEM = np.array([[0, 1, 2, 3, 4, 5]])
SCORE = np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]], np.float32)
NONE = np.zeros((6, 2), np.float32)
DRAW = draw_numbers(["ana"], DAY)


def test_rules_that_say_nothing_leave_the_ranking() -> None:
    ruled = apply_rules(ITEM, SCORE, rules(6), NONE, 4, DRAW)
    assert ruled.place.tolist() == [[0, 1, 2, 3]]
    assert ruled.fate.tolist() == [[0, 1, 2, 3]]
    assert ruled.kept.tolist() == [1.0]
    assert rule_notes(ruled, ITEM, rules(6)).tolist() == [["", "", "", ""]]


def test_what_is_left_out_makes_room_and_the_newcomer_says_for_what() -> None:
    given = rules(6, refused={0: 1, 2: 2})
    ruled = apply_rules(ITEM, SCORE, given, NONE, 3, DRAW)
    assert ruled.place.tolist() == [[1, 3, 4]]
    assert rule_notes(ruled, ITEM, given).tolist() == [
        ["", "moved up for items left out: blocked, price",
         "moved up for items left out: blocked, price"]
    ]  # fmt: skip
    assert fate_notes(ruled, ITEM, given, 0) == ["left out: blocked", "place 1", "left out: price"]


def test_a_boost_is_counted_in_deviations_of_the_scores() -> None:
    """5…0 deviate by √(35 / 12) = 1.708: item 4 needs 4 / 1.708 = 2.342 of it to be the first."""
    for boost, place in ((2.3, 1), (2.4, 0)):
        given = rules(6, boost={4: boost})
        ruled = apply_rules(ITEM, SCORE, given, NONE, 3, DRAW)
        assert ruled.place[0].tolist().index(4) == place
        assert rule_notes(ruled, ITEM, given)[0, place] == "promoted: sale"
    given = rules(6, boost={0: -3.0})
    ruled = apply_rules(ITEM, SCORE, given, NONE, 3, DRAW)
    assert ruled.place.tolist() == [[1, 2, 3]]
    assert fate_notes(ruled, ITEM, given, 0) == ["held back: sale", "place 1", "place 2"]
    assert rule_notes(ruled, ITEM, given)[0, 2] == "moved up for items left out"


def test_a_full_group_lets_the_next_one_pass() -> None:
    given = rules(6, groups=[[1], [1], [1, 2], [2], [2], []], most=(2, 1))
    ruled = apply_rules(ITEM, SCORE, given, NONE, 4, DRAW)
    assert ruled.place.tolist() == [[0, 1, 3, 5]]
    assert ruled.why.tolist() == [[0, 0, OVER_LIMIT, OVER_LIMIT]]
    assert ruled.fate.tolist() == [[0, 1, LIMITED, 2]]
    assert rule_notes(ruled, ITEM, given)[0, 2] == "moved up: a group before it is full"


def test_variety_prefers_what_is_not_like_what_stands_above() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [0, 1], [0, 0]], np.float32)
    given = rules(6, diversity=0.5)
    ruled = apply_rules(ITEM, SCORE, given, vectors, 3, DRAW)
    # Halves of: 0 -> 1; then .8 - 1 against .6; then .8 - 1, .4 - 1, .2 - 1 against 0 of item 5.
    assert ruled.place.tolist() == [[0, 2, 5]]
    assert ruled.why.tolist() == [[0, VARIED, VARIED]]
    assert ruled.fate.tolist() == [[0, OVERTAKEN, 1]]
    assert rule_notes(ruled, ITEM, given)[0, 1] == "moved up for variety"


def test_the_last_places_are_drawn_evenly_and_the_same_all_day() -> None:
    given = rules(6, unexplored=(3, 4, 5), explore=0.5)
    people = [f"user{number}" for number in range(3000)]
    item, score = np.repeat(ITEM, 3000, 0), np.repeat(SCORE, 3000, 0)
    ruled = apply_rules(item, score, given, NONE, 2, draw_numbers(people, DAY))
    assert (ruled.place[:, 0] == 0).all()
    assert (ruled.why[:, 1] == DRAWN).all()
    counts = np.bincount(ruled.place[:, 1], minlength=6)
    assert counts[:3].tolist() == [0, 0, 0]
    # 1,000 each; the deviation of a count is √(3000 · 2/9) = 25.8.
    assert np.abs(counts[3:] - 1000).max() < 4 * 25.8
    assert rule_notes(ruled, item, given)[0, 1] == "still new: drawn by lot from 3"
    again = apply_rules(item[:7], score[:7], given, NONE, 2, draw_numbers(people[:7], DAY))
    assert again.place.tolist() == ruled.place[:7].tolist()
    tomorrow = apply_rules(item, score, given, NONE, 2, draw_numbers(people, date(2026, 12, 2)))
    assert (tomorrow.place != ruled.place).any()


def test_where_nothing_is_new_the_ranking_fills_the_places() -> None:
    ruled = apply_rules(ITEM, SCORE, rules(6, explore=0.5), NONE, 4, DRAW)
    assert ruled.place.tolist() == [[0, 1, 2, 3]]


def test_a_list_may_be_shorter_than_asked_for() -> None:
    item, score = np.array([[0, 1, -1], [-1, -1, -1]]), np.array([[1, 0, -np.inf], [-np.inf] * 3])
    draw = draw_numbers(["ana", "bo"], DAY)
    ruled = apply_rules(item, score.astype(np.float32), rules(6, refused={0: 1}), NONE, 3, draw)
    assert ruled.place.tolist() == [[1, -1, -1], [-1, -1, -1]]
    assert ruled.kept[1] == 1.0


def test_the_kept_share_by_hand() -> None:
    """Odds 4 : 2 : 1. Own list 4 + 2 / log2(3); turned round 2 + 4 / log2(3); the third alone."""
    score = np.log(np.array([[4.0, 2.0, 1.0]] * 3)).astype(np.float32)
    kept = kept_share(score, np.array([[0, 1], [1, 0], [2, -1]]), 2)
    own = 4 + 2 / math.log2(3)
    assert kept == pytest.approx([1.0, (2 + 4 / math.log2(3)) / own, 1 / own], abs=1e-6)
