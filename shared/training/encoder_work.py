"""Making an encoder folder from a base and a corpus: refused early, resumed, published in one step.

What pretraining and shrinking share. Beside the result lies a folder of work, where a stage that
came to its end leaves its encoder and a record of what it said.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shared.atomic import write_text
from shared.errors import DataError
from shared.pretrained import PretrainedEncoder, write_source
from shared.training import processes


def check_free(folder: Path) -> None:
    """Raises DataError where something is in the place of the result."""
    if folder.exists():
        raise DataError(f"{folder}: is there already; name another folder, or remove it first")


def check_one_process(what: str) -> None:
    """Raises SettingsError under several processes."""
    processes.check_alone(what, os.environ)


def once(
    record: Path, name: str, encoder: Path, make: Callable[[], dict[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """What making said, and whether an earlier call did it.

    record: the file of it, believed where its name is `name` (a fingerprint of everything that
    decides the result) and the folder `encoder`, which making fills, is there.
    """
    if record.is_file() and encoder.is_dir():
        found = json.loads(record.read_text(encoding="utf-8"))
        if found.get("name") == name and "made" in found:
            return dict(found["made"]), True
    record.unlink(missing_ok=True)
    shutil.rmtree(encoder, ignore_errors=True)
    made = make()
    write_text(record, json.dumps({"name": name, "made": made}))
    return made, False


def origin_of(base: PretrainedEncoder) -> dict[str, str]:
    """For a manifest."""
    return {"name": base.name, "sha256": base.sha256, "licence": base.licence}


def publish(
    made: Path,
    folder: Path,
    *,
    work: Path,
    manifest: Mapping[str, Any],
    name: str,
    source: str,
    licence: str,
) -> None:
    """The encoder in `made` becomes the result, with a manifest of that name, in one step; the
    folder of work is gone."""
    write_text(made / name, json.dumps(manifest, indent=2, ensure_ascii=False))
    write_source(made, f"{source} ({name})", licence)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made.rename(folder)
    shutil.rmtree(work)
