"""Pair scoring for `triptych benchmark methods`: do two questions of BANKING77 have one label?

A question is never in two parts. Half of the pairs have one label; of the others half are drawn at
random, which words alone tell apart, and half are of labels that lie near each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.public_sets import Parts
from shared.errors import DataError
from shared.inference.runtime import Embedder, load_embedder
from shared.modeling.text_model import TextModel
from shared.near_duplicates import near_duplicate_groups
from shared.pretrained import PretrainedEncoder
from shared.training.examples import Examples, split
from shared.training.machine import machine_of, threads_limited
from shared.training.options import TrainOptions
from shared.training.pair_models import PAIR_HEAD, pair_tokens
from shared.training.pairs import ScoredPairs

Floats = NDArray[np.float64]
Told = NDArray[np.bool_]
Near = Mapping[str, Sequence[str]]
# What each pair of a part is, in turn: of one label, of any other, of one label, of a near one.
KINDS = ("one", "any", "one", "near")
NEAR_LABELS = 3
TEXTS_OF_A_LABEL = 20  # from which its place among the others is computed
STOPPING_TEXTS = 0.2  # share of the training questions that the stopping pairs are made of
READ_AT_ONCE = 64


@dataclass(frozen=True)
class QuestionPairs:
    """Scores are 1 where both questions have one label, else 0."""

    train: ScoredPairs
    stopping: ScoredPairs
    judged: ScoredPairs


def question_pairs(
    parts: Parts, near: Near, *, train: int, stopping: int, judged: int, seed: int
) -> QuestionPairs:
    """So many pairs each: the judged ones of questions held out, the others of the training part,
    less those of which the held part has a copy. near: of each label those that are near to it.

    Raises DataError: there are not so many questions.
    """
    rng = np.random.default_rng(seed)
    groups = near_duplicate_groups((*parts.train.texts, *parts.held.texts))
    rest = np.flatnonzero(~np.isin(groups[: len(parts.train)], groups[len(parts.train) :]))
    halves = split(parts.train.take(rest), fraction=STOPPING_TEXTS, seed=seed)
    return QuestionPairs(
        _drawn(halves.train, near, train, rng),
        _drawn(halves.validation, near, stopping, rng),
        _drawn(parts.held, near, judged, rng),
    )


def _drawn(part: Examples, near: Near, count: int, rng: np.random.Generator) -> ScoredPairs:
    """Every pair begins with another question, and no pair is of two copies of one."""
    part = part.take(list({text: row for row, text in enumerate(part.texts)}.values()))
    labels = np.array(part.single)
    found: dict[frozenset[int], tuple[int, int]] = {}
    for left in rng.permutation(len(part)).tolist():
        if len(found) == count:
            break
        kind = KINDS[len(found) % len(KINDS)]
        if kind == "one":
            wanted = (labels == labels[left]) & (part.groups != part.groups[left])
        elif kind == "any":
            wanted = labels != labels[left]
        else:
            wanted = np.isin(labels, near[labels[left]])
        if wanted.any():
            right = int(rng.choice(np.flatnonzero(wanted)))
            found.setdefault(frozenset((left, right)), (left, right))
    if len(found) < count:
        raise DataError(f"{len(part)} questions make {len(found)} pairs: expected {count}")
    lefts, rights = (tuple(part.texts[pair[side]] for pair in found.values()) for side in (0, 1))
    scores = tuple(float(labels[left] == labels[right]) for left, right in found.values())
    return ScoredPairs(lefts, rights, scores)


def near_labels(examples: Examples, embedder: Embedder) -> dict[str, tuple[str, ...]]:
    """Label -> the three others whose mean vectors have the highest cosine with its own."""
    labels = np.array(examples.single)
    means = np.stack([
        embedder.encode([examples.texts[row] for row in rows]).mean(0)
        for name in examples.names
        for rows in [np.flatnonzero(labels == name)[:TEXTS_OF_A_LABEL]]
    ])  # fmt: skip
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosines = means @ means.T  # (labels, labels)
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(NEAR_LABELS, len(means) - 1)]
    return {
        name: tuple(examples.names[at] for at in own)
        for name, own in zip(examples.names, nearest.tolist(), strict=True)
    }


def matching(pairs: ScoredPairs) -> Told:
    """(n,) whether each pair has one label."""
    return np.array([score == 1 for score in pairs.scores], dtype=np.bool_)


def frozen_embedder(base: PretrainedEncoder, options: TrainOptions) -> Embedder:
    """The encoder as it is, in fp32."""
    return load_embedder(
        base.path, precision="fp32", prefix=base.prefix, max_length=options.max_length,
        threads=options.threads, device=options.device,
    )  # fmt: skip


def cosines_of(pairs: ScoredPairs, embedder: Embedder) -> Floats:
    """(n,) of the two vectors of each pair."""
    vectors = embedder.encode([*pairs.lefts, *pairs.rights])
    left, right = np.split(vectors.astype(np.float64), 2)  # (n, dim) each
    return np.asarray((left * right).sum(1))


def best_cut(cosines: Floats, match: Told) -> float:
    """The cosine from which on a pair is said to match, so that most of these are told rightly:
    half way between two of them, or infinite where all are best said to be of one kind.

    >>> best_cut(np.array([0.1, 0.5, 0.7, 0.9]), np.array([False, True, False, True]))
    0.3
    """
    values = np.unique(cosines)
    cuts = np.concatenate([[-np.inf], (values[:-1] + values[1:]) / 2, [np.inf]])
    right = ((cosines >= cuts[:, None]) == match).mean(1)  # (cuts,)
    return float(cuts[right.argmax()])


def told_by_scorer(folder: Path, pairs: ScoredPairs, options: TrainOptions) -> Told:
    """(n,) whether the scorer in `folder` finds a match more probable than none, in fp32."""
    with threads_limited(options.threads):
        device = machine_of(options).device
        model = TextModel.load(folder).to(device)
        told = []
        with torch.inference_mode():
            for start in range(0, len(pairs), READ_AT_ONCE):
                some = slice(start, start + READ_AT_ONCE)
                lefts, rights = list(pairs.lefts[some]), list(pairs.rights[some])
                tokens = pair_tokens(model.encoder, lefts, rights)
                given = {name: value.to(device) for name, value in tokens.items()}
                told.append(model(**given)[PAIR_HEAD.name][:, 0] > 0)
    return np.asarray(torch.cat(told).cpu().numpy(), dtype=np.bool_)
