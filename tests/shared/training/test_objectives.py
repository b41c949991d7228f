"""The loss over heads against values worked by hand, and what validation measures."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.modeling.heads import HeadSpec
from shared.training.batches import columns_of
from shared.training.objectives import HeadsObjective, head_scales, label_weights, measure

SENTIMENT = HeadSpec("sentiment", "single", ("bad", "good"))
TOPICS = HeadSpec("topics", "multi", ("bank", "shoe", "tea"))
COLUMNS = columns_of([SENTIMENT, TOPICS])
NAN = float("nan")


def objective(
    weights: list[Tensor | None] | None = None,
    scales: tuple[float, float] = (1.0, 1.0),
    smoothing: float = 0.0,
) -> HeadsObjective:
    """Without a model: only its loss is asked for."""
    return HeadsObjective(
        torch.nn.Module(),  # type: ignore[arg-type]
        COLUMNS,
        scales=scales,
        label_weights=weights or [None, None],
        label_smoothing=smoothing,
    )


# Two rows: the first has a sentiment only, the second topics only.
LOGITS = torch.tensor([[0.0, math.log(3), 0.0, 0.0, 0.0], [0.0, 0.0, math.log(3), 0.0, 0.0]])
LABELS = torch.tensor([[0.0, NAN, NAN, NAN], [NAN, 1.0, 0.0, 1.0]])


def test_each_head_learns_from_its_own_rows() -> None:
    # -log(1/4) for the sentiment; -log(3/4), -log(1/2), -log(1/2) over three for the topics.
    expected = (math.log(4) + (math.log(4 / 3) + 2 * math.log(2)) / 3) / 2
    assert objective().loss(LOGITS, LABELS).item() == pytest.approx(expected)


def test_scales_and_label_weights_multiply_the_rows_loss() -> None:
    loss = objective([torch.tensor([3.0, 1.0]), None], (2.0, 1.0)).loss(LOGITS, LABELS).item()
    expected = (2 * 3 * math.log(4) + (math.log(4 / 3) + 2 * math.log(2)) / 3) / 2
    assert loss == pytest.approx(expected)


def test_label_smoothing_spreads_the_target() -> None:
    # Single: 0.9 of the true label and 0.1 halved over both. Several: 1 -> .95, 0 -> .05.
    single = 0.95 * math.log(4) + 0.05 * math.log(4 / 3)
    topics = (0.95 * math.log(4 / 3) + 0.05 * math.log(4) + 2 * math.log(2)) / 3
    found = objective(smoothing=0.1).loss(LOGITS, LABELS).item()
    assert found == pytest.approx((single + topics) / 2)


def test_a_batch_without_any_target_gives_zero_and_a_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = objective().loss(logits, torch.full((2, 4), NAN))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None


def test_heads_weigh_the_same_whatever_their_number_of_rows() -> None:
    targets = np.full((12, 4), NAN, dtype=np.float32)
    targets[:10, 0] = 1
    targets[9:, 1:] = 0
    assert head_scales(COLUMNS, targets, [1.0, 1.0]) == pytest.approx((12 / 20, 12 / 6))
    # Twice the weight for one of two heads: 4/3 and 2/3 of the mean.
    assert head_scales(COLUMNS, targets, [2.0, 1.0]) == pytest.approx((0.6 * 4 / 3, 2.0 * 2 / 3))
    assert head_scales(COLUMNS[:1], targets[:10], [5.0]) == pytest.approx((1.0,))


def test_balanced_weights_make_every_label_count_the_same() -> None:
    targets = np.array([[0], [0], [0], [1], [NAN]], dtype=np.float32)
    head = columns_of([SENTIMENT])[0]
    balanced = label_weights(head, targets, "balanced")
    root = label_weights(head, targets, "sqrt")
    assert label_weights(head, targets, "none") is None
    assert balanced is not None
    assert root is not None
    assert balanced.tolist() == pytest.approx([4 / 6, 2.0])  # 3 * 4/6 == 1 * 2
    torch.testing.assert_close(root, balanced.sqrt())


def test_balanced_weights_of_several_labels_weigh_the_positives() -> None:
    targets = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=np.float32)
    weights = label_weights(columns_of([TOPICS])[0], targets, "balanced")
    assert weights is not None
    assert weights.tolist() == pytest.approx([3.0, 1.0, 1 / 3])  # a label never seen counts 1


def test_measure_by_hand() -> None:
    # Sentiment: truth bad bad good, guess bad good good: F1 2/3 each, accuracy 2/3.
    # Topics, 2 rows: bank 1/1, tea missed once of once, shoe never true: F1 (1 + 0) / 2.
    logits = np.array(
        [
            [1, 0, 0, 0, 0],
            [0, 1, 0, 0, 0],
            [0, 1, 2, -1, -1],
            [9, 0, -2, -1, -1],
        ],
        dtype=np.float32,
    )
    targets = np.array(
        [[0, NAN, NAN, NAN], [0, NAN, NAN, NAN], [1, 1, 0, 0], [NAN, 0, 0, 1]], dtype=np.float32
    )
    found = measure(COLUMNS, logits, targets)
    assert found["sentiment_macro_f1"] == pytest.approx(2 / 3)
    assert found["sentiment_accuracy"] == pytest.approx(2 / 3)
    assert found["topics_macro_f1"] == pytest.approx(0.5)
    assert found["topics_accuracy"] == pytest.approx(0.5)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0.5) / 2)
    assert found["accuracy"] == pytest.approx((2 / 3 + 0.5) / 2)


def test_a_head_without_validation_rows_is_left_out_of_the_mean() -> None:
    targets = np.array([[0, NAN, NAN, NAN]], dtype=np.float32)
    found = measure(COLUMNS, np.zeros((1, 5), dtype=np.float32), targets)
    assert found["macro_f1"] == 1.0
    assert "topics_macro_f1" not in found
