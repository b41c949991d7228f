"""`triptych recommender trial …`: two versions with users, and which is better."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.column_names import LogColumns
from pipelines.options import (
    DeviceOption,
    HomeOption,
    JsonOption,
    OutputOption,
    ThreadsOption,
    UserColumn,
    device_of,
    mapping_of,
    moment_of,
    open_home,
    print_json,
    spelled_out,
    there,
    use_threads,
)

app = typer.Typer(no_args_is_help=True)

ArmOption = Annotated[
    list[str],
    typer.Option(
        "--arm",
        metavar="NAME@VERSION[=SHARE]",
        help="Twice or more; the others are measured against the first. Equal shares by default.",
    ),
]


@app.command("lists")
def lists(
    name: Annotated[
        str,
        typer.Option("--name", metavar="TRIAL", help="With the user's id it says who sees what."),
    ],
    arm: ArmOption,
    output: OutputOption,
    interleave: Annotated[
        bool,
        typer.Option("--interleave", help="Each user gets one list of both, by team draft."),
    ] = False,
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
    user_column: UserColumn = None,
    home: HomeOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """The lists of a trial, with the arm that each row comes from. Keep the file: it says what was
    shown to whom."""
    use_threads(threads)
    from dataclasses import asdict

    from pipelines.commands.news import now_utc
    from pipelines.recommend import users_in
    from pipelines.trial import trial_lists

    done = trial_lists(
        name,
        arm,
        interleave=interleave,
        users=None if users is None else users_in(users, mapping_of(user_id=user_column)),
        k=k,
        output=output,
        home=open_home(home),
        threads=threads,
        device=device_of(device),
        clock=now_utc,
    )
    print_json(asdict(done)) if as_json else typer.echo(done.line)


@app.command("result")
@spelled_out
def result(
    lists: Annotated[
        Path,
        typer.Option("--lists", metavar="FILE", callback=there, help="What `trial lists` wrote."),
    ],
    events: Annotated[
        Path,
        typer.Option(
            "--events", metavar="FILE", callback=there, help="A log that holds what came after."
        ),
    ],
    begins: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="When the lists went live, UTC, a day from its beginning; when they were made.",
        ),
    ] = None,
    ends: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="TIME", help="Events before this count, a day to its end; all."
        ),
    ] = None,
    arm: ArmOption = [],  # noqa: B006
    event: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="TYPE", help="Only these types count; repeatable."),
    ] = None,
    columns: LogColumns = LogColumns(),
    home: HomeOption = None,  # noqa: ARG001  (nothing is kept; every command takes it)
    as_json: JsonOption = False,
) -> None:
    """Effect, interval, and the smallest effect that this trial could have seen."""
    from pipelines.trial import trial_result

    found = trial_result(
        lists,
        events,
        columns.mapping,
        arm,
        begins=moment_of(begins, "--from", end_of_day=False),
        ends=moment_of(ends, "--to", end_of_day=True),
        kinds=event or [],
    )  # fmt: skip
    if as_json:
        print_json(found.as_dict())
        return
    for line in found.lines:
        typer.echo(line)


@app.command("size")
def size(
    rate: Annotated[
        float, typer.Option("--rate", min=1e-6, max=0.999, help="Share that takes something now.")
    ],
    effect: Annotated[
        float, typer.Option("--effect", min=1e-6, max=0.999, help="The change to be seen, as 0.01.")
    ],
    home: HomeOption = None,  # noqa: ARG001
    as_json: JsonOption = False,
) -> None:
    """How many users each arm of a split needs to see a change in 80 of 100 trials."""
    from apps.recommender.trial_analysis import users_needed

    if rate + effect >= 1:
        raise typer.BadParameter("--rate and --effect together are 1 or more")
    needed = users_needed(rate, effect)
    if as_json:
        print_json({"users_of_each_arm": needed})
        return
    typer.echo(f"{needed:,} users in each of two arms to see {rate:.2%} become {rate + effect:.2%}")
