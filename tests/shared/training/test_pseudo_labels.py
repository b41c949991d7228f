"""Which unlabelled texts teach, and beside what."""

import numpy as np
import pytest

from shared.training.examples import Examples
from shared.training.pseudo_labels import NOTHING, Pool, Pseudo, surest

KNOWN = Examples(
    ("where is my parcel", "close my account please"), (("track",), ("close",)), np.array([0, 1])
)


def test_a_pool_holds_each_text_once_and_no_near_copy_of_an_example() -> None:
    pool = Pool.of(
        KNOWN,
        ["WHERE is my parcel", "is it raining today", "a new card for my son", " ",
         "is it raining today", "is it raining Today"],
    )  # fmt: skip
    assert pool.texts == ("is it raining today", "a new card for my son", "is it raining Today")
    assert pool.groups[0] == pool.groups[2] != pool.groups[1]
    assert pool.groups.min() > KNOWN.groups.max()


def test_the_examples_come_first() -> None:
    pool = Pool(("one", "two", "three"), np.array([2, 3, 4]))
    both = pool.beside(KNOWN, Pseudo(np.array([0, 2]), ("close", "track")))
    assert both.texts == (*KNOWN.texts, "one", "three")
    assert both.single == ("track", "close", "close", "track")
    assert both.groups.tolist() == [0, 1, 2, 4]
    assert pool.beside(KNOWN, NOTHING).texts == KNOWN.texts


@pytest.mark.parametrize("seed", range(5))
def test_the_surest_of_each_label_are_taken(seed: int) -> None:
    """Against a plain loop over the labels."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), size=40).astype(np.float32)
    sure = rng.uniform(size=40) < 0.7
    rooms = np.array([2, 0, 30])
    expected: dict[int, str] = {}
    for label in range(3):
        mine = [row for row in range(40) if sure[row] and p[row].argmax() == label]
        mine.sort(key=lambda row: -p[row].max())
        expected |= dict.fromkeys(mine[: rooms[label]], "abc"[label])
    found = surest(p, sure, rooms, "abc")
    assert dict(zip(found.rows.tolist(), found.labels, strict=True)) == expected
    assert found.rows.tolist() == sorted(expected)


def test_no_sure_text_is_nothing() -> None:
    p = np.full((4, 2), 0.5, dtype=np.float32)
    assert surest(p, np.zeros(4, dtype=bool), np.array([3, 3]), "ab").same_as(NOTHING)
