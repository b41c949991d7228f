"""Rows to learn from: the data sets of all heads in one table, in batches of similar length.

A text that occurs for several heads (topic and sentiment of one headline) becomes one row with
both targets, so that one forward pass serves both; where a head has no target, the row holds NaN.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from shared.errors import DataError
from shared.modeling.encoder import Encoder
from shared.modeling.heads import HeadSpec
from shared.training.examples import Examples
from shared.training.machine import Machine

# Rows are sorted by length inside a window of so many batches: windows of 50 pad short texts by 3
# to 6 %, where random batches pad them by 100 to 190 % (tweets, bank questions; batches of 32).
WINDOW_BATCHES = 50
TOKENISED_AT_ONCE = 1000
ENCODED_AT_ONCE = 64


@dataclass(frozen=True)
class HeadTask:
    """What one head learns from, and what early stopping measures it on.

    weight: of this head's loss beside the others', whatever their numbers of rows.
    """

    spec: HeadSpec
    train: Examples
    validation: Examples
    weight: float = 1.0


@dataclass(frozen=True)
class HeadColumns:
    """Where a head's logits lie in the row of all logits, and its targets in the row of targets.

    A head of kind "single" has one target, the number of the label; a "multi" head has as many
    targets, 0 or 1, as labels.
    """

    spec: HeadSpec
    logits: slice
    targets: slice


class Rows(Dataset[dict[str, Any]]):
    """inputs: n lists of token ids. targets: (n, width) float32."""

    def __init__(self, inputs: Sequence[list[int]], targets: NDArray[np.float32]) -> None:
        self.inputs = inputs
        self.targets = targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"inputs": self.inputs[row], "targets": self.targets[row]}

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) tokens of each row."""
        return np.array([len(row) for row in self.inputs], dtype=np.int64)

    def by_length(self) -> "Rows":
        """The same rows, the shortest first: an evaluation in this order pads next to nothing."""
        order = np.argsort(self.lengths, kind="stable")
        return Rows([self.inputs[row] for row in order], self.targets[order])


class LengthGroupedBatches(Sampler[list[int]]):
    """Batches of rows of similar length in random order, a pure function of (seed, epoch).

    The Trainer's own length sampler draws from the global generator, so that a run resumed in
    the middle of an epoch would see other batches than the unbroken one.
    """

    def __init__(self, lengths: NDArray[np.int64], *, batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths))
        window = self.batch_size * WINDOW_BATCHES
        batches: list[list[int]] = []
        for start in range(0, len(order), window):
            rows = order[start : start + window]
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
            batches += [
                rows[at : at + self.batch_size].tolist()
                for at in range(0, len(rows), self.batch_size)
            ]
        for at in rng.permutation(len(batches)):
            yield batches[at]


