"""The model card of a version: what it is for, what it learned from, how good and where weak.

Written from the report and the training's own facts; every figure in it was measured. Source of
the sections: Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

import gzip
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shared.evaluation.report import LabelFigures, Measure, Report, Slice

CARD = "model_card.md"
WEAK_LISTED = 8
SIDE_BY_SIDE_LISTED = 20
LINED = (".csv", ".tsv", ".jsonl", ".txt", ".inter", ".item")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Purpose:
    """What an application says of all its models: use, what it is not for, known limits."""

    use: str
    not_for: str
    limits: tuple[str, ...]


@dataclass(frozen=True)
class SourceFile:
    """A file that was trained on. lines: of a text file, its header included; else None."""

    role: str
    name: str
    size: int
    sha256: str
    lines: int | None


@dataclass(frozen=True)
class Origin:
    """Where a version comes from. licence: of the base encoder's weights."""

    reference: str
    created_at: datetime
    base: str
    base_sha256: str
    licence: str
    method: str
    seed: int
    sources: tuple[SourceFile, ...]


def source_file(role: str, path: Path) -> SourceFile:
    """Size, sha256 and lines of a file. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    packed = path.suffix == ".gz"
    kind = path.with_suffix("").suffix if packed else path.suffix
    lines = _count_lines(path, packed=packed) if kind in LINED else None
    return SourceFile(role, path.name, path.stat().st_size, digest.hexdigest(), lines)


def model_card(report: Report, origin: Origin, purpose: Purpose) -> str:
    """The card as Markdown."""
    parts = (
        f"# {origin.reference}",
        _about(report, origin),
        "## What it is for",
        purpose.use,
        f"Not for: {purpose.not_for}",
        "## What it learned from",
        _sources(origin.sources),
        "## How good it is",
        f"Measured on {report.data}. In brackets the 95 % interval.",
        _figures(report),
        *_rivals(report),
        "## Where it is weak",
        _weak(report),
        *_side_by_side(report),
        "## Can its confidence be believed?",
        _calibration(report),
        "## Limits",
        _bullets(purpose.limits),
        *(("## Worth knowing", _bullets(report.notes)) if report.notes else ()),
        "## Licence",
        f"Base encoder {origin.base} (sha256 {origin.base_sha256[:12]}…): {origin.licence}. "
        "The fitted weights are derived from your data and carry its terms.",
    )
    return "\n\n".join(parts) + "\n"


def _about(report: Report, origin: Origin) -> str:
    return _table(
        ("", ""),
        [
            ("application", report.app),
            ("made", f"{origin.created_at:%Y-%m-%d %H:%M %Z}".strip()),
            ("model", report.model),
            ("method asked for", origin.method),
            ("seed", str(origin.seed)),
        ],
    )


def _sources(files: Sequence[SourceFile]) -> str:
    return _table(
        ("file", "as", "bytes", "lines", "sha256"),
        [
            (
                file.name,
                file.role,
                f"{file.size:,}",
                "" if file.lines is None else f"{file.lines:,}",
                file.sha256,
            )
            for file in files
        ],
    )


def _figures(report: Report) -> str:
    return _table(
        ("measure", "figure", "rows"),
        [(m.name, _with_interval(m), f"{m.n:,}") for m in report.measures],
    )


def _rivals(report: Report) -> Iterator[str]:
    if not report.baselines:
        return
    name = report.baselines[0].measures[0].name
    rows = [("this model", report.measures), *((b.name, b.measures) for b in report.baselines)]
    yield f"Beside simpler ways, on the same rows ({name}):"
    yield _table(
        ("", name),
        [
            (rival, _with_interval(found))
            for rival, measures in rows
            for found in measures
            if found.name == name
        ],
    )


def _side_by_side(report: Report) -> Iterator[str]:
    """Before and after a remedy, and what was forgotten of an earlier version: the first figure,
    which is of all rows, and every part that changed."""
    for table in report.side_by_side:
        yield f"## {table.title}"
        told = [f for row, f in enumerate(table.figures) if row == 0 or f.before != f.after]
        if told:
            yield _table(
                ("part", "rows", table.before, table.after, "difference, 95 %"),
                [
                    (
                        figure.part,
                        f"{figure.n:,}",
                        f"{figure.before:.3f}",
                        f"{figure.after:.3f}",
                        f"{figure.low:+.3f} to {figure.high:+.3f}",
                    )
                    for figure in told[:SIDE_BY_SIDE_LISTED]
                ],
            )
        yield _bullets([table.line, *table.notes])


def _weak(report: Report) -> str:
    """Slices whose whole interval lies below the figure for all rows; the weakest labels."""
    whole = {m.name: m.value for m in report.measures if m.value is not None}
    slices = [(part, m) for part in report.slices for m in part.measures if _below(m, whole)]
    slices.sort(key=lambda pair: (pair[1].value or 0.0) - whole[pair[1].name])
    told = [_slice_line(part, m, whole[m.name]) for part, m in slices[:WEAK_LISTED]]
    if not told:
        told = ["No slice lies below the figure for all rows by more than chance."]
    labels = [row for row in report.per_label if row.f1 is not None and row.f1 < 1]
    labels.sort(key=lambda row: row.f1 or 0.0)
    told += [_label_line(row) for row in labels[:WEAK_LISTED]]
    unmeasured = sum(row.f1 is None for row in report.per_label)
    if unmeasured:
        told.append(f"labels without a held-out row, of which nothing is known: {unmeasured}")
    return _bullets(told)


def _below(measure: Measure, whole: dict[str, float]) -> bool:
    return measure.name in whole and measure.high is not None and measure.high < whole[measure.name]


def _slice_line(part: Slice, measure: Measure, whole: float) -> str:
    return (
        f"{part.name}: {measure.name} {_with_interval(measure)} on {part.n:,} rows, "
        f"{whole:.3f} on all"
    )


def _label_line(row: LabelFigures) -> str:
    interval = "" if row.f1_low is None else f" ({row.f1_low:.3f} to {row.f1_high:.3f})"
    return f"label {row.label}: F1 {row.f1:.3f}{interval} on {row.n:,} rows"


def _calibration(report: Report) -> str:
    errors = [m for m in report.measures if m.name.endswith("calibration error")]
    lines = [f"{m.name}: {_with_interval(m)} (0 is perfect)" for m in errors]
    lines += [
        f"says {100 * b.confidence:.0f} %, is right {100 * b.accuracy:.0f} %, {b.n:,} rows"
        for b in report.calibration
    ]
    return _bullets(lines) if lines else "It states no probabilities."


def _with_interval(measure: Measure) -> str:
    if measure.value is None:
        return "not measured"
    if measure.low is None or measure.high is None:
        return f"{measure.value:.3f}"
    return f"{measure.value:.3f} ({measure.low:.3f} to {measure.high:.3f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in lines)


def _cell(text: str) -> str:
    """A bar or a line break in a label or file name must not end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {' '.join(line.split())}" for line in lines)


def _count_lines(path: Path, *, packed: bool) -> int | None:
    """None for what calls itself .gz and is not."""
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    except gzip.BadGzipFile:
        return None
