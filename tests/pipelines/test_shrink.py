"""`triptych shrink` by the command: a student written, used as a base, and one refused."""

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

from pipelines.shrink import lines_of
from shared.evaluation.intervals import Difference
from shared.inference.parity import Parity
from shared.pretrained import PretrainedEncoder
from shared.training.corpus import Corpus
from shared.training.options import StudentKind
from shared.training.student_figures import Accuracy, Speed
from shared.training.students import MANIFEST, Plan, Student

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


def test_the_command_writes_an_encoder_that_an_application_trains_on(
    triptych_here: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    """A random teacher's neighbours are near ties, so the gate lets its student pass or not by
    chance: it is forced, and what it missed stands in the manifest."""
    (tmp_path / "chats.csv").write_text("satz,n\n" + "\n".join(lines(90, 1)) + "\n")
    (tmp_path / "labelled.csv").write_text("satz,label\n" + "\n".join(lines(60, 2)) + "\n")
    own, home = tmp_path / "own", tmp_path / "home"
    done = triptych_here(
        "shrink", "--texts", tmp_path / "chats.csv", "--text-column", "satz",
        "--base", tiny_encoder, "--to", "table", "--output", own,
        "--examples", tmp_path / "labelled.csv", "--allowed-drop", "0.5", "--force", "--json",
        "--threads", "1", home=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"output": str(own), **json.loads((own / MANIFEST).read_text())}
    assert told["kind"] == "table"
    assert told["gate"]["metric_drop"] == 0.5
    assert told["accuracy"]["held_out"] == 15
    trained = triptych_here(
        "train", "chatbot", "--examples", tmp_path / "labelled.csv",
        "--text-column", "satz", "--base", own, "--name", "small", "--method", "auto",
        "--threads", "1", home=home,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert "method frozen: a static encoder has no layers to train" in trained.stdout


def test_a_student_that_begins_as_another_encoder_by_the_command(
    triptych_here: Run, wide_encoder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "chats.csv").write_text("text\n" + "\n".join(lines(90, 1)).replace(",", " ") + "\n")
    command = (
        "shrink", "--texts", tmp_path / "chats.csv", "--base", wide_encoder, "--into", tiny_encoder,
        "--output", tmp_path / "own", "--epochs", "1", "--force", "--json", "--threads", "1",
    )  # fmt: skip
    refused = triptych_here(*command, "--to", "table", home=tmp_path / "home")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        f"triptych: into = {tiny_encoder} for table: only a student of the kind layers can begin "
        "as another encoder; leave it out"
    )
    done = triptych_here(*command, "--to", "layers", "--layers", "2", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["base"]["name"], told["into"]["name"]) == (str(wide_encoder), str(tiny_encoder))
    assert told["gate"]["cosine_mean"] == 0.75
    assert "Layers 1, 2 of" in done.stderr


def test_int8_on_a_gpu_is_refused_before_the_tables_are_read(
    triptych_here: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "chats.csv").write_text("no column of texts\n")
    done = triptych_here(
        "shrink", "--texts", tmp_path / "chats.csv", "--base", tiny_encoder, "--to", "static-int8",
        "--output", tmp_path / "own", "--device", "cuda", home=tmp_path / "home",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "triptych: device = 'cuda': a student of the kind static-int8 gives int8 vectors, which "
        "are computed on processors; use auto or cpu\n"
    )


def test_the_lines_say_what_was_lost_and_what_was_allowed() -> None:
    student = Student(
        folder=Path("/own"),
        base=PretrainedEncoder("minilm", Path("/base"), "", "0" * 64, "Apache-2.0"),
        plan=Plan(StudentKind.LAYERS, 3, 0.02),
        corpus=Corpus(("a",), ("b",), 2, 0, 0),
        made={},
        parity=Parity(0.5, 0.8, 0.7, None, 0.03),
        accuracy=Accuracy(0.95, 0.92, Difference(0.03, 0.01, 0.05, 0.01), 300, 100),
        speed={"replaced": Speed(9.0, 3.0), "student": Speed(5.0, 1.5)},
        megabytes={"replaced": 90.9, "student": 33.25},
        seconds=60.0,
    )
    assert lines_of(student) == [
        "Beside its teacher on held-out texts: cosine 0.800 (0.9 or more), same nearest neighbour "
        "0.700 (0.6 or more)",
        "Accuracy of the frozen fusion on 100 held-out rows, by minilm and by the student: 0.950 "
        "-> 0.920; lost 0.030 (0.010 to 0.050), at most 0.02 allowed",
        "replaced     9.00 ms for one text     3.00 ms a text in batches     90.9 MB",
        "student      5.00 ms for one text     1.50 ms a text in batches     33.2 MB",
        "It misses the gate and was forced: cosine_mean 0.8 below 0.9; metric_drop 0.03 above 0.02",
        "Encoder: /own (minilm, made smaller on unlabelled texts, licence Apache-2.0)",
        "To use it: triptych train APP --base /own --method frozen",
    ]
