"""Integrated gradients through a torch encoder: the rival that explanations are measured against.

Needs the encoder's float weights, so it speaks for int8 vectors only as far as the two agree; what
is served (explain.py) asks the runtime itself. Source: Sundararajan et al. 2017, equation 3 (a
Riemann sum at midpoints), from padding tokens to the text's.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.evaluation.text_units import Segmented
from shared.inference.classifier import DENSE, FINETUNED, FusedClassifier
from shared.inference.dense import DenseScorer
from shared.modeling.encoder import Encoder

Head = Callable[[Tensor], Tensor]
"""(n, k * dim) features of the encoder -> (n,) a scorer's part in the log-odds."""
STEPS = 32


def dense_head(classifier: FusedClassifier, contrast: NDArray[np.float64]) -> Head:
    """The weighted part of the dense scorer on the base encoder, differentiable."""
    return _head(classifier.dense, classifier.fusion.weights[DENSE] * contrast)


def finetuned_head(classifier: FusedClassifier, contrast: NDArray[np.float64]) -> Head:
    """That of the scorer on the fine-tuned encoder. Raises ValueError when there is none."""
    if classifier.tuned is None:
        raise ValueError("this classifier has no fine-tuned scorer")
    return _head(classifier.tuned, classifier.fusion.weights[FINETUNED] * contrast)


def _head(scorer: DenseScorer, weights: NDArray[np.float64]) -> Head:
    """dense.DenseScorer in torch. weights: (C,) of the labels' margins."""
    kernel = scorer.kernel
    centre = torch.from_numpy(scorer.views.centre)  # (k, dim)
    shares = torch.from_numpy(scorer.views.shares)[:, None]  # (k, 1)
    weight = torch.from_numpy(kernel.weight)
    known = torch.from_numpy(scorer.known[: len(kernel.weight)])
    direction = torch.from_numpy(weights.astype(np.float32))

    def head(features: Tensor) -> Tensor:
        views = features.view(-1, *centre.shape) - centre
        unit = (torch.nn.functional.normalize(views, dim=2) * shares).flatten(1)
        near = torch.exp(2 * kernel.gamma * (unit @ known.T - 1))
        return torch.log((near @ weight).clamp(min=0) + kernel.floor) @ direction

    return head


def integrated_gradients(
    encoder: Encoder, head: Head, segmented: Segmented, *, steps: int = STEPS
) -> NDArray[np.float64]:
    """(units,) the parts of the units' tokens; they sum to head(text) - head(padding) as `steps`
    grows. Tokens past the encoder's max_length have none."""
    batch = encoder.tokenizer(
        encoder.prefix + segmented.text,
        truncation=True,
        max_length=encoder.max_length,
        return_offsets_mapping=True,
        return_token_type_ids=False,
        return_tensors="pt",
    )
    ids, mask = batch["input_ids"], batch["attention_mask"]
    offsets = batch["offset_mapping"][0].numpy() - len(encoder.prefix)
    embedding = cast(Any, encoder.model).get_input_embeddings()
    with torch.no_grad():
        wanted = embedding(ids)[0]  # (length, width)
        blank = embedding(torch.tensor(int(encoder.tokenizer.pad_token_id or 0)))
        # Special tokens and the prefix are the same in every text: they stay as they are.
        own = torch.from_numpy((offsets[:, 1] > offsets[:, 0]) & (offsets[:, 1] > 0))
        start = torch.where(own[:, None], blank, wanted)
        along = (torch.arange(steps) + 0.5) / steps
        path = start + along[:, None, None] * (wanted - start)  # (steps, length, width)
    path.requires_grad_()
    # The hook puts the path where the token embeddings would be, so that the encoder runs as ever.
    hook = embedding.register_forward_hook(lambda *_: path)
    try:
        features = encoder.features(ids.expand(steps, -1), mask.expand(steps, -1))
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(head(features).sum(), path)
    tokens = ((wanted - start) * gradient.mean(0)).sum(1).double().numpy()
    return _by_unit(tokens, offsets, segmented)


def _by_unit(
    tokens: NDArray[np.float64], offsets: NDArray[np.int64], segmented: Segmented
) -> NDArray[np.float64]:
    """A token's part goes to the units it overlaps, by characters."""
    found = np.zeros(len(segmented.units))
    for part, (start, end) in zip(tokens, offsets, strict=True):
        shared = np.array(
            [max(0, min(end, u.end) - max(start, u.start)) for u in segmented.units], float
        )
        if shared.sum() > 0:
            found += part * shared / shared.sum()
    return found
