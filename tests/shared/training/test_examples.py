"""Splits never leak; every mistake in the data has its own line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError
from shared.inference.classifier import Kind
from shared.tables import Table
from shared.training.examples import (
    Examples,
    check,
    folds,
    from_rows,
    from_table,
    split,
    split_by,
    split_by_time,
)


def made(labels: Sequence[str], groups: Sequence[int] | None = None) -> Examples:
    ids = np.arange(len(labels)) if groups is None else np.asarray(groups)
    texts = tuple(f"text {i}" for i in range(len(labels)))
    return Examples(texts, tuple((label,) for label in labels), ids.astype(np.int64))


def table(*rows: tuple[str, str]) -> Table:
    return Table(Path("x.csv"), pd.DataFrame(rows, columns=["text", "label"]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 15)), min_size=12, max_size=60),
    st.integers(2, 4),
    st.integers(0, 5),
)
def test_folds_share_no_group_and_training_always_knows_every_label(
    rows: list[tuple[str, int]], k: int, seed: int
) -> None:
    examples = made([label for label, _ in rows], [group for _, group in rows])
    if len(examples.names) < 2 or len(set(examples.groups)) < k:
        return
    held: list[int] = []
    for train, mine in folds(examples, k, seed):
        assert not set(examples.groups[train]) & set(examples.groups[mine])
        assert set(train) | set(mine) == set(range(len(examples)))
        assert examples.take(train).names == examples.names
        held.extend(mine)
    assert len(held) == len(set(held))


def test_a_split_keeps_each_labels_share() -> None:
    parts = split(made(["a"] * 100 + ["b"] * 50 + ["c"] * 10), fraction=0.2, seed=1)
    count = {name: parts.validation.single.count(name) for name in "abc"}
    assert count == {"a": 20, "b": 10, "c": 2}
    assert parts.notes == ()


@pytest.mark.parametrize("rows", [2, 3])
def test_labels_of_few_rows_give_their_share_too_and_stay_known(rows: int) -> None:
    examples = made([f"label{at}" for at in range(40)] * rows + ["alone"])
    parts = split(examples, fraction=0.15, seed=5)
    held = parts.validation.single
    assert len(held) == 0.15 * 40 * rows
    assert len(set(held)) == len(held)
    assert parts.train.names == examples.names


def test_a_group_of_two_labels_is_not_held_out_where_one_would_be_unknown() -> None:
    # Group 0 holds a row of each of two labels; only the first of them has another group.
    examples = made(["a", "b", "a", "c", "c", "d", "d"], [0, 0, 1, 2, 3, 4, 5])
    for seed in range(20):
        parts = split(examples, fraction=0.3, seed=seed)
        assert parts.train.names == ("a", "b", "c", "d")


def test_the_same_seed_gives_the_same_split_and_another_another() -> None:
    examples = made(["a", "b"] * 40)
    texts = [split(examples, fraction=0.25, seed=seed).validation.texts for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_near_duplicates_stay_on_one_side() -> None:
    texts = [f"where is parcel number {i} of mine please" for i in range(30)] + [
        f"{word} shoes do not fit" for word in "red blue green black white brown pink".split()
    ]
    labels = [("parcel",)] * 30 + [("size",)] * 7
    examples = from_rows(texts, labels, "single")
    assert len(set(examples.groups[:30])) == 1
    parts = split(examples, fraction=0.3)
    assert "parcel" not in parts.validation.single


def test_a_label_seen_once_stays_in_training_and_is_named() -> None:
    parts = split(made(["a"] * 10 + ["b"] * 10 + ["rare"]), fraction=0.3)
    assert "rare" in parts.train.single
    assert parts.notes == (
        "1 label has one example only, which stays in the training part, so that nothing can be "
        "measured for it: rare",
        "1 label has no row in the validation part and cannot be measured: rare",
    )


def test_labels_that_only_validation_has_are_counted() -> None:
    assert check(made(["a", "a", "b", "b"]), made(["a", "b", "z", "z"])) == (
        "1 label has no row in the training part, so that 2 validation rows count as wrong: z",
    )


def test_one_text_under_two_labels_is_shown() -> None:
    examples = from_rows(["Hi there", "hi there", "bye"], [("a",), ("b",), ("b",)], "single")
    assert check(examples)[-1] == (
        "1 texts occur under more than one label, such as 'hi there' under a and b"
    )


def test_dialogues_stay_whole_and_copies_of_training_rows_are_left_out() -> None:
    twins = made(["a", "b"] * 20, [0 if row % 9 == 0 else row for row in range(40)])
    keys = np.repeat(np.arange(10), 4)
    parts = split_by(twins, list(keys), fraction=0.3, seed=3)
    where = dict(zip(twins.texts, keys, strict=True))
    train, held = ({where[t] for t in part.texts} for part in (parts.train, parts.validation))
    assert not train & held
    assert not set(parts.train.groups) & set(parts.validation.groups)


def test_the_latest_rows_are_held_out_and_old_copies_dropped() -> None:
    examples = made(["a", "b", "a", "b", "a", "b"], [0, 1, 2, 3, 0, 5])
    parts = split_by_time(examples, [1, 2, 3, 4, 5, 6], fraction=1 / 3)
    assert parts.train.texts == ("text 0", "text 1", "text 2", "text 3")
    assert parts.validation.texts == ("text 5",)
    assert parts.notes[0] == "1 validation rows left out: near duplicates of training rows"


def test_a_bar_joins_labels_only_where_several_are_allowed() -> None:
    single = from_table(table(("x y", "a|b"), ("z", "c")), "single")
    multi = from_table(table(("x y", "a| b"), ("x y", "c"), ("z", "")), "multi")
    assert single.labels == (("a|b",), ("c",))
    assert multi.texts == ("x y", "z")
    assert multi.labels == (("a", "b", "c"), ())


@pytest.mark.parametrize(
    ("texts", "labels", "kind", "message"),
    [
        (
            ["ok", " "],
            [("a",), ("b",)],
            "single",
            "example 2 has an empty text: fill it in or remove the row",
        ),
        (
            ["ok", "fine"],
            [("a",), ("",)],
            "single",
            "example 2 ('fine') has an empty label",
        ),
        (
            ["ok"],
            [("a", "b")],
            "single",
            "example 1 ('ok') has 2 labels, expected exactly 1",
        ),
        (
            [],
            [],
            "multi",
            "no examples: at least two texts with different labels are needed",
        ),
    ],
)
def test_unusable_rows_are_named(
    texts: list[str], labels: list[tuple[str, ...]], kind: Kind, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        from_rows(texts, labels, kind)
    assert str(caught.value) == message


def test_one_label_teaches_nothing() -> None:
    with pytest.raises(DataError) as caught:
        check(made(["a", "a"]))
    assert str(caught.value) == (
        "2 examples have only the label 'a': at least 2 different labels are needed to learn from"
    )


def test_too_many_folds_and_a_senseless_share_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        folds(made(["a", "b", "a"]), 4, 0)
    assert str(caught.value) == "4 folds of 3 groups of examples: expected 2 to 3 folds"
    with pytest.raises(DataError) as caught:
        split(made(["a", "b"]), fraction=1.0)
    assert str(caught.value) == ("a validation share of 1.0: expected more than 0 and less than 1")


def test_what_cannot_be_split_says_so() -> None:
    with pytest.raises(DataError) as caught:
        split(made(["a", "b"]), fraction=0.5)
    assert str(caught.value) == (
        "2 examples in 2 groups cannot be split: one side would be empty; give more examples or a "
        "validation file"
    )
