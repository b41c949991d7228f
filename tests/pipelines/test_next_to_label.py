"""`triptych data next` for a model trained by the real command."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TRIPTYCH = Path(sys.executable).with_name("triptych")
WORDS = ("cancel", "pay", "arrive")
FILLER = "the a my is was please help how will red blue tea cup shoe bank news".split()


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TRIPTYCH), *arguments],
        env={**os.environ, "TRIPTYCH_HOME": str(home)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    rows = [
        f"{' '.join(rng.permutation([*rng.choice(FILLER, 4, replace=False), word, word]))},{word}"
        for word in WORDS for _ in range(30)
    ]  # fmt: skip
    (folder / "q.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    done = run(folder, "train", "chatbot", "--examples", str(folder / "q.csv"), "--name", "bot",
               "--base", str(tiny_encoder), "--method", "frozen", "--threads", "1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_doubtful_texts_come_out_ready_to_be_labelled(home: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    plain = [f"{word} {word} {' '.join(rng.choice(FILLER, 3))}" for word in WORDS for _ in range(9)]
    torn = [f"{a} {b} {' '.join(rng.choice(FILLER, 3, replace=False))}"
            for a in WORDS for b in WORDS if a != b for _ in range(2)]  # fmt: skip
    table = tmp_path / "log.csv"
    table.write_text("\n".join(["frage", *plain, *torn, torn[0], '""']) + "\n")
    chosen = []
    for name in ("one.csv", "two.csv"):
        done = run(home, "data", "next", "chatbot", "--model", "bot", "--input", str(table),
                   "--text-column", "frage", "-n", "6", "--seed", "3", "--threads", "1",
                   "--output", str(tmp_path / name))  # fmt: skip
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


def test_a_table_without_any_text_is_one_line(home: Path, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text('text\n""\n" "\n')
    done = run(home, "data", "next", "chatbot", "--model", "bot", "--input",
               str(tmp_path / "log.csv"), "--output", str(tmp_path / "out.csv"))  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"triptych: {tmp_path / 'log.csv'}: ")
    assert not (tmp_path / "out.csv").exists()
