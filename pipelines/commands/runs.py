"""`triptych runs …`: what was trained, when, how long it took, and how it ended."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import HomeOption, JsonOption, open_home, print_json

if TYPE_CHECKING:
    from shared.run_journal import RunRecord

app = typer.Typer(no_args_is_help=True)


def as_row(run: "RunRecord", *, curves: bool) -> dict[str, object]:
    """What `--json` prints. curves: the losses and evaluations too."""
    from dataclasses import asdict

    row = {**asdict(run), "key": run.key, "state": run.state.value}
    if not curves:
        del row["losses"], row["evaluations"]
    return row


@app.command("list")
def list_runs(
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Only runs of this model.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every training run, the newest first: state, steps, minutes against the forecast."""
    from pipelines.run_tables import against_forecast, best_of, method_of, progress_of
    from shared.run_journal import read_runs

    runs = [run for run in read_runs(open_home(home).runs) if name in (None, run.name)]
    if as_json:
        print_json([as_row(run, curves=False) for run in runs])
        return
    if not runs:
        typer.echo("No run yet. `triptych train --help` starts one.")
    for run in runs:
        best = best_of(run)
        value = "" if best is None else f"{run.metric or 'best'} {best:.3f}"
        typer.echo(
            f"{run.key:<36} {run.state.value:<9} {method_of(run):<8} {progress_of(run):<13} "
            f"{against_forecast(run):<28} {value:<16} {run.model or ''}".rstrip()
        )


@app.command("show")
def show(
    run: Annotated[str, typer.Argument(metavar="NAME[/RUN]", help="The newest of NAME, or one.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """One run: its options, its curve, duration and memory against the forecast, its report."""
    from pipelines.run_tables import comparison
    from shared.run_journal import REPORT, find_run

    found = find_run(open_home(home).runs, run)
    if as_json:
        print_json(as_row(found, curves=True))
        return
    typer.echo(f"{found.key} ({found.app}), begun {found.started_at:%Y-%m-%d %H:%M:%S}")
    table = comparison([found], differing_only=False)
    for line, value in table.iloc[:, 0].items():
        typer.echo(f"  {line:<28} {value}")
    for point in found.evaluations:
        measured = ", ".join(
            f"{name} {value:.4f}"
            for name, value in point.metrics.items()
            if name in (found.metric, "loss")
        )
        typer.echo(f"  step {point.step:<6} epoch {point.epoch:<6.3g} {measured}")
    if (found.folder / REPORT).is_file():
        typer.echo(f"Report: {found.folder / REPORT}")
