"""A home in which the real command has trained three small models, once for all journeys."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
TRIPTYCH = Path(sys.executable).with_name("triptych")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def command(*arguments: str | Path, home: Path) -> "subprocess.CompletedProcess[str]":
    """`triptych ARGUMENTS` as a user types it, in a process of its own."""
    environment = {**os.environ, "TRIPTYCH_HOME": str(home), "COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(
        [str(TRIPTYCH), *map(str, arguments)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cuts of the samples, small enough to train on in seconds."""
    folder = tmp_path_factory.mktemp("inputs")
    questions = pd.read_csv(SAMPLES / "chatbot" / "examples.csv", keep_default_na=False)
    kept = questions["label"].value_counts().index[:8]
    few = questions[questions["label"].isin(kept)].groupby("label").head(50)
    few.to_csv(folder / "questions.csv", index=False)
    (folder / "entities.yml").write_text(
        "lookups:\n  country: [Norway, Japan]\nsynonyms:\n  Norway: [Norge]\n", encoding="utf-8"
    )
    for name in ("sentiment", "topics"):
        headlines = pd.read_csv(SAMPLES / "news" / f"{name}.csv", keep_default_na=False)
        headlines.iloc[::4].to_csv(folder / f"{name}.csv", index=False)
    stream = pd.read_csv(SAMPLES / "news" / "stream.csv.gz", keep_default_na=False)
    stream.to_csv(folder / "stream.csv", index=False)
    events = pd.read_csv(SAMPLES / "recommender" / "events.csv.gz", keep_default_na=False)
    users = events["user_id"].unique()[:180]
    events[events["user_id"].isin(users)].to_csv(folder / "events.csv", index=False)
    items = pd.read_csv(SAMPLES / "recommender" / "items.csv", keep_default_na=False)
    items.to_csv(folder / "items.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> Path:
    """A home with the models chatbot, news and recommender, trained by the command line."""
    folder = tmp_path_factory.mktemp("home")
    frozen = ("--method", "frozen", "--threads", "2")
    for arguments in (
        ("chatbot", "--examples", inputs / "questions.csv", "--entities", inputs / "entities.yml",
         "--name", "chatbot"),
        ("news", "--sentiment", inputs / "sentiment.csv", "--topics", inputs / "topics.csv",
         "--name", "news"),
        ("recommender", "--items", inputs / "items.csv", "--events", inputs / "events.csv",
         "--name", "recommender"),
    ):  # fmt: skip
        done = command("train", *arguments, *frozen, home=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def triptych(home: Path) -> Run:
    """`triptych ARGUMENTS` in the home with the three models."""

    def run(*arguments: str | Path, home: Path = home) -> "subprocess.CompletedProcess[str]":
        return command(*arguments, home=home)

    return run
