"""Kinds of FAISS index: which one pays at what size, and how hard it must look."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError

IndexKind = Literal["flat", "hnsw", "ivf_sq", "ivf_pq"]

# Up to where a kind pays (`triptych benchmark index`): flat answers one query on 30,000 x 384 in
# about 5 ms; one byte a dimension (ivf_sq) keeps .99 of the neighbours; only past 5 million must
# vectors be smaller still.
FLAT_UP_TO = 30_000
SCALAR_UP_TO = 5_000_000
# Rows a list of an inverted file, and a centroid of a product quantiser, are trained on (FAISS).
_ROWS_PER_CENTROID = 39
_FEWEST_FOR_PQ = 16 * _ROWS_PER_CENTROID
# Rows for each list that its centre is found from: more cost most of a build and bring nothing.
_ROWS_SAMPLED = 64
# A doubled effort that brings less recall than this has found what there is: codes are the limit.
_LEAST_GAIN = 0.001
_RECALL_QUERIES = 200


@dataclass(frozen=True)
class Recall:
    """Share of the `k` exact nearest neighbours that the index finds, over `queries` of its own
    vectors (each without itself). 0..1; 1 for "flat", which is exact."""

    k: int
    value: float
    queries: int


def kind_for(rows: int) -> IndexKind:
    """What an index of so many rows is where nobody says."""
    if rows <= FLAT_UP_TO:
        return "flat"
    return "ivf_sq" if rows <= SCALAR_UP_TO else "ivf_pq"


def new_index(kind: IndexKind, rows: int, dim: int) -> Any:
    """An empty index. Sizes: 2 sqrt(n) lists (twice as many are learnt from twice the rows, minutes
    more for a million, and did not answer sooner), never fewer rows to a list than its training
    asks for; one byte for each 6 dimensions or so ("ivf_pq", dim 384)."""
    metric = faiss.METRIC_INNER_PRODUCT
    lists = max(1, min(int(2 * rows**0.5), rows // _ROWS_PER_CENTROID))
    if kind == "flat":
        return faiss.IndexFlatIP(dim)
    if kind == "hnsw":
        return faiss.IndexHNSWFlat(dim, 32, metric)
    if kind == "ivf_sq":
        return faiss.index_factory(dim, f"IVF{lists},SQ8", metric)
    if kind == "ivf_pq":
        if rows < _FEWEST_FOR_PQ:
            raise DataError(
                f"an index of kind 'ivf_pq' needs at least {_FEWEST_FOR_PQ} vectors; got {rows}: "
                "use kind 'flat'"
            )
        parts = max(part for part in range(1, min(dim, 64) + 1) if dim % part == 0)
        bits = 8 if rows >= 256 * _ROWS_PER_CENTROID else 4
        return faiss.index_factory(dim, f"IVF{lists},PQ{parts}x{bits}", metric)
    raise DataError(f"index kind '{kind}'; allowed are auto, flat, hnsw, ivf_sq and ivf_pq")


def sample(rows: NDArray[np.float32], lists: int, seed: int) -> NDArray[np.float32]:
    """Rows to train the lists on: so many for each, or all."""
    wanted = max(_ROWS_SAMPLED * lists, 256 * _ROWS_PER_CENTROID)
    if wanted >= len(rows):
        return rows
    places = np.random.default_rng(seed).choice(len(rows), wanted, replace=False)
    return rows[np.sort(places)]


def tune(
    index: Any, kind: IndexKind, rows: NDArray[np.float32], wanted: float, seed: int
) -> tuple[int, tuple[Recall, ...]]:
    """The smallest effort, by doubling, that reaches `wanted` recall of the 100 nearest."""
    depths = [k for k in (10, 100) if k < len(rows)] or [max(1, len(rows) - 1)]
    count = min(_RECALL_QUERIES, len(rows))
    if kind == "flat" or len(rows) == 1:
        return 1, tuple(Recall(k, 1.0, count) for k in depths)
    places = np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))
    queries, deepest = rows[places], max(depths)
    _, exact = faiss.knn(queries, rows, deepest + 1, metric=faiss.METRIC_INNER_PRODUCT)
    effort, limit = (64, len(rows)) if kind == "hnsw" else (8, index.nlist)
    reached = -1.0
    while True:
        parameters = parameters_for(kind, effort, deepest + 1)
        _, found = index.search(queries, deepest + 1, params=parameters)
        recall = tuple(Recall(k, _found_share(exact, found, places, k), count) for k in depths)
        gain, reached = recall[-1].value - reached, recall[-1].value
        if reached >= wanted or effort >= limit or gain < _LEAST_GAIN:
            return effort, recall
        effort *= 2


def _found_share(
    exact: NDArray[np.int64], found: NDArray[np.int64], own: NDArray[np.int64], k: int
) -> float:
    shares = []
    for truth, answer, itself in zip(exact, found, own, strict=True):
        others = truth[truth != itself][:k]
        shares.append(np.isin(others, answer[answer != itself][:k]).mean())
    return float(np.mean(shares))


def parameters_for(kind: IndexKind, effort: int, fetch: int) -> Any:
    """FAISS's for one search. effort: lists looked into, or nodes visited; at least `fetch`."""
    if kind == "flat":
        return None
    if kind == "hnsw":
        return cast(Any, faiss).SearchParametersHNSW(efSearch=max(effort, fetch))
    return cast(Any, faiss).SearchParametersIVF(nprobe=effort)
