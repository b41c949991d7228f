"""Which unlabelled texts to label next: those the model doubts, and no two of a kind in one batch.

Of the most doubtful texts, a batch is drawn as k-means++ draws its centres, each next text with a
chance proportional to its doubt times its squared distance to the texts chosen before. Sources:
Zhdanov 2019, Diverse mini-batch Active Learning (the preselection, the weights); Arthur and
Vassilvitskii 2007, k-means++ (the draw).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.inference.batches import unit_length
from shared.inference.classifier import Kind
from shared.inference.runtime import Embedder
from shared.training.examples import Examples
from shared.training.fusion import fit_fused
from shared.training.learning_curve import right_rows

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Measure = Literal["margin", "entropy"]
Strategy = Literal["active", "random"]
Say = Callable[[str], None]
# Candidates for each text of a batch. With fewer, a batch crowds where the doubt is greatest; with
# the whole pool, most of a batch is texts the model is nearly sure of.
PRESELECTED = 5


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """A model trained on `labels` rows. right: (t,) whether each test row was labelled right."""

    strategy: Strategy
    seed: int
    labels: int
    right: NDArray[np.bool_]


def doubt(probabilities: Floats, kind: Kind, *, measure: Measure = "margin") -> Floats:
    """(n,) 0..1 from calibrated probabilities (n, C): 0 where the model is sure.

    "margin": 1 less the lead of the likeliest label over the next. "entropy": that of the row,
    divided by ln C. kind "multi": each label is a question of its own (yes or no), and the most
    doubtful of them counts.

    >>> doubt(np.float32([[0.6, 0.3, 0.1]]), "single").round(2).tolist()
    [0.699999988079071]
    """
    if kind == "multi":
        both = np.stack([probabilities, 1 - probabilities], axis=2)  # (n, C, 2)
        return np.asarray(_doubt(both, measure).max(1), dtype=np.float32)
    return np.asarray(_doubt(probabilities, measure), dtype=np.float32)


def _doubt(p: Floats, measure: Measure) -> Floats:
    """Over the last axis."""
    if measure == "entropy":
        kept = np.clip(p, 1e-12, 1)
        return np.asarray(-(kept * np.log(kept)).sum(-1) / np.log(p.shape[-1]))
    top = np.partition(p, -2, axis=-1)
    return np.asarray(1 - (top[..., -1] - top[..., -2]))


def choose_batch(doubts: Floats, vectors: Floats, groups: Rows, count: int, *, seed: int) -> Rows:
    """(at most count,) rows to label next, in the order drawn; one at most of each group.

    doubts: (n,) >= 0; vectors: (n, d) of length 1; groups: (n,) equal for near duplicates. Fewer
    than `count` come back where there are fewer groups. The same seed gives the same rows.
    Raises DataError when lengths differ or count is below 1.
    """
    if not len(doubts) == len(vectors) == len(groups):
        raise DataError(
            f"{len(doubts)} doubts, {len(vectors)} vectors and {len(groups)} groups: the three "
            "must be equally many"
        )
    if count < 1:
        raise DataError(f"a batch of {count} texts: expected at least 1")
    rng = np.random.default_rng(seed)
    order = np.argsort(-doubts, kind="stable")
    # The most doubtful of each group stands for it.
    order = order[np.sort(np.unique(groups[order], return_index=True)[1])]
    order = order[: PRESELECTED * count]
    points, weight = vectors[order].astype(np.float64), doubts[order].astype(np.float64)
    distance = np.ones(len(order))
    left = np.ones(len(order), dtype=np.bool_)
    chosen: list[int] = []
    for _ in range(min(count, len(order))):
        chance = np.where(left, weight * distance, 0.0)
        if chance.sum() <= 0:  # only sure texts or copies are left: any of them is as good
            chance = left.astype(np.float64)
        pick = int(rng.choice(len(order), p=chance / chance.sum()))
        chosen.append(pick)
        left[pick] = False
        square = np.maximum(2 - 2 * (points @ points[pick]), 0.0)
        distance = np.minimum(distance if len(chosen) > 1 else np.inf, square)
    return np.asarray(order[chosen], dtype=np.int64)


def simulate(
    pool: Examples,
    test: Examples,
    *,
    embedder: Embedder,
    strategy: Strategy,
    per_label: int,
    batch: int,
    rounds: int,
    seed: int,
    threads: int = 2,
    say: Say = lambda _: None,
) -> tuple[CurvePoint, ...]:
    """Label a pool whose labels are known as if they were not: a curve of labels and accuracy.

    Starts with `per_label` rows a label, drawn at random, the same for every strategy of one seed;
    then `rounds` times `batch` rows, chosen by the model of the round before, or at random. Labels
    of the pool are looked at only once their row is chosen. embedder: is asked for the same texts
    again and again; give one that remembers.

    Raises DataError: a label with fewer than two rows, per_label below 2.
    """
    if per_label < 2:
        raise DataError(f"{per_label} rows a label to start with: expected at least 2")
    known = _start(pool, per_label, seed)
    vectors = unit_length(embedder.features(pool.texts)[:, : embedder.dim])
    points: list[CurvePoint] = []
    for step in range(rounds + 1):
        fit = fit_fused(
            pool.take(known), embedder=embedder, kind=pool.kind, seed=seed, threads=threads
        )
        classifier = fit.classifier
        decided = classifier.decide(classifier.predict_proba(test.texts))
        right = right_rows(decided, classifier.labels, test)
        points.append(CurvePoint(strategy, seed, len(known), right))
        say(f"seed {seed}, {strategy}: {len(known):,} labels, accuracy {right.mean():.4f}")
        rest = np.setdiff1d(np.arange(len(pool)), known)
        if step == rounds or not len(rest):
            break
        if strategy == "random":
            new = np.random.default_rng([seed, step]).permutation(rest)[:batch]
        else:
            p = classifier.predict_proba([pool.texts[row] for row in rest])
            new = rest[
                choose_batch(doubt(p, pool.kind), vectors[rest], pool.groups[rest], batch,
                             seed=seed + step)
            ]  # fmt: skip
        known = np.sort(np.concatenate([known, new]))
    return tuple(points)


def _start(pool: Examples, per_label: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    truth = pool.targets(pool.names)
    drawn = [
        rng.permutation(np.flatnonzero(truth[:, j]))[:per_label] for j in range(truth.shape[1])
    ]
    return np.unique(np.concatenate(drawn))
