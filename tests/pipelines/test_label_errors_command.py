"""`triptych data labels` on a table with planted errors, by the command."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_suspects_are_listed_and_the_table_stays_as_it_was(
    triptych_here: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    filler = "the a my is was please help how will red blue tea cup shoe bank news".split()
    words = ("cancel", "pay", "arrive")
    rows = []
    for n in range(150):
        word = words[n % 3]
        text = " ".join(rng.permutation([*rng.choice(filler, 4, replace=False), word, word]))
        rows.append((text, words[(n + 1) % 3] if n % 25 == 0 else word))
    table = tmp_path / "q.csv"
    table.write_text("frage,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    before = table.read_bytes()
    done = triptych_here(
        "data", "labels", "chatbot", "--examples", table, "--text-column", "frage",
        "--base", tiny_encoder, "--threads", "1", "--output", tmp_path / "suspects.csv", "--json",
        home=tmp_path / "home",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert table.read_bytes() == before
    with (tmp_path / "suspects.csv").open(newline="") as file:
        suspects = list(csv.DictReader(file))
    assert list(suspects[0]) == ["text", "label", "suggested", "margin"]
    wrong = {rows[n] for n in range(0, 150, 25)}
    found = {(row["text"], row["label"]) for row in suspects}
    assert len(found & wrong) >= 5
    assert len(found & wrong) >= 0.5 * len(found)
    told = json.loads(done.stdout)
    assert told["words"].startswith(f"{len(suspects)} of 150 labels are probably wrong")
