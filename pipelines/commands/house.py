"""The commands for the whole house: demo, dashboard, serve, doctor."""

from pathlib import Path
from typing import Annotated

import typer

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
    use_threads,
)

HostOption = Annotated[str, typer.Option("--host", help="Address to listen on.")]


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)
    app.command("dashboard")(dashboard)
    app.command("serve")(serve)
    app.command("doctor")(doctor)


def demo(
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """The whole suite on data/samples: train, evaluate, ask, replay, recommend."""
    use_threads(threads)
    from pipelines.demo import run_demo

    outcome = run_demo(home=open_home(home), seed=seed, threads=threads, say=speaker(as_json))
    if as_json:
        print_json(outcome.as_dict())


def dashboard(
    home: HomeOption = None,
    host: HostOption = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")
    ] = 8501,
) -> None:
    """One front door over all pages, in the browser."""
    from pipelines.dashboard import serve_dashboard

    raise typer.Exit(serve_dashboard(open_home(home), host, port))


def serve(
    chatbot: Annotated[
        str, typer.Option("--chatbot", metavar="NAME[@VERSION]", help="Who answers.")
    ] = "chatbot",
    news: Annotated[
        str, typer.Option("--news", metavar="NAME[@VERSION]", help="Who labels.")
    ] = "news",
    recommender: Annotated[
        str, typer.Option("--recommender", metavar="NAME[@VERSION]", help="Who recommends.")
    ] = "recommender",
    home: HomeOption = None,
    host: HostOption = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")
    ] = 5005,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
) -> None:
    """REST: Rasa-compatible chat, labels for news, recommendations; OpenAPI at /docs."""
    use_threads(threads)
    from pipelines.serve import serve_forever

    serve_forever(
        open_home(home),
        models={"chatbot": chatbot, "news": news, "recommender": recommender},
        host=host,
        port=port,
        threads=threads,
        device=device_of(device),
    )


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What is installed, what is missing, what this machine can do."""
    from pipelines.doctor import examine

    findings = examine(open_home(home), Path.cwd())
    if as_json:
        print_json([finding.as_dict() for finding in findings])
        return
    for finding in findings:
        typer.echo(f"{finding.mark} {finding.what:<22} {finding.found}")
    wrong = sum(finding.mark == "!" for finding in findings)
    typer.echo("\n+ there   - absent and not needed   ! to be mended")
    typer.echo(f"{wrong} to be mended" if wrong else "Nothing to mend. Next: triptych demo")
    if wrong:
        raise typer.Exit(1)
