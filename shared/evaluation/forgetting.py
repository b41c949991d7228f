"""What a new version of a model forgot of the rows that the version before it was judged on.

held_out_texts.json   in a model folder: the texts of the rows in held_out.json, so that the next
                      version can read them. Rows with personal data are left out.

The earlier scores are those of held_out.json: made before that version learned from these rows, if
it ever did. The new ones are made on rows that the new version has not learned from either.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.atomic import write_text
from shared.errors import ModelError
from shared.evaluation.leakage import TrainingRows
from shared.evaluation.outcomes import Outcomes, Pair, load_outcomes
from shared.evaluation.robustness import Score
from shared.evaluation.side_by_side import (
    LEVEL,
    PairedFigure,
    Part,
    SideBySide,
    paired_figures,
)
from shared.personal_data import mask_personal_data

FILE = "held_out_texts.json"
HeldOut = Callable[[NDArray[np.int64], Sequence[Sequence[str]]], NDArray[np.float64]]
LISTED = 8  # labels that one line names


@dataclass(frozen=True)
class Recall:
    """How the new version is asked about a task. labels: those it knows. score: texts and their
    true labels to (n,) scores, NaN for a row that has taught it."""

    task: str
    labels: Collection[str]
    score: Score


def recall(
    task: str,
    labels: Collection[str],
    taught: Sequence[str],
    score: Score,
    held_out: HeldOut | None = None,
) -> Recall:
    """taught: the training texts. score: of the new version, for rows that it has not seen.
    held_out: for rows of `taught`, as FusedFit.held_out_scores gives them."""
    place = {text: row for row, text in enumerate(taught)}

    def scores(texts: Sequence[str], truth: Sequence[tuple[str, ...]]) -> NDArray[np.float64]:
        found = score(texts, truth)
        found[TrainingRows.of(taught).copies(texts).near] = np.nan
        rows = np.array([row for row, text in enumerate(texts) if text in place], np.int64)
        if held_out is not None and len(rows):
            known = np.array([place[texts[row]] for row in rows], np.int64)
            found[rows] = held_out(known, [truth[row] for row in rows])
        return found

    return Recall(task, labels, scores)


def keep_texts(outcomes: Sequence[Outcomes], folder: Path) -> None:
    """Write held_out_texts.json: key -> text, of the rows whose text holds no personal data."""
    texts = {
        key: text
        for each in outcomes
        for key, text in zip(each.keys, each.shown, strict=True)
        if mask_personal_data(text) == text
    }
    write_text(folder / FILE, json.dumps(texts, ensure_ascii=False) + "\n")


def forgotten(
    previous: Path, reference: str, recalls: Sequence[Recall], *, seed: int = 13
) -> tuple[SideBySide, ...]:
    """A table for each task that both versions have. reference: NAME@VERSION of the earlier one.

    Nothing for a version from before texts were kept.

    Raises ModelError when its files are damaged.
    """
    texts = kept_texts(previous)
    if texts is None:
        return ()
    asked = {recall.task: recall for recall in recalls}
    return tuple(
        _table(each, texts, asked[each.task], reference, seed)
        for each in load_outcomes(previous)
        if each.task in asked
    )


def forgotten_in_common(
    pairs: Sequence[Pair], reference: str, *, seed: int = 13
) -> tuple[SideBySide, ...]:
    """A table for each task, on rows that both versions held out and kept scores of. pairs: the
    new version as candidate."""
    return tuple(
        _compared(
            pair.production,
            pair.candidate.scores,
            (),
            reference,
            f"on the {len(pair.production):,} held-out rows that the reports of both have",
            seed,
        )
        for pair in pairs
    )


def kept_texts(folder: Path) -> dict[str, str] | None:
    """What `keep_texts` wrote; None for a version from before texts were kept.

    Raises ModelError when the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): str(text) for key, text in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: damaged texts of held-out rows: {error}") from None


def _table(
    before: Outcomes, texts: dict[str, str], recall: Recall, reference: str, seed: int
) -> SideBySide:
    kept = np.array([row for row, key in enumerate(before.keys) if key in texts], np.int64)
    asked = before.take(kept)
    now = recall.score([texts[key] for key in asked.keys], asked.labels)
    fair = np.flatnonzero(~np.isnan(now))
    note = (
        f"{reference} was judged on {len(before):,} rows; on {len(fair):,} of them both can be "
        "compared: any others taught this version, are near copies of rows that did, or hold "
        "personal data and were not kept"
    )
    gone = sorted({name for row in before.labels for name in row} - set(recall.labels))
    return _compared(asked.take(fair), now[fair], gone, reference, note, seed)


def _compared(
    rows: Outcomes,
    now: NDArray[np.float64],
    gone: Sequence[str],
    reference: str,
    note: str,
    seed: int,
) -> SideBySide:
    """rows: with the earlier scores; now: (n,) the new ones. gone: labels no longer known."""
    figures: tuple[PairedFigure, ...] = ()
    said = ["no row to compare on"]
    lost: list[PairedFigure] = []
    if len(rows):
        (whole,) = paired_figures([Part("all rows", rows.scores, now, rows.groups)], seed=seed)
        labels = paired_figures(_by_label(rows, now), seed=seed)
        lost = [f for f in (whole, *labels) if f.worse <= LEVEL and f.part not in gone]
        figures = (whole, *sorted(labels, key=lambda f: (f.after - f.before, f.part)))
        said = [f"{whole.before:.3f} on {whole.n:,} rows before, {whole.after:.3f} now"]
    if gone:
        said.append(f"no longer knows {_listed(gone)}")
    if lost:
        said.append(
            "worse beyond noise on "
            + _listed([f"{f.part} ({f.before:.2f} to {f.after:.2f})" for f in lost])
        )
    if len(rows) and not gone and not lost:
        said.append("nothing forgotten beyond noise")
    return SideBySide(
        f"What it forgot of {reference}: {rows.task}",
        reference,
        "this version",
        f"forgetting, {rows.task}, against {reference}: {'; '.join(said)}",
        figures,
        (note,),
    )


def _by_label(rows: Outcomes, now: NDArray[np.float64]) -> list[Part]:
    parts = []
    for name in sorted({name for row in rows.labels for name in row}):
        mine = np.array([name in row for row in rows.labels])
        parts.append(Part(name, rows.scores[mine], now[mine], rows.groups[mine]))
    return parts


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
