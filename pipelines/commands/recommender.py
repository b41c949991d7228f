"""`triptych recommend`: the batch job."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import (
    HomeOption,
    JsonOption,
    ModelOption,
    OutputOption,
    ThreadsOption,
    UserColumn,
    mapping_of,
    open_home,
    print_json,
    speaker,
    use_threads,
)


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
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to every user, with a reason for each, into a Parquet file."""
    use_threads(threads)
    from pipelines.recommend import recommend_to_file

    house = open_home(home)
    done = recommend_to_file(
        model=model,
        users=users,
        mapping=mapping_of(user_id=user_column),
        k=k,
        include_seen=include_seen,
        output=output,
        home=house,
        threads=threads,
        clock=lambda: datetime.now(UTC),
        say=speaker(as_json),
    )
    print_json(done.as_dict()) if as_json else typer.echo(done.line)
