"""`triptych news corrections list` and `export`: what readers say that stories are."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import HomeOption, JsonOption, open_home, print_json

corrections = typer.Typer(
    no_args_is_help=True, help="Labels that readers corrected: show, and give to training."
)


def register(app: typer.Typer) -> None:
    app.add_typer(corrections, name="corrections")


@corrections.command("list")
def list_corrections(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What was corrected on the page Stories, the newest first."""
    from pipelines.monitoring import corrected_stories

    found = corrected_stories(open_home(home))
    if as_json:
        print_json([{**asdict(one), "at": one.at.isoformat()} for one in found])
        return
    for one in found:
        topics = "" if one.topics is None else f" [{', '.join(one.topics)}]"
        typer.echo(f"{one.at:%Y-%m-%d}  {one.sentiment:<8}  {one.text}{topics}")


@corrections.command("export")
def export_corrections(
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="For sentiment.csv and topics.csv.")
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write them as tables that `triptych train news` takes beside others."""
    from pipelines.monitoring import export_corrections as write

    done = write(open_home(home), output)
    if as_json:
        print_json({**asdict(done), "folder": str(done.folder)})
    else:
        typer.echo(
            f"{done.sentiment} stories with a sentiment and {done.topics} with topics written to "
            f"{done.folder}"
        )
