"""The methods' benchmark: its line, its sets, and every way run on a small one."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines import benchmark_methods
from pipelines.benchmark_methods import CASES, WAYS, MethodRow
from pipelines.public_sets import BANKING
from shared.errors import DataError
from shared.evaluation.intervals import Difference, Interval
from shared.pretrained import PretrainedEncoder
from shared.settings import Home
from shared.training.options import Method, TrainOptions

OPTIONS = TrainOptions(threads=1, epochs=1, batch_size=16, bf16=False, progress=False)


def row(way: str) -> MethodRow:
    return MethodRow(
        "BANKING77", way, "accuracy", Interval(0.86, 0.84, 0.88),
        Difference(-0.012, -0.02, 0.001, 0.07), 1.25, 86_000, 0.0038, 0.6,
    )  # fmt: skip


def test_a_row_says_what_it_gives_and_costs() -> None:
    assert row("lora").line() == (
        "BANKING77                  lora                   accuracy 0.8600 (0.8400 to 0.8800)    "
        "1.2 CPU min      86,000 learn (0.38%)    0.60 MB  -1.2 points to full (-2.0 to +0.1)"
    )
    assert row("full").line().endswith("0.60 MB")


def test_a_way_changes_the_options_it_names() -> None:
    assert WAYS["full, 3 layers frozen"].options(OPTIONS).freeze_layers == 3
    plain = WAYS["plain recipe"].options(OPTIONS)
    assert (plain.method, plain.warm_start, plain.layer_decay) == ("full", False, 1.0)
    assert plain.threads == OPTIONS.threads


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of BANKING77 with two labels that a word tells apart."""
    root = tmp_path_factory.mktemp("sets")
    rng = random.Random(1)
    fillers = "the a my is was where how when will it help please tea cup order card late".split()
    for name, rows in (
        (benchmark_methods.FEW, 60),
        *((Path(p), 80) for p in BANKING),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            file.write("text,label\n")
            for at in range(rows):
                label, word = (("good", "profit"), ("bad", "loss"))[at % 2]
                file.write(f"{' '.join(rng.sample(fillers, 5))} {word},{label}\n")
    return root


def test_every_way_is_judged_and_compared(
    sets: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WAYS, "full, 3 layers frozen", benchmark_methods.Way(
        "full, 3 layers frozen", Method.FULL, {"freeze_layers": 1}
    ))  # fmt: skip
    said: list[str] = []
    rows, rate = benchmark_methods.benchmark_methods(
        sets,
        home=Home(tmp_path),
        options=TrainOptions(
            base=str(tiny_encoder), threads=1, epochs=2, batch_size=16, bf16=False, progress=False
        ),
        seeds=(1,),
        say=said.append,
        sets=("few",),
    )
    assert rows[0].way == "full"
    found = {row.way: row for row in rows}
    assert set(found) == set(WAYS)
    assert found["full"].gain.value == 0
    for one in found.values():
        assert one.gain.value == pytest.approx(one.quality.value - found["full"].quality.value)
    # Where heads begin on the vectors as they are, they find the word; random ones may not.
    assert min(found[name].quality.value for name in ("frozen", "full", "lora")) > 0.6
    weights = found["plain recipe"].trained_parameters
    assert found["frozen"].trained_share < found["lora"].trained_share < 0.2
    assert found["lora"].kept_mb < found["full"].kept_mb
    assert found["frozen"].kept_mb < 0.01
    assert found["full, 3 layers frozen"].trained_parameters < found["full"].trained_parameters
    assert found["full"].trained_parameters < weights  # the token table does not learn
    assert rate is not None
    assert said[-1].startswith("training, 3 steps each in turn: ")
    assert len(said) == len(rows) + 1


def test_every_way_tells_whether_two_questions_have_one_label(
    sets: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = {"PAIRS": 32, "STOPPING_PAIRS": 8, "JUDGED_PAIRS": 40, "PAIR_TOKENS": 40}
    for name, size in smaller.items():
        monkeypatch.setattr(benchmark_methods, name, size)
    monkeypatch.setitem(WAYS, "full, 3 layers frozen", benchmark_methods.Way(
        "full, 3 layers frozen", Method.FULL, {"freeze_layers": 1}
    ))  # fmt: skip
    base = PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none")
    case = CASES["scoring"][0](sets, base)
    assert len(case.groups) == 40
    options = replace(OPTIONS, base=str(tiny_encoder))
    found = {row.way: row for row in benchmark_methods._measured(case, options, (1,))}
    assert set(found) == set(WAYS)
    assert {row.measure for row in found.values()} == {"accuracy"}
    frozen = found["frozen"]
    assert (frozen.trained_parameters, frozen.kept_mb) == (0, 0.0)
    # The cosine shows a word that is shared; no other way learns that in one epoch of two steps.
    assert frozen.quality.value > 0.6
    assert 0 < found["lora"].trained_share < found["full"].trained_share < 1
    assert found["lora"].kept_mb < found["full"].kept_mb


def test_a_reciprocal_rank_is_that_of_the_partner(tiny_encoder: Path) -> None:
    pairs = [("tea cup", "tea cup"), ("bank profit", "bank profit"), ("red shoe", "red shoe")]
    options = TrainOptions(threads=1, max_length=32)
    found = benchmark_methods._reciprocal_ranks(tiny_encoder, "", pairs, options)
    np.testing.assert_allclose(found, 1)
    turned = [(left, pairs[at - 1][1]) for at, (left, _) in enumerate(pairs)]
    assert (benchmark_methods._reciprocal_ranks(tiny_encoder, "", turned, options) < 1).all()


def test_what_is_not_there_is_said(sets: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(DataError) as caught:
        benchmark_methods.benchmark_methods(
            tmp_path, home=Home(tmp_path), options=OPTIONS, seeds=(1,), say=said.append
        )
    assert str(caught.value) == (
        f"nothing to measure in {tmp_path}: fetch a set with `triptych data fetch NAME`, or name "
        "a folder of public sets with --datasets"
    )
    assert len(said) == len(CASES)
    with pytest.raises(DataError) as caught:
        benchmark_methods.benchmark_methods(
            sets, home=Home(tmp_path), options=OPTIONS, seeds=(1,), say=said.append, sets=("x",)
        )
    assert str(caught.value) == "no set 'x': expected one of few, news, pairs, scoring, banking"
