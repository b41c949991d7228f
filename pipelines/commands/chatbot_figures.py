"""`triptych chatbot risk`, `triptych chatbot analytics` and `triptych chatbot intents`: how the bot
fares, and how much it dares."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.options import HomeOption, JsonOption, ModelOption, measured, open_home, print_json

if TYPE_CHECKING:
    from apps.chatbot.analytics import Analytics
    from apps.chatbot.risk import RiskView
    from apps.chatbot.unanswered import Clusters

SHOWN_INTENTS, SHOWN_QUESTIONS = 15, 5
SHOWN_CLUSTERS, SHOWN_WEEKS = 10, 6


def register(app: typer.Typer) -> None:
    app.command("risk")(risk)
    app.command("analytics")(analytics)
    app.command("intents")(intents)


def clock() -> datetime:
    return datetime.now(UTC)


def risk(
    model: ModelOption = "chatbot",
    at: Annotated[
        float | None,
        typer.Option("--at", metavar="RISK", help="A risk to look at, such as 0.02 for 2 %."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Have the running bot take the risk of --at.")
    ] = False,
    reset: Annotated[
        bool, typer.Option("--reset", help="Have the running bot take the risk of training.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """What `at most so many wrong answers` costs in answers, and whether customers see it kept.

    A running bot takes a new risk with its next message; all versions of the model take it.
    """
    if apply and at is None:
        raise typer.BadParameter("--apply needs the risk: --at 0.02", param_hint="--apply")
    if apply and reset:
        raise typer.BadParameter("give one of --apply and --reset", param_hint="--apply")
    from apps.chatbot.live import LiveFile
    from apps.chatbot.opening import reading
    from apps.chatbot.risk import risk_view
    from shared.registry import Registry

    house = open_home(home)
    version = Registry(house.models, clock).resolve(model, app="chatbot")
    with reading(house) as connection:
        asked = () if at is None else (at,)
        found = risk_view(version, connection, now=clock(), asked=asked)
        if apply or reset:
            LiveFile.of(version, clock).choose_risk(at if apply else None, "command line")
            found = risk_view(version, connection, now=clock(), asked=asked)
    if as_json:
        print_json(found.as_dict())
        return
    for line in _risk_lines(found, at):
        typer.echo(line)


def _risk_lines(found: "RiskView", at: float | None) -> list[str]:
    took = "as trained" if found.chosen_at is None else f"chosen {found.chosen_at:%Y-%m-%d %H:%M}"
    lines = [
        f"{found.model} takes the risk {found.now:g} ({took}): of messages in scope at most "
        f"{found.now:.1%} get a wrong answer.",
        "",
        "  risk   answered  asked back  refused  handed over  wrong answers",
    ]
    for point in found.curve:
        mark = "*" if point.risk == found.now else ">" if point.risk == at else " "
        shares = [
            count / point.n if point.n else 0.0
            for count in (
                point.answered, point.asked_back, point.refused, point.handed_over, point.wrong
            )
        ]  # fmt: skip
        lines.append(
            f"{mark} {point.risk:<6g} {shares[0]:>7.1%} {shares[1]:>11.1%} {shares[2]:>8.1%} "
            f"{shares[3]:>12.1%} {shares[4]:>14.1%}"
        )
    shown = found.at(found.now if at is None else at)
    lines += ["", f"At {shown.risk:g}, on {shown.n:,} held-out questions:"]
    lines += [measured(measure) for measure in shown.measures]
    if shown.risk < found.least:
        lines.append(
            f"Below {found.least:.2%} the calibration rows are too few to promise anything."
        )
    if found.live is not None:
        seen = found.live.seen
        lines += [
            "",
            f"With customers since {found.live.since:%Y-%m-%d %H:%M} UTC: {seen.known:,} of "
            f"{seen.decided:,} messages were judged by a thumb or a choice; {found.live.verdict}.",
            measured(found.live.wrong),
            measured(found.live.unmet),
        ]
    return lines


def analytics(
    days: Annotated[
        int, typer.Option("--days", min=1, max=400, help="How many days, today included.")
    ] = 30,
    by: Annotated[
        Literal["day", "week"], typer.Option("--by", help="One row for each of these.")
    ] = "day",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="The rows as a table.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sessions contained, handed over and left; questions back that helped; thumbs; by intent."""
    from apps.chatbot.analytics import analytics as figures_of
    from apps.chatbot.opening import reading

    with reading(open_home(home)) as connection:
        found = figures_of(connection, days=days, now=clock(), step=by)
    if output is not None:
        from apps.chatbot.figure_tables import period_table
        from shared.tables import write_table

        write_table(period_table(found.periods), output)
    if as_json:
        print_json(found.as_dict())
        return
    for line in _analytics_lines(found):
        typer.echo(line)
    if output is not None:
        typer.echo(f"Table: {output}")


def _analytics_lines(found: "Analytics") -> list[str]:
    total = found.total
    lines = [
        f"{found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}: {total.sessions:,} sessions, "
        f"{total.answered:,} answers, {total.asked_back:,} questions back, {total.refused:,} "
        "refusals",
        *(measured(measure) for measure in total.measures),
    ]
    if found.handovers:
        said = ", ".join(f"{name} {count:,}" for name, count in found.handovers.items())
        lines.append(f"Handed over: {said}")
    if found.intents:
        lines += ["", "  sessions  contained  intent"]
    for use in found.intents[:SHOWN_INTENTS]:
        lines.append(f"{use.sessions:>10,} {use.contained / use.sessions:>10.0%}  {use.intent}")
    if found.unanswered:
        lines += ["", "Refused last:"]
    for each in found.unanswered[:SHOWN_QUESTIONS]:
        lines.append(f"  {each.at:%m-%d %H:%M}  {' '.join(each.question.split())[:100]}")
    return [*lines, *_cluster_lines(found.clusters)]


def _cluster_lines(found: "Clusters") -> list[str]:
    """What could not be answered, by what was asked; the last weeks one by one."""
    if not found.clusters:
        return []
    weeks = found.weeks[-SHOWN_WEEKS:]
    lines = ["", "Could not be answered, in the weeks of " + ", ".join(f"{w:%m-%d}" for w in weeks)]
    for each in found.clusters[:SHOWN_CLUSTERS]:
        counts = " ".join(f"{count:>3,}" for count in each.weeks[-SHOWN_WEEKS:])
        of = "" if each.share.value is None else f", {each.share.value:.0%} of the handovers"
        state = "waits for the review" if each.waiting else "taught"
        lines.append(f"  {counts}  {each.title} ({each.name}: {each.questions:,}{of}; {state})")
    return lines


def intents(
    model: ModelOption = "chatbot",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Each intent: its examples, how well it is known, and how much it is used."""
    from apps.chatbot.intent_figures import intent_figures
    from apps.chatbot.opening import reading
    from shared.registry import Registry

    house, now = open_home(home), clock()
    version = Registry(house.models, lambda: now).resolve(model, app="chatbot")
    with reading(house) as connection:
        found = intent_figures(version, connection, now=now)
    if as_json:
        print_json([each.as_dict() for each in found])
        return
    typer.echo("examples  recall  precision  used in 30 days  intent")
    for each in found:
        examples = "?" if each.examples is None else f"{each.examples:,}"
        recall, precision = (
            "?" if m.value is None else f"{m.value:.0%}" for m in (each.recall, each.precision)
        )
        typer.echo(
            f"{examples:>8} {recall:>7} {precision:>10} {each.used:>16,}  {each.label}"
            f" ({each.title})"
        )
