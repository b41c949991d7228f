"""From a recipe to a released model: fit in a work folder, report, publish.

The work folder lies inside the home, so that the last step is a rename and a process killed before
it leaves nothing but a folder that the next run sweeps.
"""

import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from shared.evaluation.report import Report
from shared.registry import ModelVersion, Registry
from shared.settings import Home
from shared.training.options import TrainOptions

# A work folder older than this belongs to a run that was killed.
STALE_AFTER_SECONDS = 24 * 3600


class Recipe(Protocol):
    """What an application gives to be trained."""

    @property
    def app(self) -> str:
        """Name of the application, by which the registry tells models apart."""
        ...

    def fit(
        self, folder: Path, *, options: TrainOptions, home: Home, say: Callable[[str], None]
    ) -> Report:
        """Write everything serving needs into `folder`; return the report on held-out data."""
        ...


@dataclass(frozen=True)
class Trained:
    """A published model and what is known of its quality."""

    version: ModelVersion
    report: Report
    seconds: float

    @property
    def report_page(self) -> Path:
        return self.version.path / "report.html"


def sweep(work: Path, *, now: float) -> int:
    """Remove work folders that a killed run left; returns how many."""
    stale = [f for f in work.glob("*") if now - f.stat().st_mtime > STALE_AFTER_SECONDS]
    for folder in stale:
        shutil.rmtree(folder, ignore_errors=True)
    return len(stale)


def train(
    recipe: Recipe,
    *,
    name: str,
    options: TrainOptions,
    home: Home,
    clock: Callable[[], datetime],
    say: Callable[[str], None],
) -> Trained:
    """Fit `recipe`, write its report beside the weights, publish both as a new version of `name`.

    Raises:
        DataError: the data cannot be trained on.
        ModelError: `name` belongs to another application, or the base encoder is broken.
    """
    started = time.monotonic()
    work = home.root / "work"
    work.mkdir(parents=True, exist_ok=True)
    sweep(work, now=time.time())
    folder = work / f"{name}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        if options.checkpoints is None:
            # By name, so that the same command goes on where a killed one stopped.
            options = replace(options, checkpoints=home.runs / name)
        report = recipe.fit(folder, options=options, home=home, say=say)
        report.write(folder)
        version = Registry(home.models, clock).publish(
            name,
            folder,
            app=recipe.app,
            metrics=report.metrics,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Trained(version, report, time.monotonic() - started)
