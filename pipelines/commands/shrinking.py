"""`triptych shrink`: a smaller and faster encoder, taught by a larger one."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.column_names import LabelledColumns
from pipelines.options import (
    BaseOption,
    DeviceOption,
    EncoderOption,
    EpochsOption,
    HomeOption,
    JsonOption,
    LearningMinutesOption,
    SeedOption,
    TextsOption,
    ThreadsOption,
    device_of,
    open_home,
    print_json,
    speaker,
    spelled_out,
    there,
    use_threads,
)
from shared.training.options import ALLOWED_DROP, STUDENT_LAYERS, StudentKind, TrainOptions


@spelled_out
def shrink(
    texts: TextsOption,
    to: Annotated[
        StudentKind,
        typer.Option("--to", help="Fewer layers, a table of token vectors, or static int8."),
    ],
    output: EncoderOption,
    base: BaseOption = "minilm",
    layers: Annotated[
        int | None,
        typer.Option(
            "--layers", min=1, help=f"Of a student of that kind; {STUDENT_LAYERS} by default."
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="MODEL",
            help="A smaller encoder that the student begins as; --base itself by default.",
        ),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            "--examples",
            metavar="FILE",
            callback=there,
            help="Labelled texts to compare accuracy on.",
        ),
    ] = None,
    allowed_drop: Annotated[
        float,
        typer.Option("--allowed-drop", min=0, help="Accuracy that may be lost, .02: 2 points."),
    ] = ALLOWED_DROP,
    minutes: LearningMinutesOption = None,
    epochs: EpochsOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write it though it misses the gate.")
    ] = False,
    columns: LabelledColumns = LabelledColumns(),
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an encoder smaller on unlabelled texts, for --base; kept only near its teacher."""
    use_threads(threads)
    from pipelines.shrink import lines_of, shrink_on_tables

    done = shrink_on_tables(
        texts,
        columns.mapping,
        output=output,
        kind=to,
        layers=layers,
        into=into,
        examples=examples,
        allowed_drop=allowed_drop,
        options=TrainOptions(
            base=base,
            minutes=minutes,
            epochs=epochs,
            seed=seed,
            threads=threads,
            device=device_of(device),
        ),
        home=open_home(home),
        force=force,
        say=speaker(as_json),
    )
    if as_json:
        print_json({"output": done.folder, **done.manifest()})
        return
    for line in lines_of(done):
        typer.echo(line)
