"""A wide teacher's views of a text in the width of a narrower student.

A student that begins as another encoder cannot give the teacher's vectors: they are wider than its
own. It learns their principal components, as many as it has dimensions, turned as near to what it
says already as a rotation brings them. Distances between texts stay but for what the components
left out held. Scale and mean are the student's own: a classifier centres its views and gives them
one length.

Source: Schönemann 1966, A generalized solution of the orthogonal Procrustes problem, for the turn.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from shared.errors import ModelError

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StudentSpace:
    """means: (views, wide) of the teacher. turns: (views, wide, dim); of each the columns are
    orthogonal and of one length. offsets: (views, dim) the student's own means. kept: (views,) the
    share of the teacher's spread that the components hold, 0 to 1."""

    means: Floats
    turns: Floats
    offsets: Floats
    kept: Floats

    def __call__(self, features: Floats) -> Floats:
        """(n, views * wide) of the teacher -> (n, views * dim)."""
        views = features.reshape(len(features), *self.means.shape) - self.means
        turned = np.einsum("nvw,vwd->nvd", views, self.turns, optimize=True) + self.offsets
        return np.asarray(turned.reshape(len(features), -1), dtype=np.float32)

    def save(self, path: Path) -> None:
        save_file({name: np.ascontiguousarray(each) for name, each in vars(self).items()}, path)

    @classmethod
    def load(cls, path: Path) -> "StudentSpace":
        return cls(**load_file(path))


def student_space(teacher: Floats, student: Floats, views: int) -> StudentSpace:
    """teacher: (n, views * wide), student: (n, views * dim) features of the same texts, of which
    there should be several times `wide`.

    Raises ModelError: the student is wider than its teacher.
    """
    wide, dim = teacher.shape[1] // views, student.shape[1] // views
    if dim > wide:
        raise ModelError(
            f"a student of {dim} dimensions and a teacher of {wide}: the teacher must have as many "
            "or more"
        )
    theirs = teacher.reshape(-1, views, wide).astype(np.float64)
    ours = student.reshape(-1, views, dim).astype(np.float64)
    means, offsets = theirs.mean(0), ours.mean(0)
    turns, kept = [], []
    for centred, own in zip(
        np.moveaxis(theirs - means, 1, 0), np.moveaxis(ours - offsets, 1, 0), strict=True
    ):
        spread, axes = np.linalg.eigh(centred.T @ centred)  # ascending
        basis = axes[:, -dim:]
        parts = centred @ basis
        left, _, right = np.linalg.svd(parts.T @ own)
        scale = np.sqrt(np.square(own).sum() / max(np.square(parts).sum(), 1e-12))
        turns.append(basis @ (left @ right) * scale)
        kept.append(spread[-dim:].sum() / max(spread.sum(), 1e-12))
    found = (np.asarray(each, dtype=np.float32) for each in (means, turns, offsets, kept))
    return StudentSpace(*found)
