"""What was measured, with its uncertainty and what it was compared with, for a person to read."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import DataError
from shared.evaluation.report_page import render
from shared.evaluation.side_by_side import PairedFigure, SideBySide

JSON_NAME = "report.json"
HTML_NAME = "report.html"


@dataclass(frozen=True)
class Measure:
    """One figure with its 95 % interval. None: not measured, or no interval for it. n: rows."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class LabelFigures:
    """How one label fares; n true rows, 0 where the held-out part has none (then None).

    f1_low, f1_high: 95 % interval of f1; None in reports from before it was measured.
    """

    label: str
    n: int
    precision: float | None
    recall: float | None
    f1: float | None
    f1_low: float | None = None
    f1_high: float | None = None


@dataclass(frozen=True)
class CalibrationBin:
    """Rows with a confidence in [low, high): how many, their mean confidence, the share right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Confusion:
    """count rows of label `true` were taken for `predicted`; a few of their texts."""

    true: str
    predicted: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Slice:
    """The measures on a part of the rows, such as short texts."""

    name: str
    n: int
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Baseline:
    """A rival measured on the same rows in the same run."""

    name: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Report:
    """data: one line on what was measured on. side_by_side: before and after a remedy, beside an
    earlier version; none in reports from before they were made. seconds: step -> duration."""

    title: str
    app: str
    model: str
    data: str
    measures: tuple[Measure, ...]
    per_label: tuple[LabelFigures, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    slices: tuple[Slice, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    notes: tuple[str, ...] = ()
    side_by_side: tuple[SideBySide, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """name -> value of every measure that has one, as the registry keeps them."""
        return {m.name: m.value for m in self.measures if m.value is not None}

    def to_json(self) -> str:
        """The whole report as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """What to_json wrote. Raises DataError when it is not a report."""
        try:
            return _report(json.loads(text))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a report: {type(error).__name__}: {error}") from None

    def write(self, folder: Path) -> Path:
        """report.json and report.html in `folder` (made if absent); returns the page's path."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JSON_NAME).write_text(self.to_json() + "\n", encoding="utf-8")
        page = folder / HTML_NAME
        page.write_text(render(self), encoding="utf-8")
        return page


def _measures(rows: list[dict[str, Any]]) -> tuple[Measure, ...]:
    return tuple(Measure(**row) for row in rows)


def _report(data: dict[str, Any]) -> Report:
    return Report(
        title=data["title"],
        app=data["app"],
        model=data["model"],
        data=data["data"],
        measures=_measures(data["measures"]),
        per_label=tuple(LabelFigures(**row) for row in data["per_label"]),
        confusions=tuple(
            Confusion(**row | {"examples": tuple(row["examples"])}) for row in data["confusions"]
        ),
        slices=tuple(
            Slice(**row | {"measures": _measures(row["measures"])}) for row in data["slices"]
        ),
        baselines=tuple(
            Baseline(**row | {"measures": _measures(row["measures"])}) for row in data["baselines"]
        ),
        calibration=tuple(CalibrationBin(**row) for row in data["calibration"]),
        notes=tuple(data["notes"]),
        side_by_side=tuple(_side_by_side(table) for table in data.get("side_by_side", ())),
        seconds=data["seconds"],
    )


def _side_by_side(table: dict[str, Any]) -> SideBySide:
    figures = tuple(PairedFigure(**row) for row in table["figures"])
    return SideBySide(**table | {"figures": figures, "notes": tuple(table["notes"])})
