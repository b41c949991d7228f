"""Splits, recency weights, neighbours and popularity against hand counts and brute force."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp

from apps.recommender.interactions import DAY, Interactions
from apps.recommender.neighbours import (
    RELATIVES,
    co_occurrence,
    keep_largest,
    relatives,
    row_blocks,
    row_largest,
    worded_alike,
)
from apps.recommender.popularity import item_clock, popularity, windowed_order
from apps.recommender.profiles import (
    histories,
    profile_matrix,
    recency_weights,
    stretches,
)
from apps.recommender.retrieval import alike_in_meaning, row_index
from apps.recommender.settings import ProfileSettings, RecommenderSettings
from apps.recommender.splits import choose_split, leave_last_out, time_split, without_items
from apps.recommender.vectors import fit_whitening
from shared.errors import DataError

Build = Callable[..., Interactions]


def test_the_last_item_of_each_user_with_two_is_held_out(log_of: Build) -> None:
    split = leave_last_out(log_of({"ann": [0, 1, 2], "bob": [3], "eve": [1, 0]}, 4))
    assert split.user.tolist() == [0, 2]
    assert split.item.tolist() == [2, 0]
    assert split.known.item.tolist() == [0, 1, 3, 1]


def test_of_users_who_choose_one_more_is_held_out_for_twenty_items(log_of: Build) -> None:
    log = log_of({"ann": list(range(45)), "bob": [0, 1, 2], "eve": list(range(40)), "kim": [3]}, 45)
    split = leave_last_out(log, np.array([True, True, False, True]))
    assert split.user.tolist() == [0, 0, 0, 1, 2]
    assert split.item.tolist() == [42, 43, 44, 2, 39]
    long = leave_last_out(log_of({"ann": list(range(300))}, 300), np.array([True]))
    assert split.known.n_users == 4
    assert long.item.tolist() == [295, 296, 297, 298, 299]


def test_hidden_items_are_targets_but_not_known(log_of: Build) -> None:
    split = leave_last_out(log_of({"ann": [0, 1, 2], "bob": [2, 1], "eve": [1, 2, 0]}, 3))
    hidden = without_items(split, np.array([False, False, True]))
    assert hidden.item.tolist() == [2, 1, 0]
    assert hidden.known.item.tolist() == [0, 1, 1]
    assert np.diff(hidden.known.starts).tolist() == [2, 0, 1]


def test_a_cut_in_time_is_one_moment_for_all(log_of: Build) -> None:
    split = time_split(log_of({"ann": [0, 1, 2, 3], "bob": [1]}, 4), 0.4)
    assert split.known.time.max() < split.when.min()
    assert split.item.tolist() == [2, 3]


def test_time_is_not_asked_of_a_log_without_a_clock(log_of: Build) -> None:
    with pytest.raises(DataError) as caught:
        choose_split(log_of({"ann": [0, 1]}, 2), RecommenderSettings(held_out="time"))
    assert str(caught.value) == (
        "[recommender] held_out = 'time': the events have no time stamps; use 'last' or 'auto'"
    )


def test_users_with_one_item_each_teach_nothing(log_of: Build) -> None:
    with pytest.raises(DataError, match="none of the 2 users has two items in the log"):
        choose_split(log_of({"ann": [0], "bob": [1]}, 2), RecommenderSettings())


def test_recency_weights_by_hand(log_of: Build) -> None:
    log = log_of({"ann": [0, 1, 2], "bob": [3]}, 4)
    past = histories(log, np.array([0, 1]), 10)
    weights = recency_weights(past, ProfileSettings(decay=0.5), has_clock=False)
    assert weights[0] == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert weights[1] == pytest.approx([0, 0, 1])
    profile = profile_matrix(past, weights, 4).toarray()
    assert profile[0] == pytest.approx([1 / 7, 2 / 7, 4 / 7, 0])


def test_a_half_life_halves_what_lies_that_long_back() -> None:
    log = Interactions(
        ("ann",), 2, np.zeros(2, np.int32), np.array([0, 1], np.int32),
        np.array([0, 10 * DAY]), np.array([4.0, 1.0], np.float32), True,
    )  # fmt: skip
    past = histories(log, np.array([0]), 5)
    settings = ProfileSettings(decay=1.0, half_life_days=10)
    # sqrt(4) / 2 against sqrt(1): even
    assert recency_weights(past, settings, has_clock=True)[0] == pytest.approx([0.5, 0.5])


def test_a_history_is_cut_to_the_newest_items(log_of: Build) -> None:
    past = histories(log_of({"ann": [0, 1, 2, 3], "bob": [2]}, 4), np.array([1, 0]), 2)
    assert past.items.tolist() == [[0, 2], [2, 3]]
    assert past.present.tolist() == [[False, True], [True, True]]


def test_stretches_hold_each_next_item_once(log_of: Build) -> None:
    log = log_of({"ann": [1, 2, 3, 4, 5], "bob": [7], "eve": [6, 8, 9]}, 10)
    cut = stretches(log, np.arange(3), 3)
    assert cut.items.tolist() == [[3, 4, 5], [1, 2, 3], [0, 0, 7], [6, 8, 9]]
    assert cut.lengths.tolist() == [3, 3, 1, 3]
    short = stretches(log, np.array([0]), 4)
    assert short.items.tolist() == [[2, 3, 4, 5], [0, 0, 1, 2]]
    assert short.present.tolist() == [[True] * 4, [False, False, True, True]]


@pytest.mark.parametrize("products", [1, 500, 10**6])
def test_co_occurrence_is_the_shrunk_cosine_of_brute_force(products: int) -> None:
    rng = np.random.default_rng(5)
    taken = rng.random((40, 12)) < 0.3
    user, item = np.nonzero(taken)
    log = Interactions(
        tuple(map(str, range(40))), 12, user.astype(np.int32), item.astype(np.int32),
        np.zeros(len(user), np.int64), np.ones(len(user), np.float32), False,
    )  # fmt: skip
    both = taken.T.astype(float) @ taken
    count = taken.sum(0)
    expected = both / (np.sqrt(np.outer(count, count)) + 2.0)
    np.fill_diagonal(expected, 0)
    table = co_occurrence(log, neighbours=12, shrink=2.0, products=products)
    assert table.toarray() == pytest.approx(expected, abs=1e-6)
    three = co_occurrence(log, neighbours=3, shrink=2.0, products=products).toarray()
    assert np.sort(three, 1)[:, -3:] == pytest.approx(np.sort(expected, 1)[:, -3:], abs=1e-6)
    assert ((three > 0).sum(1) <= 3).all()


@pytest.mark.parametrize("products", [1, 10**6])
def test_items_worded_alike_are_neighbours_in_english_and_chinese(products: int) -> None:
    texts = ["green tea", "green tea pot", "red shoe", "绿茶", "绿茶杯", ""]
    table = worded_alike(texts, neighbours=3, products=products).toarray()
    assert table[0].argmax() == 1
    assert table[3].argmax() == 4
    assert table[0, 0] == 0
    assert not table[5].any()


def test_rows_are_multiplied_as_many_at_once_as_memory_allows() -> None:
    rng = np.random.default_rng(1)
    left = sp.csr_matrix(rng.random((50, 30)) < 0.2, dtype=np.float32)
    right = sp.csr_matrix(rng.random((30, 40)) < 0.3, dtype=np.float32)
    products = (left.toarray() > 0).astype(int) @ (right.toarray() > 0).sum(1)
    blocks = list(row_blocks(left, right, 200))
    assert [block.start for block in blocks] == [0, *(block.stop for block in blocks[:-1])]
    assert blocks[-1].stop == 50
    for block in blocks:
        assert products[block].sum() <= 200
        # One row more would not have gone in.
        assert block.stop == 50 or products[block.start : block.stop + 1].sum() > 200
    assert all(block.stop - block.start == 1 for block in row_blocks(left, right, 1))
    assert list(row_blocks(left[:0], right, 200)) == []


def test_the_largest_of_each_row_come_best_first() -> None:
    matrix = sp.csr_matrix(np.array([[0, 3, 1, 2], [0, 0, 0, 0], [5, -1, 0, 0]], np.float32))
    columns, values = row_largest(keep_largest(matrix, 2), 3)
    assert columns.tolist() == [[1, 3, -1], [-1, -1, -1], [0, -1, -1]]
    assert values.tolist() == [[3, 2, 0], [0, 0, 0], [5, 0, 0]]


def clocked() -> Interactions:
    """Item 0 three times long ago, item 1 twice now, item 2 never."""
    days = np.array([0, 1, 2, 100, 101])
    return Interactions(
        tuple("abcde"), 3, np.arange(5, dtype=np.int32), np.array([0, 0, 0, 1, 1], np.int32),
        days * DAY + 200 * DAY, np.ones(5, np.float32), True,
    )  # fmt: skip


def test_popularity_by_hand_in_all_and_in_a_window() -> None:
    log = clocked()
    assert popularity(log).tolist() == [3, 2, 0]
    assert popularity(log, 30).tolist() == [0, 2, 0]
    assert windowed_order(log, ()).tolist() == [0, 1, 2]
    assert windowed_order(log, (7, 30)).tolist() == [1, 0, 2]


def test_the_clock_counts_what_came_before_a_moment() -> None:
    log, items = clocked(), np.array([0, 0, 1, 1, 2])
    clock = item_clock(log)
    until = np.array([202, 203, 301, 400, 400]) * DAY
    assert clock.count(items, until, None).tolist() == [2, 3, 1, 2, 0]
    assert clock.count(items, until, 1.5).tolist() == [1, 1, 1, 0, 0]
    assert clock.first(items, until) == pytest.approx([2, 3, 1, 100, np.nan], nan_ok=True)
    last = clock.last(items, np.array([202, 203, 301, 302, 302]) * DAY)
    assert last == pytest.approx([1, 1, 1, 1, np.nan], nan_ok=True)


def test_whitened_axes_have_equal_say() -> None:
    rng = np.random.default_rng(0)
    raw = (rng.normal(size=(500, 4)) * [10, 3, 1, 0.5] + 5).astype(np.float32)
    whitening = fit_whitening(raw, 3)
    spread = ((raw - whitening.mean) @ whitening.axes).std(0)
    assert whitening.dimensions == 3
    assert spread == pytest.approx([1, 1, 1], abs=0.01)
    assert np.linalg.norm(whitening(raw), axis=1) == pytest.approx(np.ones(500), abs=1e-5)


def test_relatives_are_the_nearest_that_were_taken_by_squared_cosines() -> None:
    """Item 0 is as .6 and .8 near to two that were taken, by words, and by meaning to one of them;
    item 1 knows only what nobody took."""
    words = sp.csr_matrix(np.array([[0, 0.6, 0.8, 0.9], [0.3, 0, 0, 0.5], [0, 0, 0, 0.0]]))
    meant = sp.csr_matrix(np.array([[0, 0.5, 0, 0.9], [0.3, 0, 0, 0.5], [0, 0, 0.4, 0.0]]))
    taken = np.array([False, True, True, False])
    found = relatives(words, meant, taken).toarray()
    assert found == pytest.approx(np.array([[0, 0.68, 0.32, 0], [0] * 4, [0, 0, 1, 0]]))
    alone = relatives(words, sp.csr_matrix(words.shape), taken).toarray()
    assert alone == pytest.approx(np.array([[0, 0.36, 0.64, 0], [0] * 4, [0] * 4]))
    many = sp.csr_matrix(np.linspace(0.1, 0.9, RELATIVES + 5)[None])
    kept = relatives(many, many, np.ones(RELATIVES + 5, bool)).toarray()[0]
    assert np.flatnonzero(kept).tolist() == list(range(5, RELATIVES + 5))
    assert kept.sum() == pytest.approx(1.0)


def test_what_is_near_by_meaning_is_found_without_the_item_itself() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], np.float32)
    near = alike_in_meaning(row_index(vectors, "none"), vectors).toarray()
    expected = [[0, 0.6, 0, 0], [0.6, 0, 0.8, 0], [0, 0.8, 0, 0], [0, 0, 0, 0]]
    assert near == pytest.approx(np.array(expected))
    later = alike_in_meaning(row_index(vectors, "none"), vectors[2:], first=2).toarray()
    assert later == pytest.approx(np.array(expected[2:]))
