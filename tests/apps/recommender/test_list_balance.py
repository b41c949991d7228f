"""What lists are like, by hand."""

import numpy as np
import pytest
import scipy.sparse as sp

from apps.recommender.list_balance import (
    SMOOTHING,
    list_novelty,
    miscalibration,
    popularity_bias,
    variety,
)
from apps.recommender.list_figures import novelty

# ann has had 0 and 1, bob 0: item 0 was taken twice, item 1 once, the others never.
TAKEN = np.array([2, 1, 0, 0])
HAD = sp.csr_matrix(np.array([[1.0, 1, 0, 0], [1, 0, 0, 0]]))


def test_popularity_bias_by_hand() -> None:
    """The histories' items were taken 1.5 and 2 times, 1.75 in the mean."""
    assert popularity_bias(np.array([[0, 1], [0, 1]]), HAD, TAKEN) == pytest.approx(1.5 / 1.75 - 1)
    assert popularity_bias(np.array([[2, 3], [3, -1]]), HAD, TAKEN) == -1.0
    assert popularity_bias(np.array([[0, -1], [0, -1]]), HAD, TAKEN) == pytest.approx(2 / 1.75 - 1)


def test_miscalibration_by_hand() -> None:
    """Items 0 and 2 are tea, 1 is a cup, 3 has no category: ann's mix is one half of each."""
    categories = sp.csr_matrix(np.array([[1.0, 0], [0, 1], [1, 0], [0, 0]]))
    alike, tea, nothing = [2, 1], [0, 2], [3, -1]
    half = 0.5 * np.log(0.5 / (1 - 0.5 * SMOOTHING)) + 0.5 * np.log(0.5 / (0.5 * SMOOTHING))
    for listed, expected in ((alike, 0.0), (tea, half), (nothing, -np.log(SMOOTHING))):
        found = miscalibration(np.array([listed, [0, 2]]), HAD, categories)
        assert found == pytest.approx([expected, 0.0])  # bob has had tea alone


def test_users_whose_items_have_no_category_are_left_out() -> None:
    categories = sp.csr_matrix(np.array([[0.0], [1], [1], [1]]))
    assert len(miscalibration(np.array([[1], [1]]), HAD, categories)) == 1


def test_variety_and_novelty_by_hand() -> None:
    """Items 0 and 1 mean the same, 2 something else; two of three users had item 0."""
    meaning = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    lists = np.array([[0, 1, -1], [0, 1, 2], [2, -1, -1], [-1, -1, -1]])
    assert variety(lists, meaning) == pytest.approx([0.0, 2 / 3])  # one pair, and one of three
    bits = novelty(np.array([2, 0, 3]), 3)
    assert bits == pytest.approx([-np.log2(3 / 4), 2.0, 0.0])
    assert list_novelty(lists, bits) == pytest.approx(
        [(bits[0] + 2) / 2, (bits[0] + 2) / 3, 0.0]
    )  # who got no list is left out
