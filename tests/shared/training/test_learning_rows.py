"""Rows of several heads in one table, and batches of similar length that hang on seed and epoch."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError
from shared.modeling.heads import HeadSpec
from shared.training.batches import (
    Collator,
    LengthGroupedBatches,
    Rows,
    columns_of,
    merge,
    targets_of,
)
from shared.training.examples import Examples

SENTIMENT = HeadSpec("sentiment", "single", ("bad", "good"))
TOPICS = HeadSpec("topics", "multi", ("bank", "shoe", "tea"))
NAN = float("nan")


def examples(rows: Sequence[tuple[str, tuple[str, ...]]], kind: str) -> Examples:
    return Examples(
        tuple(text for text, _ in rows),
        tuple(labels for _, labels in rows),
        np.arange(len(rows)),
        "multi" if kind == "multi" else "single",
    )


def test_heads_lie_side_by_side() -> None:
    sentiment, topics = columns_of([SENTIMENT, TOPICS])
    assert (sentiment.logits, sentiment.targets) == (slice(0, 2), slice(0, 1))
    assert (topics.logits, topics.targets) == (slice(2, 5), slice(1, 4))


def test_a_text_of_two_heads_becomes_one_row() -> None:
    columns = columns_of([SENTIMENT, TOPICS])
    texts, targets = merge(
        columns,
        [
            examples([("tea falls", ("bad",)), ("tea rises", ("good",))], "single"),
            examples([("tea rises", ("tea", "shoe")), ("banks meet", ())], "multi"),
        ],
    )
    assert texts == ("tea falls", "tea rises", "banks meet")
    np.testing.assert_array_equal(
        targets, np.array([[0, NAN, NAN, NAN], [1, 0, 1, 1], [NAN, 0, 0, 0]], dtype=np.float32)
    )


def test_a_text_with_two_labels_of_one_head_stays_two_rows() -> None:
    rows = [("tea", ("bad",)), ("tea", ("good",))]
    texts, targets = merge(columns_of([SENTIMENT]), [examples(rows, "single")])
    assert texts == ("tea", "tea")
    assert targets.tolist() == [[0.0], [1.0]]


def test_a_label_the_head_does_not_have_is_named() -> None:
    with pytest.raises(DataError) as caught:
        targets_of(SENTIMENT, examples([("tea", ("mixed",))], "single"))
    assert str(caught.value) == ("head 'sentiment' has no label 'mixed'; its labels are bad, good")


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(3, 60), min_size=1, max_size=300),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
)
def test_batches_hold_every_row_once_and_are_a_function_of_seed_and_epoch(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    def batches() -> list[list[int]]:
        sampler = LengthGroupedBatches(np.array(lengths), batch_size=batch_size, seed=seed)
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == len(sampler)
        return list(sampler)

    found = batches()
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert max(len(batch) for batch in found) <= batch_size
    assert batches() == found


def test_another_epoch_brings_another_order() -> None:
    sampler = LengthGroupedBatches(np.full(64, 5), batch_size=8, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first


def test_batches_of_similar_length_pad_little() -> None:
    lengths = np.random.default_rng(0).geometric(0.06, 2000) + 2
    batches = list(LengthGroupedBatches(lengths, batch_size=32, seed=1))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded / lengths.sum() < 1.12
    shuffled = lengths[: 32 * 62].reshape(-1, 32)
    assert (shuffled.max(1) * 32).sum() / shuffled.sum() > 2  # what random batches would cost


def test_a_batch_is_padded_to_its_own_longest_row() -> None:
    rows = Rows([[1, 2, 3], [4]], np.array([[0.0], [1.0]], dtype=np.float32))
    batch = Collator(9)([rows[0], rows[1]])
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[0.0], [1.0]]
    assert Collator(9, pad_to=5)([rows[0]])["input_ids"].tolist() == [[1, 2, 3, 9, 9]]


def test_rows_by_length_keep_their_targets() -> None:
    rows = Rows([[1, 1, 1], [2], [3, 3]], np.array([[3.0], [1.0], [2.0]], dtype=np.float32))
    ordered = rows.by_length()
    assert ordered.lengths.tolist() == [1, 2, 3]
    assert ordered.targets.tolist() == [[1.0], [2.0], [3.0]]
