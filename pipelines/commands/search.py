"""`triptych search APP`: how to fine-tune on this data, found by trying."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.column_names import ExampleColumns, LabelledColumns
from pipelines.commands.training import (
    ExamplesOption,
    NameOption,
    SentimentLabelOption,
    SentimentOption,
    TopicsOption,
    ValidationOption,
    pair_of,
)
from pipelines.options import (
    DeviceOption,
    HomeOption,
    JsonOption,
    SeedOption,
    ThreadsOption,
    device_of,
    open_home,
    print_json,
    speaker,
    spelled_out,
    use_threads,
)
from shared.training.options import Method, TrainOptions

if TYPE_CHECKING:
    from pipelines.search import Found, Searchable

app = typer.Typer(no_args_is_help=True)


@dataclass(frozen=True)
class Trying:
    """What is tried and for how long: options of every search."""

    minutes: Annotated[
        float, typer.Option("--minutes", min=0.01, help="Of the whole search, killed parts too.")
    ] = 30.0
    trial_minutes: Annotated[
        float | None,
        typer.Option(
            "--trial-minutes",
            min=0.01,
            help="Of one trial at most; an eighth of the whole, or what the search of these tables "
            "that it goes on with began with.",
        ),
    ] = None
    method: Annotated[
        list[Method] | None,
        typer.Option(
            "--method", help="Try this one; repeatable; frozen, lora and full when absent."
        ),
    ] = None
    base: Annotated[
        str,
        typer.Option(
            "--base", metavar="MODEL", help="minilm, mpnet, e5, a folder, or a model hub id."
        ),
    ] = "minilm"
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE.toml", help="Recipe to write; else in the home."),
    ] = None
    home: HomeOption = None
    seed: SeedOption = 13
    threads: ThreadsOption = None
    device: DeviceOption = None
    as_json: JsonOption = False


def search_with(recipe: "Searchable", name: str, trying: Trying) -> None:
    """Search, then print the trials and what to do with the recipe."""
    from pipelines.search import run_search
    from shared.errors import SettingsError
    from shared.training.search import DEFAULT_METHODS
    from shared.training.trials import Budget

    methods = tuple(dict.fromkeys(trying.method or DEFAULT_METHODS))
    if Method.AUTO in methods:
        raise SettingsError("--method auto: a search tries methods by name, such as lora or full")
    found = run_search(
        recipe,
        name=name,
        options=TrainOptions(
            base=trying.base,
            seed=trying.seed,
            threads=trying.threads,
            device=device_of(trying.device),
        ),
        budget=Budget(trying.minutes, trying.trial_minutes),
        methods=methods,
        home=open_home(trying.home),
        output=trying.output,
        say=speaker(trying.as_json),
    )
    if trying.as_json:
        from dataclasses import asdict

        print_json({"recipe": found.path, **asdict(found.searched)})
    else:
        say_found(found, recipe.app, name)


def say_found(found: "Found", app_name: str, name: str) -> None:
    """The trials, the best first."""
    from shared.training.trials import line_of

    searched = found.searched
    ranked = sorted(searched.trials, key=lambda t: (t.value is None, -(t.value or 0.0), t.number))
    typer.echo("")
    for trial in ranked:
        typer.echo(f"{'*' if trial == searched.best else ' '} {line_of(trial, searched.metric)}")
    typer.echo(
        f"Judged on {searched.rows} rows cut from the training rows: differences below "
        f"{2 * searched.standard_error:.3f} are within noise"
    )
    typer.echo(f"Recipe: {found.path}")
    typer.echo(
        f"Next, with the same tables: triptych train {app_name} --name {name} --recipe {found.path}"
    )


@app.command("chatbot")
@spelled_out
def search_chatbot(
    examples: ExamplesOption,
    name: NameOption,
    validation: ValidationOption = None,
    columns: ExampleColumns = ExampleColumns(),
    trying: Trying = Trying(),
) -> None:
    """Find how to fine-tune a chatbot; called again, a search that was cut off goes on."""
    use_threads(trying.threads)
    from apps.chatbot.recipe import ChatbotRecipe

    recipe = ChatbotRecipe(
        examples=tuple(examples),
        validation=tuple(validation or ()),
        mapping=columns.mapping,
    )
    search_with(recipe, name, trying)


@app.command("news")
@spelled_out
def search_news(
    sentiment: SentimentOption,
    name: NameOption,
    topics: TopicsOption = None,
    columns: LabelledColumns = LabelledColumns(),
    sentiment_label: SentimentLabelOption = None,
    trying: Trying = Trying(),
) -> None:
    """Find how to fine-tune news labels; called again, a search that was cut off goes on."""
    use_threads(trying.threads)
    from apps.news_monitor.recipe import NewsRecipe

    recipe = NewsRecipe(
        sentiment=tuple(sentiment),
        topics=tuple(topics or ()),
        mapping=columns.mapping,
        sentiment_labels=dict(pair_of(entry) for entry in sentiment_label or ()),
    )
    search_with(recipe, name, trying)
