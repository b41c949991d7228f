"""`triptych benchmark index`: what each kind of index finds and costs, up to a million vectors.

The vectors are invented, but lie as those of texts do: in clusters within clusters, with most of
what is left of their spread in few directions. Each index is built and saved here and asked by a
fresh process, as a service would be; its exact rival is brute force over the same rows.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.inference.index_kinds import IndexKind, kind_for
from shared.inference.vector_index import VectorIndex

Say = Callable[[str], None]
Vectors = NDArray[np.float32]

DIMENSIONS = 384
DEPTH = 100
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
KINDS: tuple[IndexKind, ...] = ("flat", "hnsw", "ivf_sq", "ivf_pq")
# A graph of more rows is minutes of work, and nothing chooses it by itself; codes of a catalogue
# that needs no codes only show what they lose.
MOST_ROWS = {"hnsw": 30_000, "ivf_pq": 100_000}
QUERIES = 200
# Rows of a topic and of a group of like texts in it, and in how many directions these differ most.
TOPIC_ROWS, GROUP_ROWS, DIRECTIONS = 2_000, 20, 48
ROWS_AT_ONCE = 50_000
# Asked by a process that holds nothing else: what it grows by is what the index needs.
PROBE = """
import json, sys, time
from pathlib import Path
import numpy as np
from shared.inference.vector_index import VectorIndex
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
folder, depth = Path(sys.argv[1]), int(sys.argv[2])
queries, exact = np.load(folder / "queries.npy"), np.load(folder / "exact.npy")
before = resident()
index = VectorIndex.load(folder)
spent, found = [], 0
index.search(queries[:1], depth)
for query, truth in zip(queries, exact):
    begun = time.process_time()
    hits = index.search(query[None], depth)
    spent.append(time.process_time() - begun)
    found += len(np.intersect1d(hits.ids[0].astype(np.int64), truth))
begun = time.process_time()
index.search(queries, depth)
print(json.dumps({
    "recall": found / exact.size,
    "median_ms": 1e3 * float(np.median(spent)),
    "p95_ms": 1e3 * float(np.quantile(spent, 0.95)),
    "batch_ms": 1e3 * (time.process_time() - begun) / len(queries),
    "megabytes": resident() - before,
}))
"""


@dataclass(frozen=True)
class IndexFigures:
    """One index. chosen: it is what a catalogue of that size gets. recall: of the DEPTH exact
    nearest of queries that are no rows. median_ms, p95_ms: of one query by one thread; batch_ms:
    of one of QUERIES asked at once; all of processor time, which other work on the machine does not
    change. megabytes: by which a process that loads it grows. build_seconds: of processor time.
    """

    rows: int
    kind: str
    chosen: bool
    recall: float
    median_ms: float
    p95_ms: float
    batch_ms: float
    megabytes: float
    build_seconds: float


def benchmark_index(
    rows: int,
    say: Say,
    *,
    seed: int = 13,
    dimensions: int = DIMENSIONS,
    kinds: Sequence[IndexKind] = KINDS,
) -> list[IndexFigures]:
    """Each kind at each of SIZES up to `rows`, and at `rows`."""
    found: list[IndexFigures] = []
    for size in sorted({*(size for size in SIZES if size < rows), rows}):
        vectors, queries = invented(size, dimensions, seed)
        exact = nearest(queries, vectors, DEPTH)
        for kind in kinds:
            if size > MOST_ROWS.get(kind, size):
                continue
            found.append(_measured(kind, vectors, queries, exact, seed))
            say(_line(found[-1]))
    for line in lines_of(found):
        say(line)
    return found


def invented(count: int, dimensions: int, seed: int) -> tuple[Vectors, Vectors]:
    """(count, dimensions) rows and (QUERIES, dimensions) queries drawn as they are, unit length."""
    rng = np.random.default_rng(seed)
    topics = rng.standard_normal((max(1, count // TOPIC_ROWS), dimensions), np.float32)
    groups = max(1, count // GROUP_ROWS)
    centres = topics[rng.integers(0, len(topics), groups)]
    axes = rng.standard_normal((min(DIRECTIONS, dimensions), dimensions), np.float32)
    centres = centres + 0.6 * spread(groups, axes, rng)
    rows = np.empty((count + QUERIES, dimensions), np.float32)
    for at in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[at : at + ROWS_AT_ONCE]
        part[:] = centres[rng.integers(0, groups, len(part))]
        part += 0.5 * spread(len(part), axes, rng)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows[:count], rows[count:].copy()


def spread(count: int, axes: Vectors, rng: np.random.Generator) -> Vectors:
    """(count, dimensions): a good part along the axes, the rest in all directions."""
    width, dimensions = axes.shape
    along = rng.standard_normal((count, width), np.float32) @ axes / np.float32(np.sqrt(width))
    around = rng.standard_normal((count, dimensions), np.float32)
    drawn: Vectors = along + np.float32(0.4) * around
    return drawn


def nearest(queries: Vectors, rows: Vectors, count: int) -> NDArray[np.int64]:
    """(queries, count) the rows of the largest products, in no order, by looking at all."""
    best = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for at in range(0, len(rows), ROWS_AT_ONCE):
        product = queries @ rows[at : at + ROWS_AT_ONCE].T
        place = np.broadcast_to(np.arange(at, at + product.shape[1]), product.shape)
        scores, best = np.hstack([scores, product]), np.hstack([best, place])
        kept = np.argpartition(-scores, min(count, scores.shape[1]) - 1, axis=1)[:, :count]
        scores = np.take_along_axis(scores, kept, 1)
        best = np.take_along_axis(best, kept, 1)
    return best


def _measured(
    kind: IndexKind, vectors: Vectors, queries: Vectors, exact: NDArray[np.int64], seed: int
) -> IndexFigures:
    begun = time.process_time()
    ids = [str(row) for row in range(len(vectors))]
    index = VectorIndex.build(vectors, ids, encoder_fingerprint="invented", kind=kind, seed=seed)
    spent = time.process_time() - begun
    with tempfile.TemporaryDirectory(prefix="triptych-index-") as name:
        folder = Path(name)
        index.save(folder)
        del index
        np.save(folder / "queries.npy", queries)
        np.save(folder / "exact.npy", exact)
        done = subprocess.run(
            [sys.executable, "-c", PROBE, str(folder), str(exact.shape[1])],
            capture_output=True,
            text=True,
            timeout=1800,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
        )
    told = json.loads(done.stdout.splitlines()[-1])
    return IndexFigures(
        len(vectors), kind, kind == kind_for(len(vectors)), build_seconds=spent, **told
    )


def lines_of(found: Sequence[IndexFigures]) -> Iterator[str]:
    """The table, aligned; what a catalogue of that size gets is marked."""
    yield (
        f"{'rows':>9}  {'kind':<8} {f'recall@{DEPTH}':>10} {'one query p95':>14} {'median':>9} "
        f"{'in a batch':>11} {'memory':>9} {'built in':>9}"
    )
    for each in found:
        yield _line(each)


def _line(each: IndexFigures) -> str:
    return (
        f"{each.rows:>9,}  {each.kind + '*' * each.chosen:<8} {each.recall:>10.3f} "
        f"{each.p95_ms:>11.2f} ms {each.median_ms:>6.2f} ms {each.batch_ms:>8.2f} ms "
        f"{each.megabytes:>6.0f} MB {each.build_seconds:>7.1f} s"
    )
