"""Runs as tables for a page and for the command line. Reads files only; imports no torch."""

from collections.abc import Sequence

import pandas as pd

from shared.evaluation.report import Report
from shared.run_journal import REPORT, RunRecord

# What a reader compares first; the other options follow.
FIRST = (
    "method", "learning_rate", "epochs", "batch_size", "minutes", "call_minutes", "base", "seed",
)  # fmt: skip
# Says where, not what.
HIDDEN = {
    "logdir",
    "journal",
    "checkpoints",
    "progress",
    "resume",
    "checkpoint_minutes",
    "tracking",
    "began",
}


def label_of(run: RunRecord) -> str:
    """A name for a person: the model, and when the run began."""
    return f"{run.name}, {run.started_at:%d %b %H:%M:%S}"


def method_of(run: RunRecord) -> str:
    """The method that was used, as far as it is known already."""
    return str(run.fine_tuning.get("method") or run.options.get("method", ""))


def against_forecast(run: RunRecord) -> str:
    """Minutes of fine-tuning beside those that were said before the start."""
    if run.forecast_minutes is None:
        return "" if run.minutes is None else f"{run.minutes:.1f} min"
    if run.minutes is None:
        return f"{run.forecast_minutes:.1f} min said"
    line = f"{run.minutes:.1f} of {run.forecast_minutes:.1f} min said"
    if "seconds" not in run.fine_tuning:
        return line
    return f"{line} ({run.minutes / run.forecast_minutes - 1:+.0%})"


def progress_of(run: RunRecord) -> str:
    """How far the training steps have come."""
    return "" if run.steps is None else f"{run.step} of {run.steps}"


def best_of(run: RunRecord) -> float | None:
    """The best value of the run's metric on its validation part."""
    if "best_metric" in run.fine_tuning:
        return float(run.fine_tuning["best_metric"])
    best = run.best
    return None if best is None or run.metric is None else best.metrics[run.metric]


def overview(runs: Sequence[RunRecord]) -> pd.DataFrame:
    """One row for each run."""
    rows = [
        {
            "run": label_of(run),
            "state": run.state.value,
            "application": run.app,
            "method": method_of(run),
            "steps": progress_of(run),
            "fine-tuning": against_forecast(run),
            "best on validation": "" if (best := best_of(run)) is None else f"{best:.4f}",
            "whole run": "" if run.seconds is None else f"{run.seconds / 60:.1f} min",
            "model": run.model or "",
        }
        for run in runs
    ]
    return pd.DataFrame(rows)


def loss_points(runs: Sequence[RunRecord]) -> pd.DataFrame:
    """Training loss: run, step, minutes, loss."""
    rows = [
        (label_of(run), point.step, point.seconds / 60, point.loss)
        for run in runs
        for point in run.losses
    ]
    return pd.DataFrame(rows, columns=["run", "step", "minutes", "value"])


def metric_points(runs: Sequence[RunRecord], metric: str) -> pd.DataFrame:
    """A metric of the validation part: run, step, minutes, value."""
    rows = [
        (label_of(run), point.step, point.seconds / 60, point.metrics[metric])
        for run in runs
        for point in run.evaluations
        if metric in point.metrics
    ]
    return pd.DataFrame(rows, columns=["run", "step", "minutes", "value"])


def metrics_of(runs: Sequence[RunRecord]) -> list[str]:
    """Names of what the runs measured, the one that chose the weights first."""
    chosen = dict.fromkeys(run.metric for run in runs if run.metric)
    found = {
        name: None
        for run in runs
        for point in run.evaluations
        for name in point.metrics
        if not name.endswith(("runtime", "per_second"))
    }
    return [*chosen, *(name for name in found if name not in chosen)]


def comparison(runs: Sequence[RunRecord], *, differing_only: bool) -> pd.DataFrame:
    """A column for each run: how it went, its options, and the figures of its report."""
    columns = {label_of(run): _described(run) for run in runs}
    names = dict.fromkeys(name for values in columns.values() for name in values)
    table = pd.DataFrame(
        {run: [values.get(name, "") for name in names] for run, values in columns.items()},
        index=pd.Index(list(names), name=""),
    )
    if differing_only and len(runs) > 1:
        table = table[table.nunique(axis=1) > 1]
    return table


def _described(run: RunRecord) -> dict[str, str]:
    tuned = run.fine_tuning
    known: dict[str, object] = {
        "state": f"{run.state.value}: {run.reason}" if run.reason else run.state.value,
        "fine-tuning": against_forecast(run),
        "memory": _memory(run),
        "why it ended": tuned.get("stopped_because"),
        "attempts": run.attempts,
        "steps": progress_of(run),
        "trained parameters": tuned.get("trained_parameters"),
        "model": run.model,
    }
    options = {name: run.options.get(name) for name in (*FIRST, *run.options)}
    known |= {f"option {k}": v for k, v in options.items() if k not in HIDDEN}
    known["option method"] = method_of(run)
    known |= {f"report: {name}": f"{value:.4f}" for name, value in run.figures.items()}
    return {name: _shown(value) for name, value in known.items() if value not in (None, "")}


def _memory(run: RunRecord) -> str:
    held = run.fine_tuning.get("peak_memory_mb")
    if held is None:
        return ""
    line = f"{held / 1024:.2f} GiB"
    if run.forecast_memory_mb is None:
        return line
    return f"{line}, {run.forecast_memory_mb / 1024:.2f} said"


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def confusions_of(run: RunRecord) -> pd.DataFrame | None:
    """What the model of a run takes for what, from its report; None where there is no report."""
    path = run.folder / REPORT
    if not path.is_file():
        return None
    report = Report.from_json(path.read_text(encoding="utf-8"))
    rows = [(c.true, c.predicted, c.count, "; ".join(c.examples)) for c in report.confusions]
    return pd.DataFrame(rows, columns=["label", "taken for", "times", "such as"])
