"""`triptych pretrain`: a base encoder learns from a house's own texts, before any label."""

from typing import Annotated

import typer

from pipelines.options import (
    BaseOption,
    DeviceOption,
    EncoderOption,
    EpochsOption,
    HomeOption,
    JsonOption,
    LearningMinutesOption,
    SeedOption,
    TextColumn,
    TextsOption,
    ThreadsOption,
    device_of,
    mapping_of,
    open_home,
    print_json,
    speaker,
    use_threads,
)
from shared.training.options import PretrainingObjective, TrainOptions


def pretrain(
    texts: TextsOption,
    output: EncoderOption,
    objective: Annotated[
        PretrainingObjective,
        typer.Option("--objective", help="Guess hidden words, tell texts apart, or one by one."),
    ] = PretrainingObjective.MLM,
    base: BaseOption = "minilm",
    minutes: LearningMinutesOption = None,
    epochs: EpochsOption = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=2, help="Texts of a training step.")
    ] = None,
    text_column: TextColumn = None,
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an encoder further on unlabelled texts, for --base; a call that was cut off goes on."""
    use_threads(threads)
    from pipelines.pretrain import lines_of, pretrain_on_tables

    options = TrainOptions(
        base=base,
        minutes=minutes,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        threads=threads,
        device=device_of(device),
    )
    done = pretrain_on_tables(
        texts,
        mapping_of(text=text_column),
        output=output,
        objective=objective,
        options=options,
        home=open_home(home),
        say=speaker(as_json),
    )
    if as_json:
        print_json({"output": done.folder, **done.manifest(options)})
        return
    for line in lines_of(done):
        typer.echo(line)
