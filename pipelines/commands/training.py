"""`triptych train APP`."""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.column_names import ExampleColumns, LabelledColumns, ShopColumns
from pipelines.options import (
    BaseOption,
    DeviceOption,
    EpochsOption,
    HomeOption,
    JsonOption,
    MinutesOption,
    SeedOption,
    ThreadsOption,
    device_of,
    measured,
    open_home,
    print_json,
    speaker,
    spelled_out,
    there,
    use_threads,
)
from shared.training.options import Method, TrainOptions

if TYPE_CHECKING:
    from pipelines.train import Recipe, Trained

app = typer.Typer(no_args_is_help=True)


NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the model.")]


ExamplesOption = Annotated[
    list[Path],
    typer.Option(
        "--examples",
        metavar="FILE",
        callback=there,
        help="`text,label`, or `question,answer`; repeatable.",
    ),
]
ValidationOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--validation",
        metavar="FILE",
        callback=there,
        help="Same columns; cut off when absent; repeatable.",
    ),
]
SentimentOption = Annotated[
    list[Path],
    typer.Option(
        "--sentiment", metavar="FILE", callback=there, help="`text,label`; may be repeated."
    ),
]
TopicsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--topics",
        metavar="FILE",
        callback=there,
        help="`text,label`, several topics joined by |; repeatable.",
    ),
]
SentimentLabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sentiment-label",
        metavar="THEIRS=OURS",
        help="Maps a label to negative, neutral or positive, as in 0=negative; repeatable.",
    ),
]

AugmentOption = Annotated[
    bool,
    typer.Option(
        "--augment", help="Learn from copies of the rows with typing slips too, if that helps."
    ),
]


@dataclass(frozen=True)
class Learning:
    """How a model learns: options of every training command."""

    method: Annotated[Method, typer.Option("--method", help="How much of the encoder learns.")] = (
        Method.AUTO
    )
    minutes: MinutesOption = None
    base: BaseOption = "minilm"
    epochs: EpochsOption = None
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            metavar="FILE",
            callback=there,
            help="Fine-tune as this file says: `triptych search` writes one.",
        ),
    ] = None


@dataclass(frozen=True)
class Run:
    """Where and how a training runs: options of every training command."""

    home: HomeOption = None
    seed: SeedOption = 13
    threads: ThreadsOption = None
    device: DeviceOption = None
    logdir: Annotated[
        Path | None, typer.Option("--logdir", metavar="DIR", help="TensorBoard logs go here.")
    ] = None
    processes: Annotated[
        int,
        typer.Option(
            "--processes", min=1, help="Share each batch of fine-tuning; --threads is of each."
        ),
    ] = 1
    as_json: JsonOption = False


def run_training(
    recipe: "Recipe",
    name: str,
    learning: Learning,
    run: Run,
    *,
    began: float,
    judged_apart: bool = False,
) -> None:
    """Train, then print what was measured and where the report is.

    began: time.monotonic() when the command did. judged_apart: the report is written on rows of a
    file of their own.
    """
    from pipelines.train import train
    from pipelines.training_processes import main_process
    from shared.settings import load_section, settings_file
    from shared.training.tracking import SECTION, TrainingSettings

    home = open_home(run.home)
    options = TrainOptions(
        method=learning.method.value,
        call_minutes=learning.minutes,
        began=began,
        base=learning.base,
        epochs=learning.epochs,
        seed=run.seed,
        threads=run.threads,
        device=device_of(run.device),
        logdir=run.logdir,
    )
    notes: tuple[str, ...] = ()
    if learning.recipe is not None:
        from pipelines.search import follow

        options, notes = follow(
            learning.recipe, recipe, options, judged_apart=judged_apart, home=home
        )
    with main_process(run.processes, run.threads, options.device):
        trained = train(
            recipe,
            name=name,
            options=options,
            home=home,
            clock=lambda: datetime.now(UTC),
            say=speaker(run.as_json),
            tracking=load_section(
                TrainingSettings, SECTION, file=settings_file(os.environ), environ=os.environ
            ),
            notes=notes,
        )
    if run.as_json:
        print_json(summary_of(trained))
    else:
        say_trained(trained)


def summary_of(trained: "Trained") -> dict[str, object]:
    import json

    version = trained.version
    return {
        "name": version.name,
        "version": version.version,
        "production": version.production,
        "path": str(version.path),
        "seconds": round(trained.seconds, 1),
        "report": json.loads(trained.report.to_json()),
    }


