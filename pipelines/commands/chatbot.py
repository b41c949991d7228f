"""`triptych chatbot …`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from pipelines.options import (
    HomeOption,
    JsonOption,
    ModelOption,
    ThreadsOption,
    open_home,
    print_json,
    use_threads,
)

app = typer.Typer(no_args_is_help=True)


@app.callback()
def chatbot() -> None:
    """Ask the released chatbot."""


@app.command()
def ask(
    text: Annotated[str, typer.Argument(help="What the customer writes.")],
    model: ModelOption = "chatbot",
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """One message in, what the bot would say and why."""
    use_threads(threads)
    from dataclasses import asdict

    from apps.chatbot.bot import Bot
    from shared.registry import Registry

    house = open_home(home)
    version = Registry(house.models, lambda: datetime.now(UTC)).resolve(model, app="chatbot")
    (reply,) = Bot.load(version.path, home=house, threads=threads).reply([text])
    if as_json:
        print_json({**asdict(reply), "model": f"{version.name}@{version.version}"})
        return
    typer.echo(reply.message)
    for option in reply.options:
        typer.echo(f"  - {option.title}")
    typer.echo(
        f"[{reply.decision}: {reply.intent}, probability {reply.probability:.2f}, "
        f"out-of-scope score {reply.oos_score:.2f}; {reply.why}]"
    )
