"""Rows of one label pulled together, all others apart: what few labelled rows teach best.

The loss of the heads moves a vector only until the heads are right, which ten rows a label soon
make them; this one orders the whole space, and a scorer that is fitted on the vectors afterwards
profits. Each row is compared with every other of its batch, so that batches hold rows of a label in
pairs, where random ones of 32 rows and 77 labels hold few.

Source: Khosla et al. 2020, Supervised Contrastive Learning, equation 2 (L_out).
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Sampler

from shared.training.batches import WINDOW_BATCHES, HeadColumns

TEMPERATURE = 0.1  # the source's best, not varied here


def contrastive_losses(
    vectors: Tensor, labels: Tensor, *, temperature: float = TEMPERATURE
) -> Tensor:
    """(rows,): of each row, the mean over the others p of its label of
    -log(exp(x.p / t) / sum over all others a of exp(x.a / t)), vectors brought to length 1.

    vectors: (rows, dim). labels: (rows,). 0 for a row that is alone with its label.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        x = functional.normalize(vectors.float(), dim=1)
        scores = x @ x.T / temperature  # (rows, rows)
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    # Finite, so that the gradient of a batch of one row is 0 and not NaN.
    logs = functional.log_softmax(scores.masked_fill(itself, torch.finfo(x.dtype).min), dim=1)
    same = (labels[:, None] == labels) & ~itself
    others = same.sum(1)
    return -logs.masked_fill(~same, 0.0).sum(1) / others.clamp(min=1)


def pairing_keys(columns: Sequence[HeadColumns], targets: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n,): equal for rows of one label of the first single-label head that they have a target for;
    a number of its own for a row without any. targets: (n, width) of all heads."""
    keys = -1 - np.arange(len(targets), dtype=np.int64)
    free = np.ones(len(targets), dtype=bool)
    for head in columns:
        if head.spec.kind == "single":
            own = targets[:, head.targets.start]
            rows = free & ~np.isnan(own)
            keys[rows] = head.logits.start + own[rows].astype(np.int64)
            free &= ~rows
    return keys


class PairedBatches(Sampler[list[int]]):
    """Batches made of pairs of rows with the same key, of similar length, in random order.

    A pure function of (seed, epoch), as LengthGroupedBatches. Which rows meet is drawn anew in each
    epoch; the odd rows of keys are put two and two, and each row occurs once. batch_size: an odd
    one may be exceeded by a row.
    """

    def __init__(
        self,
        keys: NDArray[np.int64],
        lengths: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self.keys = keys
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(math.ceil(len(self.keys) / 2) / self._pairs)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        drawn = rng.permutation(len(self.keys))
        drawn = drawn[np.argsort(self.keys[drawn], kind="stable")]
        _, starts = np.unique(self.keys[drawn], return_index=True)
        groups = np.split(drawn, starts[1:])
        pairs = [group[at : at + 2] for group in groups for at in range(0, len(group) - 1, 2)]
        odd = rng.permutation([group[-1] for group in groups if len(group) % 2])
        pairs += [odd[at : at + 2] for at in range(0, len(odd), 2)]
        order = rng.permutation(len(pairs))
        batches: list[list[int]] = []
        window = self._pairs * WINDOW_BATCHES
        for start in range(0, len(order), window):
            near = sorted(
                (pairs[at] for at in order[start : start + window]),
                key=lambda pair: int(self.lengths[pair].max()),
            )
            batches += [
                np.concatenate(near[at : at + self._pairs]).tolist()
                for at in range(0, len(near), self._pairs)
            ]
        for at in rng.permutation(len(batches)):
            yield batches[at]

    @property
    def _pairs(self) -> int:
        return math.ceil(self.batch_size / 2)
