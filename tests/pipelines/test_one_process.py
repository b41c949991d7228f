"""Commands that run in one process refuse several before they read or start anything."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from shared.errors import SettingsError

# Commands with a table that none of them could read.
COMMANDS = {
    "pretraining": ("pretrain", "--texts", "TABLE", "--output", "OUT"),
    "shrinking": ("shrink", "--texts", "TABLE", "--output", "OUT", "--to", "table"),
    "a search": ("search", "chatbot", "--examples", "TABLE", "--name", "m"),
    "training a recommender": (
        "train", "recommender", "--items", "TABLE", "--events", "TABLE", "--name", "m",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def refusal(command: tuple[str, ...], folder: Path) -> str:
    """What the command says, having written nothing."""
    table = folder / "table.csv"
    table.write_text("nothing,of,use\n")
    places = {"TABLE": str(table), "OUT": str(folder / "out")}
    home = folder / "home"
    words = [places.get(word, word) for word in (*command, "--home", str(home))]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, SettingsError), done.output
    assert not home.exists()
    assert not (folder / "out").exists()
    return str(done.exception)


@pytest.mark.parametrize("what", COMMANDS)
def test_a_command_under_torchrun_that_would_wait_for_ever_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert refusal(COMMANDS[what], tmp_path) == (
        f"environment: WORLD_SIZE = '2': {what} runs in one process; leave out torchrun, or unset "
        "WORLD_SIZE"
    )


@pytest.mark.parametrize("method", ["auto", "full", "lora", "frozen"])
def test_a_recommender_has_no_use_for_other_processes(tmp_path: Path, method: str) -> None:
    asked = (*COMMANDS["training a recommender"], "--method", method, "--processes", "3")
    assert refusal(asked, tmp_path) == (
        "--processes 3: training a recommender runs in one process; leave the option out"
    )
