"""Rows of an evaluation table that the model was trained on, or on next to the same text.

A model version keeps a signature of each of its training rows and no text: 64 bits of a hash for
copies, and 128 bytes of one-byte minwise hashes for near copies. The share of equal bytes estimates
the Jaccard similarity of the texts' character 3- to 5-grams, with a standard deviation of at most
0.044; candidates are found by bands of four bytes instead of by comparing every pair.
Source: Li and König, b-Bit Minwise Hashing, WWW 2010; Leskovec et al., Mining of Massive Datasets,
section 3.4 (bands).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from shared.errors import ModelError
from shared.near_duplicates import near_duplicate_key

FILE = "training_rows.safetensors"
UNKNOWN = (
    "whether rows are copies of training rows is not known: this version was trained before "
    "signatures of its rows were kept"
)
HASHES = 128
BAND = 4  # bytes a band; a pair of similarity .7 shares one of the 32 bands in 999 of 1,000 cases
# Where a near copy begins. Measured on BANKING77 (8,622 and 1,540 rows): .70 calls 148 rows near
# copies, of which 109 are among the 143 with a cosine of .8 as near_duplicates.py has it.
NEAR = 0.70
_ROWS_AT_ONCE = 4096
_PAIRS_AT_ONCE = 1_000_000
# Of the hash functions; a constant, for signatures of different versions must be comparable.
_HASH_SEED = 20_240_229
_FLOOR = 1 / 256  # share of bytes that agree by chance


@dataclass(frozen=True, eq=False)
class Copies:
    """Of n texts. exact: (n,) its key is the key of a training row; near: (n,) exact, or nearly
    the same text as a training row."""

    exact: NDArray[np.bool_]
    near: NDArray[np.bool_]

    @property
    def line(self) -> str:
        """What a reader of a report must know."""
        n, found = len(self.near), int(self.near.sum())
        if not found:
            return f"none of these {n:,} rows is a copy or a near copy of a training row"
        return (
            f"{found:,} of these {n:,} rows are copies ({int(self.exact.sum()):,}) or near copies "
            "of training rows: the figures without them are those to go by"
        )


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """keys: (m,) uint64, sorted; signatures: (m', 128) uint8, each once."""

    keys: NDArray[np.uint64]
    signatures: NDArray[np.uint8]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "TrainingRows":
        """Signatures of these texts; of equal ones one."""
        normal = [near_duplicate_key(text) for text in texts]
        signatures, long_enough = _signatures(normal)
        return cls(np.unique(_keys(normal)), np.unique(signatures[long_enough], axis=0))

    def copies(self, texts: Sequence[str]) -> Copies:
        """Which texts are copies of training rows. A text of under three characters has no
        3-grams and can only be an exact copy."""
        normal = [near_duplicate_key(text) for text in texts]
        exact = np.isin(_keys(normal), self.keys)
        signatures, long_enough = _signatures(normal)
        near = exact.copy()
        open_rows = np.flatnonzero(long_enough & ~near)
        near[open_rows] = self._nearly_known(signatures[open_rows])
        return Copies(exact, near)

    def save(self, folder: Path) -> None:
        """Write training_rows.safetensors."""
        save_file({"keys": self.keys, "signatures": self.signatures}, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> "TrainingRows | None":
        """None: the version was trained before signatures were kept.

        Raises ModelError when the file is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            arrays = load_file(path)
            return cls(arrays["keys"], arrays["signatures"])
        except (OSError, KeyError, SafetensorError) as error:
            raise ModelError(f"{path}: damaged signatures of training rows: {error}") from None

    def _nearly_known(self, asked: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """(q,) whether some training signature agrees in enough bytes."""
        wanted = int(np.ceil(HASHES * (NEAR * (1 - _FLOOR) + _FLOOR)))
        found = np.zeros(len(asked), dtype=np.bool_)
        for band in range(0, HASHES, BAND):
            ours = _band(self.signatures, band)
            order = np.argsort(ours, kind="stable")
            rows = np.flatnonzero(~found)
            theirs = _band(asked[rows], band)
            first = np.searchsorted(ours, theirs, "left", sorter=order)
            last = np.searchsorted(ours, theirs, "right", sorter=order)
            for query, place in _pairs(first, last):
                equal = (asked[rows[query]] == self.signatures[order[place]]).sum(1)
                found[rows[query[equal >= wanted]]] = True
        return found


def seen_by_either(
    texts: Sequence[str], candidate: Path, production: Path
) -> tuple[NDArray[np.bool_], str]:
    """(n,) texts that are copies or near copies of what either model was trained on, and a line
    for a person. A folder without signatures has seen nothing as far as is known."""
    seen = np.zeros(len(texts), dtype=np.bool_)
    unknown = False
    for folder in (candidate, production):
        rows = TrainingRows.load(folder)
        unknown |= rows is None
        if rows is not None:
            seen |= rows.copies(texts).near
    note = f"{int(seen.sum()):,} of {len(texts):,} rows are copies or near copies of rows that a "
    note += "version was trained on: not judged on them"
    return seen, f"{note}; {UNKNOWN}" if unknown else note


def _keys(normal: Sequence[str]) -> NDArray[np.uint64]:
    """(n,) 64 bits of blake2b of each key."""
    digests = [hashlib.blake2b(key.encode(), digest_size=8).digest() for key in normal]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _signatures(normal: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(n, 128) one-byte minwise hashes, and (n,) whether a text has any 3-gram."""
    rng = np.random.default_rng(_HASH_SEED)
    factors = rng.integers(0, 2**63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    offsets = rng.integers(0, 2**63, HASHES, dtype=np.uint64)
    # Deferred: comparing versions asks for keys alone, and it takes long to import.
    from sklearn.feature_extraction.text import HashingVectorizer

    grams = HashingVectorizer(
        analyzer="char", ngram_range=(3, 5), lowercase=False, n_features=2**31 - 1,
        alternate_sign=False, norm=None, binary=True,
    )  # fmt: skip
    out = np.zeros((len(normal), HASHES), dtype=np.uint8)
    some = np.zeros(len(normal), dtype=np.bool_)
    for start in range(0, len(normal), _ROWS_AT_ONCE):
        counts = grams.transform(normal[start : start + _ROWS_AT_ONCE])
        filled = np.flatnonzero(np.diff(counts.indptr))
        some[start + filled] = True
        if not len(filled):
            continue
        numbers, begins = counts.indices.astype(np.uint64), counts.indptr[filled]
        for k in range(HASHES):
            # Multiply-shift: the upper half of a product modulo 2^64 is evenly spread.
            spread = (numbers * factors[k] + offsets[k]) >> np.uint64(32)
            least = np.minimum.reduceat(spread, begins)
            out[start + filled, k] = (least & np.uint64(255)).astype(np.uint8)
    return out, some


def _band(signatures: NDArray[np.uint8], start: int) -> NDArray[np.uint32]:
    part = np.ascontiguousarray(signatures[:, start : start + BAND])
    return part.view(np.uint32).ravel()


def _pairs(
    first: NDArray[np.int64], last: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(query, place) of every place in each query's range, some at a time."""
    count = last - first
    ends = np.cumsum(count)
    begin = 0
    while begin < len(count):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, "right")))
        size = count[begin:end]
        query = np.repeat(np.arange(begin, end), size)
        within = np.arange(len(query)) - np.repeat(np.cumsum(size) - size, size)
        yield query, first[query] + within
        begin = end
