"""`triptych data …`: public sets to train and measure on."""

from typing import Annotated

import typer

from pipelines.options import HomeOption, JsonOption, open_home, print_json

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_sets(as_json: JsonOption = False) -> None:
    """The sets that can be fetched, with licence and home."""
    from pipelines.fetch_data import SETS

    if as_json:
        shown = ("name", "app", "about", "licence", "folder")
        print_json([{key: getattr(each, key) for key in shown} for each in SETS.values()])
        return
    for each in SETS.values():
        typer.echo(f"{each.name:<16} {each.app:<12} {each.licence:<16} {each.about}")


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `triptych data list` names it.")],
    mirror: Annotated[
        str | None, typer.Option("--mirror", metavar="URL", help="Take URL/NAME/FILE instead.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Download a public set from its own home, verify it and lay it out for `make bench`."""
    from pipelines.fetch_data import fetch_set

    got = fetch_set(name, open_home(home).datasets, say=typer.echo, mirror=mirror)
    typer.echo(f"{name}: {got.folder} ({got.rows} rows, {got.licence})")
