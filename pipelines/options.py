"""Options that mean the same after every subcommand, written once."""

import functools
import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shared.errors import DataError

if TYPE_CHECKING:
    from shared.device import Device
    from shared.evaluation.report import Measure
    from shared.settings import Home


def there(given: Path | Sequence[Path] | None) -> Path | Sequence[Path] | None:
    """The value of an option that names files to read, refused at once where one is not there:
    what a command imports before it would read them takes seconds.

    Raises DataError.
    """
    for path in [given] if isinstance(given, Path) else given or ():
        if not path.exists():
            raise DataError(f"{path}: no such file")
    return given


HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="Models, databases and reports live here (or TRIPTYCH_HOME; data/var by default).",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="One seed for the whole run.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; all cores by default.")
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"] | None,
    typer.Option("--device", help="Where to compute; by default the setting `device`, or auto."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME[@VERSION]",
        help="A released model: its production version, or the newest while it has none.",
    ),
]
InputOption = Annotated[
    Path,
    typer.Option(
        "--input", metavar="FILE", callback=there, help="Table to read (.csv .tsv .jsonl .parquet)."
    ),
]
OutputOption = Annotated[
    Path,
    typer.Option("--output", metavar="FILE", help="Table to write; its suffix says the format."),
]
TextsOption = Annotated[
    list[Path],
    typer.Option(
        "--texts", metavar="FILE", callback=there, help="Table with a text in each row; repeatable."
    ),
]
EncoderOption = Annotated[
    Path, typer.Option("--output", metavar="DIR", help="Folder of the encoder to write.")
]
BaseOption = Annotated[
    str,
    typer.Option("--base", metavar="MODEL", help="minilm, mpnet, e5, a folder, or a model hub id."),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        min=0.01,
        help="Of the whole command, about: what reading and the report leave is for fine-tuning.",
    ),
]
LearningMinutesOption = Annotated[
    float | None,
    typer.Option(
        "--minutes", min=0.01, help="Of learning; reading the texts and measuring come on top."
    ),
]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", min=1, help="Passes over the data at most.")
]


def column_option(ours: str) -> Any:
    """The annotation of `--OURS-column`, which maps a contract column to the file's own name."""
    return Annotated[
        str | None,
        typer.Option(
            f"--{ours.replace('_', '-')}-column",
            metavar="NAME",
            help=f"The file's column for `{ours}`.",
            rich_help_panel="Column names",
        ),
    ]


TextColumn = column_option("text")
LabelColumn = column_option("label")
QuestionColumn = column_option("question")
AnswerColumn = column_option("answer")
UserColumn = column_option("user")
ItemColumn = column_option("item")
TimeColumn = column_option("time")
EventColumn = column_option("event")
ValueColumn = column_option("value")
TitleColumn = column_option("title")
SummaryColumn = column_option("summary")
SourceColumn = column_option("source")
UrlColumn = column_option("url")
DialogueColumn = column_option("dialogue")
SpeakerColumn = column_option("speaker")
StatusColumn = column_option("status")


def spelled_out(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer with an option for each field of its parameters that are dataclasses.

    Options that several commands share are so stated once, with their defaults: a frozen dataclass
    of Annotated fields. In the help they stand where the parameter stands.
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {
        name: p.annotation for name, p in parameters.items() if is_dataclass(p.annotation)
    }

    @functools.wraps(command)
    def called(**given: Any) -> None:
        for name, group in groups.items():
            values = {field.name: given.pop(field.name) for field in fields(group)}
            given[name] = group(**values)
        command(**given)

    spelled: list[inspect.Parameter] = []
    for name, parameter in parameters.items():
        if name in groups:
            spelled += inspect.signature(groups[name], eval_str=True).parameters.values()
        else:
            spelled.append(parameter)
    by_name = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in spelled]
    called.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]
    return called


def mapping_of(**columns: str | None) -> Mapping[str, str]:
    """Contract column -> the file's column, for the options that were given."""
    return {ours: theirs for ours, theirs in columns.items() if theirs is not None}


def moment_of(text: str | None, option: str, *, end_of_day: bool) -> datetime | None:
    """A moment from the command line, UTC where it names no zone; a day alone is its beginning, or
    its end.

    Raises: typer.BadParameter.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time; write 2026-03-11 or 2026-03-11T14:00 (UTC)", param_hint=option
        ) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    a_day = len(text.strip()) == len("2026-03-11")
    return at + timedelta(days=1) if a_day and end_of_day else at


def open_home(home: Path | None) -> "Home":
    """The home directory of this call: the option, else TRIPTYCH_HOME, else data/var."""
    from shared.settings import Home, default_home

    return Home(home.resolve()) if home else default_home(os.environ)


def device_of(option: "Device | None") -> "Device":
    """The device of this call: the option, else the setting `device`, else auto."""
    from shared.settings import wanted_device

    return wanted_device(option, os.environ)


def use_threads(threads: int | None) -> None:
    """Limit the numeric libraries to `threads`; must run before torch is imported."""
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = str(threads)


def speaker(as_json: bool) -> Callable[[str], None]:
    """Where progress lines go: standard error beside --json, so that the JSON stays alone."""
    return lambda line: typer.echo(line, err=as_json)


def measured(measure: "Measure") -> str:
    """A figure with its 95 % interval, as far as it has one."""
    if measure.value is None:
        return f"  {measure.name:<28} not measured"
    line = f"  {measure.name:<28} {measure.value:.3f}"
    if measure.low is None or measure.high is None:
        return line
    return f"{line}  ({measure.low:.3f}-{measure.high:.3f})"


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))
