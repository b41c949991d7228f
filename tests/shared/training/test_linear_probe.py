"""Heads on fixed vectors: the same optimum as logistic regression, the best strength kept."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from shared.modeling.heads import Head, HeadSpec
from shared.training.batches import columns_of
from shared.training.linear_probe import choose_strength, fit_heads
from shared.training.objectives import HeadsObjective

SPEC = HeadSpec("tone", "single", ("bad", "dull", "good"))
TOPICS = HeadSpec("topics", "multi", ("bank", "tea"))


def objective(*specs: HeadSpec) -> HeadsObjective:
    torch.manual_seed(0)
    model = nn.Module()
    model.heads = nn.ModuleDict({spec.name: Head(spec, 6) for spec in specs})
    return HeadsObjective(
        model,  # type: ignore[arg-type]
        columns_of(specs),
        scales=[1.0] * len(specs),
        label_weights=[None] * len(specs),
        label_smoothing=0.0,
    )


def data(rows: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit vectors around three directions, with overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    vectors = np.eye(6)[labels] + rng.normal(0, 0.6, (rows, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), labels.astype(np.float32)[:, None]


def tensors(part: tuple[NDArray[np.float32], NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(part[0]), torch.from_numpy(part[1])


@pytest.mark.parametrize("strength", [0.3, 10.0])
def test_the_probe_is_logistic_regression_with_that_c(strength: float) -> None:
    vectors, targets = data(200, 1)
    probe = objective(SPEC)
    fit_heads(probe, *tensors((vectors, targets)), strength=strength)
    rival = LogisticRegression(C=strength, tol=1e-8, max_iter=2000).fit(vectors, targets[:, 0])
    with torch.no_grad():
        ours = probe.model.heads["tone"](torch.from_numpy(vectors)).softmax(1).numpy()
    np.testing.assert_allclose(ours, rival.predict_proba(vectors), atol=2e-3)


def test_the_strength_that_validation_likes_best_is_kept() -> None:
    probe = objective(SPEC)
    train, held = tensors(data(60, 1)), tensors(data(200, 2))
    fits = choose_strength(probe, train, held, metric="accuracy", strengths=(1e-4, 1.0, 100.0))
    best = max(fit.metrics["accuracy"] for fit in fits)
    assert [fit.strength for fit in fits] == [1e-4, 1.0, 100.0]
    assert fits[0].loss > fits[1].loss > fits[2].loss
    guess = probe.model.heads["tone"](held[0]).argmax(1)
    assert (guess == held[1][:, 0]).float().mean().item() == pytest.approx(best)
    assert best > 0.6  # chance is a third


def test_each_head_keeps_its_own_strength_and_learns_from_its_own_rows() -> None:
    probe = objective(SPEC, TOPICS)
    vectors, tones = data(120, 3)
    topics = (vectors[:, 3:5] > 0).astype(np.float32)
    targets = np.hstack([tones, topics])
    targets[:60, 0] = np.nan
    targets[60:, 1:] = np.nan
    part = tensors((vectors, targets))
    fits = choose_strength(probe, part, part, metric="macro_f1", strengths=(1.0, 1000.0))
    best = {
        name: max(fit.metrics[f"{name}_macro_f1"] for fit in fits) for name in ("tone", "topics")
    }
    assert best["tone"] > 0.8
    assert best["topics"] > 0.95
    with torch.no_grad():
        guess = probe.model.heads["topics"](part[0][:60]) > 0
    assert (guess == part[1][:60, 1:].bool()).float().mean() > 0.95


def test_vectors_and_targets_go_where_a_trainer_has_moved_the_heads() -> None:
    """The device without memory stands for a GPU: reading the loss is the first thing it cannot do,
    and a vector left behind would have been refused before that."""
    probe = objective(SPEC)
    probe.to("meta")
    with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):
        fit_heads(probe, *tensors(data(20, 1)), strength=1.0)
