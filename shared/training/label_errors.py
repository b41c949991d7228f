"""Labels that are probably wrong, by confident learning; they are listed, never removed.

Source: Northcutt, Jiang and Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset
Labels (JAIR 70), sections 3.1 and 3.2. A row counts as truly j where its probability of j, from a
model that did not see it, reaches what rows labelled j have on average. Rows of several labels are
taken as one question, yes or no, for each label.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.training.examples import SEPARATOR, Examples

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
NOBODY = -1  # no label is confident


@dataclass(frozen=True)
class Suspect:
    """A row whose label is probably wrong.

    row: its number in the examples, from 0. given, suggested: label names, several joined by |.
    margin: probability of the suggested label less that of the given one, 0..1; of the surest of
    the labels to be changed where there are several.
    """

    row: int
    text: str
    given: str
    suggested: str
    margin: float


@dataclass(frozen=True)
class LabelNoise:
    """rows: of those judged, how many have the label. wrong: the share of them, 0..1, that the
    confident joint holds for something else."""

    label: str
    rows: int
    wrong: float


@dataclass(frozen=True)
class LabelErrors:
    """suspects: the largest margin first. labels: the noisiest first. judged: rows that a model
    which had not seen them could judge; the others, of labels seen once, are never suspects."""

    suspects: tuple[Suspect, ...]
    labels: tuple[LabelNoise, ...]
    judged: int

    @property
    def words(self) -> str:
        """The finding in a sentence."""
        told = f"{len(self.suspects)} of {self.judged} labels are probably wrong"
        worst = [noise for noise in self.labels if noise.wrong > 0][:3]
        if not worst:
            return told
        listed = ", ".join(f"{n.label} ({100 * n.wrong:.0f} % of {n.rows})" for n in worst)
        return f"{told}; estimated noise is highest in {listed}"


@dataclass(frozen=True, eq=False)
class ConfidentJoint:
    """thresholds: (C,) mean probability of a label over the rows given it. counts: (C, C) rows
    given i and confidently j. truth: (n,) the confident label of each row, or NOBODY."""

    thresholds: Floats
    counts: Codes
    truth: Codes

    @property
    def shares(self) -> Floats:
        """(C, C) of the rows given i, the share that is truly j; rows sum to 1. A label without
        any confident row is taken to be right."""
        total = self.counts.sum(1, keepdims=True)
        trusted = np.where(total > 0, self.counts, np.eye(len(self.counts), dtype=np.int64))
        return np.asarray(trusted / trusted.sum(1, keepdims=True), dtype=np.float64)


def confident_joint(probabilities: Floats, given: Codes) -> ConfidentJoint:
    """probabilities: (n, C) of rows from models that did not see them; given: (n,) label codes.

    Where several labels reach their threshold, the likeliest of them counts (equation 2).
    """
    classes = probabilities.shape[1]
    thresholds = np.full(classes, np.inf)  # a label that no row has is confident nowhere
    for j in range(classes):
        if (given == j).any():
            thresholds[j] = probabilities[given == j, j].mean()
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    truth = np.where((reached >= 0).any(1), reached.argmax(1), NOBODY)
    counts = np.zeros((classes, classes), dtype=np.int64)
    known = truth != NOBODY
    np.add.at(counts, (given[known], truth[known]), 1)
    return ConfidentJoint(thresholds, counts, truth)


def find_label_errors(examples: Examples, out_of_fold: NDArray[np.float32]) -> LabelErrors:
    """The rows off the diagonal of the confident joint, but for those whose given label is the
    likeliest all the same.

    out_of_fold: (n, C) probabilities in the order of examples.names, as FusedFit has them; NaN
    where a row was never held out.
    Raises DataError when the shape does not fit or no row was held out.
    """
    wanted = (len(examples), len(examples.names))
    if out_of_fold.shape != wanted:
        raise DataError(
            f"out-of-fold probabilities of shape {out_of_fold.shape} for {wanted[0]} examples of "
            f"{wanted[1]} labels: expected one row an example and one column a label"
        )
    rows = np.flatnonzero(~np.isnan(out_of_fold).any(1))
    if not len(rows):
        raise DataError(
            "no row was judged by a model that had not seen it: label errors are found with the "
            "frozen encoder, on labels of two or more different texts"
        )
    p = out_of_fold[rows].astype(np.float64)
    truth = examples.targets(examples.names)[rows]
    find = _single if examples.kind == "single" else _multi
    suspects, noise = find(examples, rows, p, truth)
    return LabelErrors(
        tuple(sorted(suspects, key=lambda each: (-each.margin, each.row))),
        tuple(sorted(noise, key=lambda each: (-each.wrong, each.label))),
        len(rows),
    )


def _single(
    examples: Examples, rows: Codes, p: Floats, truth: NDArray[np.bool_]
) -> tuple[list[Suspect], list[LabelNoise]]:
    names, given = examples.names, truth.argmax(1)
    joint = confident_joint(p, given)
    margins = p[np.arange(len(p)), joint.truth] - p[np.arange(len(p)), given]
    wrong = (joint.truth != NOBODY) & (joint.truth != given) & (margins > 0)
    suspects = [
        Suspect(
            int(rows[i]),
            examples.texts[rows[i]],
            names[given[i]],
            names[joint.truth[i]],
            float(margins[i]),
        )
        for i in np.flatnonzero(wrong)
    ]
    kept = np.diag(joint.shares)
    return suspects, [
        LabelNoise(name, int((given == j).sum()), float(1 - kept[j]))
        for j, name in enumerate(names)
    ]


def _multi(
    examples: Examples, rows: Codes, p: Floats, truth: NDArray[np.bool_]
) -> tuple[list[Suspect], list[LabelNoise]]:
    names = examples.names
    margins = np.zeros(p.shape)  # above 0 where the label is to be given or taken away
    noise = []
    for j, name in enumerate(names):
        given = truth[:, j].astype(np.int64)
        joint = confident_joint(np.stack([1 - p[:, j], p[:, j]], 1), given)
        other = (joint.truth != NOBODY) & (joint.truth != given)
        margin = np.where(truth[:, j], 1 - 2 * p[:, j], 2 * p[:, j] - 1)
        margins[:, j] = np.where(other & (margin > 0), margin, 0.0)
        noise.append(LabelNoise(name, int(given.sum()), float(joint.shares[1, 0])))
    better = truth ^ (margins > 0)
    return [
        Suspect(
            int(rows[i]),
            examples.texts[rows[i]],
            _joined(names, truth[i]),
            _joined(names, better[i]),
            float(margins[i].max()),
        )
        for i in np.flatnonzero((margins > 0).any(1))
    ], noise


def _joined(names: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    return SEPARATOR.join(name for name, said in zip(names, chosen, strict=True) if said)
