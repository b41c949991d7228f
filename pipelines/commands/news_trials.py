"""`triptych news laboratory` and `triptych news difference`: two configurations side by side."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.news import ReplayedOption
from pipelines.options import HomeOption, JsonOption, open_home, print_json, speaker

CHANGES = "NAME=VALUE,… over [news] and [news.surges], such as false_alarms_per_week=3."


def register(app: typer.Typer) -> None:
    app.command("laboratory")(laboratory)
    app.command("difference")(difference)


def laboratory(
    first: Annotated[str, typer.Option("--a", metavar="CHANGES", help=CHANGES)] = "",
    second: Annotated[str, typer.Option("--b", metavar="CHANGES", help="The same.")] = "",
    since: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day; the last 28 by default."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="The day after the last.")
    ] = None,
    companies: Annotated[
        bool, typer.Option("--companies", help="Judge the companies of the list too.")
    ] = False,
    replayed: ReplayedOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which alerts two configurations would have told, from the stories that are stored."""
    from apps.news_monitor.alert_difference import difference_lines
    from pipelines.laboratory import compare_configurations

    done = compare_configurations(
        open_home(home),
        first,
        second,
        since=since.replace(tzinfo=UTC) if since else None,
        until=until.replace(tzinfo=UTC) if until else None,
        replayed=replayed,
        companies=companies,
        say=speaker(as_json),
    )
    if as_json:
        print_json(json.loads(json.dumps(asdict(done.found), default=datetime.isoformat)))
        return
    for line in difference_lines(done.found):
        typer.echo(line)


def difference(
    first: Annotated[Path, typer.Argument(metavar="DIR_A", help="Output folder of a replay.")],
    second: Annotated[Path, typer.Argument(metavar="DIR_B", help="And of another.")],
    home: HomeOption = None,  # noqa: ARG001  (nothing is kept; every command takes it)
    as_json: JsonOption = False,
) -> None:
    """Which alerts two replays of one period have in common, and which not."""
    from apps.news_monitor.alert_difference import difference as compare
    from apps.news_monitor.alert_difference import difference_lines, read_episodes
    from apps.news_monitor.replay import ALERTS

    found = compare(*(read_episodes(folder / ALERTS) for folder in (first, second)))
    if as_json:
        print_json(json.loads(json.dumps(asdict(found), default=datetime.isoformat)))
        return
    for line in difference_lines(found):
        typer.echo(line)
