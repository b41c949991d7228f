"""The benchmark of the index: its exact rival is exact, each kind is asked in its own process."""

import numpy as np

from pipelines.benchmark_index import QUERIES, benchmark_index, invented, lines_of, nearest


def test_the_exact_rival_finds_what_a_full_sort_finds() -> None:
    rows, queries = invented(300, 16, seed=1)
    assert (rows.shape, queries.shape) == ((300, 16), (QUERIES, 16))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
    order = np.argsort(-(queries @ rows.T), axis=1)[:, :7]
    assert np.sort(nearest(queries, rows, 7)).tolist() == np.sort(order).tolist()


def test_each_kind_is_built_loaded_and_judged_against_it() -> None:
    said: list[str] = []
    found = benchmark_index(1_000, said.append, dimensions=16, kinds=("flat", "ivf_sq"))
    assert [(each.rows, each.kind, each.chosen) for each in found] == [
        (1_000, "flat", True),
        (1_000, "ivf_sq", False),
    ]
    flat, coarse = found
    assert flat.recall == 1.0
    assert 0.9 < coarse.recall <= 1.0
    assert 0 < flat.median_ms <= flat.p95_ms
    assert said[-3:] == list(lines_of(found))
    assert said[-2].split()[:3] == ["1,000", "flat*", "1.000"]
