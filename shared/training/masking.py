"""Whole words hidden for masked language modelling, as a pure function of seed, epoch and row.

transformers has a collator for this. Its generator runs on from batch to batch, ahead of the steps
as batches are fetched, so that a run which goes on after a kill would hide other words than the
unbroken one; and it would hide the words of an encoder's prefix, which are the same in every text.

Source: Devlin et al. 2019, BERT, section 3.1; whole words as in the authors' later release.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from shared.errors import ModelError
from shared.inference.lexical import CJK
from shared.modeling.encoder import Encoder
from shared.training.batches import LengthGroupedBatches, padded

IGNORED = -100  # label of a token that is not to be guessed
MASKED_SHARE = 0.15  # of the word pieces of a text
# Of the words chosen: hidden behind the mask token, replaced by random pieces; the rest stay.
HIDDEN_SHARE, RANDOM_SHARE = 0.8, 0.1
TOKENISED_AT_ONCE = 1000
_CJK = re.compile(f"[{CJK}]")


@dataclass(frozen=True)
class WordRow:
    """Token ids of one text, and of each word that may be hidden the places of its pieces."""

    ids: tuple[int, ...]
    words: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """mask: id of the mask token. ordinary: (v,) ids that may stand in for a word."""

    mask: int
    ordinary: NDArray[np.int64]

    @classmethod
    def of(cls, encoder: Encoder) -> "Vocabulary":
        """Raises ModelError for a tokenizer without a mask token."""
        tokenizer = encoder.tokenizer
        if tokenizer.mask_token_id is None:
            raise ModelError(
                "the encoder's tokenizer has no mask token, which masked language modelling "
                "needs; use the objective contrastive"
            )
        special = set(tokenizer.all_special_ids)
        ordinary = [i for i in range(len(tokenizer)) if i not in special]
        return cls(int(tokenizer.mask_token_id), np.array(ordinary, dtype=np.int64))


def word_rows(encoder: Encoder, texts: Sequence[str]) -> list[WordRow]:
    """The texts as the encoder reads them; one without a word that could be hidden is left out.

    Words are those of the tokenizer; where a script is written without spaces, each of its pieces.
    Special tokens, unknown pieces and the prefix are no words.
    """
    rows: list[WordRow] = []
    for start in range(0, len(texts), TOKENISED_AT_ONCE):
        given = [encoder.prefix + text for text in texts[start : start + TOKENISED_AT_ONCE]]
        batch = encoder.tokenizer(
            given,
            truncation=True,
            max_length=encoder.max_length,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        for at, text in enumerate(given):
            words = _words(encoder, text, batch, at)
            if words:
                rows.append(WordRow(tuple(batch["input_ids"][at]), words))
    return rows


def _words(encoder: Encoder, text: str, batch: Any, at: int) -> tuple[tuple[int, ...], ...]:
    """Places of the pieces of each word of row `at`."""
    special = set(encoder.tokenizer.all_special_ids)
    found: dict[tuple[int, int], list[int]] = {}
    pieces = zip(
        batch["input_ids"][at], batch.word_ids(at), batch["offset_mapping"][at], strict=True
    )
    for place, (piece, word, (begin, end)) in enumerate(pieces):
        if word is None or piece in special or end <= len(encoder.prefix):
            continue
        alone = place if _CJK.search(text, begin, end) else -1
        found.setdefault((word, alone), []).append(place)
    return tuple(map(tuple, found.values()))


def masked(
    row: WordRow, vocabulary: Vocabulary, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """(ids with words hidden, labels: the piece to guess or IGNORED), both as long as the row.

    Words are taken in random order while they fit into MASKED_SHARE of the pieces that may be
    hidden, rounded; where none fits, the shortest is. What happens to a word happens to all of its
    pieces.
    """
    ids = list(row.ids)
    labels = [IGNORED] * len(ids)
    for word in _chosen(row, rng):
        fate = rng.random()
        for place in word:
            labels[place] = ids[place]
            if fate < HIDDEN_SHARE:
                ids[place] = vocabulary.mask
            elif fate < HIDDEN_SHARE + RANDOM_SHARE:
                ids[place] = int(rng.choice(vocabulary.ordinary))
    return ids, labels


def _chosen(row: WordRow, rng: np.random.Generator) -> list[tuple[int, ...]]:
    left = max(1, round(MASKED_SHARE * sum(map(len, row.words))))
    chosen: list[tuple[int, ...]] = []
    for at in rng.permutation(len(row.words)):
        if len(row.words[at]) <= left:
            chosen.append(row.words[at])
            left -= len(row.words[at])
    return chosen or [min(row.words, key=len)]


class MaskedRows(Dataset[dict[str, list[int]]]):
    """Rows with words hidden, anew in each epoch.

    Key k is row k % n in draw k // n. Draw 0, which a plain walk over the rows gives, is for
    measuring; MaskedBatches asks for draw e + 1 in epoch e.
    """

    def __init__(self, rows: Sequence[WordRow], vocabulary: Vocabulary, *, seed: int) -> None:
        self.rows = rows
        self.vocabulary = vocabulary
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int) -> dict[str, list[int]]:
        draw, row = divmod(key, len(self.rows))
        rng = np.random.default_rng([self.seed, draw, row])
        ids, labels = masked(self.rows[row], self.vocabulary, rng)
        return {"ids": ids, "labels": labels}

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) tokens of each row."""
        return np.array([len(row.ids) for row in self.rows], dtype=np.int64)


class MaskedBatches(LengthGroupedBatches):
    """Batches of keys of MaskedRows: rows of similar length, in the draw of the epoch."""

    def __iter__(self) -> Iterator[list[int]]:
        first = (self.epoch + 1) * len(self.lengths)
        for batch in super().__iter__():
            yield [first + row for row in batch]


class MaskedCollator:
    """Pads a batch to its longest row; labels with IGNORED."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
        batch = padded([row["ids"] for row in rows], self.pad_token_id)
        labels = torch.full_like(batch["input_ids"], IGNORED)
        for at, row in enumerate(rows):
            labels[at, : len(row["labels"])] = torch.tensor(row["labels"], dtype=torch.long)
        return {**batch, "labels": labels}
