"""`triptych evaluate`."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from pipelines.options import (
    HomeOption,
    InputOption,
    JsonOption,
    LabelColumn,
    ModelOption,
    TextColumn,
    ThreadsOption,
    mapping_of,
    measured,
    open_home,
    print_json,
    speaker,
    use_threads,
)


class App(StrEnum):
    """The three applications."""

    CHATBOT = "chatbot"
    NEWS = "news"
    RECOMMENDER = "recommender"


def register(app: typer.Typer) -> None:
    app.command("evaluate")(evaluate)


def evaluate(
    app_name: Annotated[App, typer.Argument(metavar="APP", help="chatbot, news or recommender.")],
    model: ModelOption,
    input_file: InputOption,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a released model on labelled data: 95 % intervals, slices, calibration, a report."""
    use_threads(threads)
    from pipelines.evaluate import evaluate_model

    mapping = mapping_of(text=text_column, label=label_column)
    done = evaluate_model(
        app_name.value, model, input_file, mapping, open_home(home), say=speaker(as_json)
    )
    if as_json:
        print_json(json.loads(done.report.to_json()))
        return
    for measure in done.report.measures:
        typer.echo(measured(measure))
    typer.echo(f"Report: {done.page}")
