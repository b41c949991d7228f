"""`triptych chatbot review …`: learning from what people do."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.column_names import LabelledColumns
from pipelines.options import (
    HomeOption,
    JsonOption,
    ModelOption,
    ThreadsOption,
    open_home,
    print_json,
    speaker,
    spelled_out,
    there,
    use_threads,
)

if TYPE_CHECKING:
    from apps.chatbot.learning.review import Decision

app = typer.Typer(no_args_is_help=True)
SHOWN_QUESTIONS = 3  # of a proposal on a screen; --json has all

NumbersArgument = Annotated[
    list[int] | None, typer.Argument(help="Numbers of lessons, as `list` shows them.", min=1)
]
ProposalOption = Annotated[
    list[str] | None,
    typer.Option("--proposal", metavar="NAME", help="All lessons of a proposal; repeatable."),
]
ByOption = Annotated[
    str, typer.Option("--by", metavar="NAME", help="Who decides; kept with the decision.")
]


@app.callback()
def review() -> None:
    """Learn from what people do: find lessons, decide on them, take them to the next training."""


@app.command("collect")
def collect_(
    model: ModelOption = "chatbot",
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read what has happened since the last time, and propose lessons; run it every night.

    What agents sent becomes a candidate answer, questions that nobody could answer become proposed
    intents, clicks, thumbs and rephrasing become labelled examples.
    """
    use_threads(threads)
    from pipelines.collect_lessons import collect_lessons

    found = collect_lessons(
        open_home(home), model, threads=threads, clock=_now, say=speaker(as_json)
    )
    if as_json:
        print_json(asdict(found))
        return
    typer.echo(found.words)
    if found.waiting:
        typer.echo("To decide: triptych chatbot review list, or the page Review of the dashboard")


@app.command("list")
def list_(
    model: ModelOption = "chatbot",
    decided: Annotated[
        bool, typer.Option("--decided", help="What was decided instead, the last first.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="At most so many proposals or decisions.")
    ] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """What waits for a decision: proposals in the order that helps most, with their questions."""
    from pipelines.chatbot_review import lessons_of

    engine, name, found = lessons_of(open_home(home), model, _now)
    if decided:
        from apps.chatbot.learning.review import decided as decisions

        rows = decisions(engine, name, limit=limit)
        if as_json:
            print_json(list(rows))
            return
        for row in rows:
            typer.echo(
                f"{row['id']:>6}  {row['state']:<9} {row['label'] or '-':<28} {row['question']}"
            )
        return
    if as_json:
        print_json([each.as_dict() for each in found[:limit]])
        return
    for each in found[:limit]:
        share = f", {each.share:.0%} of the handovers" if each.share else ""
        kind = "new intent" if each.new else "intent"
        typer.echo(f"{each.name}  ({kind}, {len(each.lessons)} questions{share})")
        for lesson in each.lessons[:SHOWN_QUESTIONS]:
            typer.echo(f"{lesson.id:>6}  {lesson.kind:<13} {lesson.question}")
        if each.answer:
            typer.echo(f"        answered: {each.answer}")
    if len(found) > limit:
        typer.echo(f"… and {len(found) - limit} more proposals; --limit shows them")
    if not found:
        typer.echo("Nothing waits for a decision: triptych chatbot review collect")


@app.command()
@spelled_out
def accept(
    label: Annotated[
        str,
        typer.Option("--label", metavar="INTENT", help="What they mean: a new name or a known."),
    ],
    by: ByOption,
    numbers: NumbersArgument = None,
    proposal: ProposalOption = None,
    answer: Annotated[
        str,
        typer.Option("--answer", metavar="TEXT", help="What the bot says from now on; a template."),
    ] = "",
    title: Annotated[
        str, typer.Option("--title", metavar="TEXT", help="On a button; by default the label.")
    ] = "",
    example: Annotated[
        list[str] | None,
        typer.Option("--example", metavar="TEXT", help="A further question; repeatable."),
    ] = None,
    must_pass: Annotated[
        bool | None,
        typer.Option(
            "--must-pass/--no-must-pass",
            help="A later version must get them right; by default as proposed.",
        ),
    ] = None,
    model: ModelOption = "chatbot",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lessons become examples of an intent; a running bot knows them within seconds.

    With --example and --answer and no lesson, an intent is taught by hand.
    """
    from apps.chatbot.learning.review import accept as decide
    from pipelines.chatbot_review import lessons_of, numbers_of

    engine, name, found = lessons_of(open_home(home), model, _now)
    done = decide(
        engine, name, numbers_of(found, numbers or (), proposal or ()), label=label, answer=answer,
        title=title, typed=example or (), must_pass=must_pass, by=by, clock=_now,
    )  # fmt: skip
    _tell(done, f"are examples of {done.label} now", as_json)


@app.command()
def reject(
    by: ByOption,
    numbers: NumbersArgument = None,
    proposal: ProposalOption = None,
    model: ModelOption = "chatbot",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Nothing is learned from these lessons."""
    from apps.chatbot.learning.review import reject as decide
    from pipelines.chatbot_review import lessons_of, numbers_of

    engine, name, found = lessons_of(open_home(home), model, _now)
    chosen = numbers_of(found, numbers or (), proposal or ())
    _tell(decide(engine, name, chosen, by=by, clock=_now), "rejected", as_json)


@app.command()
def reopen(
    numbers: Annotated[list[int], typer.Argument(help="Numbers, as `list --decided` shows.")],
    model: ModelOption = "chatbot",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take decisions back: the lessons wait again, and what they taught is forgotten at once."""
    from apps.chatbot.learning.review import reopen as decide
    from pipelines.chatbot_review import lessons_of

    engine, name, _ = lessons_of(open_home(home), model, _now)
    _tell(decide(engine, name, numbers), "wait again", as_json)


@app.command()
@spelled_out
def export(
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder for what is written.")
    ],
    examples: Annotated[
        Path | None,
        typer.Option(
            "--examples",
            metavar="FILE",
            callback=there,
            help="Your own, which the lessons are added to and win over.",
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="FILE", callback=there, help="Your own, likewise."),
    ] = None,
    columns: LabelledColumns = LabelledColumns(),
    model: ModelOption = "chatbot",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """What was accepted as examples.csv, answers.yml and must_pass.csv, for `train chatbot` and
    the gate. Your own files stay as they are."""
    from apps.chatbot.learning.lesson_files import export_lessons
    from pipelines.chatbot_review import lessons_of

    engine, name, _ = lessons_of(open_home(home), model, _now)
    done = export_lessons(
        engine, name, output, examples=examples, answers=answers,
        mapping=columns.mapping,
    )  # fmt: skip
    if as_json:
        print_json(done.as_dict())
        return
    typer.echo(done.words)
    files = f"--examples {output / 'examples.csv'}"
    if done.answers:
        files += f" --answers {output / 'answers.yml'}"
    typer.echo(f"Next: triptych train chatbot {files} --name {name}")
    typer.echo(f"Then: triptych models promote {name} VERSION, which asks the must-pass cases")


def _tell(done: "Decision", what: str, as_json: bool) -> None:
    if as_json:
        print_json(asdict(done))
        return
    count = done.lessons + done.typed
    typer.echo(f"{count} {'question' if count == 1 else 'questions'} {what}")


def _now() -> datetime:
    return datetime.now(UTC)
