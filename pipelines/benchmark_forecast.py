"""`triptych benchmark forecast`: what was said before a run beside what it took.

Each case runs in a process of its own: the most memory a process has held is that of all its runs.
"""

import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.public_sets import BANKING, TWITTER, examples_of, nothing_in
from shared.errors import DataError
from shared.modeling.heads import HeadSpec
from shared.pretrained import resolve
from shared.settings import Home
from shared.training.batches import HeadTask
from shared.training.examples import Examples, split
from shared.training.finetune import finetune_classifier
from shared.training.options import FineTuned, TrainOptions
from shared.training.pairs import Pairs, finetune_matcher

Say = Callable[[str], None]
HELD_OUT = 0.12


@dataclass(frozen=True)
class Case:
    """One run to forecast. table: under the folder of public sets. rows: used of it at most.

    matching: learn which questions share a label, and not the labels.
    """

    name: str
    table: str
    options: TrainOptions
    rows: int | None = None
    matching: bool = False


@dataclass(frozen=True)
class ForecastRow:
    """Minutes and MiB, said before the start and found at the end."""

    case: str
    said_minutes: float
    took_minutes: float
    said_memory_mb: float
    held_memory_mb: float
    steps: int

    @property
    def error(self) -> float:
        """Of the minutes, as a share of the truth; positive where too much was said."""
        return self.said_minutes / self.took_minutes - 1

    @property
    def memory_error(self) -> float:
        """Of the memory, in the same way."""
        return self.said_memory_mb / self.held_memory_mb - 1

    def line(self) -> str:
        return (
            f"{self.case}: said {self.said_minutes:.2f} minutes, took {self.took_minutes:.2f} "
            f"({self.error:+.0%}); said {self.said_memory_mb:.0f} MiB, held "
            f"{self.held_memory_mb:.0f} ({self.memory_error:+.0%}); {self.steps} steps"
        )


def _options(method: str, epochs: int) -> TrainOptions:
    # Patience beyond the epochs: a run that ends early could not be compared with its forecast.
    return TrainOptions(method=method, epochs=epochs, patience=epochs + 1, progress=False)


CASES = (
    Case("BANKING77, LoRA, 2 epochs", BANKING[0], _options("lora", 2)),
    Case(
        "Twitter sentiment, full, 1 epoch",
        TWITTER["Twitter sentiment"],
        _options("full", 1),
        rows=5000,
    ),
    Case("BANKING77, matching, LoRA, 1 epoch", BANKING[0], _options("lora", 1), matching=True),
)


def benchmark_forecast(
    datasets: Path | None, *, home: Home, seed: int, threads: int | None, say: Say
) -> list[ForecastRow]:
    """Run every case whose table is there; a missing one is skipped with a line.

    datasets: folder of public sets, the home's where none is named.
    Raises DataError when no table is there.
    """
    sets = datasets or home.datasets
    rows: list[ForecastRow] = []
    for case in CASES:
        table = sets / case.table
        if not table.exists():
            say(f"skipped {case.name}: {table} is not there")
            continue
        own = replace(case, options=replace(case.options, seed=seed, threads=threads))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows.append(pool.submit(run_case, own, table, home.cache).result())
        say(rows[-1].line())
    if not rows:
        raise nothing_in(sets)
    return rows


def run_case(case: Case, table: Path, cache: Path) -> ForecastRow:
    """Fine-tune as the case says, and compare.

    Raises DataError when the run is too short to be forecast.
    """
    examples = examples_of(table)
    if case.rows is not None and len(examples) > case.rows:
        rng = np.random.default_rng(case.options.seed)
        examples = examples.take(np.sort(rng.permutation(len(examples))[: case.rows]))
    parts = split(examples, fraction=HELD_OUT, seed=case.options.seed)
    base = resolve(case.options.base, cache=cache)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model"
        if case.matching:
            done = finetune_matcher(
                pairs_of(parts.train),
                pairs_of(parts.validation),
                encoder=base,
                options=case.options,
                folder=target,
            )
        else:
            spec = HeadSpec("label", "single", parts.train.names)
            task = HeadTask(spec, parts.train, parts.validation)
            done = finetune_classifier([task], encoder=base, options=case.options, folder=target)
    return row_of(case.name, done)


def row_of(name: str, done: FineTuned) -> ForecastRow:
    if (
        done.forecast_minutes is None
        or done.forecast_memory_mb is None
        or done.peak_memory_mb is None
    ):
        raise DataError(f"{name}: {done.steps} steps are over before a forecast of them would be")
    return ForecastRow(
        name,
        done.forecast_minutes,
        done.seconds / 60,
        done.forecast_memory_mb,
        done.peak_memory_mb,
        done.steps,
    )


def pairs_of(examples: Examples) -> Pairs:
    """Each text with the next one of its label."""
    rows = pd.Series(examples.texts).groupby(list(examples.single), sort=True)
    joined = [pair for _, texts in rows for pair in pairwise(texts)]
    return Pairs(tuple(a for a, _ in joined), tuple(b for _, b in joined))
