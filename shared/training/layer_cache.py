"""The output of the lower layers that do not learn, computed once for each distinct text.

What changes in training is above it, so that an epoch costs the upper layers alone. Kept in memory
without padding in half precision: 2 * dim bytes a token, 11 MB for a thousand texts of 15 tokens
at 384 dimensions. A run that goes on after a kill computes it again; so does each process of
several, for all rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.modeling.layer_split import LayerSplit
from shared.training.batches import ENCODED_AT_ONCE, Rows, padded, padded_states
from shared.training.machine import Machine

# Ten bits of mantissa; the states of a layer end in a normalisation, far from the largest, 65504.
STORAGE = torch.float16


@dataclass(frozen=True, eq=False)
class RaggedStates:
    """Rows of different lengths without padding. tokens: (all tokens, dim), one row's after the
    other's. starts: (rows + 1,), where each row begins and the last one ends."""

    tokens: Tensor
    starts: NDArray[np.int64]

    @classmethod
    def empty(cls, lengths: NDArray[np.int64], dim: int, kind: torch.dtype) -> "RaggedStates":
        """Room for rows of these lengths."""
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(torch.empty((int(starts[-1]), dim), dtype=kind), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> Tensor:
        """(length, dim), a view."""
        return self.tokens[int(self.starts[row]) : int(self.starts[row + 1])]


class CachedRows(Rows):
    """Rows with the states that their texts have below the layers that learn.

    states: of each distinct row of token ids. place: (n,) which of them is each row's.
    """

    def __init__(self, rows: Rows, states: RaggedStates, place: NDArray[np.int64]) -> None:
        super().__init__(rows.inputs, rows.targets)
        self.states = states
        self.place = place

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {**super().__getitem__(row), "states": self.states[int(self.place[row])]}


def cached(
    parts: Sequence[Rows],
    split: LayerSplit,
    *,
    dim: int,
    pad_token_id: int,
    machine: Machine,
    budget_mb: float,
    say: Callable[[str], None],
) -> list[Rows]:
    """The parts with the lower states of every row, or as they are where that does not fit.

    budget_mb: MiB for all parts together; 0 caches nothing. say: hears what was done.
    """
    if not budget_mb:
        return list(parts)
    distinct = sorted(
        {tuple(row) for part in parts for row in part.inputs}, key=lambda row: (len(row), row)
    )
    lengths = np.array([len(row) for row in distinct], dtype=np.int64)
    size = int(lengths.sum()) * dim * STORAGE.itemsize / 2**20
    again = "it is computed again in every step"
    if size > budget_mb:
        say(f"The output of the frozen layers takes {size:.0f} of {budget_mb:g} MiB: {again}")
        return list(parts)
    states = RaggedStates.empty(lengths, dim, STORAGE)
    for start in range(0, len(distinct), ENCODED_AT_ONCE):
        chunk = distinct[start : start + ENCODED_AT_ONCE]
        batch = {n: v.to(machine.device) for n, v in padded(chunk, pad_token_id).items()}
        with machine.autocast():
            found = split.lower(**batch)
        for at, row in enumerate(chunk):
            states[start + at].copy_(found[at, : len(row)])
    if not bool(torch.isfinite(states.tokens).all()):
        say(f"The output of the frozen layers is too large for half precision: {again}")
        return list(parts)
    say(f"The output of the frozen layers: {len(distinct)} texts in {size:.0f} MiB of memory")
    number = {row: at for at, row in enumerate(distinct)}
    return [
        CachedRows(part, states, np.array([number[tuple(row)] for row in part.inputs]))
        for part in parts
    ]


def upper_vectors(split: LayerSplit, rows: CachedRows, *, machine: Machine) -> Tensor:
    """(n, dim) float32: the encoder's vector of each row, from its states; without gradients.

    Dropout is off if the encoder is in evaluation mode.
    """
    order = np.argsort(rows.lengths, kind="stable")
    found: list[Tensor] = []
    with torch.no_grad(), machine.autocast():
        for start in range(0, len(order), ENCODED_AT_ONCE):
            chunk = [rows[int(row)]["states"] for row in order[start : start + ENCODED_AT_ONCE]]
            lengths = torch.tensor([len(row) for row in chunk])
            mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
            states = padded_states(chunk, mask.shape[1])
            vectors = split.upper(states.to(machine.device), mask.to(machine.device))
            found.append(vectors.float().cpu())
    return torch.cat(found)[torch.from_numpy(np.argsort(order, kind="stable"))]
