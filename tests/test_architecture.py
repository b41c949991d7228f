"""The house rules of imports, read from the source: nothing is imported to check them.

`pipelines -> apps -> shared`, apps are islands, and inside shared
`training -> evaluation -> inference -> modeling -> single files`.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path.relative_to(ROOT)
    for top in ("shared", "apps", "pipelines")
    for path in (ROOT / top).rglob("*.py")
)

# Floors of `shared`, the upper ones may import the lower ones and never the reverse.
FLOORS = ["training", "evaluation", "inference", "modeling"]

# Each heavy library lives in one place, so that it can be replaced in one place and a page or a
# service that does not need it never pays for its import.
HOMES = {
    "faiss": ("shared/inference/index_kinds.py", "shared/inference/vector_index.py"),
    "apscheduler": ("pipelines/schedule.py",),
    "ray": ("pipelines/distributed.py",),
    "onnxruntime": ("shared/inference/runtime.py", "shared/inference/export.py"),
    "peft": ("shared/training/methods.py",),
    "lightgbm": ("apps/recommender/ranking.py",),
    # As itself in the benchmark: the rival.
    "feedparser": ("apps/news_monitor/parsing.py", "pipelines/benchmark_monitor.py"),
    "mlflow": ("shared/training/tracking.py",),
    "wandb": ("shared/training/tracking.py",),
    "optuna": ("shared/training/search.py",),
}
# Folders and names that say nothing about what is inside.
EMPTY_NAMES = {"utils", "helpers", "common", "misc", "manager", "base", "core"}


@cache  # a dozen tests read every file
def imported_modules(path: Path) -> tuple[str, ...]:
    """Every module a file imports, at the top or inside a function, dotted and absolute."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole path"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def floor_of(module: str) -> int:
    """Height in `shared`: 4 for training, 1 for modeling, 0 for single files."""
    parts = module.split(".")
    for height, name in zip(range(len(FLOORS), 0, -1), FLOORS, strict=True):
        if len(parts) > 1 and parts[1] == name:
            return height
    return 0


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_flow_from_pipelines_through_apps_to_shared(path: Path) -> None:
    own = module_name(path)
    for module in imported_modules(path):
        top = module.split(".")[0]
        if own.startswith("shared"):
            assert top not in ("apps", "pipelines"), f"{path} imports {module}"
        if own.startswith("apps"):
            assert top != "pipelines", f"{path} imports {module}"
            if top == "apps" and module.count("."):
                assert module.split(".")[1] == own.split(".")[1], f"{path} imports {module}"
        if own.startswith("shared") and top == "shared":
            assert floor_of(module) <= floor_of(own), f"{path} imports upwards: {module}"


@pytest.mark.parametrize("library", HOMES)
def test_each_heavy_library_has_one_home(library: str) -> None:
    users = {str(p) for p in SOURCES if library in {m.split(".")[0] for m in imported_modules(p)}}
    assert users <= set(HOMES[library])


def test_streamlit_is_imported_by_pages_only() -> None:
    users = [p for p in SOURCES if "streamlit" in {m.split(".")[0] for m in imported_modules(p)}]
    strangers = [str(p) for p in users if not p.stem.endswith("_page") and p.stem != "pages"]
    assert strangers == []


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_file_is_named_for_its_job(path: Path) -> None:
    assert path.stem not in EMPTY_NAMES


@pytest.mark.parametrize("path", [p for p in SOURCES if p.stem == "cli"], ids=str)
def test_the_command_line_imports_nothing_heavy_at_the_top(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    top_level = {
        name.split(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
    }
    heavy = {"torch", "transformers", "pandas", "numpy", "sklearn", "streamlit"}
    assert top_level.isdisjoint(heavy)
