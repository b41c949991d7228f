"""`triptych recommend`: the batch job."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.bulk import Bulk
from pipelines.options import (
    ModelOption,
    OutputOption,
    UserColumn,
    device_of,
    mapping_of,
    open_home,
    print_json,
    spelled_out,
    use_threads,
)


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
