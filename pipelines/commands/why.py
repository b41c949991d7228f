"""`triptych audit APP` and `triptych explain APP`."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.column_names import LabelledColumns
from pipelines.options import (
    HomeOption,
    JsonOption,
    ModelOption,
    SeedOption,
    ThreadsOption,
    open_home,
    print_json,
    speaker,
    spelled_out,
    there,
    use_threads,
)


class Audited(StrEnum):
    """Applications whose models can be audited."""

    CHATBOT = "chatbot"
    NEWS = "news"
    RECOMMENDER = "recommender"


class Explained(StrEnum):
    """Applications whose labels, or whose recommendations, can be explained."""

    CHATBOT = "chatbot"
    NEWS = "news"
    RECOMMENDER = "recommender"


def register(app: typer.Typer) -> None:
    app.command("audit")(audit)
    app.command("explain")(explain)


@spelled_out
def audit(
    app_name: Annotated[
        Audited, typer.Argument(metavar="APP", help="chatbot, news or recommender.")
    ],
    model: ModelOption,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            callback=there,
            help="`text[,label]`; a recommender needs none.",
        ),
    ] = None,
    must_pass: Annotated[
        Path | None,
        typer.Option(
            "--must-pass",
            metavar="FILE",
            callback=there,
            help="`text,label`: cases it has to know.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Texts to perturb at most.")] = 500,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE.html", help="Where the page goes.")
    ] = None,
    columns: LabelledColumns = LabelledColumns(),
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test what must not move a model: typos, case, width, synonyms, names, countries; a report."""
    use_threads(threads)
    from pipelines.audit import audit_model

    done = audit_model(
        app_name.value,
        model,
        home=open_home(home),
        input_file=input_file,
        must_pass=must_pass,
        output=output,
        mapping=columns.mapping,
        rows=rows,
        seed=seed,
        say=speaker(as_json),
    )
    if as_json:
        print_json(json.loads(done.report.to_json()))
        return
    for result in done.report.results:
        if result.rate is None:
            typer.echo(f"  {result.area:<10} {result.name:<30} nothing to change in these rows")
            continue
        span = f"({result.rate.low:.3f}-{result.rate.high:.3f})"
        typer.echo(
            f"  {result.area:<10} {result.name:<30} {result.failed:>4} of {result.rows:<4} fail  "
            f"{result.rate.value:.3f} {span}  mean shift {result.mean_shift:.3f}"
        )
    typer.echo(f"Report: {done.page}")


def explain(
    app_name: Annotated[
        Explained, typer.Argument(metavar="APP", help="chatbot, news or recommender.")
    ],
    model: ModelOption,
    text: Annotated[
        str | None, typer.Argument(help="The message or headline; none for a recommender.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="ID", help="Of a recommender: whose list.")
    ] = None,
    item: Annotated[
        str | None, typer.Option("--item", metavar="ID", help="Of a recommender: which item of it.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="LABEL", help="Explain this one, not the likeliest."),
    ] = None,
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Why a model gives one text its label, or lists one item for a user: what every word did."""
    use_threads(threads)
    from pipelines.explain import Explained as TextExplained
    from pipelines.explain import ItemExplained, explain_item, explain_text

    found: TextExplained | ItemExplained
    if app_name is Explained.RECOMMENDER:
        if user is None or item is None or text is not None or label is not None:
            raise typer.BadParameter(
                "takes --user and --item, and nothing else", param_hint="recommender"
            )
        found = explain_item(model, user, item, home=open_home(home))
    else:
        if text is None or user is not None or item is not None:
            raise typer.BadParameter(
                "takes a TEXT, and neither --user nor --item", param_hint=app_name.value
            )
        found = explain_text(
            app_name.value, model, text, label=label, home=open_home(home), seed=seed
        )
    if as_json:
        print_json(asdict(found))
        return
    for line in found.lines:
        typer.echo(line)
