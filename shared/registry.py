"""Model versions on disk: publish, verify, promote, roll back.

    ROOT/NAME/1/…            the files of version 1, never changed once they are there
    ROOT/NAME/1/manifest.json  application, figures, sha256 of every file
    ROOT/NAME/aliases.json   which version is in production, and every promotion and rollback

A version appears by one rename, so that a reader sees it whole or not at all, and what a killed
publisher leaves is swept by the next one. `NAME` means the production version, or the newest while
there is none; `NAME@3`, `NAME@production` and `NAME@latest` say which.
"""

import errno
import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.atomic import alone, sync, write_text
from shared.errors import ModelError, ModelNotFoundError

MANIFEST = "manifest.json"
ALIASES = "aliases.json"
INCOMING = ".incoming-"
# In a record of a rollback: the version that was withdrawn. Files from before rollbacks were
# recorded have none: a promotion that was taken back was struck off.
ROLLED_BACK = "rolled_back"
# A model folder holds weights and JSON; these could run code when they are loaded.
CODE_SUFFIXES = frozenset({".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".py", ".so"})
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ModelVersion:
    """A published model. metrics: name -> value, as measured before it was published. withdrawn:
    when it was rolled back; None where it never was, or was live again since."""

    name: str
    version: int
    app: str
    path: Path
    created_at: datetime
    metrics: Mapping[str, float]
    production: bool
    notes: str = ""
    withdrawn: datetime | None = None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def title(self) -> str:
        """The reference, and whether it is live: for lists that a person chooses from."""
        return f"{self.reference} (live)" if self.production else self.reference


class Registry:
    """The models under one folder. clock: stamps versions and promotions."""

    def __init__(self, root: Path, clock: Callable[[], datetime]) -> None:
        self._root = root
        self._clock = clock

    def check_name(self, name: str, app: str) -> None:
        """Raises ModelError, before anything is trained, where `publish` would refuse the name."""
        _check_name(name)
        self._check_app(name, app)

    def publish(
        self,
        name: str,
        folder: Path,
        *,
        app: str,
        metrics: Mapping[str, float],
        notes: str = "",
        card: Callable[[str, datetime], None] = lambda _reference, _at: None,
    ) -> ModelVersion:
        """Take the files of `folder` (moved, or copied from another disk) as the next version.

        The first version of a name goes into production at once; later ones wait for `promote`.
        card: adds to `folder` what only NAME@VERSION and the time of publishing complete.

        Raises ModelError: a bad name, a name of another application, an empty folder, a link or a
        file that could hold code.
        """
        _check_name(name)
        _check_files(folder)
        home = self._root / name
        home.mkdir(parents=True, exist_ok=True)
        with self._locked(name):
            for left_over in home.glob(f"{INCOMING}*"):
                shutil.rmtree(left_over, ignore_errors=True)
            self._check_app(name, app)
            version = max(self._numbers(name), default=0) + 1
            created_at = self._clock()
            card(f"{name}@{version}", created_at)
            incoming = home / f"{INCOMING}{uuid.uuid4().hex[:12]}"
            _take(folder, incoming)
            manifest = {
                "name": name,
                "version": version,
                "app": app,
                "created_at": created_at.isoformat(),
                "metrics": dict(metrics),
                "notes": notes,
                "files": _hashes(incoming),
            }
            write_text(incoming / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False))
            for part in incoming.rglob("*"):
                sync(part)
            incoming.rename(home / str(version))
            sync(home)
            if self._production(name) is None:
                self._set_production(name, version, "first version")
        return self._read(name, version)

    def resolve(self, reference: str, app: str | None = None) -> ModelVersion:
        """The version a reference means, after every file of it has been checked.

        app: refuse a model of another application.

        Raises:
            ModelNotFoundError: no such name or version. ModelError: a changed, missing or added
            file, or another application.
        """
        name, _, wanted = reference.partition("@")
        version = self._read(name, self._number(name, wanted, reference))
        if app is not None and version.app != app:
            raise ModelError(
                f"{version.reference} is a model for {version.app}, not for {app}; "
                f"models for {app}: {', '.join(self._names_of(app)) or 'none'}"
            )
        _verify(version)
        return version

    def names(self) -> list[str]:
        """Names with at least one version, sorted."""
        if not self._root.is_dir():
            return []
        return sorted(p.name for p in self._root.iterdir() if p.is_dir() and self._numbers(p.name))

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a name, oldest first; not verified."""
        return [self._read(name, number) for number in self._numbers(name)]

    def versions_of(self, app: str) -> list[ModelVersion]:
        """Every version of an application's models, name by name, the newest first."""
        return [v for name in self._names_of(app) for v in reversed(self.versions(name))]

    def promote(self, name: str, version: int, reason: str = "") -> ModelVersion:
        """Put a version into production. Raises like `resolve`: a broken one stays out."""
        self.resolve(f"{name}@{version}")
        with self._locked(name):
            self._set_production(name, version, reason)
        return self._read(name, version)

    def rollback(self, name: str, reason: str = "") -> ModelVersion:
        """Put the version into production that was there before the present one. The history keeps
        both, and the reason.

        Raises ModelError when there was none, or it is damaged.
        """
        self._number(name, "", name)
        with self._locked(name):
            path = _path_to_live(self._aliases(name)["history"])
            if len(path) < 2:
                raise ModelError(f"{name}: nothing to go back to, no other version was ever live")
            before, withdrawn = path[-2:]
            _verify(self._read(name, before))
            told = f"rolled back from {withdrawn}" + (f": {reason}" if reason else "")
            self._set_production(name, before, told, {ROLLED_BACK: withdrawn})
        return self._read(name, before)

    def history(self, name: str) -> list[dict[str, Any]]:
        """What went live, oldest first: version, at, reason; and rolled_back, the version that was
        withdrawn for it, where it came back by a rollback."""
        return list(self._aliases(name)["history"])

    def _numbers(self, name: str) -> list[int]:
        home = self._root / name
        if not home.is_dir():
            return []
        return sorted(
            int(path.name)
            for path in home.iterdir()
            if path.name.isdecimal() and (path / MANIFEST).is_file()
        )

    def _number(self, name: str, wanted: str, reference: str) -> int:
        numbers = self._numbers(name) if NAME.fullmatch(name) else []
        if not numbers:
            known = ", ".join(self.names()) or "none yet; train one with `triptych train`"
            raise ModelNotFoundError(f"no model named {name!r} in {self._root}; known: {known}")
        if wanted == "latest":
            return numbers[-1]
        if wanted in ("", "production"):
            live = self._production(name)
            if live is None and wanted == "production":
                raise ModelNotFoundError(f"{name} has no version in production")
            return numbers[-1] if live is None else live
        if wanted.isdecimal() and int(wanted) in numbers:
            return int(wanted)
        known = ", ".join(map(str, numbers))
        raise ModelNotFoundError(
            f"no model {reference!r}: {name} has the versions {known}, and takes @latest and "
            "@production"
        )

    def _read(self, name: str, version: int) -> ModelVersion:
        path = self._root / name / str(version)
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            aliases = self._aliases(name)
            return ModelVersion(
                name=name,
                version=version,
                app=manifest["app"],
                path=path,
                created_at=datetime.fromisoformat(manifest["created_at"]),
                metrics=manifest["metrics"],
                production=aliases["production"] == version,
                notes=manifest["notes"],
                withdrawn=_withdrawn(aliases["history"]).get(version),
            )
        except FileNotFoundError:
            raise ModelNotFoundError(f"no model '{name}@{version}' in {self._root}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path / MANIFEST}: not readable ({error})") from error

    def _names_of(self, app: str) -> list[str]:
        return [name for name in self.names() if self.versions(name)[-1].app == app]

    def _check_app(self, name: str, app: str) -> None:
        present = self.versions(name)
        if present and present[-1].app != app:
            raise ModelError(
                f"{name} is already the name of a model for {present[-1].app}; choose another name"
            )

    def _aliases(self, name: str) -> dict[str, Any]:
        path = self._root / name / ALIASES
        try:
            aliases: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"production": None, "history": []}
        except ValueError as error:
            raise ModelError(f"{path}: not readable ({error})") from error
        return aliases

    def _production(self, name: str) -> int | None:
        live = self._aliases(name)["production"]
        return None if live is None else int(live)

    def _set_production(
        self, name: str, version: int, reason: str, more: Mapping[str, int] | None = None
    ) -> None:
        entry = {"version": version, "at": self._clock().isoformat(), "reason": reason}
        history = [*self._aliases(name)["history"], {**entry, **(more or {})}]
        aliases = {"production": version, "history": history}
        write_text(self._root / name / ALIASES, json.dumps(aliases, indent=2, ensure_ascii=False))

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """One writer for a name at a time; the lock goes with the process that holds it."""
        with alone(self._root / f".{name}.lock"):
            yield


