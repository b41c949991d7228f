"""`triptych benchmark recommender`: the recommender beside every rival, for the same users.

One training on the known part of the log; the users judged by chose nothing. The whole catalogue
is ranked for each, what they have had left out; intervals are bootstraps over users.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from apps.recommender.recipe import RecommenderRecipe
from apps.recommender.rivals import RIVALS
from apps.recommender.settings import RecommenderSettings
from shared.evaluation.report import Measure, Report
from shared.settings import Home
from shared.training.options import TrainOptions

SYSTEM = "triptych"


@dataclass(frozen=True)
class ShopRow:
    """One system on one shop. value, low, high: the figure with its 95 % interval.

    part: "all", or the slice of users or items it was measured on; n: how many.
    """

    data: str
    system: str
    part: str
    measure: str
    value: float
    low: float | None
    high: float | None
    n: int
    seconds: float | None = None


@dataclass(frozen=True)
class ShopBenchmark:
    """rows: every figure. notes: how it compares with the best rival, and what was chosen."""

    rows: tuple[ShopRow, ...]
    notes: tuple[str, ...]


def benchmark_recommender(
    items: Path,
    events: Path,
    *,
    home: Home,
    mapping: Mapping[str, str] | None = None,
    seed: int = 13,
    threads: int | None = None,
    method: str = "frozen",
    base: str = "minilm",
    rivals: tuple[str, ...] = tuple(RIVALS),
    settings: RecommenderSettings | None = None,
    say: Callable[[str], None],
) -> ShopBenchmark:
    """Train and judge on any shop's tables, beside `rivals` (names of RIVALS).

    EASE is left out above 13,000 items, iALS where the library `implicit` is not installed, and
    windows of popularity where the log has no clock.

    Raises: DataError when the tables cannot be read or learnt from.
    """
    recipe = RecommenderRecipe(items, events, mapping or {}, settings, rivals)
    options = TrainOptions(seed=seed, threads=threads, method=method, base=base)
    with tempfile.TemporaryDirectory() as folder:
        report = recipe.fit(Path(folder) / "model", options=options, home=home, say=say)
    return ShopBenchmark(tuple(_rows(items.name, report)), report.notes)


def _rows(data: str, report: Report) -> list[ShopRow]:
    seconds = sum(report.seconds.values())
    rows = [row for m in report.measures for row in _row(data, SYSTEM, "all", m, seconds)]
    for rival in report.baselines:
        rows += [row for m in rival.measures for row in _row(data, rival.name, "all", m, None)]
    for part in report.slices:
        rows += [row for m in part.measures for row in _row(data, SYSTEM, part.name, m, None)]
    return rows


def _row(
    data: str, system: str, part: str, measure: Measure, seconds: float | None
) -> list[ShopRow]:
    """No row for what was not measured."""
    if measure.value is None:
        return []
    return [
        ShopRow(
            data, system, part, measure.name, measure.value, measure.low, measure.high, measure.n,
            seconds,
        )
    ]  # fmt: skip
