"""What the demo leaves a newcomer with: true figures, and commands that work as they stand."""

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from pipelines.cli import app
from pipelines.demo import Demo, Line, closing
from pipelines.train import Trained
from shared.evaluation.report import Baseline, Measure, Report
from shared.registry import ModelVersion
from shared.settings import Home

QUALITY = Measure("accuracy", 0.8126, 0.79, 0.83, 640)
UNKNOWN = Measure("accuracy", None, None, None, 0)


def shown(home: Path, rival: Measure) -> str:
    rivals = (Baseline("kNN", (rival,)),)
    report = Report("Chatbot", "chatbot", "", "640 rows", (QUALITY,), baselines=rivals)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    version = ModelVersion("chatbot", 1, "chatbot", home / "models/chatbot/1", at, {}, True)
    demo = Demo(
        (Line("chatbot", QUALITY, "kNN", rival, 61.6),), (), 7, 9, "out/box", "r.parquet", 99.4
    )
    return closing(demo, {"chatbot": Trained(version, report, 61.6)}, Home(home))


def next_commands(text: str) -> list[list[str]]:
    """The commands at the end, as a shell would split them, without the remark behind."""
    lines = text.split("Next:\n")[1].strip().splitlines()
    return [shlex.split(line.split("    (")[0]) for line in lines]


def test_figures_are_those_measured_and_none_stands_for_what_was_not(tmp_path: Path) -> None:
    assert "0.813 (0.790-0.830)" in shown(tmp_path, QUALITY)
    assert "kNN 0.813" in shown(tmp_path, QUALITY)
    assert "kNN not measured" in shown(tmp_path, UNKNOWN)


def test_where_everything_lies_is_said(tmp_path: Path) -> None:
    text = shown(tmp_path, QUALITY)
    for place in ("out/box", "r.parquet", str(tmp_path / "models/chatbot/1/report.html")):
        assert place in text
    assert "9 mails about 7 alerts" in text


@pytest.mark.parametrize("elsewhere", [True, False])
def test_the_next_commands_find_what_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    home = tmp_path / "my home"
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path if elsewhere else home))
    tree: Any = typer.main.get_command(app)
    asked = []
    for _, *words in next_commands(shown(home, QUALITY)):
        command, rest = tree, words
        while hasattr(command, "commands"):
            command, rest = command.commands[rest[0]], rest[1:]
        if rest != ["--help"]:
            asked.append(command.make_context(words[0], list(rest)).params["home"])
    assert asked == [home if elsewhere else None] * 2


@pytest.mark.parametrize(("path", "called"), [(True, "triptych"), (False, ".venv/bin/triptych")])
def test_the_next_commands_are_called_as_this_one_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: bool, called: str
) -> None:
    (tmp_path / "triptych").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path if path else tmp_path / "none"))
    monkeypatch.setattr("sys.argv", [".venv/bin/triptych", "demo"])
    assert {words[0] for words in next_commands(shown(tmp_path, QUALITY))} == {called}
