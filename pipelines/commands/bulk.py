"""`triptych predict APP`, `triptych embed`: whole tables, on one machine or many."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.options import (
    DeviceOption,
    HomeOption,
    InputOption,
    JsonOption,
    ModelOption,
    OutputOption,
    TextColumn,
    ThreadsOption,
    device_of,
    mapping_of,
    open_home,
    print_json,
    speaker,
    spelled_out,
    use_threads,
)

if TYPE_CHECKING:
    from pathlib import Path

    from shared.shards import Engine

predict = typer.Typer(no_args_is_help=True)


@dataclass(frozen=True)
class Bulk:
    """Where and with what a bulk job computes: options of every command over a whole table."""

    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            "--engine", help="This machine, or workers of a Ray cluster (extra `distributed`)."
        ),
    ] = "local"
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="Of the Ray cluster; without it Ray runs on this machine for the job alone.",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Processes, each with its own model: one, or with Ray as many as fit.",
        ),
    ] = None
    home: HomeOption = None
    threads: ThreadsOption = None
    device: DeviceOption = None
    as_json: JsonOption = False

    @property
    def threads_each(self) -> int | None:
        """Threads of each worker: one where there are several, unless it is asked for."""
        several = self.engine == "ray" or (self.workers or 1) > 1
        return 1 if several and self.threads is None else self.threads

    def opened(self) -> "Engine":
        """The engine asked for.

        Raises SettingsError when Ray is not installed.
        """
        if self.engine == "ray":
            from pipelines.distributed import RayEngine

            return RayEngine(
                address=self.address,
                workers=self.workers,
                threads=self.threads_each or 1,
                say=self.say,
            )
        if self.address is not None:
            raise typer.BadParameter("goes with --engine ray", param_hint="--address")
        if self.workers is not None and self.workers > 1:
            from shared.worker_processes import ProcessEngine

            return ProcessEngine(self.workers, threads=self.threads_each or 1)
        from shared.shards import LocalEngine

        return LocalEngine()

    @property
    def say(self) -> Callable[[str], None]:
        return speaker(self.as_json)


@predict.command("chatbot")
@spelled_out
def predict_chatbot(
    model: ModelOption,
    input_file: InputOption,
    output: OutputOption,
    text_column: TextColumn = None,
    bulk: Bulk = Bulk(),
) -> None:
    """Intent, decision and answer for each row, in the order of the input."""
    _predict("chatbot", model, input_file, output, text_column, bulk)


@predict.command("news")
@spelled_out
def predict_news(
    model: ModelOption,
    input_file: InputOption,
    output: OutputOption,
    text_column: TextColumn = None,
    bulk: Bulk = Bulk(),
) -> None:
    """Sentiment and topics for each row, in the order of the input."""
    _predict("news", model, input_file, output, text_column, bulk)


def _predict(
    app: str, model: str, input_file: "Path", output: "Path", text_column: str | None, bulk: Bulk
) -> None:
    use_threads(bulk.threads)
    engine = bulk.opened()
    from pipelines.predict import predict_table

    done = predict_table(
        app,
        model,
        input_file,
        output,
        mapping_of(text=text_column),
        open_home(bulk.home),
        threads=bulk.threads_each,
        device=device_of(bulk.device),
        engine=engine,
        say=bulk.say,
    )
    print_json(done.as_dict()) if bulk.as_json else typer.echo(done.line)


@spelled_out
def embed(
    input_file: InputOption,
    output: OutputOption,
    base: Annotated[
        str,
        typer.Option(
            "--base", metavar="MODEL", help="minilm, mpnet, e5, a folder, or a model hub id."
        ),
    ] = "minilm",
    text_column: TextColumn = None,
    bulk: Bulk = Bulk(),
) -> None:
    """The vector of each row's text, `text,vector`, in the order of the input."""
    use_threads(bulk.threads)
    engine = bulk.opened()
    from pipelines.embed import embed_table

    done = embed_table(
        base,
        input_file,
        output,
        mapping_of(text=text_column),
        open_home(bulk.home),
        threads=bulk.threads_each,
        device=device_of(bulk.device),
        engine=engine,
        say=bulk.say,
    )
    print_json(done.as_dict()) if bulk.as_json else typer.echo(done.line)
