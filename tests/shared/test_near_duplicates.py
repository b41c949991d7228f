"""Groups of near duplicates against the definition, worked out by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer

from shared.near_duplicates import near_duplicate_groups, near_duplicate_key

WORDS = "card lost help order late refund please where money bank shares fall rise profit".split()
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(" ".join)


def by_brute_force(texts: list[str], threshold: float) -> NDArray[np.int64]:
    """Every cosine of every pair of keys, then the connected components."""
    keys = sorted({near_duplicate_key(text) for text in texts})
    links = np.eye(len(keys), dtype=bool)
    if any(len(key) >= 3 for key in keys):
        model = TfidfVectorizer(analyzer="char", ngram_range=(3, 5), lowercase=False)
        vectors = model.fit_transform(keys).toarray()
        links |= vectors @ vectors.T >= threshold - 1e-9
    _, component = connected_components(links, directed=False)
    return np.array([component[keys.index(near_duplicate_key(text))] for text in texts])


def same_partition(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    return bool(((a[:, None] == a) == (b[:, None] == b)).all())


@settings(max_examples=60, deadline=None)
@given(st.lists(sentences, min_size=1, max_size=25), st.sampled_from([0.3, 0.6, 0.8, 0.95, 1.0]))
def test_groups_are_those_of_the_definition(texts: list[str], threshold: float) -> None:
    groups = near_duplicate_groups(texts, threshold)
    assert same_partition(groups, by_brute_force(texts, threshold))


@settings(max_examples=40, deadline=None)
@given(st.lists(sentences | st.text(max_size=12), min_size=1, max_size=20), st.randoms())
def test_the_order_of_the_texts_does_not_matter(texts: list[str], random: object) -> None:
    order = list(range(len(texts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    groups = near_duplicate_groups(texts)
    shuffled = near_duplicate_groups([texts[i] for i in order])
    assert same_partition(groups[order], shuffled)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=15))
def test_equal_texts_share_a_group_and_numbers_follow_appearance(texts: list[str]) -> None:
    groups = near_duplicate_groups(texts + texts)
    assert groups.dtype == np.int64
    assert (groups[: len(texts)] == groups[len(texts) :]).all()
    _, first = np.unique(groups, return_index=True)
    assert (np.diff(first) > 0).all()
    assert groups[0] == 0


def test_copies_with_other_numbers_addresses_and_case_are_one_group() -> None:
    texts = [
        "Where is order 12345?",
        "where is ORDER 9?",
        "Stocks fall 3.5% https://t.co/abc via @ann",
        "Stocks  fall 12%  https://t.co/xyz via @bob",
        "My cat likes fish",
    ]
    assert near_duplicate_groups(texts).tolist() == [0, 0, 1, 1, 2]


def test_a_typo_is_a_near_duplicate_and_another_question_is_not() -> None:
    texts = [
        "I have not received the refund for my last order yet",
        "I have not recieved the refund for my last order yet",
        "I would like to open a second account for my daughter",
    ]
    assert near_duplicate_groups(texts).tolist() == [0, 0, 1]


def test_short_and_empty_texts_are_grouped_by_equality() -> None:
    assert near_duplicate_groups(["", "!", "?", "", "ok", "no"]).tolist() == [0, 1, 2, 0, 3, 4]
    assert near_duplicate_groups([]).tolist() == []


def test_chunks_and_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(WORDS, size=5)) for _ in range(300)]
    whole = near_duplicate_groups(texts, 0.7)
    monkeypatch.setattr("shared.near_duplicates.CHUNK", 17)
    monkeypatch.setattr("shared.near_duplicates.BATCH", 5)
    assert (near_duplicate_groups(texts, 0.7) == whole).all()
    assert same_partition(whole, by_brute_force(texts, 0.7))


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1])
def test_a_threshold_outside_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="expected 0 < threshold <= 1"):
        near_duplicate_groups(["a"], threshold)