def say_trained(trained: "Trained") -> None:
    version = trained.version
    for measure in trained.report.measures:
        typer.echo(measured(measure))
    live = "in production" if version.production else "not live"
    typer.echo(f"{version.name}@{version.version} is {live}, after {trained.seconds:.0f} s")
    typer.echo(f"Report: {trained.report_page}")
    if not version.production:
        typer.echo(f"To make it live: triptych models promote {version.name} {version.version}")


@app.command("chatbot")
@spelled_out
def train_chatbot(
    examples: ExamplesOption,
    name: NameOption,
    validation: ValidationOption = None,
    out_of_scope: Annotated[
        Path | None,
        typer.Option(
            "--out-of-scope", metavar="FILE", callback=there, help="`text`: what must be refused."
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers", metavar="FILE", callback=there, help="`answer[,label]`: what may be said."
        ),
    ] = None,
    entities: Annotated[
        Path | None,
        typer.Option(
            "--entities",
            metavar="FILE",
            callback=there,
            help="entities.yml: lists of values, synonyms, patterns, found in messages.",
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            "--unlabelled",
            metavar="FILE",
            callback=there,
            help="`text`: learned from too, if that helps.",
        ),
    ] = None,
    augment: AugmentOption = False,
    learning: Learning = Learning(),
    columns: ExampleColumns = ExampleColumns(),
    run: Run = Run(),
) -> None:
    """Train a chatbot that understands, answers, asks back and refuses."""
    began = time.monotonic()
    use_threads(run.threads)
    from apps.chatbot.recipe import ChatbotRecipe
    from apps.chatbot.settings import ChatbotSettings
    from shared.settings import load_section, settings_file

    recipe = ChatbotRecipe(
        examples=tuple(examples),
        validation=tuple(validation or ()),
        out_of_scope=out_of_scope,
        answers=answers,
        entities=entities,
        unlabelled=unlabelled,
        augment=augment,
        mapping=columns.mapping,
        settings=load_section(
            ChatbotSettings, "chatbot", file=settings_file(os.environ), environ=os.environ
        ),
    )
    run_training(recipe, name, learning, run, began=began, judged_apart=bool(validation))


@app.command("news")
@spelled_out
def train_news(
    sentiment: SentimentOption,
    name: NameOption,
    topics: TopicsOption = None,
    augment: AugmentOption = False,
    learning: Learning = Learning(),
    columns: LabelledColumns = LabelledColumns(),
    sentiment_label: SentimentLabelOption = None,
    run: Run = Run(),
) -> None:
    """Train topic and sentiment labels for financial news."""
    began = time.monotonic()
    use_threads(run.threads)
    from apps.news_monitor.recipe import NewsRecipe

    recipe = NewsRecipe(
        sentiment=tuple(sentiment),
        topics=tuple(topics or ()),
        augment=augment,
        mapping=columns.mapping,
        sentiment_labels=dict(pair_of(entry) for entry in sentiment_label or ()),
    )
    run_training(recipe, name, learning, run, began=began)


def pair_of(entry: str) -> tuple[str, str]:
    theirs, equals, ours = entry.partition("=")
    if not equals or ours not in ("negative", "neutral", "positive"):
        raise typer.BadParameter(
            f"{entry!r}: expected THEIRS=OURS with OURS negative, neutral or positive",
            param_hint="--sentiment-label",
        )
    return theirs, ours


@app.command("recommender")
@spelled_out
def train_recommender(
    items: Annotated[
        Path,
        typer.Option(
            "--items", metavar="FILE", callback=there, help="`item_id,title[,description,...]`."
        ),
    ],
    events: Annotated[
        Path,
        typer.Option(
            "--events",
            metavar="FILE",
            callback=there,
            help="`user_id,item_id,timestamp[,event,value]`.",
        ),
    ],
    name: NameOption,
    even_if_worse: Annotated[
        bool,
        typer.Option(
            "--even-if-worse", help="Publish it although a rival without training ranks better."
        ),
    ] = False,
    learning: Learning = Learning(),
    columns: ShopColumns = ShopColumns(),
    run: Run = Run(),
) -> None:
    """Train a recommender from item texts and from what users did."""
    began = time.monotonic()
    use_threads(run.threads)
    from apps.recommender.recipe import RecommenderRecipe
    from shared.training.processes import check_alone

    check_alone("training a recommender", os.environ, asked=run.processes)
    recipe = RecommenderRecipe(
        items=items,
        events=events,
        mapping=columns.mapping,
        even_if_worse=even_if_worse,
    )
    run_training(recipe, name, learning, run, began=began)
