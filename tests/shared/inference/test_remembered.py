"""What was computed once is given again, and is what the embedder behind would give."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import load_embedder


class Counted:
    """Features of two views of two dimensions, from a text's length."""

    dim, fingerprint = 2, "counted"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        raise AssertionError(f"{texts}, {normalised}: the features hold the vectors")

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.array([[len(t), 1, 2, 3] for t in texts], dtype=np.float32).reshape(-1, 4)


def test_each_text_is_computed_once() -> None:
    remembering = RememberingEmbedder(behind := Counted())
    assert remembering.features(["aa", "b", "aa"])[:, 0].tolist() == [2, 1, 2]
    assert remembering.encode(["b", "ccc"], normalised=False).tolist() == [[1, 1], [3, 1]]
    np.testing.assert_allclose(remembering.encode(["ccc"]), [[3, 1] / np.sqrt(10)], rtol=1e-6)
    assert behind.asked == ["aa", "b", "ccc"]
    assert remembering.features([]).shape == (0, 4)
    assert remembering.encode([]).shape == (0, 2)


def test_it_gives_what_the_embedder_gives(tiny_encoder: Path) -> None:
    embedder = load_embedder(tiny_encoder, precision="fp32")
    remembering = RememberingEmbedder(embedder)
    texts = ["where is my order", "good", "where is my order"]
    assert remembering.fingerprint == embedder.fingerprint
    np.testing.assert_allclose(remembering.features(texts), embedder.features(texts), atol=1e-6)
    np.testing.assert_allclose(remembering.encode(texts), embedder.encode(texts), atol=1e-6)
