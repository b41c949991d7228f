"""The curve of sizes: every way to make an encoder smaller, each with its figures."""

import random
import re
from pathlib import Path

import pytest

from pipelines.benchmark_sizes import benchmark_sizes, lines_of
from pipelines.public_sets import BANKING
from shared.errors import DataError
from shared.settings import Home
from shared.training.options import TrainOptions

WORDS = {"card": "lost order bank", "tea": "good cup red", "news": "shares profit fall"}
FILLER = "the a my is was please help how will it when".split()


def lines(rows: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    labels = [rng.choice(sorted(WORDS)) for _ in range(rows)]
    return [
        f"{' '.join([*rng.sample(WORDS[label].split(), 2), *rng.sample(FILLER, 5)])},{label}"
        for label in labels
    ]


def test_every_size_stands_beside_fp32(tiny_encoder: Path, tmp_path: Path) -> None:
    for place, rows in zip(BANKING, (lines(120, 1), lines(30, 2)), strict=True):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("text,label\n" + "\n".join(rows) + "\n")
    said: list[str] = []
    options = TrainOptions(base=str(tiny_encoder), epochs=1, bf16=False, progress=False, threads=1)
    sizes = benchmark_sizes(
        tmp_path, home=Home(tmp_path / "home"), options=options, say=said.append, layers=1
    )
    assert [size.name for size in sizes] == [
        "fp32",
        "int8, a scale for each token",
        "int8, static scales",
        "table of token vectors",
        "student of 1 layers, int8",
    ]
    assert sizes[0].drop is None
    for size in sizes:
        assert size.accuracy.low <= size.accuracy.value <= size.accuracy.high
        assert size.megabytes > 0
        assert size.speed.alone > 0
        if size.drop is not None:
            lost = sizes[0].accuracy.value - size.accuracy.value
            assert size.drop.value == pytest.approx(lost)
    assert sizes[3].megabytes < sizes[0].megabytes
    assert said[-6:] == lines_of(sizes)
    assert len({len(line) for line in said[-6:]}) == 1  # aligned
    assert re.search(r"accuracy +lost to fp32 +ms alone +ms of 32 +MB", said[-6])


def test_the_set_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        benchmark_sizes(tmp_path, home=Home(tmp_path), options=TrainOptions(), say=print)
    assert str(refused.value) == (
        f"{tmp_path / BANKING[0]}: is not there; fetch a set with `triptych data fetch NAME`, "
        "or name a folder of public sets with --datasets"
    )
