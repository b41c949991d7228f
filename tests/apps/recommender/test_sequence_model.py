"""The residual sequence model: what it starts as, what it may see, that it learns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.recommender.interactions import Interactions
from apps.recommender.profiles import histories, recency_weights, stretches
from apps.recommender.sequence_model import (
    SequenceModel,
    item_shares,
    item_vectors,
    load_model,
    new_model,
    save_model,
    user_vectors,
)
from apps.recommender.sequence_training import (
    MOST_PLACES,
    batches,
    planned_epochs,
    ranking_watch,
    train_sequence,
)
from apps.recommender.settings import ProfileSettings, SequenceSettings
from apps.recommender.splits import leave_last_out
from apps.recommender.vectors import unit_rows
from shared.errors import ModelError

Build = Callable[..., Interactions]
SETTINGS = SequenceSettings(hidden=16, negatives=16, batch_size=16, dropout=0.0, least_steps=0)


def start_vectors(
    items: int = 12, width: int = 8
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return unit_rows(np.random.default_rng(1).normal(size=(items, width)).astype(np.float32))


def model_of(start: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> SequenceModel:
    return new_model(start, SETTINGS, decay=0.5, seed=1)


def test_before_training_it_is_the_recency_weighted_mean_of_the_texts(log_of: Build) -> None:
    start = start_vectors()
    log = log_of({"ann": [0, 3, 5], "bob": [7]}, 12)
    past = histories(log, np.array([0, 1]), 10)
    shares = recency_weights(past, ProfileSettings(decay=0.5), has_clock=False)
    model = model_of(start)
    assert item_vectors(model) == pytest.approx(start, abs=1e-6)
    expected = unit_rows(np.einsum("ul,uld->ud", shares, start[past.items]))
    assert user_vectors(model, start, past) == pytest.approx(expected, abs=1e-5)
    assert item_shares(model, past) == pytest.approx(shares, abs=1e-5)


def trained_a_little() -> SequenceModel:
    model = model_of(start_vectors())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def test_no_step_sees_what_comes_after_it() -> None:
    model = trained_a_little()
    vectors = torch.randn(1, 6, 8)
    weights = torch.ones(1, 6)
    changed = vectors.clone()
    changed[0, 4:] += 1.0
    before, after = model.users(vectors, weights), model.users(changed, weights)
    assert torch.allclose(before[0, :4], after[0, :4], atol=1e-6)
    assert not torch.allclose(before[0, 4:], after[0, 4:], atol=1e-3)


def test_padding_and_company_do_not_change_a_user(log_of: Build) -> None:
    model = trained_a_little()
    log = log_of({"ann": [0, 3], "bob": [7, 1, 2, 4, 5]}, 12)
    items = item_vectors(model)
    alone = user_vectors(model, items, histories(log, np.array([0]), 10))
    together = user_vectors(model, items, histories(log, np.array([1, 0]), 10))
    assert together[1] == pytest.approx(alone[0], abs=1e-5)


def test_a_user_without_a_history_is_a_vector_of_zeros() -> None:
    log = Interactions(
        ("ann", "bob"), 12, np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1, np.int64),
        np.ones(1, np.float32), False,
    )  # fmt: skip
    model = trained_a_little()
    found = user_vectors(model, item_vectors(model), histories(log, np.array([0, 1]), 5))
    assert found[0].any()
    assert not found[1].any()


def test_it_learns_an_order_that_the_texts_do_not_tell(log_of: Build) -> None:
    """Everybody walks 0, 1, 2 … 11, 0: what comes next is planted, the texts are noise."""
    rng = np.random.default_rng(0)
    starts = rng.integers(12, size=120)
    log = log_of({f"u{n}": [(s + i) % 12 for i in range(5)] for n, s in enumerate(starts)}, 12)
    split = leave_last_out(log)
    watch = ranking_watch(split, 10, seed=1)
    model = model_of(start_vectors())
    settings = SETTINGS.model_copy(
        update={"learning_rate": 1e-2, "id_rate": 2e-2, "id_weight_decay": 0.0, "patience": 20}
    )
    fit = train_sequence(
        model, split.known, settings=settings, epochs=15, seed=1, watch=watch, say=lambda _: None
    )
    assert fit.quality[0] < 0.6
    assert max(fit.quality) > 0.95
    assert watch(model) == pytest.approx(max(fit.quality))  # the best weights are kept


def test_training_stops_when_told_and_when_nothing_is_gained(log_of: Build) -> None:
    log = log_of({f"u{n}": [n % 12, (n + 1) % 12] for n in range(40)}, 12)
    model = model_of(start_vectors())
    told = train_sequence(
        model, log, settings=SETTINGS, epochs=5, stop_after=2, seed=1, say=lambda _: None
    )
    assert (told.epochs, told.stopped_because) == (2, "told to stop after 2")
    flat = train_sequence(
        model, log, settings=SETTINGS, epochs=9, seed=1, watch=lambda _: 0.5, say=lambda _: None
    )
    assert (flat.epochs, flat.stopped_because) == (0, "no gain in 3 epochs")


def test_a_batch_of_long_histories_holds_fewer_of_them(log_of: Build) -> None:
    """Without a limit on places a few users with long histories would be a single step."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 60, size=300)
    log = log_of({f"u{n}": [i % 12 for i in range(size)] for n, size in enumerate(sizes)}, 12)
    past = stretches(log, np.arange(300), 51)
    found = list(batches(past, 256, np.random.default_rng(1)))
    assert sorted(np.concatenate(found)) == list(range(len(past)))
    lengths = past.lengths
    assert all(len(rows) * lengths[rows].max() <= MOST_PLACES for rows in found)
    assert max(map(len, found)) > 2 * MOST_PLACES / 51  # short ones still go together


