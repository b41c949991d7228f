"""Heads on vectors that do not change: a convex problem, solved in seconds by L-BFGS.

The whole of the method `frozen`, and the start of every other: heads that begin where the
pretrained vectors already separate the labels do not tear at the encoder in its first steps.
Source: Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.training.objectives import HeadsObjective, measure

# Strength C as in logistic regression on vectors of length 1: the loss of a row against the
# squared weights. What is best lies in this range from 5 rows a label to 200 (BANKING77).
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
START_STRENGTH = 10.0
MOST_ITERATIONS = 100


@dataclass(frozen=True)
class ProbeFit:
    """One strength: mean loss of the training rows, and what validation measured."""

    strength: float
    loss: float
    metrics: dict[str, float]


def fit_heads(
    objective: HeadsObjective, vectors: Tensor, targets: Tensor, *, strength: float
) -> float:
    """Fit all heads to (n, dim) vectors and (n, width) targets, wherever those are; the mean loss
    reached.

    Minimises loss + |w|^2 * mean(|x|^2) / (2 C n), which for vectors of length 1 is logistic
    regression with that C. The encoder and the biases are not penalised.
    """
    heads = objective.model.heads
    objective.eval()
    vectors, targets = _beside(heads, vectors, targets)
    penalty = float(vectors.square().sum(1).mean()) / (2 * strength * len(vectors))
    weights = [p for p in heads.parameters() if p.ndim > 1]
    optimiser = torch.optim.LBFGS(
        heads.parameters(),
        max_iter=MOST_ITERATIONS,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )
    reached = float("nan")

    def closure() -> Tensor:
        nonlocal reached
        optimiser.zero_grad()
        loss: Tensor = objective(targets, vectors=vectors)["loss"]
        reached = loss.item()
        total = loss + penalty * torch.stack([w.square().sum() for w in weights]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    optimiser.zero_grad()
    return reached


def choose_strength(
    objective: HeadsObjective,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    *,
    metric: str,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[ProbeFit, ...]:
    """Fit each strength; each head keeps the weights that were best on its own validation rows.

    train, validation: vectors and targets. The path goes from the strongest penalty to the
    weakest, each fit from the last one's weights. A tie goes to the stronger penalty.
    """
    names = [head.spec.name for head in objective.columns]
    best = dict.fromkeys(names, -1.0)
    kept = {name: copy.deepcopy(objective.model.heads[name].state_dict()) for name in names}
    fits: list[ProbeFit] = []
    for strength in sorted(strengths):
        loss = fit_heads(objective, *train, strength=strength)
        metrics = measure(objective.columns, *_predicted(objective, *validation))
        fits.append(ProbeFit(strength, loss, metrics))
        for name in names:
            value = metrics.get(f"{name}_{metric}", 0.0)
            if value > best[name]:
                best[name] = value
                kept[name] = copy.deepcopy(objective.model.heads[name].state_dict())
    for name in names:
        objective.model.heads[name].load_state_dict(kept[name])
    return tuple(fits)


def _predicted(
    objective: HeadsObjective, vectors: Tensor, targets: Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits and targets as arrays."""
    objective.eval()
    vectors, targets = _beside(objective.model.heads, vectors, targets)
    with torch.no_grad():
        logits = objective(targets, vectors=vectors)["logits"]
    return logits.cpu().numpy(), targets.cpu().numpy()


def _beside(heads: nn.Module, *given: Tensor) -> tuple[Tensor, ...]:
    """On the device of the heads, which a trainer may have moved to a GPU already."""
    device = next(heads.parameters()).device
    return tuple(tensor.to(device) for tensor in given)
