"""Weights, calibration and scope of a fusion, from margins of rows that its scorers did not see."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from shared.evaluation.calibration import (
    fit_binary_pool,
    fit_label_platts,
    fit_platt,
    fit_pool,
    fit_temperature,
    fit_thresholds,
)
from shared.evaluation.metrics import correct, macro_f1
from shared.inference.classifier import (
    Calibration,
    FusedClassifier,
    Fusion,
    Kind,
    Scope,
    energy,
    squashed,
)
from shared.training.fused_scorers import Floats, Held, Margins

CROSSFITS = 5
FLOOR = 1e-7  # of a probability, so that one row's loss stays finite
BEYOND_NOISE = 1.645  # standard errors: a one-sided test at 5 %
_NONE = np.empty(0, dtype=np.float32)


@dataclass(frozen=True)
class PartFigures:
    """A scorer, or the fusion, on rows none of its parameters were fitted on.

    weight: its share in the fusion (1 for the fusion). accuracy: exact match of the best label for
    "single", of the whole label set for "multi". macro_f1: 0..1. nll: nats a row, after
    calibration.
    """

    name: str
    weight: float
    accuracy: float
    macro_f1: float
    nll: float


def unfitted(classes: int) -> tuple[Fusion, Scope]:
    """Of a classifier whose scorers are asked for margins, from which both are then fitted."""
    fusion = Fusion({}, _calibration(1.0, np.zeros(classes)), {}, _NONE, _NONE)
    return fusion, Scope(_NONE, _NONE, _NONE, _NONE)


def calibrated(held: Held, kind: Kind, seed: int) -> tuple[Fusion, Floats]:
    """The fusion of all held-out rows, and each row's probabilities from a fusion of the others.

    The second give the conformal scores: no row is judged by parameters that were fitted on it.
    """
    rng = np.random.default_rng(seed)
    ids, inverse = np.unique(held.groups, return_inverse=True)
    part = rng.permutation(len(ids))[inverse] % min(CROSSFITS, len(ids))
    crossed = np.zeros(held.truth.shape, dtype=np.float32)
    for p in np.unique(part):
        rest, mine = part != p, part == p
        if not rest.any():
            rest = mine
        fusion = fit_fusion(_only(held.margins, rest), held.truth[rest], kind)
        crossed[mine] = squashed(fusion.logits(_only(held.margins, mine)), kind)
    fusion = fit_fusion(held.margins, held.truth, kind)
    scores = np.sort(1 - crossed[held.truth])
    return replace(fusion, nonconformity=scores), crossed


def _only(margins: Margins, rows: NDArray[np.bool_]) -> Margins:
    return {name: z[rows] for name, z in margins.items()}


def fit_fusion(margins: Margins, truth: NDArray[np.bool_], kind: Kind) -> Fusion:
    """Weights, calibration and thresholds from margins (n, C) of held-out rows with truth (n, C);
    without conformal scores, which need rows that fitted none of these."""
    names, stack = list(margins), list(margins.values())
    classes = truth.shape[1]
    if kind == "single":
        codes = truth.argmax(1)
        pool = fit_pool(stack, codes)
        weights, whole = pool.weights, _calibration(1.0, pool.offsets)
        parts = {
            name: _calibration(1 / fit_temperature(z, codes), np.zeros(classes))
            for name, z in margins.items()
        }
    else:
        weights = fit_binary_pool(stack, truth)
        mixed = sum(w * z for w, z in zip(weights, stack, strict=True))
        whole = _calibration(*fit_label_platts(np.asarray(mixed), truth))
        shared = {name: fit_platt(z, truth) for name, z in margins.items()}
        parts = {
            name: _calibration(p.slope, np.full(classes, p.offset)) for name, p in shared.items()
        }
    fusion = Fusion(
        dict(zip(names, map(float, weights), strict=True)),
        whole,
        parts,
        np.full(classes, 0.5, dtype=np.float32),
        _NONE,
    )
    if kind == "single":
        return fusion
    p = squashed(fusion.logits(margins), kind)
    return replace(fusion, thresholds=fit_thresholds(p, truth).astype(np.float32))


def _calibration(slope: float | NDArray[np.float64], bias: NDArray[np.float64]) -> Calibration:
    return Calibration(np.atleast_1d(slope).astype(np.float32), bias.astype(np.float32))


def part_figures(
    held: Held, fusion: Fusion, crossed: Floats, kind: Kind
) -> tuple[tuple[PartFigures, ...], PartFigures]:
    """Of each scorer alone, and of the fusion by its cross-fitted probabilities `crossed` (m, C).

    Shares are of the weights times the spread of the margins they multiply."""
    pull = {name: fusion.weights[name] * float(z.std()) for name, z in held.margins.items()}
    total = sum(pull.values()) or 1.0
    parts = tuple(
        _judged(name, pull[name] / total, squashed(fusion.parts[name](z), kind), held.truth, None)
        for name, z in held.margins.items()
    )
    thresholds = fusion.thresholds if kind == "multi" else None
    return parts, _judged("fused", 1.0, crossed, held.truth, thresholds)


def _judged(
    name: str,
    weight: float,
    p: Floats,
    truth: NDArray[np.bool_],
    thresholds: Floats | None,
) -> PartFigures:
    multi = thresholds is not None or bool((truth.sum(1) != 1).any())
    if multi:
        said = p >= (0.5 if thresholds is None else thresholds)
    else:
        said = p.argmax(1)[:, None] == np.arange(p.shape[1])
    loss = row_losses(p, truth, "multi" if multi else "single")
    return PartFigures(
        name,
        float(weight),
        float(correct(truth, said).mean()),
        macro_f1(truth, said),
        float(loss.mean()),
    )


def row_losses(p: Floats, truth: NDArray[np.bool_], kind: Kind) -> Floats:
    """(n,) nats of each row: of its label, or summed over the decisions of all labels. p, truth:
    (n, C)."""
    kept = np.clip(p, FLOOR, 1 - FLOOR)
    if kind == "single":
        return np.asarray(-np.log(kept[truth]), dtype=np.float32)
    return np.asarray(-np.where(truth, np.log(kept), np.log(1 - kept)).sum(1), dtype=np.float32)


def worse_beyond_noise(losses: Floats, others: Floats) -> bool:
    """Whether the mean of (m,) losses is above that of `others`, of the same rows, by more than
    noise; NaN where nobody knows."""
    more = (losses - others).astype(np.float64)
    more = more[~np.isnan(more)]
    error = more.std(ddof=1) / math.sqrt(len(more)) if len(more) > 1 else 0.0
    return bool(more.mean() > BEYOND_NOISE * error)


def leaner(
    held: Held, fitted: tuple[Fusion, Floats], kind: Kind, seed: int, *, without: str
) -> tuple[Fusion, Floats]:
    """What `calibrated` gave for all of the scorers, or, unless that is worse beyond noise, for all
    but one, whose weight is then 0."""
    fusion, crossed = fitted
    rest = {name: z for name, z in held.margins.items() if name != without}
    lean, crossed_lean = calibrated(replace(held, margins=rest), kind, seed)
    losses, others = (row_losses(p, held.truth, kind) for p in (crossed_lean, crossed))
    if worse_beyond_noise(losses, others):
        return fitted
    weights = {**fusion.weights, **lean.weights, without: 0.0}
    return replace(lean, weights=weights, parts=fusion.parts), crossed_lean


def scope_of(held: Held, fusion: Fusion) -> Scope:
    """How far out a text is, by its energy and by its distance to the known vectors.

    Both signals count the same until texts that must be refused say otherwise."""
    energies = energy(fusion.logits(held.margins))
    signals = np.stack([energies, held.distances], 1)
    scope = Scope(
        signals.mean(0).astype(np.float32),
        np.maximum(signals.std(0), 1e-6).astype(np.float32),
        np.ones(2, dtype=np.float32),
        _NONE,
    )
    return replace(scope, in_scope=np.sort(scope.scores(energies, held.distances)))


def weighted_scope(classifier: FusedClassifier, held: Held, out_of_scope: Sequence[str]) -> Scope:
    """The scope with the weights that best separate these texts from held-out in-scope rows."""
    scope, fusion = classifier.scope, classifier.fusion
    margins, distances = classifier.margins([text for text in out_of_scope if text.strip()])
    energies = energy(fusion.logits(held.margins))
    inside = np.stack([energies, held.distances], 1)
    outside = np.stack([energy(fusion.logits(margins)), distances], 1)
    signals = (np.concatenate([inside, outside]) - scope.means) / scope.deviations
    refused = np.arange(len(signals)) >= len(inside)
    found = LogisticRegression(class_weight="balanced").fit(signals, refused).coef_[0]
    weights = np.maximum(found, 0.0)
    if not weights.any():
        return scope
    fresh = replace(scope, weights=(2 * weights / weights.sum()).astype(np.float32))
    return replace(fresh, in_scope=np.sort(fresh.scores(energies, held.distances)))
