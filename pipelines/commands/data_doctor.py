"""`triptych data doctor APP`: what is wrong with somebody's data, before anything is trained."""

from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.column_names import ExampleColumns, ShopColumns
from pipelines.options import (
    BaseOption,
    HomeOption,
    JsonOption,
    SeedOption,
    ThreadsOption,
    open_home,
    print_json,
    speaker,
    spelled_out,
    there,
    use_threads,
)

if TYPE_CHECKING:
    from shared.data_findings import DataReport

app = typer.Typer(no_args_is_help=True)
SHOWN_OF_A_KIND = 5  # findings on a screen; the report has more, --json all

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
@spelled_out
def doctor_recommender(
    items: Annotated[
        Path,
        typer.Option(
            "--items", metavar="FILE", callback=there, help="A catalogue, as `train` takes it."
        ),
    ],
    events: Annotated[
        Path | None,
        typer.Option(
            "--events",
            metavar="FILE",
            callback=there,
            help="A log of behaviour, as `train` takes it.",
        ),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            "--held-out",
            metavar="FILE",
            callback=there,
            help="Later events to judge by: looked at for leaks.",
        ),
    ] = None,
    output: ReportFolder = None,
    columns: ShopColumns = ShopColumns(),
    home: HomeOption = None,  # noqa: ARG001  (nothing is kept; every command takes it)
    as_json: JsonOption = False,
) -> None:
    """A shop's catalogue and log: copies, dead items, odd prices, robots, clocks, leaks."""
    from pipelines.shop_doctor import examine_shop

    if held_out is not None and events is None:
        raise typer.BadParameter("needs --events beside it", param_hint="--held-out")
    report = examine_shop(
        items,
        events,
        columns.mapping,
        held_out=held_out,
        now=datetime.now(UTC),
    )  # fmt: skip
    tell(report, output, as_json)


@app.command("chatbot")
@spelled_out
def doctor_chatbot(
    examples: Annotated[
        list[Path],
        typer.Option(
            "--examples",
            metavar="FILE",
            callback=there,
            help="As `train chatbot` takes them; repeatable.",
        ),
    ],
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers",
            metavar="FILE",
            callback=there,
            help="`answer[,label]`, or YAML: what is said.",
        ),
    ] = None,
    entities: Annotated[
        Path | None,
        typer.Option(
            "--entities", metavar="FILE", callback=there, help="entities.yml: lists of values."
        ),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(
            "--validation", metavar="FILE", callback=there, help="Looked at for leaks; repeatable."
        ),
    ] = None,
    out_of_scope: Annotated[
        Path | None,
        typer.Option(
            "--out-of-scope", metavar="FILE", callback=there, help="`text`: looked at for leaks."
        ),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            "--fix",
            metavar="WHICH",
            help="Write mended copies: `sure` (nothing to decide), a kind such as overlap, or the "
            "id of a finding; repeatable.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="For report and copies; by default in the home."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace copies that are there already.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Without a model: no wrong labels, no overlaps.")
    ] = False,
    base: BaseOption = "minilm",
    columns: ExampleColumns = ExampleColumns(),
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is wrong with a bot's data, each finding with its place and its fix. The files stay.

    Errors are what training refuses. The fixes are carried out on copies, here or on the page Data
    doctor.
    """
    use_threads(threads)
    from apps.chatbot.doctor.reading import Sources
    from pipelines.bot_doctor import doctor as examined

    sources = Sources(
        tuple(examples), answers, tuple(validation or ()), out_of_scope,
        columns.mapping, entities,
    )  # fmt: skip
    done = examined(
        sources, open_home(home), output=output, fix=fix or (), overwrite=overwrite,
        base=None if quick else base,
        seed=seed, threads=threads, say=speaker(as_json),
    )  # fmt: skip
    if as_json:
        fixed = None if done.fixed is None else asdict(done.fixed)
        print_json(done.found.as_dict() | {"output": str(done.folder), "fixed": fixed})
        return
    for kind, several in groupby(done.found.findings, key=lambda each: each.kind):
        listed = list(several)
        for each in listed[:SHOWN_OF_A_KIND]:
            typer.echo(f"{each.severity} {each.id}: {each.what}")
            typer.echo(f"    {each.where}")
            if each.way_out:
                typer.echo(f"    fix: {each.way_out}")
        if len(listed) > SHOWN_OF_A_KIND:
            typer.echo(f"    … and {len(listed) - SHOWN_OF_A_KIND} more of the kind {kind!r}")
    for note in done.found.notes:
        typer.echo(note)
    typer.echo(done.found.words)
    typer.echo(f"Report: {done.folder / 'report.html'}")
    if done.fixed is not None:
        typer.echo(f"{done.fixed.changed} changes, in copies: {', '.join(done.fixed.written)}")
