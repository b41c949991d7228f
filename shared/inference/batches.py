"""From texts to padded token batches, sorted by length; no torch, no transformers."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

# Texts tokenised at one time: bounds memory, and is enough for batches of nearly equal length.
WINDOW = 16_384

Forward = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""(ids, mask), both (batch, length) -> (batch, width), pooled."""


class TextTokens:
    """A tokenizer with its prefix and its limit of tokens. Makes its own copy of the tokenizer,
    so that the caller's padding and truncation stay as they are."""

    def __init__(
        self, tokenizer: Tokenizer, *, prefix: str, max_length: int, pad_token_id: int
    ) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._prefix = prefix
        self._pad = pad_token_id

    def cut_at(self, max_length: int) -> "TextTokens":
        """The same, with another limit of tokens; itself where that is its own."""
        truncation = self._tokenizer.truncation
        if truncation is not None and truncation["max_length"] == max_length:
            return self
        return TextTokens(
            self._tokenizer, prefix=self._prefix, max_length=max_length, pad_token_id=self._pad
        )

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, at most max_length of them."""
        prefixed = [_encodable(self._prefix + text) for text in texts]
        return [e.ids for e in self._tokenizer.encode_batch_fast(prefixed)]

    def padded(self, rows: Sequence[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """ids and mask, both (len(rows), longest row)."""
        longest = max(len(row) for row in rows)
        ids = np.full((len(rows), longest), self._pad, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        return ids, mask


def _encodable(text: str) -> str:
    """The text with half characters replaced. JSON can bring them ("\\ud800"), and the tokenizer
    would refuse a whole batch for the sake of one."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def length_sorted_batches(lengths: Sequence[int], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Positions of the texts of each batch, longest texts first, every position once.

    Longest first: a batch too big for memory fails at once, not at the end.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def encode_texts(
    texts: Sequence[str],
    *,
    tokens: TextTokens,
    forward: Forward,
    width: int,
    batch_size: int,
    workers: int = 1,
) -> NDArray[np.float32]:
    """(len(texts), width) in the order of `texts`; no texts give (0, width).

    workers: batches computed at the same time, each in a thread of its own; `forward` must then
    let go of the interpreter's lock. Batches get smaller where there would be less than one for
    each worker.
    """
    vectors = np.empty((len(texts), width), dtype=np.float32)
    for start in range(0, len(texts), WINDOW):
        rows = tokens.ids(texts[start : start + WINDOW])
        size = max(1, min(batch_size, -(-len(rows) // workers)))
        batches = list(length_sorted_batches([len(row) for row in rows], size))

        def compute(
            places: NDArray[np.int64], start: int = start, rows: list[list[int]] = rows
        ) -> None:
            ids, mask = tokens.padded([rows[place] for place in places])
            vectors[start + places] = forward(ids, mask)

        if workers == 1 or len(batches) == 1:
            for places in batches:
                compute(places)
        else:
            # A pool for this call alone: one kept for longer would be dead in a forked process.
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(compute, batches))
    return vectors


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row divided by its Euclidean length; a row of zeros stays zeros. (n, dim) -> (n, dim)"""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return scaled
