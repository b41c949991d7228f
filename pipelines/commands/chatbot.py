"""`triptych chatbot …`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.commands import chatbot_review
from pipelines.options import (
    BaseOption,
    DialogueColumn,
    HomeOption,
    JsonOption,
    ModelOption,
    SpeakerColumn,
    StatusColumn,
    TextColumn,
    ThreadsOption,
    TimeColumn,
    mapping_of,
    open_home,
    print_json,
    speaker,
    spelled_out,
    there,
    use_threads,
)

app = typer.Typer(no_args_is_help=True)
app.add_typer(chatbot_review.app, name="review")


@app.callback()
def chatbot() -> None:
    """Ask the chatbot; make one of past dialogues or another tool's bot, and give it back."""


FolderOption = Annotated[
    Path, typer.Option("--output", metavar="DIR", help="Folder for what is written.")
]
SHOWN_INTENTS = 15  # on a screen; the report has more, --json all


@dataclass(frozen=True)
class DialogueFile:
    """How a file of dialogues is read: options of `import`."""

    format: Annotated[
        Literal["auto", "csv", "jsonl", "transcript", "rasa", "chatwoot"],
        typer.Option("--format", help="Of the dialogues; by default by what the file holds."),
    ] = "auto"
    customer: Annotated[
        list[str] | None,
        typer.Option("--customer", metavar="NAME", help="Speaks for customers; repeatable."),
    ] = None
    agent: Annotated[
        list[str] | None,
        typer.Option("--agent", metavar="NAME", help="Speaks for the firm; repeatable."),
    ] = None
    dialogue_column: DialogueColumn = None
    speaker_column: SpeakerColumn = None
    text_column: TextColumn = None
    time_column: TimeColumn = None
    status_column: StatusColumn = None


@app.command("import")
@spelled_out
def import_bot(
    output: FolderOption,
    dialogues: Annotated[
        list[Path] | None,
        typer.Option(
            "--dialogues",
            metavar="FILE",
            callback=there,
            help="Past dialogues (.csv .tsv .jsonl .json .txt, each also .gz); repeatable.",
        ),
    ] = None,
    rasa: Annotated[
        Path | None,
        typer.Option("--rasa", metavar="DIR", help="A Rasa 3 bot: data, domain, responses."),
    ] = None,
    dialogflow: Annotated[
        Path | None,
        typer.Option("--dialogflow", metavar="ZIP", help="A Dialogflow ES agent, as exported."),
    ] = None,
    qna: Annotated[
        Path | None,
        typer.Option(
            "--qna",
            metavar="FILE",
            callback=there,
            help="Questions and answers of QnA Maker (.tsv).",
        ),
    ] = None,
    min_questions: Annotated[
        int,
        typer.Option(
            "--min-questions", min=1, help="Different questions that make an intent of a cluster."
        ),
    ] = 2,
    file: DialogueFile = DialogueFile(),
    base: BaseOption = "minilm",
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Past dialogues, or another tool's bot, to examples.csv and answers.yml for `train chatbot`.

    Personal data are masked; where each pair comes from stands beside it. An import of dialogues
    that is killed goes on where it was when it is run again.
    """
    use_threads(threads)
    others = {"rasa": rasa, "dialogflow": dialogflow, "qna": qna}
    sources = {name: path for name, path in others.items() if path is not None}
    if len(sources) + bool(dialogues) != 1:
        raise typer.BadParameter(
            "give one of --dialogues, --rasa, --dialogflow and --qna", param_hint="--dialogues"
        )
    from apps.chatbot.mining.draft_folder import refuse_reviewed, remember

    house = open_home(home)
    refuse_reviewed(output)
    for tool, path in sources.items():
        from apps.chatbot.formats.importing import import_from

        bot = import_from(tool, path, output)
        remember(output, house.drafts)
        if as_json:
            print_json(bot.as_dict())
            return
        typer.echo(bot.words)
        for note in bot.notes:
            typer.echo(f"  {note}")
        _say_next(output, f" --entities {output / 'entities.yml'}")
        return
    from pipelines.import_dialogues import import_files

    found = import_files(
        dialogues or [],
        output,
        house,
        format_name=file.format,
        columns=mapping_of(
            dialogue=file.dialogue_column,
            speaker=file.speaker_column,
            text=file.text_column,
            time=file.time_column,
            status=file.status_column,
        ),
        customers=file.customer or (),
        agents=file.agent or (),
        min_questions=min_questions,
        base=base,
        threads=threads,
        say=speaker(as_json),
    )
    remember(output, house.drafts)
    if as_json:
        print_json(found.as_dict())
        return
    typer.echo(found.words)
    for draft in found.drafts[:SHOWN_INTENTS]:
        typer.echo(f"{len(draft.cluster.pairs):>7}  {draft.label:<32} {draft.title}")
    for note in found.notes:
        typer.echo(note)
    _say_next(output)


def _say_next(output: Path, more: str = "") -> None:
    typer.echo(f"Report: {output / 'report.html'}")
    typer.echo("To edit and accept: the page Drafts of triptych dashboard")
    typer.echo(
        f"Next: triptych train chatbot --examples {output / 'examples.csv'} "
        f"--answers {output / 'answers.yml'}{more} --name NAME"
    )


@app.command("export")
def export_bot(
    output: FolderOption,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME[@VERSION]", help="A released model."),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            "--examples", metavar="FILE", callback=there, help="`text,label`, instead of a model."
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers", metavar="FILE", callback=there, help="Answers beside --examples."
        ),
    ] = None,
    entities: Annotated[
        Path | None,
        typer.Option(
            "--entities",
            metavar="FILE",
            callback=there,
            help="entities.yml, to be given back; by default a model's own.",
        ),
    ] = None,
    format_name: Annotated[
        Literal["rasa", "dialogflow", "qna", "csv"],
        typer.Option("--format", help="What the folder is written for."),
    ] = "rasa",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """A bot as Rasa 3 YAML, a Dialogflow ES agent, QnA Maker's TSV, or tables.

    Entities stand beside the examples in the column `entities`, as an import writes it.
    """
    if (model is None) == (examples is None):
        raise typer.BadParameter("give either --model or --examples", param_hint="--model")
    from pipelines.import_dialogues import export_bot as exported

    written = exported(
        output, open_home(home), format_name=format_name, model=model, examples=examples,
        answers=answers, entities=entities, clock=lambda: datetime.now(UTC), say=speaker(as_json),
    )  # fmt: skip
    print_json(written.as_dict()) if as_json else typer.echo(written.words)


@app.command()
def ask(
    text: Annotated[str, typer.Argument(help="What the customer writes.")],
    model: ModelOption = "chatbot",
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """One message in, what the bot would say and why, to each request in it."""
    use_threads(threads)
    from dataclasses import asdict

    from apps.chatbot.service import open_bot
    from apps.chatbot.understanding import understood

    bot, version = open_bot(
        model, home=open_home(home), clock=lambda: datetime.now(UTC), threads=threads
    )
    replies = understood(bot, text, {})
    if as_json:
        first, *then = (asdict(reply) for reply in replies)
        print_json({**first, "then": then, "model": f"{version.name}@{version.version}"})
        return
    for reply in replies:
        typer.echo(reply.message)
        for option in reply.options:
            typer.echo(f"  - {option.title}")
        typer.echo(
            f"[{reply.decision}: {reply.intent}, probability {reply.probability:.2f}, "
            f"out-of-scope score {reply.oos_score:.2f}; {reply.why}]"
        )
        for found in reply.entities:
            typer.echo(f"[{found.in_words(reply.text)}]")
