"""`triptych data …`: public sets, what is wrong with data, what to label next, would it pay."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.column_names import LabelledColumns
from pipelines.options import (
    HomeOption,
    InputOption,
    JsonOption,
    ModelOption,
    OutputOption,
    SeedOption,
    TextColumn,
    ThreadsOption,
    mapping_of,
    open_home,
    print_json,
    speaker,
    spelled_out,
    there,
    use_threads,
)

app = typer.Typer(no_args_is_help=True)
SHOWN_SUSPECTS = 20  # on a screen; --output and --json have all


class Labelled(StrEnum):
    """Applications that learn from labelled texts."""

    CHATBOT = "chatbot"
    NEWS = "news"


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
@spelled_out
def curve(
    app_name: Annotated[Labelled, typer.Argument(metavar="APP", help="chatbot or news.")],
    examples: Annotated[
        Path,
        typer.Option(
            "--examples", metavar="FILE", callback=there, help="`text,label`, as `train` takes it."
        ),
    ],
    repeats: Annotated[
        int, typer.Option("--repeats", min=2, help="Trainings of each size, with other rows.")
    ] = 3,
    base: Annotated[
        str, typer.Option("--base", metavar="MODEL", help="Base encoder, as `train` takes it.")
    ] = "minilm",
    columns: LabelledColumns = LabelledColumns(),
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learning curve: train on 10 to 100 % of the rows, say what two and four times would bring."""
    use_threads(threads)
    from pipelines.learning_curve import curve_of

    found = curve_of(
        app_name.value, examples, columns.mapping,
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
@spelled_out
def labels(
    app_name: Annotated[Labelled, typer.Argument(metavar="APP", help="chatbot or news.")],
    examples: Annotated[
        Path,
        typer.Option(
            "--examples", metavar="FILE", callback=there, help="`text,label`, as `train` takes it."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Table of all suspects; their rows stay."),
    ] = None,
    base: Annotated[
        str, typer.Option("--base", metavar="MODEL", help="Base encoder, as `train` takes it.")
    ] = "minilm",
    columns: LabelledColumns = LabelledColumns(),
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List labels that are probably wrong, the surest first. Nothing is changed or left out."""
    use_threads(threads)
    from pipelines.label_errors import label_errors_of, suspects_table

    found = label_errors_of(
        app_name.value, examples, columns.mapping,
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
