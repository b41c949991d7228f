"""The command line itself: quick to start and complete."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipelines.cli import app

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = {
    "demo", "dashboard", "serve", "doctor", "recommend", "evaluate", "benchmark",
    "train chatbot", "train news", "train recommender", "predict chatbot", "predict news",
    "chatbot ask", "news run", "news once", "news replay", "news test-mail",
    "models list", "models show", "models promote", "models compare", "models rollback",
    "models export", "models fetch", "data list", "data fetch", "data curve",
    "search chatbot", "search news", "runs list", "runs show",
}  # fmt: skip


def commands_of(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command of the tree with its words, `train chatbot`."""
    if not hasattr(command, "commands"):
        yield " ".join(words), command
        return
    for name, inner in command.commands.items():
        yield from commands_of(inner, (*words, name))


def is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option" and parameter.name != "help")


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    return dict(commands_of(typer.main.get_command(app)))


def test_every_command_of_the_contract_exists(tree: dict[str, Any]) -> None:
    assert set(tree) >= CONTRACT


def test_every_command_and_option_says_what_it_does(tree: dict[str, Any]) -> None:
    for name, command in tree.items():
        assert command.help, name
        for parameter in command.params:
            if is_option(parameter):
                assert parameter.help, f"{name} {parameter.opts}"


def test_common_options_are_spelt_alike(tree: dict[str, Any]) -> None:
    for name, command in tree.items():
        options = {o for p in command.params if is_option(p) for o in p.opts}
        assert "--home" in options or name == "data list", name
        assert "--json" in options or name in {
            "dashboard", "serve", "news run", "news test-mail", "models promote",
            "models rollback", "models export", "models fetch", "data fetch",
        }, name  # fmt: skip


def test_help_loads_no_heavy_library() -> None:
    program = (
        "import sys; sys.argv = ['triptych', '--help']\n"
        "from pipelines import cli\n"
        "try:\n    cli.main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'transformers', 'pandas', 'numpy', 'sklearn', 'streamlit'}\n"
        "loaded = heavy & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "fine-tuning core" in done.stdout


def test_sets_are_refused_where_a_measurement_has_none() -> None:
    done = CliRunner().invoke(app, ["benchmark", "core", "--only", "banking"])
    assert done.exit_code == 2
    assert (
        "goes with methods, few, chatbot, news, recommender, pages, lists; core has no sets to "
        "choose from" in " ".join(done.output.replace("│", " ").split())
    )
