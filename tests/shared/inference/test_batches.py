"""Batches by length: every text once, in its own row."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

from shared.inference.batches import (
    TextTokens,
    encode_texts,
    length_sorted_batches,
    unit_length,
)


def words(max_length: int = 5, prefix: str = "") -> TextTokens:
    """Word "7" is token 7; token 0 pads and stands for words above 99."""
    vocabulary = {str(number): number for number in range(100)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_padding(length=50)
    return TextTokens(tokenizer, prefix=prefix, max_length=max_length, pad_token_id=0)


def sums(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """A stand-in for an encoder: (sum of the tokens, their number)."""
    return np.stack([(ids * mask).sum(1), mask.sum(1)], axis=1).astype(np.float32)


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 9))
def test_every_text_is_in_one_batch_and_the_longest_come_first(
    lengths: list[int], batch_size: int
) -> None:
    batches = list(length_sorted_batches(lengths, batch_size))
    order = [int(place) for batch in batches for place in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[place] for place in order] == sorted(lengths, reverse=True)
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_tokens_are_cut_and_prefixed_and_not_padded() -> None:
    assert words().ids(["1 2 3 4 5 6 7", "8", ""]) == [[1, 2, 3, 4, 5], [8], []]
    assert words(prefix="9 ").ids(["1 2"]) == [[9, 1, 2]]


def test_a_batch_is_padded_to_its_longest_text() -> None:
    ids, mask = words().padded([[3, 4], [5]])
    assert ids.tolist() == [[3, 4], [5, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_vectors_come_back_in_the_order_of_the_texts(workers: int, batch_size: int) -> None:
    random = np.random.default_rng(0)
    rows = [random.integers(1, 99, random.integers(1, 6)).tolist() for _ in range(50)]
    found = encode_texts(
        [" ".join(map(str, row)) for row in rows],
        tokens=words(),
        forward=sums,
        width=2,
        batch_size=batch_size,
        workers=workers,
    )
    assert found.tolist() == [[sum(row), len(row)] for row in rows]


def test_workers_compute_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=20)

    def wait(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        meeting.wait()  # passes only when three batches are under way
        time.sleep(0)
        return sums(ids, mask)

    texts = ["1", "2 2", "3"]
    found = encode_texts(texts, tokens=words(), forward=wait, width=2, batch_size=32, workers=3)
    assert found[:, 0].tolist() == [1, 4, 3]


def test_no_texts_give_no_rows() -> None:
    found = encode_texts([], tokens=words(), forward=sums, width=2, batch_size=4, workers=2)
    assert found.shape == (0, 2)
    assert found.dtype == np.float32


def test_a_text_that_is_no_valid_unicode_is_encoded_all_the_same() -> None:
    assert words().ids(["1 \ud800 2"]) == [[1, 0, 2]]


def test_unit_length_leaves_zeros_alone() -> None:
    found = unit_length(np.array([[3, 4], [0, 0]], dtype=np.float32))
    expected = np.array([[0.6, 0.8], [0, 0]], dtype=np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
