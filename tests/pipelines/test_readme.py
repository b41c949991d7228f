"""The README keeps its word: commands parse, settings are valid, files and targets are there."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from pipelines.cli import app
from pipelines.doctor import models_of_settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What stands for a reader's own value where the README shows a pattern.
STAND_INS = {"VERSION": "1", "NAME": "shop", "APP": "chatbot"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROSE = BLOCK.sub("", README)
SPANS = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", PROSE)]


def whole_lines(block: str) -> str:
    """The block with lines that a backslash continues put together."""
    return block.replace("\\\n", " ")


def command_lines() -> list[str]:
    """Every `triptych …` of the code blocks and of the text."""
    in_blocks = [
        found
        for _, block in BLOCK.findall(README)
        for found in re.findall(r"^(?:\S*/)?triptych [a-z].*", whole_lines(block), re.MULTILINE)
    ]
    in_text = [found for span in SPANS for found in re.findall(r"(?:^|/)(triptych .*)", span)]
    return [re.sub(r"^\S*triptych ", "", line) for line in in_blocks + in_text]


def commands_of(command: Any) -> Iterator[Any]:
    if not hasattr(command, "commands"):
        yield command
        return
    for inner in command.commands.values():
        yield from commands_of(inner)


@pytest.fixture(autouse=True)
def _the_reader_s_files_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options name files of the reader; those that are looked for here are by absolute paths."""
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: not path.is_absolute() or exists(path))


@pytest.fixture(scope="module")
def tree() -> Any:
    return typer.main.get_command(app)


def parse(tree: Any, line: str) -> dict[str, Any]:
    """The values a command would get; it is not run. Fails as the command line does."""
    words = shlex.split(line, comments=True)
    words = [STAND_INS.get(word, word) for word in words]
    command = tree
    while hasattr(command, "commands"):
        assert words, f"{line}: a group, and no command of it"
        assert words[0] in command.commands, f"{line}: no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    if words == ["--help"]:
        return {}
    values: dict[str, Any] = command.make_context(command.name, words).params
    return values


def test_the_readme_shows_its_commands() -> None:
    assert len(command_lines()) >= 20


@pytest.mark.parametrize("line", dict.fromkeys(command_lines()))
def test_a_command_of_the_readme_parses(tree: Any, line: str) -> None:
    parse(tree, line)


@pytest.mark.parametrize("name", ["chatbot", "news_monitor", "recommender"])
def test_the_commands_of_an_application_s_page_parse(tree: Any, name: str) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    lines = re.findall(r"^triptych (.*)$", page, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        parse(tree, line)
    assert all((ROOT / "docs" / link).exists() for link in re.findall(r"\]\(([^)#:]+)\)", page))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("tran chatbot", "no command 'tran'"),
        ("train", "a group, and no command of it"),
        ("doctor --hom x", "No such option"),
        ("serve --port x", "a valid integer"),
        ("models promote shop", "Missing parameter: version"),
    ],
)
def test_a_command_that_would_not_work_is_found(tree: Any, line: str, complaint: str) -> None:
    with pytest.raises((AssertionError, TyperException), match=complaint):
        parse(tree, line)


def test_options_named_in_the_text_exist(tree: Any) -> None:
    known = {o for command in commands_of(tree) for p in command.params for o in p.opts}
    named = {
        word
        for span in SPANS
        if not span.startswith("pip ")
        for word in re.findall(r"(?<!\S)--[a-z-]+", span)
    }
    assert len(named) >= 5
    assert named - known == set()


def test_the_settings_shown_are_valid() -> None:
    shown = [tomllib.loads(block) for kind, block in BLOCK.findall(README) if kind == "toml"]
    assert shown
    models = models_of_settings()
    for settings in shown:
        assert set(settings) <= set(models)
        for section, values in settings.items():
            models[section].model_validate(values)


def test_pictures_and_files_it_names_are_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_targets_it_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    blocks = "\n".join(block for _, block in BLOCK.findall(README))
    named = set(re.findall(r"^make ([a-z]+)", blocks, re.MULTILINE))
    named |= {word for span in SPANS for word in re.findall(r"^make ([a-z]+)", span)}
    assert {"demo", "test"} <= named <= targets
