"""`triptych pretrain` by the command, and what its benchmark would measure."""

import json
import random
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipelines.benchmark_pretraining import (
    FUSION,
    LOGISTIC,
    UNTOUCHED,
    benchmark_pretraining,
    drawn,
)
from pipelines.pretrain import lines_of
from pipelines.public_sets import BANKING
from shared.errors import DataError
from shared.modeling.encoder import Encoder
from shared.pretrained import PretrainedEncoder
from shared.settings import Home
from shared.training.corpus import Corpus
from shared.training.examples import Examples
from shared.training.options import PretrainingObjective, TrainOptions
from shared.training.pretraining import MANIFEST, Pretrained
from shared.training.pretraining_stage import Trained

Run = Callable[..., "subprocess.CompletedProcess[str]"]
WORDS = {"card": "lost order bank", "tea": "good cup red", "news": "shares profit fall"}
FILLER = "the a my is was please help how will it when".split()


def lines(rows: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    made = []
    for at in range(rows):
        label = sorted(WORDS)[at % len(WORDS)]
        words = [label, *rng.sample(WORDS[label].split(), 2), *rng.sample(FILLER, 5)]
        rng.shuffle(words)
        made.append(f"{' '.join(words)},{label}")
    return made


def test_the_command_reads_tables_and_writes_an_encoder(
    triptych_here: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "chats.csv").write_text("satz,label\n" + "\n".join(lines(90, 1)) + "\n")
    news = [json.dumps({"satz": line.split(",")[0], "n": 1}) for line in lines(60, 2)]
    (tmp_path / "news.jsonl").write_text("\n".join([*news, '{"n": 2}', "{torn", '{"satz": " "}']))
    done = triptych_here(
        "pretrain", "--texts", tmp_path / "chats.csv",
        "--texts", tmp_path / "news.jsonl", "--text-column", "satz",
        "--base", tiny_encoder, "--output", tmp_path / "own",
        "--epochs", "1", "--json", "--threads", "1", home=tmp_path / "home",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    manifest = json.loads((tmp_path / "own" / MANIFEST).read_text())
    assert told == {"output": str(tmp_path / "own"), **manifest}
    assert told["data"]["read"] == 150
    assert "news.jsonl: 3 of 63 rows rejected, see " in done.stderr
    rejects = (tmp_path / "home" / "reports" / "rejects" / "news.rejects.csv").read_text()
    assert [line.split(",")[0] for line in rejects.splitlines()[1:]] == ["61", "62", "63"]
    (stage,) = told["stages"]
    assert stage["objective"] == "mlm"  # of the two that were measured it cost the least
    assert np.log(stage["after"]["perplexity"]) == pytest.approx(stage["after"]["masked_loss"])
    assert Encoder.from_pretrained(tmp_path / "own").dim == 32


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            "title,label\nx,y\n",
            "no column 'text'; the file has: title, label (name the right one with --text-column)",
        ),
        ("text\none row\n", "1 texts, of which 1 are left without empty ones and near duplicates"),
    ],
)
def test_tables_that_cannot_be_used_are_one_line(
    triptych_here: Run, tiny_encoder: Path, tmp_path: Path, content: str, complaint: str
) -> None:
    (tmp_path / "t.csv").write_text(content)
    done = triptych_here(
        "pretrain", "--texts", tmp_path / "t.csv", "--base", tiny_encoder,
        "--output", tmp_path / "own", "--threads", "1", home=tmp_path / "home",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("triptych: ")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "own").exists()


def test_the_benchmark_measures_each_encoder_with_each_number_of_labels(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    for name, rows, seed in zip(BANKING, (150, 30), (3, 4), strict=True):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Every second label is another's, so that no encoder has all rows right.
        made = lines(rows, seed)
        mixed = [f"{a.split(',')[0]},{b.split(',')[1]}" for a, b in pairwise([*made, made[0]])]
        table = [mixed[at] if at % 2 else made[at] for at in range(rows)]
        path.write_text("text,label\n" + "\n".join(table) + "\n")
    found = benchmark_pretraining(
        tmp_path,
        home=Home(tmp_path / "home"),
        options=TrainOptions(
            base=str(tiny_encoder), epochs=4, learning_rate=3e-3, threads=1, progress=False
        ),
        seeds=(1,),
        say=lambda _: None,
        objectives=(PretrainingObjective.CONTRASTIVE,),
        shots=(5, None),
    )
    assert {(row.encoder, row.system, row.shots) for row in found} == {
        (encoder, system, shots)
        for encoder in (UNTOUCHED, "contrastive")
        for system in (LOGISTIC, FUSION)
        for shots in (5, None)
    }
    base = {(r.system, r.shots): r.accuracy for r in found if r.encoder == UNTOUCHED}
    for row in found:
        assert row.low <= row.accuracy <= row.high
        assert row.gain == pytest.approx(row.accuracy - base[row.system, row.shots])
        assert row.gain == 0 or row.encoder == "contrastive"
    # Each system is asked with the encoder that its row names, and that one has changed.
    assert any(row.gain for row in found)


def trained(objective: str, before: float, after: float) -> Trained:
    return Trained(
        objective,
        {"masked_loss": before},
        {"masked_loss": after},
        20,
        30,
        61.2,
        "all is done",
        None,
    )


def test_a_person_is_told_what_changed_and_what_did_not(tmp_path: Path) -> None:
    base = PretrainedEncoder("minilm", tmp_path, "", "0" * 64, "Apache-2.0")
    stages = (trained("mlm", 3.5, 2.25), trained("again", 2.25, 2.5))
    corpus = Corpus(("a",), ("b",), 2, 0, 0)
    done = Pretrained(tmp_path / "own", base, PretrainingObjective.MLM, corpus, stages, 0.625, 90.0)
    assert lines_of(done) == [
        "mlm on held-out texts: masked loss 3.500 -> 2.250; step 20 of 30, 61 s, all is done",
        "again on held-out texts: masked loss 2.250 -> 2.500; it learned nothing of use; "
        "step 20 of 30, 61 s, all is done",
        "Of the 10 nearest neighbours of a held-out text 62% are the same as before",
        f"Encoder: {tmp_path / 'own'} (minilm, licence Apache-2.0, trained further)",
        f"To fine-tune it: triptych train APP --base {tmp_path / 'own'}",
        "Whether it helps is to be measured: train without --base too, and compare the reports",
    ]


def test_the_same_number_of_rows_of_each_label_is_drawn() -> None:
    labels = ["a"] * 7 + ["b"] * 2 + ["c"] * 9
    examples = Examples(
        tuple(f"text {n}" for n in range(18)), tuple((x,) for x in labels), np.arange(18)
    )
    rows = drawn(examples, 3, seed=1)
    assert [labels[row] for row in rows] == ["a"] * 3 + ["b"] * 2 + ["c"] * 3
    assert drawn(examples, None, seed=1).tolist() == list(range(18))


def test_a_missing_set_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there; fetch a set with `triptych data fetch"):
        benchmark_pretraining(
            tmp_path, home=Home(tmp_path), options=TrainOptions(), seeds=(1,), say=lambda _: None
        )
