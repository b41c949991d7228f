"""`triptych recommend`, the batch job, and `triptych recommender …`."""

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.column_names import ShopColumns
from pipelines.commands.bulk import Bulk
from pipelines.commands.models import MustPassOption, StrictOption, gate_limits
from pipelines.options import (
    BaseOption,
    DeviceOption,
    HomeOption,
    JsonOption,
    MinutesOption,
    ModelOption,
    OutputOption,
    SeedOption,
    ThreadsOption,
    UserColumn,
    device_of,
    mapping_of,
    open_home,
    print_json,
    speaker,
    spelled_out,
    there,
    use_threads,
)
from shared.training.options import Method, TrainOptions

app = typer.Typer(no_args_is_help=True)

UNITS = {"m": 60, "h": 3600, "d": 86_400}
EveryOption = Annotated[
    str | None,
    typer.Option(
        "--every", metavar="24h", help="Now, and again after so long (m, h, d), until stopped."
    ),
]


@app.callback()
def recommender() -> None:
    """Bring a released recommender up to date between two trainings."""


@app.command("import")
@spelled_out
def import_(
    model: ModelOption = "recommender",
    items: Annotated[
        Path | None,
        typer.Option(
            "--items",
            metavar="FILE",
            callback=there,
            help="New items, a table as `train` takes it.",
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events",
            metavar="FILE",
            callback=there,
            help="New events, a table as `train` takes it.",
        ),
    ] = None,
    columns: ShopColumns = ShopColumns(),
    home: HomeOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add items and events to what a model serves, without training. What is there is kept once.

    A running service, the pages and the next batch have them at once.
    """
    use_threads(threads)
    from pipelines.import_behaviour import import_to_recommender

    done = import_to_recommender(
        model=model,
        items=items,
        events=events,
        mapping=columns.mapping,
        home=open_home(home),
        threads=threads,
        device=device_of(device),
        clock=now_utc,
        say=speaker(as_json),
    )  # fmt: skip
    if as_json:
        print_json(done.as_dict())
        return
    for line in done.lines:
        typer.echo(line)


@app.command("retrain")
@spelled_out
def retrain_(
    items: Annotated[
        Path, typer.Option("--items", metavar="FILE", callback=there, help="The present catalogue.")
    ],
    events: Annotated[
        Path,
        typer.Option("--events", metavar="FILE", callback=there, help="The whole log, up to now."),
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="Whose live version is to be replaced.")
    ] = "recommender",
    days: Annotated[
        float, typer.Option("--days", min=0.01, help="The log's last days are kept to judge by.")
    ] = 7.0,
    every: EveryOption = None,
    method: Annotated[
        Method, typer.Option("--method", help="How much of the encoder learns.")
    ] = Method.AUTO,
    base: BaseOption = "minilm",
    minutes: MinutesOption = None,
    must_pass: MustPassOption = None,
    strict: StrictOption = False,
    columns: ShopColumns = ShopColumns(),
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a new version, judge it beside the live one on the last days, promote it or say why
    not."""
    seconds = seconds_of(every)
    use_threads(threads)
    from pipelines.retrain import Shop, retrain

    mapping = columns.mapping

    def run() -> None:
        done = retrain(
            model,
            Shop(items, events, mapping, days),
            home=open_home(home),
            options=TrainOptions(
                method=method.value, base=base, call_minutes=minutes, began=time.monotonic(),
                seed=seed, threads=threads,
                device=device_of(device),
            ),
            limits=gate_limits(strict),
            must_pass=must_pass,
            clock=now_utc,
            say=speaker(as_json),
        )  # fmt: skip
        if as_json:
            print_json(asdict(done))
            return
        for line in (*done.lines, done.why, *([f"Report: {done.page}"] if done.page else [])):
            typer.echo(line)

    once_or_every(seconds, "retrain", run)


@spelled_out
def recommend(
    output: OutputOption,
    model: ModelOption = "recommender",
    users: Annotated[
        Path | None,
        typer.Option(
            "--users",
            metavar="FILE",
            callback=there,
            help="`user_id`: only these; all when absent.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Items for each user.")] = 10,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also items the user has already acted on.")
    ] = False,
    changed: Annotated[
        bool,
        typer.Option(
            "--changed",
            help="List only users with new events since the last run; the others keep their lists.",
        ),
    ] = False,
    table: Annotated[
        bool,
        typer.Option(
            "--table", help="Also into the database: the view recommender_current has the lists."
        ),
    ] = False,
    every: EveryOption = None,
    user_column: UserColumn = None,
    bulk: Bulk = Bulk(),
) -> None:
    """Recommend items to every user, with a reason for each, into a Parquet file."""
    if changed and users is not None:
        raise typer.BadParameter("goes without --users", param_hint="--changed")
    if table and users is not None:
        raise typer.BadParameter("holds all users; goes without --users", param_hint="--table")
    seconds = seconds_of(every)
    use_threads(bulk.threads)
    engine = bulk.opened()
    from pipelines.recommend import Wanted, recommend_to_file

    mapping = mapping_of(user_id=user_column)
    wanted = Wanted(output, k, include_seen, users, mapping, changed, table)

    def run() -> None:
        done = recommend_to_file(
            model=model,
            wanted=wanted,
            home=open_home(bulk.home),
            threads=bulk.threads_each,
            device=device_of(bulk.device),
            engine=engine,
            clock=now_utc,
            say=bulk.say,
        )
        if bulk.as_json:
            print_json(done.as_dict())
            return
        for line in (done.line, *done.report.lines, *([done.cost.line] if done.cost else [])):
            typer.echo(line)

    once_or_every(seconds, "recommend", run)


def seconds_of(every: str | None) -> int | None:
    """ "24h", "30m", "7d" -> seconds. Raises typer.BadParameter."""
    if every is None:
        return None
    number, unit = every[:-1], every[-1:]
    if not number.isdecimal() or not 0 < int(number) <= 10_000 or unit not in UNITS:
        raise typer.BadParameter(
            f"{every!r}: expected a number and m, h or d, as in 24h", param_hint="--every"
        )
    return int(number) * UNITS[unit]


def once_or_every(seconds: int | None, name: str, run: Callable[[], None]) -> None:
    """Do it now; and again and again, where it is to be done every so many seconds."""
    if seconds is None:
        run()
        return
    from pipelines.schedule import run_schedule, steady_job

    run_schedule([steady_job(name, seconds, run, lambda line: typer.echo(line, err=True))], now_utc)


def now_utc() -> datetime:
    return datetime.now(UTC)
