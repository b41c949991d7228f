"""The lexical scorer: TF-IDF over words and characters, and one linear function a label.

Own code and not a library's, because serving must load without pickle, answer one text in well
under a millisecond, and read Chinese and English in the same text.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from shared.text import normalise

CHAR_SIZES = range(3, 6)  # characters in a gram inside a word of an alphabetic script
# Columns are kept of so many tokens: some 20 MB.
TOKENS_KEPT = 50_000
CJK_SIZES = range(1, 4)  # characters in a gram where no space parts the words
# Ranges of the scripts that put no space between words.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN = re.compile(rf"([{CJK}]+)|([^\s{CJK}]+)")
_WORD = re.compile(rf"[^\W{CJK}]+")
_URL = re.compile(r"https?://\S+|www\.\S+")


def word_grams(text: str) -> list[str]:
    """Words and neighbouring pairs of words of a folded text; CJK characters are left out.

    >>> word_grams("where is my card?")
    ['where', 'is', 'my', 'card', 'where is', 'is my', 'my card']
    """
    words = _WORD.findall(text)
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def char_grams(text: str) -> list[str]:
    """Grams of 3 to 5 characters inside space-padded tokens, of 1 to 3 in runs of CJK.

    A padded token shorter than a size gives no gram of that size; "a" gives " a ".

    >>> char_grams("a card")
    [' a ', ' ca', 'car', 'ard', 'rd ', ' car', 'card', 'ard ', ' card', 'card ']
    >>> char_grams("退货")
    ['退', '货', '退货']
    """
    return [gram for cjk, token in _TOKEN.findall(text) for gram in _grams_of(cjk, token)]


def _grams_of(cjk: str, token: str) -> list[str]:
    """Of a run of CJK, or else of a token."""
    padded, sizes = (cjk, CJK_SIZES) if cjk else (f" {token} ", CHAR_SIZES)
    length = len(padded)
    return [padded[i : i + size] for size in sizes for i in range(length - size + 1)]


def fold(text: str) -> str:
    """The form in which n-grams are counted: NFKC, lower case, web addresses as one token."""
    return _URL.sub(" <url> ", normalise(text).casefold())


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Which n-gram stands in which column: words first, then characters; F columns in all.

    _of_token: the columns of a token's characters, of those that were met last: most tokens of a
    text are common ones, and cutting them up is most of the work.
    """

    words: Mapping[str, int]
    chars: Mapping[str, int]
    _of_token: dict[tuple[str, str], list[int]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Vocabulary":
        """Every n-gram of these texts, in sorted order."""
        folded = [fold(text) for text in texts]
        words = sorted({gram for text in folded for gram in word_grams(text)})
        chars = sorted({gram for text in folded for gram in char_grams(text)})
        return cls.from_grams(words, chars)

    @classmethod
    def from_grams(cls, words: Sequence[str], chars: Sequence[str]) -> "Vocabulary":
        return cls(
            {gram: column for column, gram in enumerate(words)},
            {gram: column for column, gram in enumerate(chars, start=len(words))},
        )

    def __len__(self) -> int:
        return len(self.words) + len(self.chars)

    def count(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """(n, F) float32 how often each known n-gram occurs; others are left out."""
        columns: list[int] = []
        ends = [0]
        for text in texts:
            folded = fold(text)
            words = self.words
            columns += [words[gram] for gram in word_grams(folded) if gram in words]
            for token in _TOKEN.findall(folded):
                columns += self._columns(token)
            ends.append(len(columns))
        counts = sparse.csr_matrix(
            (
                np.ones(len(columns), dtype=np.float32),
                np.array(columns, dtype=np.int32),
                np.array(ends, dtype=np.int32),
            ),
            shape=(len(texts), len(self)),
        )
        counts.sum_duplicates()
        return counts

    def _columns(self, token: tuple[str, str]) -> list[int]:
        found = self._of_token.get(token)
        if found is None:
            if len(self._of_token) >= TOKENS_KEPT:
                self._of_token.clear()
            chars = self.chars
            found = [chars[gram] for gram in _grams_of(*token) if gram in chars]
            self._of_token[token] = found
        return found


def inverse_document_frequency(counts: sparse.csr_matrix) -> NDArray[np.float32]:
    """(F,) ln((1 + n) / (1 + df)) + 1, scikit-learn's smooth form; 0 where no row has the gram."""
    df = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.log((1 + counts.shape[0]) / (1 + df)) + 1
    return np.where(df > 0, idf, 0.0).astype(np.float32)


def weigh(counts: sparse.csr_matrix, idf: NDArray[np.float32], words: int) -> sparse.csr_matrix:
    """(n, F) (1 + ln count) * idf; the word columns and the rest each of length 1 in every row.

    words: how many of the columns, from the left, hold words. A gram with idf 0 is no feature.
    """
    values = (1 + np.log(counts.data)) * idf[counts.indices]
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    block = 2 * rows + (counts.indices >= words)
    square = np.bincount(block, values.astype(np.float64) ** 2, minlength=2 * counts.shape[0])
    length = np.sqrt(np.where(square > 0, square, 1.0))
    scaled = (values / length[block]).astype(np.float32)
    return sparse.csr_matrix((scaled, counts.indices, counts.indptr), shape=counts.shape)


@dataclass(frozen=True, eq=False)
class Grams:
    """How texts are compared by their n-grams. idf: (F,)."""

    vocabulary: Vocabulary
    idf: NDArray[np.float32]

    @classmethod
    def of(cls, texts: Sequence[str]) -> tuple["Grams", sparse.csr_matrix]:
        """Those of these texts, and the texts as rows."""
        vocabulary = Vocabulary.of(texts)
        counts = vocabulary.count(texts)
        grams = cls(vocabulary, inverse_document_frequency(counts))
        return grams, weigh(counts, grams.idf, len(vocabulary.words))

    def rows(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """(n, F) words and characters each of length 1."""
        return weigh(self.vocabulary.count(texts), self.idf, len(self.vocabulary.words))


@dataclass(frozen=True, eq=False)
class LexicalScorer:
    """Margins from n-grams. idf: (F,), weight: (F, C), bias: (C,), all float32."""

    vocabulary: Vocabulary
    idf: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def margins(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, C); a text without any known n-gram gets the bias."""
        counts = self.vocabulary.count(texts)
        features = weigh(counts, self.idf, len(self.vocabulary.words))
        return np.asarray(features @ self.weight + self.bias, dtype=np.float32)
