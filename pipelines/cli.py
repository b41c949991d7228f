"""`triptych`: the command line.

Every command imports what it needs inside itself, so that `triptych --help` costs a third of a
second. Errors a user can mend are one line on stderr and exit code 1; wrong usage is 2; a bug keeps
its traceback.
"""

import os
import sys
import warnings

import typer

from pipelines.commands import (
    benchmark,
    bulk,
    chatbot,
    chatbot_figures,
    data,
    data_doctor,
    evaluation,
    house,
    models,
    news,
    news_corrections,
    news_shadow,
    news_trials,
    pretraining,
    recommender,
    runs,
    search,
    shrinking,
    training,
    trial,
    why,
)
from shared.errors import TriptychError

app = typer.Typer(
    name="triptych",
    help="Three text applications on one fine-tuning core: chatbot, news monitor, recommender.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
house.register(app)
app.command("pretrain")(pretraining.pretrain)
app.command("shrink")(shrinking.shrink)
app.add_typer(training.app, name="train", help="Train a model from your own data.")
app.add_typer(bulk.predict, name="predict", help="Label a table with a released model.")
app.command("embed")(bulk.embed)
app.command("recommend")(recommender.recommend)
evaluation.register(app)
benchmark.register(app)
why.register(app)
chatbot_figures.register(chatbot.app)
app.add_typer(chatbot.app, name="chatbot", help="Ask the chatbot; make one of past dialogues.")
recommender.app.add_typer(trial.app, name="trial", help="Two versions with users.")
app.add_typer(
    recommender.app,
    name="recommender",
    help="Keep a recommender up to date.",
)
news_trials.register(news.app)
news_corrections.register(news.app)
news_shadow.register(news.app)
app.add_typer(news.app, name="news", help="Run, replay and test the news monitor.")
app.add_typer(models.app, name="models", help="Released models and base encoders.")
app.add_typer(search.app, name="search", help="Find how to fine-tune on your own data.")
app.add_typer(runs.app, name="runs", help="Training runs, under way and past.")
data.app.add_typer(data_doctor.app, name="doctor", help="What is wrong with your own data.")
app.add_typer(data.app, name="data", help="Public data sets to train and measure on.")


def main() -> None:
    """Entry point of the `triptych` script."""
    # Before torch or onnxruntime load: threads that spin while they wait make two threads beside
    # any other process slower than one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # scikit-learn takes many labels with few rows each, as every list of questions and answers has
    # them, for a regression, and says so for each fold.
    warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%")
    try:
        if int(os.environ.get("RANK", "0")) > 0:
            # Under torchrun: the process of rank 0 does what the command says.
            from pipelines.training_processes import other_process

            other_process()
        else:
            app()
    except TriptychError as error:
        typer.echo(f"triptych: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
