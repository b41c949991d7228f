"""N-grams against scikit-learn's analysers, and text that is not plain."""

import doctest
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from shared.inference import lexical
from shared.inference.lexical import (
    LexicalScorer,
    Vocabulary,
    char_grams,
    fold,
    inverse_document_frequency,
    weigh,
    word_grams,
)


def floats(values: object) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


TEXTS = ("where is my new card", "my card my card", "refund the money now", "is it lost")


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(lexical).failed == 0


def test_weights_are_those_of_scikit_learn() -> None:
    """Words and characters apart, because each block has length 1 by itself."""
    vocabulary = Vocabulary.of(TEXTS)
    counts = vocabulary.count(TEXTS)
    ours = weigh(counts, inverse_document_frequency(counts), len(vocabulary.words)).toarray()
    for names, analyser, start in (
        (vocabulary.words, word_grams, 0),
        (vocabulary.chars, char_grams, len(vocabulary.words)),
    ):
        theirs = TfidfVectorizer(analyzer=analyser, sublinear_tf=True, vocabulary=list(names))
        block = ours[:, start : start + len(names)]
        np.testing.assert_allclose(block, theirs.fit_transform(TEXTS).toarray(), atol=1e-6)


@pytest.mark.parametrize("kept", [1, 3, 50_000])
def test_counts_are_those_of_all_grams_however_few_tokens_are_remembered(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexical, "TOKENS_KEPT", kept)
    texts = [*TEXTS, "card card card lost", "退货 card 退货 unknownword", ""]
    vocabulary = Vocabulary.of(texts[:-2])
    for _ in range(2):
        for text, row in zip(texts, vocabulary.count(texts).toarray(), strict=True):
            words = Counter(word_grams(fold(text)))
            chars = Counter(char_grams(fold(text)))
            expected = {vocabulary.words[g]: n for g, n in words.items() if g in vocabulary.words}
            expected |= {vocabulary.chars[g]: n for g, n in chars.items() if g in vocabulary.chars}
            assert {int(c): int(row[c]) for c in np.flatnonzero(row)} == expected


def test_unknown_grams_are_left_out() -> None:
    vocabulary = Vocabulary.of(["card"])
    assert vocabulary.count(["xyz", ""]).nnz == 0


def test_a_gram_of_idf_zero_neither_counts_nor_takes_length() -> None:
    vocabulary = Vocabulary.from_grams(["card", "lost"], [])
    counts = vocabulary.count(["card lost"])
    assert weigh(counts, floats([1.0, 0.0]), 2).toarray().tolist() == [[1.0, 0.0]]


def test_width_case_and_addresses_are_folded() -> None:
    assert fold("ＣＡＲＤ  Lost https://t.co/abc?x=1").split() == ["card", "lost", "<url>"]
    assert fold("Card") == fold("ｃａｒｄ")


def test_chinese_beside_english_gives_grams_of_both() -> None:
    grams = char_grams("我的card")
    assert {"我", "的", "我的", " card", "car"} <= set(grams)
    assert word_grams("我的 card") == ["card"]


def test_a_text_without_a_known_gram_gets_the_bias() -> None:
    vocabulary = Vocabulary.from_grams(["card"], [])
    scorer = LexicalScorer(vocabulary, floats([1]), floats([[2, -2]]), floats([0, 1]))
    assert scorer.margins(["?", "card"]).tolist() == [[0, 1], [2, -1]]
