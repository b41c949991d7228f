"""`triptych news …`: run, once, why, feeds, companies, find-companies, replay, test-mail."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import (
    HomeOption,
    InputOption,
    JsonOption,
    OutputOption,
    SourceColumn,
    SummaryColumn,
    TextColumn,
    ThreadsOption,
    TimeColumn,
    TitleColumn,
    UrlColumn,
    mapping_of,
    moment_of,
    open_home,
    print_json,
    speaker,
    there,
    use_threads,
)

app = typer.Typer(no_args_is_help=True)
feeds = typer.Typer(no_args_is_help=True, help="The list of feeds: show, import, export, remove.")
app.add_typer(feeds, name="feeds")

MonitorModel = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME[@VERSION]", help="A released model; [news] model by default."
    ),
]


def now_utc() -> datetime:
    return datetime.now(UTC)


@app.command()
def run(
    model: MonitorModel = None,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait", help="Where another monitor runs, stop instead of waiting to take over."
        ),
    ] = False,
    home: HomeOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Read the feeds on a schedule and mail alerts, until stopped. One monitor for a database."""
    use_threads(threads)
    from pipelines.monitoring import open_monitor
    from pipelines.schedule import news_jobs, run_schedule

    house, say = open_home(home), speaker(False)
    opened = open_monitor(
        house, model=model, clock=now_utc, threads=threads, say=say, wait=not no_wait
    )
    with opened as (monitor, heartbeat):
        run_schedule(news_jobs(monitor, say), now_utc, watch=heartbeat.when_lost)
        heartbeat.check()


@app.command()
def once(
    model: MonitorModel = None,
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """One round: read the feeds that are due, label, judge, mail; then stop."""
    use_threads(threads)
    from pipelines.monitoring import open_monitor
    from pipelines.schedule import summary_of

    house, say = open_home(home), speaker(as_json)
    opened = open_monitor(house, model=model, clock=now_utc, threads=threads, say=say, wait=False)
    with opened as (monitor, _):
        report = monitor.tick(now_utc())
        if as_json:
            print_json(json.loads(report.to_json()))
        else:
            for line in (summary_of(report), *report.lines):
                typer.echo(line)
        beside = monitor.shadow(now_utc())
    if beside is not None and beside.line and not as_json:
        typer.echo(beside.line)


ReplayedOption = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        metavar="DIR",
        help="The output folder of a replay, not the running monitor's database.",
    ),
]


@app.command()
def companies(
    replayed: ReplayedOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """The companies followed: their stories, what is usual, and where they stand."""
    from apps.news_monitor.company_data import lines_of
    from pipelines.monitoring import followed_companies

    found = followed_companies(open_home(home), replayed)
    if as_json:
        print_json([{**asdict(one), "state": one.state, "share": one.share} for one in found])
        return
    for line in lines_of(found):
        typer.echo(line)


@app.command("find-companies")
def find_companies(
    listed: Annotated[
        Path,
        typer.Option(
            "--companies",
            metavar="FILE",
            callback=there,
            help="`company[,ticker,aliases,near,not_near]`.",
        ),
    ],
    input_file: InputOption,
    output: OutputOption,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME[@VERSION]", help="Also what is said of each company."
        ),
    ] = None,
    text_column: TextColumn = None,
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try a list on headlines: a row for each company that a text names, and how."""
    use_threads(threads)
    from pipelines.company_table import find_in_table
    from pipelines.monitoring import released_labeller

    labeller = released_labeller(model, open_home(home), now_utc, threads) if model else None
    found = find_in_table(
        listed, input_file, output, mapping=mapping_of(text=text_column), labeller=labeller
    )
    if as_json:
        print_json(asdict(found))
        return
    typer.echo(found.line)


@app.command()
def why(
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC", help="A topic or a company that is judged.")
    ],
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="UTC, 2026-03-11 (that day's end) or 2026-03-11T14:00; the last moment judged.",
        ),
    ] = None,
    replayed: ReplayedOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Why there was no alert about a topic, or why there was one: figures, gates, data health."""
    from apps.news_monitor.why_no_alert import why_lines
    from pipelines.monitoring import asked_why

    answer = asked_why(open_home(home), topic, moment_of(at, "--at", end_of_day=True), replayed)
    if as_json:
        print_json(json.loads(json.dumps(asdict(answer), default=datetime.isoformat)))
        return
    for line in why_lines(answer):
        typer.echo(line)


