"""`triptych recommend`, the batch job, and `triptych recommender …`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.bulk import Bulk
from pipelines.options import (
    DeviceOption,
    EventColumn,
    HomeOption,
    ItemColumn,
    JsonOption,
    ModelOption,
    OutputOption,
    ThreadsOption,
    TimeColumn,
    TitleColumn,
    UserColumn,
    ValueColumn,
    device_of,
    mapping_of,
    open_home,
    print_json,
    speaker,
    spelled_out,
    use_threads,
)

app = typer.Typer(no_args_is_help=True)


@app.callback()
def recommender() -> None:
    """Bring a released recommender up to date between two trainings."""


@app.command("import")
def import_(
    model: ModelOption = "recommender",
    items: Annotated[
        Path | None,
        typer.Option("--items", metavar="FILE", help="New items, a table as `train` takes it."),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option("--events", metavar="FILE", help="New events, a table as `train` takes it."),
    ] = None,
    item_column: ItemColumn = None,
    title_column: TitleColumn = None,
    user_column: UserColumn = None,
    time_column: TimeColumn = None,
    event_column: EventColumn = None,
    value_column: ValueColumn = None,
    home: HomeOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add items and events to what a model serves, without training. What is there is kept once.

    A running service, the pages and the next batch have them at once.
    """
    use_threads(threads)
    from pipelines.recommend import import_to_recommender

    done = import_to_recommender(
        model=model,
        items=items,
        events=events,
        mapping=mapping_of(
            item_id=item_column, title=title_column, user_id=user_column,
            timestamp=time_column, event=event_column, value=value_column,
        ),
        home=open_home(home),
        threads=threads,
        device=device_of(device),
        clock=lambda: datetime.now(UTC),
        say=speaker(as_json),
    )  # fmt: skip
    if as_json:
        print_json(done.as_dict())
        return
    for line in done.lines:
        typer.echo(line)


@spelled_out
def recommend(
    output: OutputOption,
    model: ModelOption = "recommender",
    users: Annotated[
        Path | None,
        typer.Option("--users", metavar="FILE", help="`user_id`: only these; all when absent."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Items for each user.")] = 10,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also items the user has already acted on.")
    ] = False,
    user_column: UserColumn = None,
    bulk: Bulk = Bulk(),
) -> None:
    """Recommend items to every user, with a reason for each, into a Parquet file."""
    use_threads(bulk.threads)
    engine = bulk.opened()
    from pipelines.recommend import recommend_to_file

    done = recommend_to_file(
        model=model,
        users=users,
        mapping=mapping_of(user_id=user_column),
        k=k,
        include_seen=include_seen,
        output=output,
        home=open_home(bulk.home),
        threads=bulk.threads_each,
        device=device_of(bulk.device),
        engine=engine,
        clock=lambda: datetime.now(UTC),
        say=bulk.say,
    )
    if bulk.as_json:
        print_json(done.as_dict())
        return
    typer.echo(done.line)
    if done.cost is not None:
        typer.echo(done.cost.line)
