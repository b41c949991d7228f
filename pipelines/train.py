"""From a recipe to a released model: fit in a work folder, report, publish.

The work folder lies inside the home, so that the last step is a rename and a process killed before
it leaves nothing but a folder that the next run sweeps.
"""

import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from shared.atomic import write_text
from shared.errors import ModelError
from shared.evaluation.forgetting import forgotten_in_common
from shared.evaluation.model_card import CARD, Origin, Purpose, model_card, source_file
from shared.evaluation.outcomes import common_rows, load_outcomes
from shared.evaluation.report import Report
from shared.evaluation.side_by_side import SideBySide
from shared.inference.model_encoders import ENCODER_FOLDER
from shared.pretrained import resolve
from shared.registry import MANIFEST, ModelVersion, Registry
from shared.run_journal import CHECKPOINTS, REPORT, open_run
from shared.settings import Home
from shared.training.options import TrainOptions
from shared.training.tracking import TrackedRun, TrainingSettings, tensorboard_folder, tracked

# A work folder older than this belongs to a run that was killed.
STALE_AFTER_SECONDS = 24 * 3600


class Recipe(Protocol):
    """What an application gives to be trained."""

    @property
    def app(self) -> str:
        """Name of the application, by which the registry tells models apart."""
        ...

    @property
    def sources(self) -> Sequence[tuple[str, Path]]:
        """What each file is and the file, for the model card."""
        ...

    @property
    def purpose(self) -> Purpose:
        """For the model card."""
        ...

    def fit(
        self, folder: Path, *, options: TrainOptions, home: Home, say: Callable[[str], None]
    ) -> Report:
        """Write everything serving needs into `folder`; return the report on held-out data."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A recipe that measures by itself what is forgotten of earlier versions."""

    def after(self, previous: Sequence[ModelVersion]) -> Recipe:
        """The same recipe, told of them."""
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
    tracking: TrainingSettings = TrainingSettings(),
    notes: Sequence[str] = (),
) -> Trained:
    """Fit `recipe`, write its report beside the weights, publish both as a new version of `name`.

    notes: for the report, beside the recipe's own. options: their minutes are counted from here on
    where they do not say when the call began.

    Raises:
        DataError: the data cannot be trained on.
        ModelError: `name` belongs to another application or is being trained by another process,
            or the base encoder is broken.
        SettingsError, ServiceError: the tracker is not installed, or does not answer.
    """
    began = time.monotonic() if options.began is None else options.began
    Registry(home.models, clock).check_name(name, recipe.app)
    work = home.root / "work"
    work.mkdir(parents=True, exist_ok=True)
    sweep(work, now=time.time())
    # When it began is no part of what was asked for: the same command goes on with a run.
    asked = asdict(replace(options, began=None))
    with open_run(home.runs / name, app=recipe.app, options=asked, clock=clock) as run:
        own = run.path.parent
        known = TrackedRun(tracking.project, name, own.name, own, home.root, asked)
        with tracked(tracking.tracking, known) as tracker:
            # By name, so that the same command goes on where a killed one stopped.
            checkpoints = options.checkpoints or home.runs / name / CHECKPOINTS
            options = replace(
                options,
                began=began,
                checkpoints=checkpoints,
                journal=run.path,
                tracking=tracking.tracking,
                logdir=options.logdir
                or (tensorboard_folder(own) if tracking.tracking == "tensorboard" else None),
            )
            folder = work / f"{name}-{uuid.uuid4().hex[:8]}"
            folder.mkdir()
            try:
                trained = _released(recipe, name, folder, options, home, clock, say, notes)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            # One for each encoder that the recipe fine-tuned (further_rows.py).
            for state in checkpoints.parent.glob(f"{checkpoints.name}*"):
                shutil.rmtree(state, ignore_errors=True)
            write_text(own / REPORT, trained.report.to_json())
            tracker.finish(trained.report.metrics, [own / REPORT, trained.version.path / MANIFEST])
        run.write(
            "finished",
            at=clock().isoformat(),
            model=trained.version.reference,
            figures=trained.report.metrics,
            seconds=trained.seconds,
        )
    return trained


def _released(
    recipe: Recipe,
    name: str,
    folder: Path,
    options: TrainOptions,
    home: Home,
    clock: Callable[[], datetime],
    say: Callable[[str], None],
    notes: Sequence[str],
) -> Trained:
    started = time.monotonic()
    previous = earlier(Registry(home.models, clock), name, recipe.app, options.base, say)
    if isinstance(recipe, Remembering):
        report = recipe.after(previous).fit(folder, options=options, home=home, say=say)
    else:
        report = recipe.fit(folder, options=options, home=home, say=say)
        report = replace(report, side_by_side=(*report.side_by_side, *_in_common(folder, previous)))
    for table in report.side_by_side:
        say(table.line)
    report = replace(report, notes=(*report.notes, *notes))
    report.write(folder)
    base = resolve(options.base, cache=home.cache)
    sources = tuple(source_file(role, path) for role, path in recipe.sources)

    def card(reference: str, at: datetime) -> None:
        origin = Origin(
            reference, at, base.name, base.sha256, base.licence, options.method, options.seed,
            sources,
        )  # fmt: skip
        write_text(folder / CARD, model_card(report, origin, recipe.purpose))

    version = Registry(home.models, clock).publish(
        name,
        folder,
        app=recipe.app,
        metrics=report.metrics,
        card=card,
    )
    return Trained(version, report, time.monotonic() - started)


def earlier(
    registry: Registry, name: str, app: str, base: str, say: Callable[[str], None]
) -> tuple[ModelVersion, ...]:
    """The versions that a new one of `name` is trained on from: the live one of that name, and the
    one whose fine-tuned encoder is the base. A damaged one is told of and left out, for training
    again is what mends it."""
    references = [name] if name in registry.names() else []
    folder = Path(base)
    if folder.name == ENCODER_FOLDER and (folder.parent / MANIFEST).is_file():
        owner = folder.resolve().parent
        references += [
            version.reference
            for each in registry.names()
            for version in registry.versions(each)
            if version.path.resolve() == owner and version.app == app
        ]
    found: dict[str, ModelVersion] = {}
    for reference in references:
        try:
            version = registry.resolve(reference, app=app)
        except ModelError as error:
            say(f"what is forgotten of {reference} is not measured: {error}")
        else:
            found.setdefault(version.reference, version)
    return tuple(found.values())


def _in_common(folder: Path, previous: Sequence[ModelVersion]) -> tuple[SideBySide, ...]:
    """On the held-out rows that the reports of both have."""
    mine = load_outcomes(folder)
    return tuple(
        table
        for version in previous
        for table in forgotten_in_common(
            common_rows(mine, load_outcomes(version.path)), version.reference
        )
    )
