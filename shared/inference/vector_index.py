"""Nearest vectors by cosine, exact or approximate, kept in a folder."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.atomic import replacing, write_text
from shared.errors import DataError, ModelError, ModelNotFoundError
from shared.inference.batches import unit_length
from shared.inference.index_kinds import (
    IndexKind,
    Recall,
    kind_for,
    new_index,
    parameters_for,
    sample,
    tune,
)
from shared.modeling.encoder_folder import read_json_object

DESCRIPTION_FILE = "index.json"
_REBUILD_SHARE = 0.1


class Hits(NamedTuple):
    """ids: (n, k) strings as objects; scores: (n, k) cosines, best first.

    k is what was asked for, or the number of items if that is smaller.
    """

    ids: NDArray[np.object_]
    scores: NDArray[np.float32]


class VectorIndex:
    """Vectors with string ids. All vectors are brought to unit length, so scores are cosines."""

    def __init__(
        self,
        index: Any,
        ids: Sequence[str],
        *,
        kind: IndexKind,
        encoder_fingerprint: str,
        recall: tuple[Recall, ...],
        effort: int,
        dead: Iterable[int] = (),
    ) -> None:
        """index: a FAISS index whose row i is ids[i]; dead: rows that are no longer found.
        effort: lists probed ("ivf_*") or candidates kept ("hnsw"); of no meaning to "flat"."""
        self.kind: IndexKind = kind
        self.encoder_fingerprint = encoder_fingerprint
        self.recall = recall
        self._index = index
        self._effort = effort
        self._ids = np.array(ids, dtype=object)
        self._dead = np.zeros(len(self._ids), dtype=bool)
        self._dead[list(dead)] = True
        self._row_of = {name: row for row, name in enumerate(ids) if not self._dead[row]}

    @classmethod
    def build(
        cls,
        vectors: NDArray[np.float32],
        ids: Sequence[str],
        *,
        encoder_fingerprint: str,
        kind: IndexKind | Literal["auto"] = "auto",
        wanted_recall: float = 0.95,
        seed: int = 13,
    ) -> "VectorIndex":
        """vectors: (n, dim), ids: n different strings.

        kind "auto": flat up to 30,000 rows, ivf_sq up to 5 million, ivf_pq above. The effort of
        a search is doubled until `wanted_recall` of the 100 nearest are found, or more brings no
        more; what was reached stands in `recall`.

        Raises:
            DataError: no rows, rows and ids that do not match, an id twice, a number that is not
                finite, or too few rows for "ivf_pq".
        """
        rows = _checked(vectors, ids)
        if len(rows) == 0:
            raise DataError("an index needs at least one vector; got none")
        chosen: IndexKind = kind_for(len(rows)) if kind == "auto" else kind
        index = new_index(chosen, *rows.shape)
        if not index.is_trained:
            index.train(sample(rows, index.nlist, seed))
        index.add(rows)
        effort, recall = tune(index, chosen, rows, wanted_recall, seed)
        return cls(
            index,
            ids,
            kind=chosen,
            encoder_fingerprint=encoder_fingerprint,
            recall=recall,
            effort=effort,
        )

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def dim(self) -> int:
        return int(self._index.d)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids that can be found, oldest first."""
        return tuple(self._row_of)

    @property
    def needs_rebuild(self) -> bool:
        """Whether more than a tenth of the rows are removed ones, which a search wades through."""
        return len(self._ids) > 0 and float(self._dead.mean()) > _REBUILD_SHARE

    def search(
        self, vectors: NDArray[np.float32], k: int, *, encoder_fingerprint: str | None = None
    ) -> Hits:
        """The k nearest items of each query, (n, dim) -> (n, k), best first.

        Raises:
            ModelError: vectors of another width or, where its fingerprint is given, encoder.
            DataError: k below 1, or a number that is not finite.
        """
        if k < 1:
            raise DataError(f"k = {k}; expected 1 or more")
        if encoder_fingerprint is not None:
            self._check_encoder(encoder_fingerprint)
        queries = self._checked_width(vectors)
        k = min(k, len(self))
        rows = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k), dtype=np.float32)
        if k == 0 or len(queries) == 0:
            return Hits(self._ids[rows], scores)
        pending = np.arange(len(queries))
        fetch = min(k + min(k, int(self._dead.sum())), len(self._ids))
        effort = self._effort
        while len(pending):
            found_scores, found = self._fetch(queries[pending], fetch, effort)
            alive = (found >= 0) & ~self._dead[found]
            full = alive.sum(axis=1) >= k
            # A stable sort of "dead" brings the living to the front, in their order.
            order = np.argsort(~alive[full], axis=1, kind="stable")[:, :k]
            rows[pending[full]] = np.take_along_axis(found[full], order, axis=1)
            scores[pending[full]] = np.take_along_axis(found_scores[full], order, axis=1)
            # Removed rows crowd out living ones, or too few lists were looked into: look wider.
            pending = pending[~full]
            fetch, effort = min(2 * fetch, len(self._ids)), 2 * effort
        return Hits(self._ids[rows], scores)

    def within(
        self, vectors: NDArray[np.float32], least: float, *, encoder_fingerprint: str | None = None
    ) -> list[list[tuple[str, float]]]:
        """For each query (n, dim) all items with a cosine of `least` or more, and it, best first;
        exact, and for an index of kind "flat" alone.

        Raises:
            ModelError: vectors of another width or encoder, or an index of another kind.
            DataError: a number that is not finite.
        """
        if self.kind != "flat":
            raise ModelError(f"an index of kind '{self.kind}' finds not all; expected 'flat'")
        if encoder_fingerprint is not None:
            self._check_encoder(encoder_fingerprint)
        queries = self._checked_width(vectors)
        # FAISS leaves out what is only equal to the radius.
        radius = float(np.nextafter(np.float32(least), np.float32(-2)))
        limits, scores, rows = self._index.range_search(queries, radius)
        found: list[list[tuple[str, float]]] = []
        for begin, end in pairwise(limits.tolist()):
            near = [
                (float(score), row)
                for score, row in zip(scores[begin:end], rows[begin:end].tolist(), strict=True)
                if not self._dead[row]
            ]
            near.sort(key=lambda one: (-one[0], one[1]))
            found.append([(self._ids[row], score) for score, row in near])
        return found

    def add(
        self, vectors: NDArray[np.float32], ids: Sequence[str], *, encoder_fingerprint: str
    ) -> None:
        """Put new items in without a rebuild. An id that is there already gets the new vector.

        Raises ModelError and DataError as search() and build() do; then nothing was added.
        """
        self._check_encoder(encoder_fingerprint)
        rows = _checked(self._checked_width(vectors), ids)
        self.remove(ids)
        first = len(self._ids)
        self._index.add(rows)
        self._ids = np.concatenate([self._ids, np.array(ids, dtype=object)])
        self._dead = np.concatenate([self._dead, np.zeros(len(ids), dtype=bool)])
        self._row_of.update({name: first + place for place, name in enumerate(ids)})

    def with_more(self, vectors: NDArray[np.float32], ids: Sequence[str]) -> "VectorIndex":
        """Another index with new items in it too; this one stays, for whoever is searching it.

        Raises ModelError and DataError as add() does.
        """
        longer = VectorIndex(
            faiss.clone_index(self._index),
            self._ids.tolist(),
            kind=self.kind,
            encoder_fingerprint=self.encoder_fingerprint,
            recall=self.recall,
            effort=self._effort,
            dead=np.flatnonzero(self._dead).tolist(),
        )
        longer.add(vectors, ids, encoder_fingerprint=self.encoder_fingerprint)
        return longer

    def remove(self, ids: Iterable[str]) -> int:
        """Let items never be found again; unknown ids are passed over. Returns how many went.

        Their rows stay in memory until the next build (see needs_rebuild).
        """
        rows = [row for row in (self._row_of.pop(name, None) for name in ids) if row is not None]
        self._dead[rows] = True
        return len(rows)

    def save(self, folder: Path) -> None:
        """Write the folder. A reader sees the old index or the new one, never a mixture: data
        files are named by their content, and index.json, replaced last, says which ones hold."""
        token = uuid4().hex[:12]
        rows_file, ids_file = folder / f"rows-{token}.faiss", folder / f"ids-{token}.json"
        with replacing(rows_file) as part:
            faiss.write_index(self._index, str(part))
        write_text(ids_file, json.dumps(self._ids.tolist(), ensure_ascii=False))
        description = {
            "kind": self.kind,
            "dim": self.dim,
            "encoder_fingerprint": self.encoder_fingerprint,
            "effort": self._effort,
            "removed": np.flatnonzero(self._dead).tolist(),
            "recall": [asdict(recall) for recall in self.recall],
            "files": {"rows": rows_file.name, "ids": ids_file.name},
            "sha256": {file.name: _sha256(file) for file in (rows_file, ids_file)},
        }
        write_text(folder / DESCRIPTION_FILE, json.dumps(description, indent=2))
        for stale in (*folder.glob("rows-*.faiss"), *folder.glob("ids-*.json")):
            if stale not in (rows_file, ids_file):
                stale.unlink(missing_ok=True)

    @classmethod
    def load(
        cls, folder: Path, *, encoder_fingerprint: str | None = None, mmap: bool = False
    ) -> "VectorIndex":
        """Read what save() wrote.

        encoder_fingerprint: of the encoder whose vectors will be searched with. mmap: leave the
        rows on disk and let processes share them ("ivf_*" and "flat"; add() then fails).

        Raises:
            ModelNotFoundError: no index in `folder`.
            ModelError: a damaged or changed file (named), or an index of another encoder.
        """
        path = folder / DESCRIPTION_FILE
        while True:
            if not path.is_file():
                raise ModelNotFoundError(
                    f"{path}: no such file; expected a vector index in {folder}"
                )
            said = read_json_object(path)
            try:
                loaded = cls._read(folder, said, mmap)
                break
            except ModelError:
                # Saved anew while it was read: its old files may have gone.
                if read_json_object(path) == said:
                    raise
        if encoder_fingerprint is not None:
            loaded._check_encoder(encoder_fingerprint)
        return loaded

    @classmethod
    def _read(cls, folder: Path, said: dict[str, Any], mmap: bool) -> "VectorIndex":
        try:
            for name in said["files"].values():
                _check_file(folder, name, said["sha256"][name])
            ids = json.loads((folder / said["files"]["ids"]).read_text(encoding="utf-8"))
            rows_file = folder / said["files"]["rows"]
            flags = faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY if mmap else 0
            return cls(
                faiss.read_index(str(rows_file), flags),
                ids,
                kind=said["kind"],
                encoder_fingerprint=said["encoder_fingerprint"],
                recall=tuple(Recall(**recall) for recall in said["recall"]),
                effort=said["effort"],
                dead=said["removed"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{folder / DESCRIPTION_FILE}: unexpected content ({error!r}); build it again"
            ) from error

    def _fetch(
        self, queries: NDArray[np.float32], fetch: int, effort: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(n, fetch) scores and rows, -1 where the search found no more."""
        if self.kind == "hnsw" and effort >= len(self._ids):
            # A graph may have corners that no path leads to; its rows can still be scanned.
            found = faiss.downcast_index(self._index.storage).search(queries, fetch)
        else:
            parameters = parameters_for(self.kind, effort, fetch)
            found = self._index.search(queries, fetch, params=parameters)
        scores: NDArray[np.float32] = found[0]
        rows: NDArray[np.int64] = found[1]
        return scores, rows

    def _checked_width(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ModelError(
                f"vectors of shape {vectors.shape} do not fit an index of width {self.dim}; "
                f"expected (n, {self.dim})"
            )
        return _checked_rows(vectors)

    def _check_encoder(self, fingerprint: str) -> None:
        if fingerprint != self.encoder_fingerprint:
            raise ModelError(
                f"vectors of encoder {fingerprint} do not fit an index of encoder "
                f"{self.encoder_fingerprint}; build the index again with the encoder in use"
            )


def _checked(vectors: NDArray[np.float32], ids: Sequence[str]) -> NDArray[np.float32]:
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise DataError(
            f"vectors of shape {vectors.shape} for {len(ids)} ids; expected ({len(ids)}, dim)"
        )
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise DataError(f"id '{name}' is there twice; expected each id once")
        seen.add(name)
    return _checked_rows(vectors)


def _checked_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(f"vector {bad[0]} has a number that is not finite; expected finite numbers")
    return np.ascontiguousarray(unit_length(vectors.astype(np.float32, copy=False)))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_file(folder: Path, name: str, digest: str) -> None:
    path = folder / name
    # A folder is untrusted: the name must be that of a file in it, not a path to elsewhere.
    if Path(name).name != name or not path.is_file():
        raise ModelError(f"{path}: no such file in the index's folder; build the index again")
    if _sha256(path) != digest:
        raise ModelError(
            f"{path}: sha256 differs from the one in {DESCRIPTION_FILE}; build it again"
        )
