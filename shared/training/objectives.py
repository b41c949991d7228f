"""Classification with one or more heads on one encoder: the loss, and what validation measures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.nn import functional

from shared.modeling.layer_split import LayerSplit
from shared.modeling.text_model import TextModel
from shared.training.batches import HeadColumns
from shared.training.options import ClassWeights
from shared.training.supervised_contrastive import contrastive_losses


class HeadsObjective(nn.Module):
    """One pass through the encoder, one loss over all heads.

    Single label: cross entropy. Several labels: binary cross entropy, the mean over the labels.
    A row counts for the heads it has a target for. scales: factor of each head's rows, so that
    every head weighs the same (or as its task says) whatever its number of rows. split: where the
    lower layers do not learn; they then compute without dropout. contrastive: weight, in training
    alone, of the supervised contrastive loss of each single-label head's rows.
    """

    def __init__(
        self,
        model: TextModel,
        columns: Sequence[HeadColumns],
        *,
        scales: Sequence[float],
        label_weights: Sequence[Tensor | None],
        label_smoothing: float,
        split: LayerSplit | None = None,
        contrastive: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.split = split
        self.columns = tuple(columns)
        self.scales = tuple(scales)
        self.label_smoothing = label_smoothing
        self.contrastive = contrastive
        for at, weights in enumerate(label_weights):
            self.register_buffer(f"label_weights_{at}", weights, persistent=False)

    def forward(
        self,
        labels: Tensor,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        vectors: Tensor | None = None,
        divisor: Tensor | None = None,
        states: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """labels: (batch, targets), NaN where a head has none. vectors: (batch, dim) in the place
        of token ids, where the encoder does not learn; states: (batch, length, dim) below the
        layers that do. divisor: (), see `loss`. Gives loss () and logits (batch, logits).
        """
        learned = self.training and vectors is None
        if vectors is None:
            vectors = self._encoded(input_ids, attention_mask, states)
        heads = [self.model.heads[head.spec.name](vectors) for head in self.columns]
        logits = torch.cat(heads, dim=1).float()  # (batch, logits of all heads)
        loss = self.loss(logits, labels, divisor)
        if learned and self.contrastive:
            loss = loss + self.contrastive * self.contrast(vectors, labels)
        return {"loss": loss, "logits": logits}

    def _encoded(self, input_ids: Any, attention_mask: Any, states: Tensor | None) -> Any:
        """(batch, dim)"""
        if self.split is None:
            return self.model.encoder(input_ids, attention_mask)
        if states is None:
            states = self.split.lower(input_ids, attention_mask)
        return self.split.upper(states, attention_mask)

    def loss(self, logits: Tensor, labels: Tensor, divisor: Tensor | None = None) -> Tensor:
        """(): sum over heads of scale * sum of the head's rows / rows of the batch.

        Dividing by the rows of the batch and not of the head keeps the gradient unbiased: a head
        with one row in a batch does not outweigh another with thirty. divisor: () instead of the
        rows, where these are one process's part of a batch: all its rows / processes, so that the
        mean of the processes' gradients is the gradient of the batch.
        """
        shared = len(labels) if divisor is None else divisor
        total = logits.sum() * 0.0
        for at, (head, scale) in enumerate(zip(self.columns, self.scales, strict=True)):
            targets = labels[:, head.targets]
            rows = ~torch.isnan(targets[:, 0])
            if rows.any():
                losses = self._row_losses(at, head, logits[rows, head.logits], targets[rows])
                total = total + scale * losses.sum() / shared
        return total

    def contrast(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """(): sum over single-label heads of scale * sum of its rows' contrastive losses / rows of
        the batch. vectors: (batch, dim). The batch must be whole: no divisor."""
        total = vectors.sum() * 0.0
        for head, scale in zip(self.columns, self.scales, strict=True):
            own = labels[:, head.targets.start]
            rows = ~torch.isnan(own)
            if head.spec.kind == "single" and rows.any():
                total = total + scale * contrastive_losses(vectors[rows], own[rows]).sum()
        return total / len(labels)

    def _row_losses(self, at: int, head: HeadColumns, logits: Tensor, targets: Tensor) -> Tensor:
        """(rows,)"""
        weights: Tensor | None = getattr(self, f"label_weights_{at}")
        if head.spec.kind == "single":
            return functional.cross_entropy(
                logits,
                targets[:, 0].long(),
                weight=weights,
                label_smoothing=self.label_smoothing,
                reduction="none",
            )
        soft = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(
            logits, soft, pos_weight=weights, reduction="none"
        ).mean(1)


def head_scales(
    columns: Sequence[HeadColumns], targets: NDArray[np.float32], weights: Sequence[float]
) -> tuple[float, ...]:
    """Factor of each head's rows: rows / (heads * rows of the head), times the task's weight.

    The weights are brought to a mean of 1. With one head the factor is 1.
    """
    mean = sum(weights) / len(weights)
    own = [int((~np.isnan(targets[:, head.targets.start])).sum()) for head in columns]
    return tuple(
        weight / mean * len(targets) / (len(columns) * rows)
        for rows, weight in zip(own, weights, strict=True)
    )


def label_weights(
    head: HeadColumns, targets: NDArray[np.float32], mode: ClassWeights
) -> Tensor | None:
    """(labels,) weight of each label's rows, or None where all count alike.

    "balanced": for kind "single" n / (labels * rows of the label), for "multi" the weight of a
    positive, (n - positives) / positives; "sqrt": its square root. A label without rows gets 1.
    """
    if mode == "none":
        return None
    own = targets[:, head.targets]
    own = own[~np.isnan(own[:, 0])]
    labels = len(head.spec.labels)
    if head.spec.kind == "single":
        counts = np.bincount(own[:, 0].astype(np.int64), minlength=labels)
        weights = len(own) / (labels * np.maximum(counts, 1))
    else:
        counts = own.sum(0)
        weights = (len(own) - counts) / np.maximum(counts, 1)
    weights = np.where(counts > 0, weights, 1.0)
    if mode == "sqrt":
        weights = np.sqrt(weights)
    return torch.tensor(weights, dtype=torch.float32)


def measure(
    columns: Sequence[HeadColumns], logits: NDArray[np.float32], targets: NDArray[np.float32]
) -> dict[str, float]:
    """Macro-F1 and accuracy of each head on its own rows, and their means over the heads.

    macro_f1: mean over the labels that occur in the targets. accuracy: of the most probable label
    for kind "single"; of the whole set of labels at probability .5 for "multi".
    A head without rows is left out of the means; NaN where no head has any.
    """
    found: dict[str, float] = {}
    for head in columns:
        own = targets[:, head.targets]
        rows = ~np.isnan(own[:, 0])
        if rows.any():
            f1, accuracy = _head_figures(head, logits[rows, head.logits], own[rows])
            found |= {f"{head.spec.name}_macro_f1": f1, f"{head.spec.name}_accuracy": accuracy}
    for name in ("macro_f1", "accuracy"):
        values = [value for key, value in found.items() if key.endswith(f"_{name}")]
        found[name] = float(np.mean(values)) if values else float("nan")
    return found


def _head_figures(
    head: HeadColumns, logits: NDArray[np.float32], targets: NDArray[np.float32]
) -> tuple[float, float]:
    if head.spec.kind == "single":
        truth, guess = targets[:, 0].astype(np.int64), logits.argmax(1)
        present = np.unique(truth)
        accuracy = float((truth == guess).mean())
    else:
        truth, guess = targets.astype(np.int64), (logits > 0).astype(np.int64)
        present = np.flatnonzero(truth.any(0))
        accuracy = float((truth == guess).all(1).mean())
        if not len(present):
            return float(not guess.any()), accuracy
    f1 = f1_score(truth, guess, labels=present, average="macro", zero_division=0.0)
    return float(f1), accuracy
