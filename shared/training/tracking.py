"""Where a run is tracked besides its own journal: TensorBoard, MLflow or Weights & Biases.

The curves get there through the trainer's own integrations (`report_to`), which write into a run
that is open already; opened here around the whole training, so that the recipe, the manifest and
the final figures stand in the same run as the curves. None of the three is imported unless asked
for, nor torch.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from shared.errors import ServiceError, SettingsError
from shared.settings import Section
from shared.training.options import Tracking

SECTION = "training"
DATABASE = "mlflow.db"
FILES = "mlflow"
MLFLOW_RUN = "mlflow_run.txt"
PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


class TrainingSettings(Section):
    """[training] of triptych.toml. project: MLflow's experiment, Weights & Biases' project."""

    tracking: Tracking = "none"
    project: str = Field(default="triptych", min_length=1)


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run. folder: the run's own; home: of all runs.

    parameters: the recipe, by name.
    """

    project: str
    name: str
    run: str
    folder: Path
    home: Path
    parameters: Mapping[str, object]


class Tracker(Protocol):
    """Takes what is known only at the end."""

    def finish(self, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        """figures: of the report. files: kept with the run, such as the manifest."""
        ...


def tracked(kind: Tracking, run: TrackedRun) -> AbstractContextManager[Tracker]:
    """Open the run in the tracker for the length of a `with` block.

    A run that goes on after a kill is the same run there too. An error inside the block marks it
    failed.

    Raises:
        SettingsError: the tracker is not installed. ServiceError: it does not answer.
    """
    if kind != "none" and find_spec(PACKAGES[kind]) is None:
        raise SettingsError(
            f'[{SECTION}] tracking = "{kind}": {PACKAGES[kind]} is not installed; '
            f'pip install "triptych[{kind}]", or set tracking = "none"'
        )
    openers: Mapping[str, Callable[[TrackedRun], AbstractContextManager[Tracker]]] = {
        "none": _nowhere,
        "tensorboard": _tensorboard,
        "mlflow": _mlflow,
        "wandb": _wandb,
    }
    return openers[kind](run)


def tensorboard_folder(run: Path) -> Path:
    """Of the event files of the run in this folder."""
    return run / "tensorboard"


class _Nowhere:
    def finish(self, *_: object) -> None:
        return


@contextmanager
def _nowhere(_: TrackedRun) -> Iterator[Tracker]:
    yield _Nowhere()


@dataclass(frozen=True)
class _TensorBoard:
    run: TrackedRun

    def finish(self, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(log_dir=str(tensorboard_folder(self.run.folder))) as writer:
            recipe = "\n".join(f"    {name} = {v}" for name, v in self.run.parameters.items())
            writer.add_text("recipe", recipe)
            for name, value in figures.items():
                writer.add_scalar(f"final/{name.replace(' ', '_')}", value)
            for path in files:
                text = path.read_text(encoding="utf-8")
                writer.add_text(path.name, "\n".join(f"    {line}" for line in text.splitlines()))


@contextmanager
def _tensorboard(run: TrackedRun) -> Iterator[Tracker]:
    yield _TensorBoard(run)


class _Mlflow:
    def finish(self, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        import mlflow

        mlflow.log_metrics({f"final/{name}": value for name, value in figures.items()})
        for path in files:
            mlflow.log_artifact(str(path))


@contextmanager
def _mlflow(run: TrackedRun) -> Iterator[Tracker]:
    """MLFLOW_TRACKING_URI says where; without it, a SQLite file in the home."""
    # This product speaks to nobody whom it was not told to speak to.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    local = not os.environ.get("MLFLOW_TRACKING_URI")
    if local:
        mlflow.set_tracking_uri(f"sqlite:///{run.home / DATABASE}")
    else:
        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    try:
        experiment = mlflow.get_experiment_by_name(run.project)
        if experiment is None:
            place = (run.home / FILES).as_uri() if local else None
            mlflow.create_experiment(run.project, artifact_location=place)
        mlflow.set_experiment(run.project)
        known = run.folder / MLFLOW_RUN
        begun = known.read_text(encoding="utf-8") if known.is_file() else None
        opened = mlflow.start_run(run_id=begun, run_name=f"{run.name} {run.run}")
    except mlflow.MlflowException as error:
        raise ServiceError(
            f"MLflow at {mlflow.get_tracking_uri()}: {str(error).splitlines()[0]}"
        ) from error
    with opened:
        known.write_text(opened.info.run_id, encoding="utf-8")
        if begun is None:
            # The trainer's integration logs its own arguments, some under the same names.
            mlflow.log_params({f"recipe/{name}": v for name, v in run.parameters.items()})
            mlflow.set_tags({"model": run.name, "run": run.run})
        yield _Mlflow()
        mlflow.flush_async_logging()


@dataclass(frozen=True)
class _Wandb:
    opened: Any

    def finish(self, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        import wandb

        self.opened.summary.update({f"final/{name}": value for name, value in figures.items()})
        artifact = wandb.Artifact("report", type="report")
        for path in files:
            artifact.add_file(str(path))
        self.opened.log_artifact(artifact)


@contextmanager
def _wandb(run: TrackedRun) -> Iterator[Tracker]:
    """WANDB_MODE=offline keeps the run in its folder, to be sent later by `wandb sync`."""
    import wandb

    try:
        opened = wandb.init(
            project=run.project,
            name=f"{run.name} {run.run}",
            id=f"{run.name}-{run.run}",
            resume="allow",
            dir=str(run.folder),
            config={f"recipe/{name}": str(v) for name, v in run.parameters.items()},
            settings=wandb.Settings(silent=True, disable_git=True, disable_code=True),
        )
    except wandb.Error as error:
        raise ServiceError(
            f"Weights & Biases: {str(error).splitlines()[0]}; log in with `wandb login`, or set "
            "WANDB_MODE=offline"
        ) from error
    with opened:
        yield _Wandb(opened)
