"""`triptych train chatbot --unlabelled`: kept or not, the report says so, by the real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

TRIPTYCH = Path(sys.executable).with_name("triptych")
FILLER = "the a my is was please help how will red blue tea cup shoe bank news".split()


def texts(word: str, rows: int, rng: np.random.Generator) -> list[str]:
    return [
        " ".join(rng.permutation([*rng.choice(FILLER, 5, replace=False), word]))
        for _ in range(rows)
    ]


def test_the_report_says_what_unlabelled_questions_did(tiny_encoder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ("cancel", "pay", "arrive")
    rows = [f"{text},{word}" for word in words for text in texts(word, 24, rng)]
    (tmp_path / "q.csv").write_text("\n".join(["frage,label", *rows]) + "\n")
    more = [text for word in words for text in texts(word, 20, rng)]
    (tmp_path / "log.csv").write_text("\n".join(["frage", *more]) + "\n")
    done = subprocess.run(
        [str(TRIPTYCH), "train", "chatbot", "--examples", str(tmp_path / "q.csv"), "--name", "bot",
         "--unlabelled", str(tmp_path / "log.csv"), "--text-column", "frage",
         "--base", str(tiny_encoder), "--method", "frozen", "--threads", "1", "--json"],
        env={**os.environ, "TRIPTYCH_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (note,) = (n for n in told["report"]["notes"] if n.startswith("self-training: "))
    # "round N: n pseudo-labels, loss x", of the first run: on the rows that the report is not on.
    lines = [line for line in done.stderr.splitlines() if line.startswith("round ")]
    assert lines[0].startswith("round 0: 0 pseudo-labels")
    losses = [float(line.rpartition(" ")[2]) for line in lines]
    assert note.endswith(("kept", "left out", "sure enough to learn from"))
    if note.endswith("kept"):
        assert losses[1] < losses[0]
        assert "fusion without unlabelled texts" in done.stdout
    else:
        assert len(losses) == 1 or losses[1] >= losses[0]
