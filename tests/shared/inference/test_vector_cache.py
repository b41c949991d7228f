"""The cache of vectors: what is computed, what is kept, and by whom it can be shared."""

import multiprocessing
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import DataError
from shared.inference.vector_cache import CachedEmbedder


class Counting:
    """An embedder of two dimensions: the length of a text, and 1. Remembers what it was asked."""

    dim = 2

    def __init__(self, fingerprint: str = "enc-a") -> None:
        self.fingerprint = fingerprint
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        assert not normalised
        self.asked += texts
        return np.array([[len(text), 1] for text in texts], dtype=np.float32).reshape(-1, 2)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.array([[len(text), 1, 2, 3] for text in texts], dtype=np.float32)


def test_a_text_is_computed_once_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "vectors.db"
    first = Counting()
    texts = ["aa", "b", "aa", ""]
    found = CachedEmbedder(first, path).encode(texts, normalised=False)
    assert found.tolist() == [[2, 1], [1, 1], [2, 1], [0, 1]]
    assert first.asked == ["aa", "b", ""]
    second = Counting()
    found = CachedEmbedder(second, path).encode(["ccc", "b"], normalised=False)
    assert found.tolist() == [[3, 1], [1, 1]]
    assert second.asked == ["ccc"]


def test_vectors_are_brought_to_unit_length_when_given(tmp_path: Path) -> None:
    cached = CachedEmbedder(Counting(), tmp_path / "v.db")
    for _ in range(2):
        np.testing.assert_allclose(cached.encode(["xxx"]), [[3, 1] / np.sqrt(10)], rtol=1e-6)
        assert cached.encode(["xxx"], normalised=False).tolist() == [[3, 1]]


def test_features_are_kept_apart_from_vectors(tmp_path: Path) -> None:
    cached = CachedEmbedder(first := Counting(), tmp_path / "v.db")
    cached.encode(["xx"])
    assert cached.features(["xx", "yyy"]).tolist() == [[2, 1, 2, 3], [3, 1, 2, 3]]
    assert first.asked == ["xx", "xx", "yyy"]
    again = CachedEmbedder(second := Counting(), tmp_path / "v.db")
    assert again.features(["yyy"]).tolist() == [[3, 1, 2, 3]]
    assert again.encode(["xx"], normalised=False).tolist() == [[2, 1]]
    assert second.asked == []


def test_another_encoder_does_not_get_these_vectors(tmp_path: Path) -> None:
    CachedEmbedder(Counting("enc-a"), tmp_path / "v.db").encode(["x"])
    other = Counting("enc-b")
    CachedEmbedder(other, tmp_path / "v.db").encode(["x"])
    assert other.asked == ["x"]


def test_no_texts_give_no_rows(tmp_path: Path) -> None:
    assert CachedEmbedder(Counting(), tmp_path / "v.db").encode([]).shape == (0, 2)


def test_more_texts_than_one_statement_asks_for(tmp_path: Path) -> None:
    texts = [f"{'x' * (number % 7)}{number}" for number in range(1_203)]
    CachedEmbedder(Counting(), tmp_path / "v.db").encode(texts)
    again = Counting()
    found = CachedEmbedder(again, tmp_path / "v.db").encode(texts, normalised=False)
    assert found[:, 0].tolist() == [len(text) for text in texts]
    assert again.asked == []


def test_no_text_stands_in_the_file(tmp_path: Path) -> None:
    CachedEmbedder(Counting(), tmp_path / "v.db").encode(["a very secret sentence"])
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"secret" not in content


def _fill(path: Path, first: int) -> None:
    cached = CachedEmbedder(Counting(), path)
    for number in range(first, first + 60):
        cached.encode([f"{'y' * number}"])


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "v.db"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_fill, args=(path, first)) for first in (0, 30)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    reader = Counting()
    CachedEmbedder(reader, path).encode(["y" * number for number in range(90)])
    assert reader.asked == []


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letters.db"
    path.write_bytes(b"dear grandmother, " * 100)
    message = (
        f"{path}: not a cache of vectors (file is not a database); "
        "name another file, or remove this one"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        CachedEmbedder(Counting(), path)
    assert path.read_bytes().startswith(b"dear grandmother")
