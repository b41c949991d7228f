"""`triptych data next` for a model trained by the command."""

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
WORDS = ("cancel", "pay", "arrive")
FILLER = "the a my is was please help how will red blue tea cup shoe bank news".split()


@pytest.fixture(scope="module")
def home(triptych_here: Run, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    rows = [
        f"{' '.join(rng.permutation([*rng.choice(FILLER, 4, replace=False), word, word]))},{word}"
        for word in WORDS for _ in range(30)
    ]  # fmt: skip
    (folder / "q.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    done = triptych_here(
        "train", "chatbot", "--examples", folder / "q.csv", "--name", "bot",
        "--base", tiny_encoder, "--method", "frozen", "--threads", "1", home=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_doubtful_texts_come_out_ready_to_be_labelled(
    triptych_here: Run, home: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    plain = [f"{word} {word} {' '.join(rng.choice(FILLER, 3))}" for word in WORDS for _ in range(9)]
    torn = [f"{a} {b} {' '.join(rng.choice(FILLER, 3, replace=False))}"
            for a in WORDS for b in WORDS if a != b for _ in range(2)]  # fmt: skip
    table = tmp_path / "log.csv"
    table.write_text("\n".join(["frage", *plain, *torn, torn[0], '""']) + "\n")
    chosen = []
    for name in ("one.csv", "two.csv"):
        done = triptych_here(
            "data", "next", "chatbot", "--model", "bot", "--input", table, "--text-column", "frage",
            "-n", "6", "--seed", "3", "--threads", "1", "--output", tmp_path / name, home=home,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"6 texts to label: {tmp_path / name}\n"
        chosen.append((tmp_path / name).read_text())
    assert chosen[0] == chosen[1]
    rows = list(csv.DictReader(chosen[0].splitlines()))
    assert list(rows[0]) == ["text", "label", "suggested", "doubt", "oos_score"]
    assert len({row["text"] for row in rows}) == 6
    assert {row["text"] for row in rows} <= {*plain, *torn}
    assert {row["label"] for row in rows} == {""}
    assert {row["suggested"] for row in rows} <= set(WORDS)
    # 12 of 39 different texts are torn between two labels: chance would draw two of six.
    assert sum(row["text"] in torn for row in rows) >= 4


def test_a_table_without_any_text_is_one_line(
    triptych_here: Run, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "log.csv").write_text('text\n""\n" "\n')
    done = triptych_here(
        "data", "next", "chatbot", "--model", "bot", "--input", tmp_path / "log.csv",
        "--output", tmp_path / "out.csv", home=home,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"triptych: {tmp_path / 'log.csv'}: ")
    assert not (tmp_path / "out.csv").exists()
