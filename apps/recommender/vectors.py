"""Item vectors: what the encoder says of the texts, whitened so that a mean over them can rank."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from shared.errors import ModelError

Vectors = NDArray[np.float32]
FILE = "whitening.safetensors"


@dataclass(frozen=True, eq=False)
class Whitening:
    """x -> unit((x - mean) @ axes). mean: (raw,). axes: (raw, d), each scaled by 1 / √(variance).

    Sentence vectors fill a narrow cone: the mean of a few of them is close to everything, and
    the common directions drown the telling ones. Whitening gives each direction equal say
    (Su et al. 2021, arXiv 2103.15316); measured here it adds a third to the NDCG of a plain mean.
    """

    mean: Vectors
    axes: Vectors

    @property
    def dimensions(self) -> int:
        return int(self.axes.shape[1])

    def __call__(self, raw: Vectors) -> Vectors:
        """(n, raw) -> (n, d) of unit length."""
        whitened: Vectors = ((raw - self.mean) @ self.axes).astype(np.float32)
        return unit_rows(whitened)

    def save(self, folder: Path) -> None:
        save_file(
            {"mean": np.ascontiguousarray(self.mean), "axes": np.ascontiguousarray(self.axes)},
            folder / FILE,
        )


def load_whitening(folder: Path) -> Whitening:
    """Raises: ModelError when the file is not there."""
    path = folder / FILE
    if not path.is_file():
        raise ModelError(f"{path}: is missing from the model folder")
    tensors = load_file(path)
    return Whitening(tensors["mean"], tensors["axes"])


def fit_whitening(raw: Vectors, dimensions: int, floor: float = 1e-4) -> Whitening:
    """The `dimensions` widest principal axes of raw (n, width), fewer where the data have fewer.

    floor: added to each variance, so that an axis nobody uses is not blown up to noise.
    """
    mean = raw.mean(0)
    centred = (raw - mean).astype(np.float64)
    covariance = centred.T @ centred / max(1, len(raw) - 1)
    variances, axes = np.linalg.eigh(covariance)  # ascending
    keep = np.argsort(variances)[::-1][: min(dimensions, len(raw) - 1, raw.shape[1])]
    keep = keep[variances[keep] > 1e-9] if (variances[keep] > 1e-9).any() else keep[:1]
    scaled = axes[:, keep] / np.sqrt(np.maximum(variances[keep], 0) + floor)
    return Whitening(mean.astype(np.float32), scaled.astype(np.float32))


def unit_rows(vectors: Vectors) -> Vectors:
    """Each row scaled to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit
