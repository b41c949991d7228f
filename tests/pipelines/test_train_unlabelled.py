"""`triptych train chatbot --unlabelled`: kept or not, the report says so, by the command."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[..., "subprocess.CompletedProcess[str]"]
FILLER = "please can you tell me want know about the my how do when hello thanks so now".split()
# Each intent has a hundred words of its own, of which a few rows show few.
LETTERS = np.random.default_rng(9).choice(list("abcdefghijklmnopqrstuvwxyz"), (4, 100, 6))
WORDS = {f"intent{t}": ["".join(word) for word in LETTERS[t]] for t in range(4)}


def questions(rows: int, seed: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    made = []
    for n in range(rows):
        label = f"intent{n % 4}"
        other = f"intent{rng.integers(4)}" if rng.uniform() < 0.5 else label
        words = [*rng.choice(WORDS[label], 3, replace=False), *rng.choice(WORDS[other], 1)]
        words += list(rng.choice(FILLER, 5, replace=False))
        made.append((" ".join(rng.permutation(words)), label))
    return made


def train(triptych: Run, folder: Path, encoder: Path, unlabelled: Sequence[str]) -> dict[str, Any]:
    lines = [f"{text},{label}" for text, label in questions(100, 1)]
    (folder / "q.csv").write_text("\n".join(["frage,label", *lines]) + "\n")
    (folder / "log.csv").write_text("\n".join(["frage", *unlabelled]) + "\n")
    done = triptych(
        "train", "chatbot", "--examples", folder / "q.csv", "--name", "bot",
        "--unlabelled", folder / "log.csv", "--text-column", "frage", "--base", encoder,
        "--method", "frozen", "--threads", "1", "--json", home=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)["report"]
    return report


def test_questions_that_help_are_kept_and_the_bot_answers(
    triptych_here: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    more = questions(500, 2)
    report = train(triptych_here, tmp_path, tiny_encoder, [text for text, _ in more])
    notes = [note for note in report["notes"] if "self-training: " in note]
    assert len(notes) == 2  # on the rows that teach, then on all of them
    assert all(note.endswith("kept") for note in notes)
    assert notes[1].startswith("The released model, on all rows: self-training: ")
    assert "fusion without unlabelled texts" in json.dumps(report)
    asked = questions(60, 3)
    (tmp_path / "new.csv").write_text("\n".join(["text", *(text for text, _ in asked)]) + "\n")
    done = triptych_here(
        "predict", "chatbot", "--model", "bot", "--input", tmp_path / "new.csv",
        "--output", tmp_path / "out.jsonl", "--threads", "1", home=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    said = [json.loads(line)["intent"] for line in lines]
    assert np.mean([a == label for a, (_, label) in zip(said, asked, strict=True)]) > 0.85


def test_questions_about_something_else_are_left_out(
    triptych_here: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(4)
    odd = [" ".join(rng.choice([f"odd{n}" for n in range(90)], 6)) for _ in range(60)]
    report = train(triptych_here, tmp_path, tiny_encoder, odd)
    (note,) = (note for note in report["notes"] if "self-training: " in note)
    assert note.endswith(("left out", "no unlabelled text was sure enough to learn from"))
    assert "fusion without unlabelled texts" not in json.dumps(report)