class Collator:
    """Pads a batch to its own longest row, or all to one length; states of lower layers too, where
    rows have them.

    part: (rank, processes), of which each takes its rows of every batch: rank, rank + processes, …
    and what the sum of the losses is divided by, see HeadsObjective.loss. A process for which
    none is left gets a row without targets, so that it keeps step.
    """

    def __init__(
        self, pad_token_id: int, *, pad_to: int | None = None, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.pad_token_id = pad_token_id
        self.pad_to = pad_to
        self.part = part

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        rank, processes = self.part
        own = rows[rank::processes] or rows[:1]
        targets = torch.from_numpy(np.stack([row["targets"] for row in own]))
        if rank >= len(rows):
            targets = torch.full_like(targets, torch.nan)
        inputs = [row["inputs"] for row in own]
        batch = {**padded(inputs, self.pad_token_id, self.pad_to), "labels": targets}
        if "states" in own[0]:
            states = [row["states"] for row in own]
            batch["states"] = padded_states(states, batch["input_ids"].shape[1])
        if processes > 1:
            batch["divisor"] = torch.tensor(len(rows) / processes)
        return batch


def padded(
    rows: Sequence[Sequence[int]], pad_token_id: int, pad_to: int | None = None
) -> dict[str, Tensor]:
    """input_ids and attention_mask, (n, longest) or (n, pad_to)."""
    width = pad_to or max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad_token_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[at, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def padded_states(rows: Sequence[Tensor], width: int) -> Tensor:
    """(length, dim) each -> (n, width, dim), zeros after the end of a row."""
    states = rows[0].new_zeros((len(rows), width, rows[0].shape[1]))
    for at, row in enumerate(rows):
        states[at, : len(row)] = row
    return states


def columns_of(specs: Sequence[HeadSpec]) -> tuple[HeadColumns, ...]:
    """The heads side by side, in their order."""
    found: list[HeadColumns] = []
    logit = target = 0
    for spec in specs:
        width = 1 if spec.kind == "single" else len(spec.labels)
        found.append(
            HeadColumns(
                spec,
                slice(logit, logit + len(spec.labels)),
                slice(target, target + width),
            )
        )
        logit += len(spec.labels)
        target += width
    return tuple(found)


def merge(
    columns: Sequence[HeadColumns], parts: Sequence[Examples]
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Texts and their (n, width) targets, NaN where a head says nothing about a text.

    parts: the examples of each head. The k-th row of a text in one part meets the k-th row of the
    same text in another, so that a text with two labels for one head stays two rows.

    Raises DataError for a label that the head does not have.
    """
    width = columns[-1].targets.stop
    place: dict[tuple[str, int], int] = {}
    texts: list[str] = []
    targets: list[NDArray[np.float32]] = []
    for head, examples in zip(columns, parts, strict=True):
        seen: Counter[str] = Counter()
        for text, row in zip(examples.texts, targets_of(head.spec, examples), strict=True):
            key = (text, seen[text])
            seen[text] += 1
            if key not in place:
                place[key] = len(texts)
                texts.append(text)
                targets.append(np.full(width, np.nan, dtype=np.float32))
            targets[place[key]][head.targets] = row
    return tuple(texts), np.stack(targets)


def targets_of(spec: HeadSpec, examples: Examples) -> NDArray[np.float32]:
    """(n, 1) label numbers for kind "single", (n, labels) of 0 and 1 for "multi"."""
    unknown = sorted(set(examples.names) - set(spec.labels))
    if unknown:
        raise DataError(
            f"head {spec.name!r} has no label {unknown[0]!r}; its labels are "
            f"{', '.join(spec.labels[:5])}{' ...' if len(spec.labels) > 5 else ''}"
        )
    if spec.kind == "multi":
        return examples.targets(spec.labels).astype(np.float32)
    number: Mapping[str, int] = {label: i for i, label in enumerate(spec.labels)}
    return np.array([[number[label]] for label in examples.single], dtype=np.float32)


def tokenise(encoder: Encoder, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, prefix and special tokens included, cut at the encoder's length."""
    rows: list[list[int]] = []
    for start in range(0, len(texts), TOKENISED_AT_ONCE):
        batch = encoder.tokenizer(
            [encoder.prefix + text for text in texts[start : start + TOKENISED_AT_ONCE]],
            truncation=True,
            max_length=encoder.max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        rows += batch["input_ids"]
    return rows


def encode(
    encoder: Encoder, rows: Sequence[Sequence[int]], *, machine: Machine
) -> NDArray[np.float32]:
    """(n, dim): the encoder's vector of each row of token ids, in their order; without dropout.

    Each distinct row is encoded once, in batches of similar length.
    """
    distinct = sorted({tuple(row) for row in rows}, key=lambda row: (len(row), row))
    encoder.to(machine.device).eval()
    pad = int(encoder.tokenizer.pad_token_id)
    found: dict[tuple[int, ...], NDArray[np.float32]] = {}
    with torch.no_grad(), machine.autocast():
        for start in range(0, len(distinct), ENCODED_AT_ONCE):
            chunk = distinct[start : start + ENCODED_AT_ONCE]
            batch = {name: value.to(machine.device) for name, value in padded(chunk, pad).items()}
            vectors = encoder(**batch).float().cpu().numpy()
            found.update(zip(chunk, vectors, strict=True))
    return np.stack([found[tuple(row)] for row in rows])
