"""Every system is measured on every set that is there."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.benchmark_core import benchmark_core
from pipelines.public_sets import BANKING, CLINC, TWITTER

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


def lines(rows: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        label = str(rng.choice(list(WORDS)))
        text = " ".join([*rng.choice(WORDS[label].split(), 2), *rng.choice(FILLER, 4)])
        made.append(f"{text},{label}")
    return made


def write(path: Path, header: str, rows: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_systems_stand_side_by_side_and_missing_sets_are_said(tmp_path: Path) -> None:
    write(tmp_path / BANKING[0], "text,label", lines(80, 1))
    write(tmp_path / BANKING[1], "text,label", lines(30, 2))
    rows = [*(f"train,{line}" for line in lines(80, 3)), *(f"val,{line}" for line in lines(30, 4))]
    refused = [f"oos_val,zebra quantum {i},oos" for i in range(10)]
    write(tmp_path / CLINC, "split,text,label", [*rows, *refused])
    said: list[str] = []
    found = benchmark_core(tmp_path, Words, (1,), said.append)
    fusion = {(row.dataset, row.metric): row for row in found if row.system == "fusion"}
    assert {row.system for row in found} == {
        "fusion",
        "TF-IDF + linear SVM",
        "frozen + logistic regression",
    }
    assert {metric for data, metric in fusion if data == "CLINC150 val"} == {
        "accuracy",
        "macro F1",
        "calibration error",
        "out-of-scope AUROC",
        "out of scope let through at 95 % kept",
    }
    best = fusion["BANKING77 dnnc_valid", "accuracy"]
    assert best.value > 0.9
    assert best.low is not None
    assert best.low <= best.value
    assert [line for line in said if line.startswith("skipped")] == [
        f"skipped: {tmp_path / place} is not there" for place in TWITTER.values()
    ]
