"""Whether fine-tuning is kept: by hand, and at the size that is stated."""

from pathlib import Path

import numpy as np
import pytest

from shared.inference.runtime import Embedder, load_embedder
from shared.training.examples import Examples
from shared.training.fusion import fit_fused
from shared.training.worth import losses_on, worth_it

WORDS = {"bad": "loss", "good": "profit"}


def rows(count: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    filler = "the a my was is where how late when will it help please hello".split()
    labels = [sorted(WORDS)[at % 2] for at in range(count)]
    hints = [WORDS[at] if rng.uniform() < 0.7 else "tea" for at in labels]
    texts = [" ".join(rng.permutation([*rng.choice(filler, 6), hint])) for hint in hints]
    return Examples(tuple(texts), tuple((label,) for label in labels), np.arange(count))


def nats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_with_many_rows_the_loss_must_get_lower() -> None:
    assert worth_it(nats(0.1, 0.5), nats(0.2, 0.5), few=False)
    assert not worth_it(nats(0.2, 0.5), nats(0.2, 0.5), few=False)
    assert not worth_it(nats(0.3, 0.5), nats(0.2, 0.5), few=False)


def test_rows_that_nobody_judged_before_do_not_count() -> None:
    assert worth_it(nats(0.1, 9.0), nats(0.2, np.nan), few=False)


def test_with_few_rows_it_may_be_worse_within_noise() -> None:
    """Differences -1, 1, -1, 1 and a shift: the standard error is 2 / sqrt(3) / 2 = .577."""
    swing = nats(-1, 1, -1, 1)
    assert worth_it(swing + np.float32(0.9), nats(0, 0, 0, 0), few=True)
    assert not worth_it(swing + np.float32(1.0), nats(0, 0, 0, 0), few=True)
    assert not worth_it(swing + np.float32(0.9), nats(0, 0, 0, 0), few=False)
    assert not worth_it(nats(1, 1, 1), nats(0, 0, 0), few=True)  # worse, and no noise at all


def test_an_equal_encoder_is_left_out_as_seldom_as_is_stated() -> None:
    """Of two systems with the same losses but for noise the newer is kept in 95 % of cases."""
    rng = np.random.default_rng(5)
    kept = [
        worth_it(
            rng.exponential(0.5, 90).astype(np.float32),
            rng.exponential(0.5, 90).astype(np.float32),
            few=True,
        )
        for _ in range(2000)
    ]
    assert np.mean(kept) == pytest.approx(0.95, abs=0.015)


def test_the_losses_before_are_those_of_predictions_out_of_fold(tiny_encoder: Path) -> None:
    embedder: Embedder = load_embedder(tiny_encoder, precision="fp32", threads=1)
    known = rows(40, 1)
    fit = fit_fused(known, embedder=embedder, threads=1)
    fit.out_of_fold[5] = np.nan
    part = known.take(np.array([7, 5, 2]))
    truth = [fit.classifier.labels.index(label) for label in part.single]
    found = losses_on(fit, known, part)
    expected = -np.log(fit.out_of_fold[[7, 5, 2], truth])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(found).tolist() == [False, True, False]
    # On all rows they are what the figures of the fusion are of.
    whole = fit_fused(known, embedder=embedder, threads=1)
    losses = losses_on(whole, known, known)
    assert losses.mean() == pytest.approx(whole.fused.nll, rel=1e-5)
    np.testing.assert_allclose(np.sort(losses), np.sort(whole.losses), rtol=1e-5)
    assert np.ptp(losses) > 0.1
