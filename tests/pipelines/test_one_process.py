"""Every command under torchrun: refused before it reads or starts anything, or shared."""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipelines import cli
from pipelines.cli import SHARED, app, command_in
from shared.device import CUBLAS_WORKSPACE
from shared.errors import SettingsError
from shared.torchrun_variables import is_main, refuse_several, several

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def names_of(command: Any, words: tuple[str, ...] = ()) -> list[str]:
    """Every command of the tree, `train chatbot`."""
    if not hasattr(command, "commands"):
        return [" ".join(words)]
    return [
        name for word, inner in command.commands.items() for name in names_of(inner, (*words, word))
    ]


COMMANDS = names_of(typer.main.get_command(app))


@pytest.fixture(autouse=True)
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a process did: `app`, the command itself, or `part` in what another one does."""
    done: list[str] = []
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pipelines.training_processes.other_process", lambda: done.append("part"))
    monkeypatch.setattr(cli, "app", _Noted(done))
    return done


class _Noted:
    """The application, which is looked at and not run."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    def __getattr__(self, name: str) -> Any:
        return getattr(app, name)

    def __call__(self) -> None:
        self.done.append("app")


def test_all_commands_are_looked_at() -> None:
    assert len(COMMANDS) > 60
    assert set(COMMANDS) >= SHARED


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("name", COMMANDS)
def test_of_several_processes_each_refuses_or_does_its_part(
    triptych_here: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ran: list[str],
    name: str,
    rank: str,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    home = tmp_path / "home"
    done = triptych_here(*name.split(), home=home)
    assert not home.exists()
    if name in SHARED:
        assert (done.returncode, done.stderr) == (0, "")
        assert ran == (["app"] if rank == "0" else ["part"])
        return
    assert done.returncode == 1
    assert done.stderr == (
        f"triptych: environment: WORLD_SIZE = '2': `triptych {name}` runs in one process; leave "
        "out torchrun, or unset WORLD_SIZE\n"
    )
    assert ran == []


@pytest.mark.parametrize("name", ["doctor", "train chatbot"])
@pytest.mark.parametrize("around", [{}, {"WORLD_SIZE": "1", "RANK": "0"}])
def test_a_process_alone_does_what_the_command_says(
    triptych_here: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ran: list[str],
    name: str,
    around: Mapping[str, str],
) -> None:
    for variable, value in around.items():
        monkeypatch.setenv(variable, value)
    assert triptych_here(*name.split(), home=tmp_path).returncode == 0
    assert ran == ["app"]


def test_help_is_for_each_of_several_processes(
    triptych_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[str]
) -> None:
    """None of them would come to the training that the others wait for."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for words in (["train", "chatbot", "--help"], ["train"], ["tran", "chatbot"], []):
        assert command_in(words) is None
        triptych_here(*words, home=tmp_path)
    assert ran == 4 * ["app"]
    assert command_in(["train", "chatbot", "--name", "data"]) == "train chatbot"
    assert command_in(["chatbot", "ask", "why"]) == "chatbot ask"


def test_a_rank_alone_says_that_there_are_several() -> None:
    assert not several({"WORLD_SIZE": "1", "RANK": "0"})
    assert several({"RANK": "3"})
    assert not is_main({"RANK": "3"})
    with pytest.raises(SettingsError) as caught:
        refuse_several("a search", {"RANK": "3"})
    assert str(caught.value) == (
        "environment: RANK = '3': a search runs in one process; leave out torchrun, or unset RANK"
    )
    refuse_several("a search", {})


def test_cublas_is_told_to_repeat_itself_before_anything_computes(
    triptych_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str | None] = []
    monkeypatch.delenv(CUBLAS_WORKSPACE, raising=False)
    monkeypatch.setattr(cli, "app", lambda: found.append(os.environ.get(CUBLAS_WORKSPACE)))
    triptych_here("doctor", home=tmp_path)
    monkeypatch.setenv(CUBLAS_WORKSPACE, ":16:8")
    triptych_here("doctor", home=tmp_path)
    assert found == [":4096:8", ":16:8"]


@pytest.mark.parametrize("method", ["auto", "full", "lora", "frozen"])
def test_a_recommender_has_no_use_for_other_processes(tmp_path: Path, method: str) -> None:
    table = tmp_path / "table.csv"
    table.write_text("nothing,of,use\n")
    home = tmp_path / "home"
    words = ["train", "recommender", "--items", str(table), "--events", str(table), "--name", "m"]
    words += ["--method", method, "--processes", "3", "--home", str(home)]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, SettingsError), done.output
    assert str(done.exception) == (
        "--processes 3: training a recommender runs in one process; leave the option out"
    )
    assert not home.exists()