@app.command()
def replay(
    items: Annotated[
        Path,
        typer.Option(
            "--items",
            metavar="FILE",
            callback=there,
            help="`published_at,title[,summary,source,url]`.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder for alerts, mails and trend.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME[@VERSION]",
            help="A released model; without one the file's own columns `sentiment` and `topics`.",
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day; earlier rows are history."),
    ] = None,
    listed: Annotated[
        Path | None,
        typer.Option(
            "--companies",
            metavar="FILE",
            callback=there,
            help="Companies to follow too; [news] companies else.",
        ),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="The day after the last.")
    ] = None,
    per_week: Annotated[
        float | None,
        typer.Option("--false-alarms", min=0.01, help="Mails a week that may come without cause."),
    ] = None,
    time_column: TimeColumn = None,
    title_column: TitleColumn = None,
    summary_column: SummaryColumn = None,
    source_column: SourceColumn = None,
    url_column: UrlColumn = None,
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """The alerts a file of dated headlines would have caused, with a simulated clock."""
    use_threads(threads)
    from apps.news_monitor.replay import replay as replay_items
    from pipelines.monitoring import (
        news_settings,
        released_labeller,
        with_budget,
        with_companies,
    )

    house = open_home(home)
    done = replay_items(
        items,
        output=output,
        labeller=released_labeller(model, house, now_utc, threads) if model else None,
        settings=with_companies(with_budget(news_settings(), per_week), listed),
        since=since.replace(tzinfo=UTC) if since else None,
        until=until.replace(tzinfo=UTC) if until else None,
        mapping=mapping_of(
            published_at=time_column,
            title=title_column,
            summary=summary_column,
            source=source_column,
            url=url_column,
        ),
        say=speaker(as_json),
    )
    if as_json:
        print_json(
            {
                "items": done.items,
                "rejected": done.rejected,
                "copies": done.copies,
                "joined": done.joined,
                "alerts": len(done.alerts),
                "mails": done.mails,
                "threshold": done.threshold,
                "seconds": round(done.seconds, 1),
                "output": str(done.folder),
            }
        )
        return
    typer.echo(
        f"{done.items} headlines ({done.copies} copies, {done.joined} of an event told "
        f"before), {len(done.alerts)} alerts, {done.mails} "
        f"mails in {done.seconds:.1f} s: {done.folder}"
    )


@app.command("test-mail")
def test_mail(
    to: Annotated[
        str | None, typer.Option("--to", metavar="ADDRESS", help="Instead of the recipients.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Send one mail as an alert would be sent."""
    from pipelines.monitoring import send_test_mail

    typer.echo(send_test_mail(open_home(home), to, now_utc()))


@feeds.command("list")
def list_feeds(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """The feeds that are read: those of the settings, and the imported ones."""
    from pipelines.monitoring import feeds_of

    found = feeds_of(open_home(home), now_utc())
    if as_json:
        print_json([asdict(feed) for feed in found])
        return
    for feed in found:
        typer.echo(f"{feed.origin:<8}  {feed.state:<13}  {feed.url}  {feed.title}".rstrip())
    typer.echo(f"{len(found)} feeds")


@feeds.command("import")
def import_feeds(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An OPML file of another reader.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the feeds of an OPML file too, from the monitor's next round on."""
    from pipelines.monitoring import import_opml

    done = import_opml(open_home(home), file, now_utc())
    if as_json:
        print_json(asdict(done))
        return
    for line in done.refused:
        typer.echo(f"left out: {line}", err=True)
    typer.echo(
        f"{done.added} feeds added, {done.known} known already, {len(done.refused)} left out"
    )


@feeds.command("export")
def export_feeds(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The OPML file to write.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the feeds that are read as OPML, which other readers import."""
    from pipelines.monitoring import export_opml

    written = export_opml(open_home(home), file, now_utc())
    if as_json:
        print_json({"feeds": written, "file": str(file)})
    else:
        typer.echo(f"{written} feeds written to {file}")


@feeds.command("remove")
def remove_feed(
    url: Annotated[str, typer.Argument(metavar="URL", help="The address of an imported feed.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read an imported feed no more; its articles stay."""
    from pipelines.monitoring import forget_feed

    forget_feed(open_home(home), url)
    if as_json:
        print_json({"removed": url})
    else:
        typer.echo(f"{url} is not read any more")
