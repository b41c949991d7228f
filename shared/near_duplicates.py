"""Which texts are copies of each other, so that a split never has one on both sides."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

_URL = re.compile(r"(?:https?://|www\.)\S+")
_HANDLE = re.compile(r"(?<!\w)@\w+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_WHITE = re.compile(r"\s+")
CHUNK = 2048  # rows whose candidates are looked for at once
BATCH = 50_000  # pairs whose cosine is computed at once
SLACK = 1e-9  # a cosine this little under the threshold is rounding
# Norm left out of a row's prefix, as a share of the threshold. Nearer to 1 the prefixes are short
# and many pairs need their cosine; on 18,000 tweets 0.875 gave 36 times fewer of them than 1.
SUFFIX_SHARE = 0.875


def near_duplicate_key(text: str) -> str:
    """The text without case, addresses, handles and numbers' values; equal keys are copies."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = _HANDLE.sub("@", _URL.sub("<url>", folded))
    return _WHITE.sub(" ", _NUMBER.sub("0", folded)).strip()


def near_duplicate_groups(texts: Sequence[str], threshold: float = 0.8) -> NDArray[np.int64]:
    """(n,) group ids, 0 for the first text's group and then in order of appearance.

    Two texts are linked when their keys are equal or the cosine of their TF-IDF vectors over the
    character 3- to 5-grams of the keys is at least `threshold` (0 < threshold <= 1); groups are
    the connected components of these links, so a chain of small edits is one group. The vectors'
    document frequencies count each key once. The order of the texts changes only the numbering.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold = {threshold}, expected 0 < threshold <= 1")
    keys, key_of_text = np.unique(
        np.array([near_duplicate_key(text) for text in texts], dtype=object), return_inverse=True
    )
    groups = _components(list(keys), threshold)[key_of_text]
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _components(keys: Sequence[str], threshold: float) -> NDArray[np.int64]:
    """(k,) component of each distinct key."""
    labels = np.arange(len(keys), dtype=np.int64)
    if not any(len(key) >= 3 for key in keys):
        return labels
    # Deferred: whoever labels or answers asks for keys alone, and scikit-learn takes longer to
    # import than all else that those need.
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(
        analyzer="char", ngram_range=(3, 5), lowercase=False, dtype=np.float64
    ).fit_transform(keys)  # (k, features), rows of length 1
    suffix_norm = SUFFIX_SHARE * threshold
    prefixes = _prefixes(vectors, suffix_norm)
    transposed = prefixes.T.tocsr()
    for start in range(0, len(keys), CHUNK):
        overlaps = (prefixes[start : start + CHUNK] @ transposed).tocoo()
        rows, columns = overlaps.row + start, overlaps.col
        ahead = (columns > rows) & (overlaps.data >= threshold - suffix_norm - SLACK)
        # The likeliest first: once two texts are known to be in one group, no further pair between
        # their groups needs its cosine, which keeps texts from one template from costing n² ones.
        order = np.argsort(-overlaps.data[ahead], kind="stable")
        pairs = np.stack([rows[ahead][order], columns[ahead][order]])  # (2, candidates)
        while pairs.size:
            pairs = pairs[:, labels[pairs[0]] != labels[pairs[1]]]
            batch, pairs = pairs[:, :BATCH], pairs[:, BATCH:]
            cosines = np.asarray(vectors[batch[0]].multiply(vectors[batch[1]]).sum(axis=1)).ravel()
            labels = _merged(labels, batch[:, cosines >= threshold - SLACK])
    return labels


def _prefixes(vectors: sp.csr_matrix, suffix_norm: float) -> sp.csr_matrix:
    """Each row without its commonest features, as many as have a norm under `suffix_norm`.

    With one order of features for all rows, rarest first, a row is a prefix and a suffix. Of two
    rows let x be the one whose prefix ends first: what they share up to there lies in both
    prefixes, and the rest adds at most |suffix of x| · |y| < suffix_norm (Cauchy-Schwarz, rows of
    length 1). So cos(x, y) < prefix(x) · prefix(y) + suffix_norm, and only pairs whose prefixes
    multiply to threshold - suffix_norm or more can reach the threshold.
    Source: Bayardo, Ma, Srikant: Scaling Up All Pairs Similarity Search, WWW 2007, section 4.
    """
    frequency = np.bincount(vectors.indices, minlength=vectors.shape[1])
    rank = np.empty(vectors.shape[1], dtype=np.int64)
    rank[np.lexsort((np.arange(vectors.shape[1]), frequency))] = np.arange(vectors.shape[1])
    # A whole copy: below it is sorted and thinned in place.
    ordered = vectors.copy()
    ordered.indices = rank[vectors.indices].astype(vectors.indices.dtype)
    ordered.has_sorted_indices = False
    ordered.sort_indices()
    # Norm² of a row from a feature to its end = total up to the row's end minus total before it.
    totals = np.concatenate([[0.0], np.cumsum(ordered.data**2)])
    row_ends = np.repeat(totals[ordered.indptr[1:]], np.diff(ordered.indptr))
    suffix = row_ends - totals[:-1]
    counts = frequency[np.argsort(rank)][ordered.indices]
    # A feature that no other row has finds nobody.
    kept = (suffix >= (suffix_norm - 1e-6) ** 2) & (counts > 1)
    ordered.data = np.where(kept, ordered.data, 0.0)
    ordered.eliminate_zeros()
    return ordered


def _merged(labels: NDArray[np.int64], links: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels after joining the groups of each linked pair (2, links)."""
    if not links.size:
        return labels
    ends = labels[links]
    graph = sp.coo_matrix((np.ones(ends.shape[1]), (ends[0], ends[1])), (len(labels),) * 2)
    _, components = connected_components(graph, directed=False)
    merged: NDArray[np.int64] = components.astype(np.int64)[labels]
    return merged
