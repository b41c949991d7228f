"""`triptych news shadow start`, `stop` and `show`: a candidate beside the released model."""

from typing import Annotated

import typer

from pipelines.commands.news import now_utc
from pipelines.options import HomeOption, JsonOption, open_home, print_json

shadow = typer.Typer(
    no_args_is_help=True,
    help="A candidate labels the same new stories, and nothing comes of it.",
)


def register(app: typer.Typer) -> None:
    app.add_typer(shadow, name="shadow")


@shadow.command("start")
def start_shadow(
    model: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="A version that is not in production.")
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """From the monitor's next round on; in place of the shadow that runs, if one does."""
    from pipelines.shadowing import start_shadow as begin

    found = begin(open_home(home), model, now_utc)
    if as_json:
        print_json({"shadow": found})
    else:
        typer.echo(f"{found} runs in shadow from the monitor's next round on")


@shadow.command("stop")
def stop_shadow(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """After its present batch. What it has labelled stays."""
    from pipelines.shadowing import stop_shadow as end

    found = end(open_home(home))
    if as_json:
        print_json({"stopped": found.model})
    else:
        typer.echo(f"{found.model} runs in shadow no more; what it has labelled stays")


@shadow.command("show")
def show_shadow(
    alerts: Annotated[
        bool, typer.Option("--alerts", help="Also the alerts that each model would have told.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Where it stands, in what its labels differ, and what a promotion would mean."""
    from pipelines.shadowing import report_lines, shadow_report

    report = shadow_report(open_home(home), alerts=alerts)
    if as_json:
        print_json(report.as_dict())
        return
    for line in report_lines(report, alerts=alerts):
        typer.echo(line)
