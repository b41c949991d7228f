"""Frozen, fine-tuned and contrastive beside each other on rows drawn by seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines import benchmark_few as few
from pipelines.public_sets import BANKING, CLINC
from shared.errors import DataError
from shared.settings import Home
from shared.training.options import TrainOptions

WORDS = {"refund": "money back return", "parcel": "arrive late track", "login": "password reset"}
FILLER = "please can you tell me about my when how the".split()
OPTIONS = TrainOptions(method="full", epochs=1, threads=1, bf16=False, device="cpu", progress=False)


def lines(rows: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    found = []
    for at in range(rows):
        label = sorted(WORDS)[at % 3]
        words = [str(rng.choice(WORDS[label].split())), *rng.choice(FILLER, 5)]
        found.append(f"{' '.join(rng.permutation(words))},{label}")
    return found


def write(path: Path, header: str, rows: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_every_system_answers_on_the_set_that_is_there(tiny_encoder: Path, tmp_path: Path) -> None:
    sets = tmp_path / "sets"
    clinc = [f"{part},{line}" for part, n in (("train", 60), ("val", 30)) for line in lines(n, 3)]
    write(sets / CLINC, "split,text,label", clinc)
    said: list[str] = []
    rows = few.benchmark_few(
        sets, home=Home(tmp_path / "home"), options=OPTIONS, seeds=(1,), say=said.append,
        shots=(8,), bases=(str(tiny_encoder), "mpnet"),
    )  # fmt: skip
    systems = [few.LOGISTIC, few.FUSION, few.SELF_TRAINED, *few.LEARNED]
    assert [(row.data, row.system) for row in rows] == [("CLINC150", system) for system in systems]
    by_name = {row.system: row for row in rows}
    for row in rows:
        rival = by_name[few.FUSION].accuracy.value
        assert row.to_fusion.value == pytest.approx(row.accuracy.value - rival)
        assert row.accuracy.low <= row.accuracy.value <= row.accuracy.high
    assert [by_name[name].kept for name in systems[:4]] == [0, 0, 0, 0]
    assert any(line.startswith("skipped mpnet: ") for line in said)
    assert f"skipped: {sets / BANKING[0]} is not there" in said
    assert len([line for line in said if "  8 a label  " in line]) == 7


def test_without_a_set_there_is_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="triptych data fetch NAME"):
        few.benchmark_few(
            tmp_path, home=Home(tmp_path), options=OPTIONS, seeds=(1,), say=lambda _: None,
            bases=(),
        )  # fmt: skip


def test_a_set_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        few.benchmark_few(
            tmp_path, home=Home(tmp_path), options=OPTIONS, seeds=(1,), say=lambda _: None,
            sets=("bank",), bases=(),
        )  # fmt: skip
    assert str(caught.value) == "no set 'bank': expected one of banking, clinc"