def _path_to_live(history: Sequence[Mapping[str, Any]]) -> list[int]:
    """The versions that a rollback after the other would go through, the live one last: what was
    withdrawn is not gone back to."""
    path: list[int] = []
    for entry in history:
        if ROLLED_BACK in entry:
            del path[-1:]
        else:
            path.append(int(entry["version"]))
    return path


def _withdrawn(history: Sequence[Mapping[str, Any]]) -> dict[int, datetime]:
    """When each version was rolled back that has not been live since."""
    found: dict[int, datetime] = {}
    for entry in history:
        found.pop(int(entry["version"]), None)
        if ROLLED_BACK in entry:
            found[int(entry[ROLLED_BACK])] = datetime.fromisoformat(entry["at"])
    return found


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} is no model name: letters, digits, '.', '_' and '-', at most 64, "
            "beginning with a letter or digit"
        )


def _check_files(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    if not files:
        raise ModelError(f"{folder}: no files to publish")
    for path in files:
        if path.is_symlink():
            raise ModelError(f"{path}: a link; a model folder holds the files themselves")
        if path.suffix.lower() in CODE_SUFFIXES:
            raise ModelError(
                f"{path}: {path.suffix} files can hold code and have no place in a model folder; "
                "use safetensors and JSON"
            )


def _take(folder: Path, target: Path) -> None:
    """Move a folder; copy it where the target is on another disk."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copytree(folder, target)


def _hashes(folder: Path) -> dict[str, str]:
    """Relative path -> sha256 of every file but the manifest."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[path.relative_to(folder).as_posix()] = digest
    return hashes


def _verify(version: ModelVersion) -> None:
    recorded = json.loads((version.path / MANIFEST).read_text(encoding="utf-8"))["files"]
    _check_files(version.path)
    found = _hashes(version.path)
    for file, digest in recorded.items():
        if file not in found:
            raise ModelError(f"{version.reference} is damaged: {version.path / file} is missing")
        if found[file] != digest:
            raise ModelError(
                f"{version.reference} is damaged: {version.path / file} has changed since it was "
                f"published; promote another version, or train again"
            )
    for file in found:
        if file not in recorded:
            raise ModelError(
                f"{version.reference} is damaged: {version.path / file} was added after it was "
                "published"
            )
