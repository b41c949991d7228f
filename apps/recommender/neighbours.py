"""Tables of item neighbours: bought together, and worded alike.

A table is a sparse (items, items) matrix whose row k holds the few items nearest to k; a user's
score for item c is the sum over the history of share_k · table[k, c], so that every point of it
belongs to one item of the history.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from apps.recommender.interactions import Interactions

# One robot with 10,000 items would make 100 million pairs; what a person did last says enough.
PAIRED_HISTORY = 300
# Items most alike, by words and by meaning, that speak for one that nobody has taken yet.
RELATIVES = 20
# Products of values that are in memory at once, with their rows and columns: some 500 MB.
PRODUCTS = 20_000_000
# A word that a tenth of the items share, or so many, costs most of the time and tells nothing.
COMMON_SHARE, COMMON = 0.1, 20_000


def co_occurrence(
    log: Interactions, *, neighbours: int, shrink: float, products: int = PRODUCTS
) -> sp.csr_matrix:
    """cosine(a, b) = n_ab / (√(n_a n_b) + shrink), n_ab: users with both; 0 for an item itself.

    Degenerate: shrink 0 is the plain cosine of the two columns. products: see row_blocks.
    """
    users = sp.csr_matrix(
        (np.ones(len(log), np.float32), (log.user, log.item)), shape=(log.n_users, log.n_items)
    )
    recent = log.starts[log.user + 1] - np.arange(len(log)) <= PAIRED_HISTORY
    paired = sp.csr_matrix(
        (np.ones(int(recent.sum()), np.float32), (log.user[recent], log.item[recent])),
        shape=users.shape,
    )
    roots = np.sqrt(np.asarray(users.sum(0)).ravel())
    by_item = paired.T.tocsr()
    kept = []
    for rows in row_blocks(by_item, paired, products):
        block = (by_item[rows] @ paired).tocsr()
        item = _row_numbers(block, rows.start)
        block.data /= roots[item] * roots[block.indices] + shrink
        block.data[block.indices == item] = 0.0
        kept.append(keep_largest(block, neighbours))
    return sp.vstack(kept, format="csr")


def worded_alike(
    texts: Sequence[str], *, neighbours: int, products: int = PRODUCTS
) -> sp.csr_matrix:
    """Cosine of TF-IDF over words and pairs of words; 0 for an item itself. products: see
    row_blocks."""
    if not any(text.strip() for text in texts):
        return sp.csr_matrix((len(texts), len(texts)), dtype=np.float32)
    vectors = word_vectoriser(len(texts)).fit_transform(texts).tocsr()
    transposed = vectors.T.tocsr()
    kept = []
    for rows in row_blocks(vectors, transposed, products):
        block = (vectors[rows] @ transposed).tocsr()
        block.data[block.indices == _row_numbers(block, rows.start)] = 0.0
        kept.append(keep_largest(block, neighbours))
    return sp.vstack(kept, format="csr")


def row_blocks(left: sp.csr_matrix, right: sp.csr_matrix, most: int = PRODUCTS) -> Iterator[slice]:
    """Rows of `left` in their order, as many at once as make at most so many products with `right`;
    a row that makes more is alone. What a catalogue of any size needs in memory is bounded so.
    """
    products = np.diff(right.indptr)[left.indices]
    made = np.concatenate([[0], np.cumsum(products, dtype=np.int64)])[left.indptr]  # (rows + 1,)
    start = 0
    while start < left.shape[0]:
        stop = int(np.searchsorted(made, made[start] + most, "right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop


def _row_numbers(block: sp.csr_matrix, first: int) -> NDArray[np.int32]:
    """(stored values,) the row of each, of a block whose rows begin at `first`."""
    rows = np.arange(first, first + block.shape[0], dtype=np.int32)
    return np.repeat(rows, np.diff(block.indptr))


def relatives(
    words: sp.csr_matrix, meant: sp.csr_matrix, taken: NDArray[np.bool_]
) -> sp.csr_matrix:
    """(rows, items): of each row the RELATIVES nearest of the items that somebody has taken, by
    words and again by meaning, weighed by the squares of their cosines; each of the two tables
    has half of the say. A row sums to 1, or to 0 where it has none.

    taken: (items,)
    """
    halves = []
    for table in (words, meant):
        near = table.tocsr().copy()
        near.data[~taken[near.indices]] = 0.0
        near = keep_largest(near, RELATIVES)
        near.data **= 2
        halves.append(row_shares(near))
    return row_shares((halves[0] + halves[1]).tocsr())


def row_shares(table: sp.csr_matrix) -> sp.csr_matrix:
    """Each row divided by its sum; rows of zeros stay."""
    total = np.asarray(table.sum(1)).ravel()
    return (sp.diags(1 / np.where(total > 0, total, 1)) @ table).tocsr().astype(np.float32)


def word_vectoriser(items: int) -> TfidfVectorizer:
    """What weighs the words and pairs of words of a catalogue of that size; not fitted yet."""
    # Chinese has no blanks between words: single characters and their pairs serve there.
    return TfidfVectorizer(
        ngram_range=(1, 2),
        max_df=min(int(COMMON_SHARE * items), COMMON) if items > 1000 else 1.0,
        min_df=2 if items > 1000 else 1,
        sublinear_tf=True,
        token_pattern=r"[^\W_\u3040-\u30ff\u4e00-\u9fff]+|[\u3040-\u30ff\u4e00-\u9fff]",
        dtype=np.float32,
    )


def keep_largest(matrix: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """The `count` largest values above 0 of each row, columns sorted."""
    matrix = matrix.tocsr()
    kept = []
    # Row by row: rows have thousands of values, of which a selection finds the few fastest.
    for begin, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        values = matrix.data[begin:end]
        chosen = np.flatnonzero(values > 0)
        if len(chosen) > count:
            chosen = np.argpartition(-values, count - 1)[:count]
        kept.append(chosen + begin)
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in kept])])
    rows = np.concatenate(kept) if kept else np.empty(0, np.int64)
    result = sp.csr_matrix(
        (matrix.data[rows].astype(np.float32), matrix.indices[rows], starts), shape=matrix.shape
    )
    result.sort_indices()
    return result


def row_largest(matrix: sp.csr_matrix, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(columns, values), both (rows, count), best first; -1 and 0 where a row has fewer."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, row))
    rank = np.arange(len(order)) - matrix.indptr[row[order]]
    order, rank = order[rank < count], rank[rank < count]
    columns = np.full((matrix.shape[0], count), -1, np.int64)
    values = np.zeros((matrix.shape[0], count), np.float32)
    columns[row[order], rank] = matrix.indices[order]
    values[row[order], rank] = matrix.data[order]
    return columns, values
