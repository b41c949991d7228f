"""`triptych evaluate`."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from pipelines.column_names import LabelledColumns
from pipelines.options import (
    HomeOption,
    InputOption,
    JsonOption,
    ModelOption,
    ThreadsOption,
    measured,
    open_home,
    print_json,
    speaker,
    spelled_out,
    use_threads,
)


class App(StrEnum):
    """The three applications."""

    CHATBOT = "chatbot"
    NEWS = "news"
    RECOMMENDER = "recommender"


def register(app: typer.Typer) -> None:
    app.command("evaluate")(evaluate)


@spelled_out
def evaluate(
    app_name: Annotated[App, typer.Argument(metavar="APP", help="chatbot, news or recommender.")],
    model: ModelOption,
    input_file: InputOption,
    columns: LabelledColumns = LabelledColumns(),
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a released model on labelled data: 95 % intervals, slices, calibration, a report."""
    use_threads(threads)
    from pipelines.evaluate import evaluate_model

    mapping = columns.mapping
    done = evaluate_model(
        app_name.value, model, input_file, mapping, open_home(home), say=speaker(as_json)
    )
    if as_json:
        print_json(json.loads(done.report.to_json()))
        return
    for measure in done.report.measures:
        typer.echo(measured(measure))
    typer.echo(f"Report: {done.page}")
