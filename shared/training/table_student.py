"""A student without layers: a vector for each token, fitted so that a text's mean is its teacher's.

Each row begins as the teacher's vector of the token alone. Then one system of equations moves the
rows of the tokens that the texts have, as little as may be; the others stay where they are. No
training loop, and nothing to wait for.

Source of the start: Tulkens and van Dongen 2024, Model2Vec. The regression towards it is ridge
regression whose prior mean is not 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from shared.inference.batches import TextTokens, unit_length
from shared.inference.static_table import write_static_encoder
from shared.modeling.encoder import Encoder
from shared.training.batches import encode
from shared.training.machine import Machine

Floats = NDArray[np.float32]
Say = Callable[[str], None]
# Texts that a table is fitted to: the matrix of the system is texts^2 * 4 bytes, here 256 MB.
MOST_TEXTS = 8000
RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3)
CHOICE_SHARE = 0.2  # of the texts, to choose the ridge by


@dataclass(frozen=True, eq=False)
class TableFit:
    """table: (tokens, dim). cosines: each ridge tried -> mean cosine to the teacher on texts that
    the rows were not fitted to; ridge: the best of them."""

    table: Floats
    ridge: float
    cosines: Mapping[float, float]


def make_table(
    encoder: Encoder, texts: Sequence[str], vectors: Floats, *, machine: Machine
) -> TableFit:
    """The table for `texts`, in random order, at most MOST_TEXTS of them, whose vectors by the
    teacher `encoder` are (n, dim) of length 1."""
    tokens = tokens_of(encoder)
    start = token_vectors(encoder, tokens, machine=machine)
    return fit_table(bags_of(tokens.ids(texts), len(start)), start, vectors)


def tokens_of(encoder: Encoder) -> TextTokens:
    """The encoder's tokenizer as the student will use it."""
    return TextTokens(
        encoder.tokenizer.backend_tokenizer,
        prefix=encoder.prefix,
        max_length=encoder.max_length,
        pad_token_id=int(encoder.tokenizer.pad_token_id or 0),
    )


def token_vectors(encoder: Encoder, tokens: TextTokens, *, machine: Machine) -> Floats:
    """(tokens, dim) of length 1: the encoder's vector of each token where a text's words stand."""
    (empty,) = tokens.ids([""])
    after = encoder.tokenizer.num_special_tokens_to_add(pair=False) > 1  # one stands behind, too
    head, tail = (empty[:-1], empty[-1:]) if after else (empty, [])
    count = encoder.tokenizer.backend_tokenizer.get_vocab_size()
    rows = [[*head, token, *tail] for token in range(count)]
    return unit_length(encode(encoder, rows, machine=machine))


def bags_of(rows: Sequence[Sequence[int]], tokens: int) -> sparse.csr_matrix:
    """(texts, tokens): the share of each token in each text; @ table gives the texts' means."""
    lengths = np.array([len(row) for row in rows])
    places = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    values = np.repeat(1 / lengths, lengths).astype(np.float32)
    owners = np.repeat(np.arange(len(rows)), lengths)
    return sparse.csr_matrix((values, (owners, places)), shape=(len(rows), tokens))


def fit_table(bags: sparse.csr_matrix, start: Floats, vectors: Floats) -> TableFit:
    """Choose the ridge on the last CHOICE_SHARE of the texts, then fit to all of them."""
    begin = start * best_scale(bags @ start, vectors)
    cut = len(vectors) - round(len(vectors) * CHOICE_SHARE)
    held = unit_length(vectors[cut:])
    gram = gram_of(bags)
    cosines = {}
    for ridge in RIDGES:
        table = ridge_table(bags[:cut], begin, vectors[:cut], ridge, gram[:cut, :cut])
        cosines[ridge] = float((unit_length(bags[cut:] @ table) * held).sum(1).mean())
    best = max(cosines, key=lambda ridge: cosines[ridge])
    return TableFit(ridge_table(bags, begin, vectors, best, gram), best, cosines)


def best_scale(found: Floats, wanted: Floats) -> np.float32:
    """The number by which `found` comes nearest to `wanted`, in least squares.

    >>> float(best_scale(np.float32([[1, 0], [0, 2]]), np.float32([[3, 0], [0, 6]])))
    3.0
    """
    return np.float32((found * wanted).sum() / np.square(found).sum())


def gram_of(bags: sparse.csr_matrix) -> Floats:
    """(texts, texts) bags @ bags.T."""
    return np.asarray((bags @ bags.T).toarray(), dtype=np.float32)


def ridge_table(
    bags: sparse.csr_matrix,
    start: Floats,
    vectors: Floats,
    ridge: float,
    gram: Floats | None = None,
) -> Floats:
    """The T that minimises |bags T - vectors|^2 + ridge |T - start|^2.

    gram: gram_of(bags), where it is known.

    T = start + X^T A with (X X^T + ridge I) A = vectors - X start: one system of as many unknowns
    as there are texts, where the usual form has one for each token. Without texts, or with an
    endless ridge, T is `start`.
    """
    system = gram_of(bags) if gram is None else gram.copy()
    system[np.diag_indices_from(system)] += np.float32(ridge)
    factor = cho_factor(system, lower=True, overwrite_a=True)
    moved: Floats = np.asarray(cho_solve(factor, vectors - bags @ start), dtype=np.float32)
    return np.asarray(start + bags.T @ moved, dtype=np.float32)


def write_table(folder: Path, fit: TableFit, encoder: Encoder) -> None:
    """Fill `folder` with the student as a static encoder."""
    write_static_encoder(
        folder,
        fit.table,
        encoder.tokenizer.backend_tokenizer,
        prefix=encoder.prefix,
        max_length=encoder.max_length,
        pad_token_id=int(encoder.tokenizer.pad_token_id or 0),
    )
