"""Which pieces are hidden: whole words, never special ones, the shares of the paper."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import ModelError
from shared.modeling.encoder import Encoder
from shared.training.masking import (
    IGNORED,
    MaskedBatches,
    MaskedCollator,
    MaskedRows,
    Vocabulary,
    WordRow,
    masked,
    word_rows,
)


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> Encoder:
    return Encoder.from_pretrained(tiny_encoder)


@pytest.fixture(scope="module")
def vocabulary(encoder: Encoder) -> Vocabulary:
    return Vocabulary.of(encoder)


def test_words_are_the_pieces_that_belong_together(encoder: Encoder) -> None:
    (row,) = word_rows(encoder, ["the zed card"])
    # [CLS] the z ##e ##d card [SEP]
    assert encoder.tokenizer.convert_ids_to_tokens(list(row.ids)) == [
        "[CLS]", "the", "z", "##e", "##d", "card", "[SEP]",
    ]  # fmt: skip
    assert row.words == ((1,), (2, 3, 4), (5,))


def test_special_and_unknown_pieces_and_the_prefix_are_no_words(tiny_encoder: Path) -> None:
    prefixed = Encoder.from_pretrained(tiny_encoder, prefix="query: ")
    rows = word_rows(prefixed, ["card €", "€ €"])
    assert len(rows) == 1  # the second text has nothing to guess
    (word,) = rows[0].words
    assert prefixed.tokenizer.convert_ids_to_tokens([rows[0].ids[word[0]]]) == ["card"]


def test_pieces_of_an_unspaced_script_are_words_of_their_own() -> None:
    """A tokenizer that parts words at spaces alone takes a Chinese sentence for one word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["[PAD]", "[UNK]", "[MASK]", "a", "##b", "银", "##行", "##卡"]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]"
    )
    bare = Encoder.__new__(Encoder)
    super(Encoder, bare).__init__()
    bare.tokenizer, bare.prefix, bare.max_length = fast, "", 16
    (row,) = word_rows(bare, ["ab 银行卡"])
    assert row.words == ((0, 1), (2,), (3,), (4,))


def test_a_word_is_hidden_whole_and_special_pieces_never(
    encoder: Encoder, vocabulary: Vocabulary
) -> None:
    (row,) = word_rows(encoder, ["zed the refund xyz card order qwe when will it arrive abc"])
    special = set(encoder.tokenizer.all_special_ids)
    for seed in range(300):
        ids, labels = masked(row, vocabulary, np.random.default_rng(seed))
        touched = {at for at, label in enumerate(labels) if label != IGNORED}
        assert touched
        assert touched == {at for word in row.words if set(word) & touched for at in word}
        for at, (now, was) in enumerate(zip(ids, row.ids, strict=True)):
            assert labels[at] in (IGNORED, was)
            if at not in touched:
                assert now == was
            else:
                assert was not in special
                assert now == vocabulary.mask or now not in special
        # A word is behind mask tokens as a whole, or not at all.
        for word in row.words:
            assert len({ids[at] == vocabulary.mask for at in word}) == 1


def test_shares_are_fifteen_of_a_hundred_and_of_those_eighty_ten_ten(
    vocabulary: Vocabulary,
) -> None:
    """10,000 words of one piece: the share is exact; fates within five standard errors."""
    piece = int(vocabulary.ordinary[0])
    row = WordRow((piece,) * 10_000, tuple((at,) for at in range(10_000)))
    ids, labels = masked(row, vocabulary, np.random.default_rng(1))
    chosen = np.array(labels) != IGNORED
    assert chosen.sum() == 1500
    now = np.array(ids)[chosen]
    hidden = float((now == vocabulary.mask).mean())
    changed = float(((now != vocabulary.mask) & (now != piece)).mean())
    # A random piece is the old one by chance once in the size of the vocabulary.
    chance = 1 / len(vocabulary.ordinary)
    assert hidden == pytest.approx(0.8, abs=5 * (0.8 * 0.2 / 1500) ** 0.5)
    assert changed == pytest.approx(0.1 * (1 - chance), abs=5 * (0.1 * 0.9 / 1500) ** 0.5)


def test_a_single_long_word_is_hidden_all_the_same(vocabulary: Vocabulary) -> None:
    row = WordRow((9, 9, 9, 9, 9), ((0, 1, 2), (3, 4)))
    _, labels = masked(row, vocabulary, np.random.default_rng(0))
    assert labels == [IGNORED, IGNORED, IGNORED, 9, 9]


def test_draws_are_functions_of_seed_epoch_and_row(
    encoder: Encoder, vocabulary: Vocabulary
) -> None:
    texts = [f"the card order refund late lost bank profit {'a ' * n}" for n in range(1, 9)]
    rows = MaskedRows(word_rows(encoder, texts), vocabulary, seed=3)
    again = MaskedRows(word_rows(encoder, texts), vocabulary, seed=3)
    assert [rows[key] for key in range(24)] == [again[key] for key in reversed(range(24))][::-1]
    assert len({str([rows[draw * 8 + row] for row in range(8)]) for draw in range(3)}) == 3
    batches = MaskedBatches(rows.lengths, batch_size=3, seed=3)
    first = sorted(key for batch in batches for key in batch)
    batches.set_epoch(1)
    second = sorted(key for batch in batches for key in batch)
    assert (first, second) == (list(range(8, 16)), list(range(16, 24)))


def test_padding_is_never_to_be_guessed() -> None:
    batch = MaskedCollator(0)(
        [{"ids": [2, 5, 3], "labels": [IGNORED, 7, IGNORED]}, {"ids": [2], "labels": [IGNORED]}]
    )
    assert batch["input_ids"].tolist() == [[2, 5, 3], [2, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 7, IGNORED], [IGNORED] * 3]


def test_a_tokenizer_without_a_mask_token_is_refused(tiny_encoder: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder)
    encoder.tokenizer.mask_token = None
    with pytest.raises(ModelError, match="has no mask token, which masked language modelling"):
        Vocabulary.of(encoder)
