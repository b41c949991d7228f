"""Vectors that were computed before, kept in one SQLite file for all processes."""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.inference.batches import unit_length

if TYPE_CHECKING:
    from shared.inference.runtime import Embedder

# Keys asked for at one time; SQLite allows 32,766 parameters in a statement.
_KEYS_AT_ONCE = 500
# Seconds to wait for another process that is writing.
_PATIENCE = 60


class CachedEmbedder:
    """Gives an embedder's vectors, and computes only those it has not given before.

    Rows are keyed by sha256(fingerprint + text), so that several encoders share a file and no text
    stands in it. Vectors are kept as they are before normalising. The file only grows: delete it
    to start again.
    """

    def __init__(self, embedder: "Embedder", path: Path) -> None:
        """Raises DataError if `path` is a file, but no cache of vectors."""
        self._embedder = embedder
        self._path = path
        self.dim = embedder.dim
        self.fingerprint = embedder.fingerprint
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS vectors "
                    "(key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
                )
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{path}: not a cache of vectors ({error}); name another file, or remove this one"
            ) from error

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        """(len(texts), dim) in the order of `texts`; each different text computed at most once."""
        vectors = self._cached("", texts, partial(self._embedder.encode, normalised=False))
        return unit_length(vectors) if normalised else vectors

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See Embedder; each different text computed at most once."""
        return self._cached("features", texts, self._embedder.features)

    def _cached(
        self,
        view: str,
        texts: Sequence[str],
        compute: Callable[[Sequence[str]], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        if not len(texts):
            return compute(texts)
        keys = [self._key(view, text) for text in texts]
        known = self._read(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            fresh = dict(zip(missing, compute(list(missing.values())), strict=True))
            self._write(fresh)
            known.update(fresh)
        return np.stack([known[key] for key in keys])

    def _connect(self) -> sqlite3.Connection:
        """A connection for one call: none is shared between threads or kept over a fork."""
        return sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)

    def _key(self, view: str, text: str) -> bytes:
        # The names have no NUL in them, so two keys never run into one another.
        content = f"{view}{self.fingerprint}\0{text}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(content).digest()

    def _read(self, keys: list[bytes]) -> dict[bytes, NDArray[np.float32]]:
        found: dict[bytes, NDArray[np.float32]] = {}
        with closing(self._connect()) as connection:
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                part = keys[start : start + _KEYS_AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, vector FROM vectors WHERE key IN ({marks})"
                for key, vector in connection.execute(query, part):
                    found[key] = np.frombuffer(vector, dtype="<f4")
        return found

    def _write(self, vectors: dict[bytes, NDArray[np.float32]]) -> None:
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            # Another process may have put the same text in meanwhile: its vector is as good.
            connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
            connection.execute("COMMIT")
