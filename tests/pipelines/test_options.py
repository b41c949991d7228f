"""Groups of options: stated once as a dataclass, spelled out on the command line."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.options import spelled_out, there


@dataclass(frozen=True)
class Oven:
    """A group with a required and an optional field."""

    degrees: Annotated[int, typer.Option("--degrees", min=50, help="Celsius.")]
    fan: Annotated[bool, typer.Option("--fan", help="With the fan.")] = False


@dataclass(frozen=True)
class Tray:
    sheet: Annotated[Path | None, typer.Option("--sheet", help="On this.")] = None


@pytest.fixture
def baked() -> list[tuple[str, Oven, int, Tray]]:
    return []


@pytest.fixture
def kitchen(baked: list[tuple[str, Oven, int, Tray]]) -> typer.Typer:
    kitchen = typer.Typer(add_completion=False, rich_markup_mode=None)

    @kitchen.command()
    @spelled_out
    def bake(
        what: Annotated[str, typer.Argument(help="Cake or bread.")],
        oven: Oven,
        minutes: Annotated[int, typer.Option("--minutes", help="How long.")] = 40,
        tray: Tray = Tray(),
    ) -> None:
        """Bake it."""
        baked.append((what, oven, minutes, tray))

    return kitchen


def test_a_group_arrives_as_one_value(
    kitchen: typer.Typer, baked: list[tuple[str, Oven, int, Tray]]
) -> None:
    said = ["bread", "--sheet", "iron", "--degrees", "220", "--fan", "--minutes", "35"]
    assert CliRunner().invoke(kitchen, said).exit_code == 0
    assert CliRunner().invoke(kitchen, ["cake", "--degrees", "180"]).exit_code == 0
    assert baked == [
        ("bread", Oven(220, True), 35, Tray(Path("iron"))),
        ("cake", Oven(180), 40, Tray()),
    ]


def test_a_groups_options_stand_in_the_help_where_the_group_stands(kitchen: typer.Typer) -> None:
    shown = CliRunner().invoke(kitchen, ["--help"]).output
    places = [shown.index(o) for o in ("Bake it.", "--degrees", "--fan", "--minutes", "--sheet")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (["cake"], "Missing option '--degrees'"),
        (["cake", "--degrees", "20"], "greater than or equal to 50"),
    ],
)
def test_a_groups_option_is_checked_like_any_other(
    kitchen: typer.Typer, said: list[str], complaint: str
) -> None:
    done = CliRunner().invoke(kitchen, said)
    assert done.exit_code == 2
    assert complaint in done.output


def test_the_training_commands_share_their_common_options() -> None:
    tree: Any = typer.main.get_command(app)
    commands = tree.commands["train"].commands.values()
    stated = [
        {p.name: (p.opts, p.default, p.help, p.metavar) for p in command.params}
        for command in commands
    ]
    shared = set.intersection(*(set(options) for options in stated))
    assert shared >= {
        "name", "method", "minutes", "base", "epochs", "home", "seed", "threads", "logdir",
        "as_json",
    }  # fmt: skip
    for name in shared:
        assert all(options[name] == stated[0][name] for options in stated), name


def test_a_file_that_is_not_there_is_named_before_anything_heavy_is_imported(
    tmp_path: Path,
) -> None:
    here = tmp_path / "here.csv"
    here.write_text("text\nhello\n")
    assert there(here) == here
    assert there([here]) == [here]
    assert there(None) is None
    gone = tmp_path / "gone.csv"
    program = (
        "import sys\nfrom pipelines import cli\n"
        f"sys.argv = ['triptych', 'train', 'chatbot', '--name', 'x', '--examples', {str(gone)!r}]\n"
        "try:\n    cli.main()\nfinally:\n    assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, f"triptych: {gone}: no such file\n")
