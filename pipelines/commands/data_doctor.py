"""`triptych data doctor APP`: what is wrong with somebody's data, before anything is trained."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import (
    EventColumn,
    HomeOption,
    ItemColumn,
    JsonOption,
    TimeColumn,
    TitleColumn,
    UserColumn,
    ValueColumn,
    mapping_of,
    print_json,
)

if TYPE_CHECKING:
    from shared.data_findings import DataReport

app = typer.Typer(no_args_is_help=True)

ReportFolder = Annotated[
    Path | None,
    typer.Option("--output", metavar="DIR", help="A page and its JSON go here."),
]


@app.callback()
def data_doctor() -> None:
    """Check tables before training: what is wrong, where, what to do. Nothing is changed."""


def tell(report: "DataReport", output: Path | None, as_json: bool) -> None:
    """Print a report, write it where asked for; exit 1 where something must be mended."""
    page = None if output is None else report.write(output)
    if as_json:
        print_json(report.as_dict())
    else:
        for line in report.lines:
            typer.echo(line)
        if page is not None:
            typer.echo(f"Report: {page}")
    if report.errors:
        raise typer.Exit(1)


@app.command("recommender")
def doctor_recommender(
    items: Annotated[
        Path, typer.Option("--items", metavar="FILE", help="A catalogue, as `train` takes it.")
    ],
    events: Annotated[
        Path | None,
        typer.Option("--events", metavar="FILE", help="A log of behaviour, as `train` takes it."),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            "--held-out", metavar="FILE", help="Later events to judge by: looked at for leaks."
        ),
    ] = None,
    output: ReportFolder = None,
    item_column: ItemColumn = None,
    title_column: TitleColumn = None,
    user_column: UserColumn = None,
    time_column: TimeColumn = None,
    event_column: EventColumn = None,
    value_column: ValueColumn = None,
    home: HomeOption = None,  # noqa: ARG001  (nothing is kept; every command takes it)
    as_json: JsonOption = False,
) -> None:
    """A shop's catalogue and log: copies, dead items, odd prices, robots, clocks, leaks."""
    from pipelines.data_doctor import examine_shop

    if held_out is not None and events is None:
        raise typer.BadParameter("needs --events beside it", param_hint="--held-out")
    report = examine_shop(
        items,
        events,
        mapping_of(
            item_id=item_column, title=title_column, user_id=user_column,
            timestamp=time_column, event=event_column, value=value_column,
        ),
        held_out=held_out,
        now=datetime.now(UTC),
    )  # fmt: skip
    tell(report, output, as_json)
