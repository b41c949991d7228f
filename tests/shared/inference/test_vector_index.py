"""The index against brute force in numpy."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import DataError, ModelError, ModelNotFoundError
from shared.inference.index_kinds import IndexKind, kind_for
from shared.inference.vector_index import VectorIndex

DIM = 24
KINDS: tuple[IndexKind, ...] = ("flat", "hnsw", "ivf_sq", "ivf_pq")
APPROXIMATE = KINDS[1:]


def clustered(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors around 40 centres, as real texts lie; not of unit length."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(40, DIM))
    rows = centres[random.integers(0, 40, count)] + 0.5 * random.normal(size=(count, DIM))
    return rows.astype(np.float32)


def names(count: int, first: int = 0) -> list[str]:
    return [f"item-{number}" for number in range(first, first + count)]


def brute_force(
    queries: NDArray[np.float32], rows: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    asked = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    cosines = asked @ unit.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


def build(count: int, kind: IndexKind = "flat", wanted_recall: float = 0.95) -> VectorIndex:
    return VectorIndex.build(
        clustered(count),
        names(count),
        encoder_fingerprint="enc-a",
        kind=kind,
        wanted_recall=wanted_recall,
    )


def test_a_flat_index_finds_what_brute_force_finds() -> None:
    rows, queries = clustered(500), clustered(30, seed=1)
    hits = build(500).search(queries, 7)
    order, cosines = brute_force(queries, rows, 7)
    assert hits.ids.tolist() == [[f"item-{row}" for row in line] for line in order]
    np.testing.assert_allclose(hits.scores, cosines, atol=1e-5)


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_an_approximate_index_reaches_the_recall_it_states(kind: IndexKind) -> None:
    index = build(2_000, kind, wanted_recall=0.7)
    queries = clustered(200, seed=2)
    order, _ = brute_force(queries, clustered(2_000), 10)
    hits = index.search(queries, 10)
    share = np.mean(
        [
            len({f"item-{row}" for row in truth} & set(found)) / 10
            for truth, found in zip(order, hits.ids, strict=True)
        ]
    )
    stated = {recall.k: recall.value for recall in index.recall}
    assert list(stated) == [10, 100]
    # 200 queries of 10 neighbours each: other queries move the share by a few points.
    assert share == pytest.approx(stated[10], abs=0.06)
    assert share > 0.5
    assert (np.diff(hits.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("kind", ["hnsw", "ivf_sq"])
def test_the_effort_grows_until_the_wanted_recall_is_reached(kind: IndexKind) -> None:
    index = build(2_000, kind, wanted_recall=0.97)
    assert index.recall[-1].value >= 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_removed_items_are_never_found_and_never_missing_from_the_count(kind: IndexKind) -> None:
    index = build(700, kind)
    gone = names(690)
    assert index.remove(gone) == 690
    assert index.remove([*gone, "never there"]) == 0
    assert len(index) == 10
    hits = index.search(clustered(5, seed=3), 25)
    assert hits.ids.shape == (5, 10)
    for line in hits.ids:
        assert set(line) == set(names(10, first=690))
    assert index.needs_rebuild


@pytest.mark.parametrize("kind", KINDS)
def test_added_items_are_found_without_a_rebuild(kind: IndexKind) -> None:
    index = build(700, kind)
    fresh = clustered(3, seed=9)
    index.add(fresh, ["new-a", "new-b", "new-c"], encoder_fingerprint="enc-a")
    assert len(index) == 703
    assert [line[0] for line in index.search(fresh, 1).ids] == ["new-a", "new-b", "new-c"]


def test_adding_an_id_again_replaces_its_vector() -> None:
    index = build(50)
    elsewhere = -clustered(50)[:1]
    index.add(elsewhere, ["item-0"], encoder_fingerprint="enc-a")
    hits = index.search(elsewhere, 50)
    assert len(index) == 50
    assert hits.ids[0, 0] == "item-0"
    assert hits.scores[0, 0] == pytest.approx(1.0, abs=1e-5)
    assert sorted(hits.ids[0]) == sorted(names(50))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mmap", [False, True])
def test_a_saved_index_answers_as_before(kind: IndexKind, mmap: bool, tmp_path: Path) -> None:
    index = build(700, kind)
    index.remove(names(20))
    index.save(tmp_path)
    again = VectorIndex.load(tmp_path, encoder_fingerprint="enc-a", mmap=mmap)
    queries = clustered(9, seed=4)
    before, after = index.search(queries, 12), again.search(queries, 12)
    assert after.ids.tolist() == before.ids.tolist()
    np.testing.assert_array_equal(after.scores, before.scores)
    assert (again.kind, again.recall, len(again)) == (kind, index.recall, 680)


def test_saving_again_leaves_one_set_of_files(tmp_path: Path) -> None:
    index = build(60)
    index.save(tmp_path)
    index.add(clustered(1, seed=5), ["late"], encoder_fingerprint="enc-a")
    index.save(tmp_path)
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".faiss", ".json", ".json"]
    assert len(VectorIndex.load(tmp_path)) == 61


def test_a_save_that_was_cut_off_leaves_the_old_index(tmp_path: Path) -> None:
    build(60).save(tmp_path)
    # What a killed second save leaves behind: new data files that index.json does not name.
    (tmp_path / "rows-000000000000.faiss").write_bytes(b"half")
    assert len(VectorIndex.load(tmp_path)) == 60


def test_ids_keep_every_character(tmp_path: Path) -> None:
    odd = ["", " a ", "茶杯", "x\u0000", "a\nb"]
    index = VectorIndex.build(clustered(5), odd, encoder_fingerprint="e")
    index.save(tmp_path)
    assert list(VectorIndex.load(tmp_path).ids) == odd


def test_the_kind_follows_the_size() -> None:
    assert [kind_for(n) for n in (1, 30_000, 30_001, 5_000_000, 5_000_001)] == [
        "flat",
        "flat",
        "ivf_sq",
        "ivf_sq",
        "ivf_pq",
    ]


def test_vectors_of_another_encoder_are_refused_with_both_names(tmp_path: Path) -> None:
    index = build(20)
    index.save(tmp_path)
    message = (
        "vectors of encoder enc-b do not fit an index of encoder enc-a; "
        "build the index again with the encoder in use"
    )
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        VectorIndex.load(tmp_path, encoder_fingerprint="enc-b")
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        index.add(clustered(1), ["x"], encoder_fingerprint="enc-b")
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        index.search(clustered(1), 1, encoder_fingerprint="enc-b")


def test_vectors_of_another_width_are_refused_with_both_widths() -> None:
    with pytest.raises(
        ModelError,
        match=re.escape(
            "vectors of shape (2, 3) do not fit an index of width 24; expected (n, 24)"
        ),
    ):
        build(20).search(np.zeros((2, 3), dtype=np.float32), 1)


def test_what_cannot_be_indexed_is_said() -> None:
    rows = clustered(3)
    with pytest.raises(DataError, match=re.escape("id 'a' is there twice; expected each id once")):
        VectorIndex.build(rows, ["a", "b", "a"], encoder_fingerprint="e")
    with pytest.raises(
        DataError, match=re.escape("vectors of shape (3, 24) for 2 ids; expected (2, dim)")
    ):
        VectorIndex.build(rows, ["a", "b"], encoder_fingerprint="e")
    with pytest.raises(DataError, match="an index needs at least one vector; got none"):
        VectorIndex.build(rows[:0], [], encoder_fingerprint="e")
    with pytest.raises(
        DataError,
        match="an index of kind 'ivf_pq' needs at least 624 vectors; got 3: use kind 'flat'",
    ):
        VectorIndex.build(rows, ["a", "b", "c"], encoder_fingerprint="e", kind="ivf_pq")
    rows[1, 4] = np.nan
    with pytest.raises(DataError, match="vector 1 has a number that is not finite"):
        VectorIndex.build(rows, ["a", "b", "c"], encoder_fingerprint="e")
    with pytest.raises(DataError, match="k = 0; expected 1 or more"):
        build(5).search(clustered(1), 0)


def test_the_callers_vectors_stay_as_they_are() -> None:
    rows = clustered(10)
    before = rows.copy()
    VectorIndex.build(rows, names(10), encoder_fingerprint="e").search(rows, 3)
    np.testing.assert_array_equal(rows, before)


def test_a_changed_byte_is_found_and_the_file_named(tmp_path: Path) -> None:
    build(30).save(tmp_path)
    (rows_file,) = tmp_path.glob("rows-*.faiss")
    content = bytearray(rows_file.read_bytes())
    content[-1] ^= 1
    rows_file.write_bytes(content)
    with pytest.raises(
        ModelError,
        match=re.escape(f"{rows_file}: sha256 differs from the one in index.json; build it again"),
    ):
        VectorIndex.load(tmp_path)


def test_a_folder_without_an_index_or_with_a_strange_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file; expected a vector index in"):
        VectorIndex.load(tmp_path)
    build(30).save(tmp_path)
    path = tmp_path / "index.json"
    said = json.loads(path.read_text())
    (tmp_path.parent / "outside.faiss").write_bytes(b"")
    said["files"]["rows"] = "../outside.faiss"
    said["sha256"]["../outside.faiss"] = ""
    path.write_text(json.dumps(said))
    with pytest.raises(ModelError, match="no such file in the index's folder"):
        VectorIndex.load(tmp_path)
    path.write_text("{}")
    with pytest.raises(ModelError, match="unexpected content"):
        VectorIndex.load(tmp_path)


def test_an_empty_index_answers_with_nothing() -> None:
    index = build(3)
    index.remove(names(3))
    hits = index.search(clustered(2), 5)
    assert hits.ids.shape == hits.scores.shape == (2, 0)


def test_all_within_a_likeness_are_found_best_first() -> None:
    rows, queries = clustered(300), clustered(20, seed=1)
    index = build(300)
    index.remove(names(40))
    order, cosines = brute_force(queries, rows, 300)
    for least in (0.5, float(cosines[3, 17])):  # also one that is just reached
        wanted = [
            [f"item-{row}" for row, cosine in zip(*line, strict=True) if cosine >= least - 1e-6]
            for line in zip(order, cosines, strict=True)
        ]
        found = index.within(queries, least - 1e-6, encoder_fingerprint="enc-a")
        assert [[name for name, _ in line] for line in found] == [
            [name for name in line if int(name[5:]) >= 40] for line in wanted
        ]
    exact = VectorIndex.build(np.eye(2, dtype=np.float32), ["a", "b"], encoder_fingerprint="x")
    assert exact.within(np.eye(2, dtype=np.float32), 1.0) == [[("a", 1.0)], [("b", 1.0)]]
    with pytest.raises(ModelError, match="an index of kind 'hnsw' finds not all; expected 'flat'"):
        build(300, "hnsw").within(queries, 0.5)
    with pytest.raises(ModelError, match="vectors of encoder other do not fit"):
        index.within(queries, 0.5, encoder_fingerprint="other")