def test_the_watch_counts_all_that_a_user_took(log_of: Build) -> None:
    """The model ranks by its texts alone: items 1 and 2 are as far from 0 as they look."""
    start = unit_rows(np.array([[1, 0], [1, 0.1], [1, 1], [1, 0.5], [-1, 0]], np.float32))
    split = leave_last_out(log_of({"ann": [0, 2]}, 5))
    both = replace(split, user=np.array([0, 0]), item=np.array([1, 2]))
    # 1, 3, 2, 4 is the order: places 1 and 3 of two targets.
    expected = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert ranking_watch(both, 5, seed=1)(model_of(start)) == pytest.approx(expected)


def test_a_small_log_gets_more_epochs(log_of: Build) -> None:
    log = log_of({f"u{n}": [0, 1] for n in range(32)}, 12)  # two batches of 16
    assert planned_epochs(log, SETTINGS.model_copy(update={"least_steps": 30})) == 15
    assert planned_epochs(log, SETTINGS.model_copy(update={"least_steps": 10_000})) == 40
    assert planned_epochs(log, SETTINGS.model_copy(update={"epochs": 0})) == 0


def test_a_saved_model_is_the_same_model(tmp_path: Path, log_of: Build) -> None:
    model = trained_a_little()
    save_model(model, tmp_path)
    again = load_model(tmp_path, start_vectors())
    past = histories(log_of({"ann": [0, 3, 5]}, 12), np.array([0]), 10)
    items = item_vectors(model)
    assert item_vectors(again) == pytest.approx(items)
    assert user_vectors(again, items, past) == pytest.approx(user_vectors(model, items, past))


def test_a_model_of_another_catalogue_is_refused(tmp_path: Path) -> None:
    save_model(trained_a_little(), tmp_path)
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path, start_vectors(items=5))
    assert str(caught.value) == (
        f"{tmp_path / 'sequence.safetensors'}: made for 12 items of 8 dimensions, "
        "the text vectors are 5 of 8"
    )
