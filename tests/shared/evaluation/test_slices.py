"""Which rows belong to which part, counted by hand."""

import numpy as np
import pytest

from shared.evaluation.slices import count_tokens, count_unknown, script_of, text_parts


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("where is it", "script Latin"),
        ("退款什么时候到", "script Han"),
        ("退款 refund", "mixed scripts"),
        ("いつ返金されますか", "script Kana"),  # Kana and Han together: Japanese, no mixture
        ("где мой заказ", "script Cyrillic"),
        ("a long English sentence with one 字 in it somewhere", "script Latin"),
        ("12:30 !", ""),
    ],
)
def test_a_script_is_told_by_its_letters(text: str, script: str) -> None:
    assert script_of(text) == script


def test_tokens_are_words_and_unspaced_characters() -> None:
    assert [count_tokens(t) for t in ("退款", "my card's gone", "", "ok 退货 now")] == [2, 4, 0, 4]


def test_numbers_are_no_new_words() -> None:
    assert count_unknown("order 20418 zzyzx Zzyzx", {"order"}) == 1


def test_thirds_part_all_rows_once() -> None:
    texts = ["x" * n for n in range(1, 10)]
    parts = text_parts(texts)
    thirds = [rows for name, rows in parts.items() if "third" in name]
    assert [rows.tolist() for rows in thirds] == [
        [True] * 3 + [False] * 6,
        [False] * 3 + [True] * 3 + [False] * 3,
        [False] * 6 + [True] * 3,
    ]


def test_a_part_of_all_rows_or_none_is_no_part() -> None:
    parts = text_parts(["the one", "the two"], {"the", "one", "two"})
    assert not any("known" in name or "seen" in name for name in parts)
    assert not any("script" in name for name in parts)


def test_rows_with_new_words_are_found() -> None:
    parts = text_parts(
        ["where is my card", "where is my zzyzx", "quux zzyzx"], {"where", "is", "my", "card"}
    )
    found = {name: np.flatnonzero(rows).tolist() for name, rows in parts.items()}
    assert found["every word known from training"] == [0]
    assert found["one word not seen in training"] == [1]
    assert found["two or more words not seen in training"] == [2]


def test_no_rows_have_no_parts() -> None:
    assert text_parts([], set()) == {}
