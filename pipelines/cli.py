"""`triptych`: the command line.

Every command imports what it needs inside itself, so that `triptych --help` costs a third of a
second. Errors a user can mend are one line on stderr and exit code 1; wrong usage is 2; a bug keeps
its traceback.
"""

import os
import sys
import warnings
from collections.abc import Sequence

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
from shared.device import CUBLAS_WORKSPACE, WORKSPACE_SIZES
from shared.errors import TriptychError
from shared.torchrun_variables import is_main, refuse_several, several

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


# Commands whose work the processes that torchrun starts share; --processes starts its own.
SHARED = frozenset({"train chatbot", "train news"})


def command_in(words: Sequence[str]) -> str | None:
    """The command that these words call, `train chatbot`; None where they call for help, or none
    is of that name."""
    command = typer.main.get_command(app)
    path: list[str] = []
    for word in words:
        inner = getattr(command, "commands", None)
        if inner is None:
            break
        if word not in inner:
            return None
        command = inner[word]
        path.append(word)
    if hasattr(command, "commands") or "--help" in words:
        return None
    return " ".join(path)


def _takes_part(words: Sequence[str]) -> bool:
    """Whether this process is one of several that share the command's work, and not the main one,
    which does what the command says.

    Raises SettingsError where there are several and nothing for them to share.
    """
    name = command_in(words) if several(os.environ) else None
    if name is None:
        return False
    if name not in SHARED:
        refuse_several(f"`triptych {name}`", os.environ)
    return not is_main(os.environ)


def main() -> None:
    """Entry point of the `triptych` script."""
    # Before torch or onnxruntime load: threads that spin while they wait make two threads beside
    # any other process slower than one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Before anything computes on CUDA: training there repeats itself with it alone.
    os.environ.setdefault(CUBLAS_WORKSPACE, WORKSPACE_SIZES)
    # scikit-learn takes many labels with few rows each, as every list of questions and answers has
    # them, for a regression, and says so for each fold.
    warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%")
    try:
        if _takes_part(sys.argv[1:]):
            from pipelines.training_processes import other_process

            other_process()
        else:
            app()
    except TriptychError as error:
        typer.echo(f"triptych: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
