"""Both arms of the curve start with the same rows and grow alike."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.benchmark_active import benchmark_active
from pipelines.public_sets import BANKING
from shared.errors import DataError

WORDS = {"refund": "money back return", "parcel": "arrive late track", "login": "password reset"}
FILLER = "please can you tell me about my when how the".split()


class Words:
    dim = 12
    fingerprint = "words"

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        names = [word for words in WORDS.values() for word in words.split()]
        rows = np.array([[t.split().count(n) for n in names] + [0.1] * 4 for t in texts])
        length = np.linalg.norm(rows, axis=1, keepdims=True) if normalised else 1
        return np.asarray(rows / length, dtype=np.float32)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts, normalised=False)


def write(path: Path, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = ["text,label"]
    for _ in range(rows):
        label = str(rng.choice(list(WORDS)))
        words = [str(rng.choice(WORDS[label].split())), *rng.choice(FILLER, 5)]
        lines.append(f"{' '.join(rng.permutation(words))},{label}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_curve_of_both_arms_over_seeds(tmp_path: Path) -> None:
    write(tmp_path / BANKING[0], 150, 1)
    write(tmp_path / BANKING[1], 60, 2)
    said: list[str] = []
    rows = benchmark_active(tmp_path, Words, (1, 2), said.append, per_label=4, rounds=2, threads=1)
    assert [row.labels for row in rows] == [12, 24, 36]
    assert rows[0].active == rows[0].random
    assert rows[0].gain == rows[0].low == rows[0].high == 0
    for row in rows:
        assert row.gain == pytest.approx(row.active - row.random)
        assert row.low <= row.gain <= row.high
    assert len(said) == 2 * 2 * 3 + 3


def test_without_the_set_there_is_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="triptych data fetch"):
        benchmark_active(tmp_path, Words, (1,), lambda _: None)
