"""`triptych data …`: public sets, what is wrong with data, what to label next, would it pay."""

from dataclasses import asdict
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import (
    AnswerColumn,
    BaseOption,
    HomeOption,
    InputOption,
    JsonOption,
    LabelColumn,
    ModelOption,
    OutputOption,
    QuestionColumn,
    SeedOption,
    TextColumn,
    ThreadsOption,
    mapping_of,
    open_home,
    print_json,
    speaker,
    use_threads,
)

app = typer.Typer(no_args_is_help=True)
SHOWN_OF_A_KIND = 5  # findings on a screen; the report has more, --json all
SHOWN_SUSPECTS = 20  # on a screen; --output and --json have all


class Labelled(StrEnum):
    """Applications that learn from labelled texts."""

    CHATBOT = "chatbot"
    NEWS = "news"


class Doctored(StrEnum):
    """Applications whose data can be examined."""

    CHATBOT = "chatbot"


class Head(StrEnum):
    """What a news model says of a text."""

    SENTIMENT = "sentiment"
    TOPICS = "topics"


class Doubt(StrEnum):
    """See shared.training.active_learning.doubt."""

    MARGIN = "margin"
    ENTROPY = "entropy"


@app.command("list")
def list_sets(as_json: JsonOption = False) -> None:
    """The sets that can be fetched, with licence and home."""
    from pipelines.fetch_data import SETS

    if as_json:
        shown = ("name", "app", "about", "licence", "folder")
        print_json([{key: getattr(each, key) for key in shown} for each in SETS.values()])
        return
    for each in SETS.values():
        typer.echo(f"{each.name:<16} {each.app:<12} {each.licence:<16} {each.about}")


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `triptych data list` names it.")],
    mirror: Annotated[
        str | None, typer.Option("--mirror", metavar="URL", help="Take URL/NAME/FILE instead.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Download a public set from its own home, verify it and lay it out for `make bench`."""
    from pipelines.fetch_data import fetch_set

    got = fetch_set(name, open_home(home).datasets, say=typer.echo, mirror=mirror)
    typer.echo(f"{name}: {got.folder} ({got.rows} rows, {got.licence})")


@app.command("curve")
def curve(
    app_name: Annotated[Labelled, typer.Argument(metavar="APP", help="chatbot or news.")],
    examples: Annotated[
        Path, typer.Option("--examples", metavar="FILE", help="`text,label`, as `train` takes it.")
    ],
    repeats: Annotated[
        int, typer.Option("--repeats", min=2, help="Trainings of each size, with other rows.")
    ] = 3,
    base: Annotated[
        str, typer.Option("--base", metavar="MODEL", help="Base encoder, as `train` takes it.")
    ] = "minilm",
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learning curve: train on 10 to 100 % of the rows, say what two and four times would bring."""
    use_threads(threads)
    from pipelines.learning_curve import curve_of

    found = curve_of(
        app_name.value, examples, mapping_of(text=text_column, label=label_column),
        open_home(home), base=base, repeats=repeats, seed=seed, threads=threads,
        say=speaker(as_json),
    )  # fmt: skip
    if as_json:
        print_json({**asdict(found), "words": found.words})
        return
    for point in found.points:
        kind = "measured" if point.measured else "foreseen"
        typer.echo(
            f"{point.n:>9,} rows  {point.accuracy:.3f}  ({point.low:.3f}-{point.high:.3f})  {kind}"
        )
    typer.echo(found.words)


@app.command("labels")
def labels(
    app_name: Annotated[Labelled, typer.Argument(metavar="APP", help="chatbot or news.")],
    examples: Annotated[
        Path, typer.Option("--examples", metavar="FILE", help="`text,label`, as `train` takes it.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Table of all suspects; their rows stay."),
    ] = None,
    base: Annotated[
        str, typer.Option("--base", metavar="MODEL", help="Base encoder, as `train` takes it.")
    ] = "minilm",
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List labels that are probably wrong, the surest first. Nothing is changed or left out."""
    use_threads(threads)
    from pipelines.label_errors import label_errors_of, suspects_table

    found = label_errors_of(
        app_name.value, examples, mapping_of(text=text_column, label=label_column),
        open_home(home), base=base, seed=seed, threads=threads, say=speaker(as_json),
    )  # fmt: skip
    if output is not None:
        from shared.tables import write_table

        write_table(suspects_table(found), output)
    if as_json:
        print_json({**asdict(found), "words": found.words})
        return
    for suspect in found.suspects[:SHOWN_SUSPECTS]:
        typer.echo(f"{suspect.margin:.2f}  {suspect.given} -> {suspect.suggested}: {suspect.text}")
    typer.echo(found.words)
    if output is not None:
        typer.echo(f"Suspects: {output}")


@app.command("doctor")
def doctor(
    app_name: Annotated[Doctored, typer.Argument(metavar="APP", help="chatbot.")],
    examples: Annotated[
        list[Path],
        typer.Option(
            "--examples", metavar="FILE", help="As `train chatbot` takes them; repeatable."
        ),
    ],
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="FILE", help="`answer[,label]`, or YAML: what is said."),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option("--validation", metavar="FILE", help="Looked at for leaks; repeatable."),
    ] = None,
    out_of_scope: Annotated[
        Path | None,
        typer.Option("--out-of-scope", metavar="FILE", help="`text`: looked at for leaks."),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            "--fix",
            metavar="WHICH",
            help="Write mended copies: `sure` (nothing to decide), a kind such as overlap, or the "
            "id of a finding; repeatable.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="For report and copies; by default in the home."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace copies that are there already.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Without a model: no wrong labels, no overlaps.")
    ] = False,
    base: BaseOption = "minilm",
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    question_column: QuestionColumn = None,
    answer_column: AnswerColumn = None,
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is wrong with a bot's data, each finding with its place and its fix. The files stay.

    Errors are what training refuses. The fixes are carried out on copies, here or on the page Data
    doctor.
    """
    del app_name  # there is one
    use_threads(threads)
    from apps.chatbot.doctor.reading import Sources
    from pipelines.data_doctor import doctor as examined

    sources = Sources(
        tuple(examples), answers, tuple(validation or ()), out_of_scope,
        mapping_of(
            text=text_column, label=label_column, question=question_column, answer=answer_column
        ),
    )  # fmt: skip
    done = examined(
        sources, open_home(home), output=output, fix=fix or (), overwrite=overwrite,
        base=None if quick else base,
        seed=seed, threads=threads, say=speaker(as_json),
    )  # fmt: skip
    if as_json:
        fixed = None if done.fixed is None else asdict(done.fixed)
        print_json(done.found.as_dict() | {"output": str(done.folder), "fixed": fixed})
        return
    for kind, several in groupby(done.found.findings, key=lambda each: each.kind):
        listed = list(several)
        for each in listed[:SHOWN_OF_A_KIND]:
            typer.echo(f"{each.severity} {each.id}: {each.what}")
            typer.echo(f"    {each.where}")
            if each.way_out:
                typer.echo(f"    fix: {each.way_out}")
        if len(listed) > SHOWN_OF_A_KIND:
            typer.echo(f"    … and {len(listed) - SHOWN_OF_A_KIND} more of the kind {kind!r}")
    for note in done.found.notes:
        typer.echo(note)
    typer.echo(done.found.words)
    typer.echo(f"Report: {done.folder / 'report.html'}")
    if done.fixed is not None:
        typer.echo(f"{done.fixed.changed} changes, in copies: {', '.join(done.fixed.written)}")


@app.command("next")
def next_to_label(
    app_name: Annotated[Labelled, typer.Argument(metavar="APP", help="chatbot or news.")],
    model: ModelOption,
    input_file: InputOption,
    output: OutputOption,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Texts to label.")] = 50,
    head: Annotated[
        Head, typer.Option("--head", help="Of a news model: which labels are to be learned.")
    ] = Head.SENTIMENT,
    measure: Annotated[
        Doubt, typer.Option("--measure", help="How the model's doubt is measured.")
    ] = Doubt.MARGIN,
    text_column: TextColumn = None,
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the texts whose labels would teach a model most: doubtful ones, no two of a kind.

    Fill in the column `label` of the output and give the table to `train` as further examples.
    """
    use_threads(threads)
    from pipelines.next_to_label import next_texts
    from shared.tables import write_table

    table = next_texts(
        app_name.value, model, input_file, mapping_of(text=text_column), open_home(home),
        count=count, head=head.value, measure=measure.value, seed=seed, threads=threads,
    )  # fmt: skip
    write_table(table, output)
    if as_json:
        print_json({"rows": len(table), "output": str(output)})
        return
    typer.echo(f"{len(table)} texts to label: {output}")
