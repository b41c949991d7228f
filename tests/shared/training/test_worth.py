"""Whether fine-tuning is kept: by hand, and at the size that is stated."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.inference.runtime import Embedder, load_embedder
from shared.pretrained import PretrainedEncoder
from shared.training.examples import Examples
from shared.training.fused_scorers import Held
from shared.training.fusion import fit_fused
from shared.training.fusion_weights import calibrated, leaner, row_losses, worse_beyond_noise
from shared.training.head_data import HeadData
from shared.training.learning import learn
from shared.training.learning_tuned import DEVELOPMENT_SHARE, tasks_of
from shared.training.options import TrainOptions
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


def test_a_loss_is_worse_by_more_than_its_standard_errors() -> None:
    assert worse_beyond_noise(nats(1, 1, 1), nats(0, 0, 0))
    assert not worse_beyond_noise(nats(1, 1), nats(1, 1))
    assert not worse_beyond_noise(nats(-1, -1), nats(0, 0))
    assert worse_beyond_noise(nats(2, 9), nats(1, np.nan))


def held_rows(rng: np.random.Generator, *, informed: Mapping[str, float]) -> Held:
    """300 rows of two labels. informed: scorer -> how much of the truth its margins show."""
    codes = rng.integers(0, 2, 300)
    truth = np.eye(2, dtype=bool)[codes]
    margins = {
        name: (much * truth + rng.normal(0, 1, truth.shape)).astype(np.float32)
        for name, much in informed.items()
    }
    none = np.zeros(300, dtype=np.float32)
    return Held(margins, truth, none, np.arange(300), np.arange(300))


def test_a_scorer_that_adds_no_more_than_noise_gets_no_weight() -> None:
    rng = np.random.default_rng(3)
    held = held_rows(rng, informed={"sure": 3.0, "idle": 0.0})
    fusion, crossed = leaner(held, calibrated(held, "single", 7), "single", 7, without="idle")
    rest = replace(held, margins={"sure": held.margins["sure"]})
    alone, crossed_alone = calibrated(rest, "single", 7)
    assert fusion.weights == {"sure": alone.weights["sure"], "idle": 0.0}
    np.testing.assert_array_equal(crossed, crossed_alone)
    np.testing.assert_allclose(fusion.logits(held.margins), alone.logits(rest.margins), atol=1e-6)


def test_a_scorer_that_is_needed_keeps_its_weight() -> None:
    held = held_rows(np.random.default_rng(3), informed={"sure": 1.0, "needed": 2.0})
    fitted = calibrated(held, "single", 7)
    assert leaner(held, fitted, "single", 7, without="needed") is fitted
    losses = row_losses(fitted[1], held.truth, "single")
    assert losses.mean() < np.log(2)  # of guessing


@pytest.mark.parametrize(
    ("within_noise", "kept"), [(True, {"first", "second"}), (False, {"first"})]
)
def test_an_encoder_that_one_head_keeps_serves_the_others_where_they_lose_no_more_than_noise(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within_noise: bool,
    kept: set[str],
) -> None:  # fmt: skip
    """The first head's loss is lower; the second's is not, by noise or beyond it."""
    first, second = rows(120, 1), rows(80, 2)

    def judged(tuned: np.ndarray, _: np.ndarray, *, few: bool) -> bool:
        return len(tuned) == lengths["first"] or (few and within_noise)

    monkeypatch.setattr("shared.training.learning_tuned.worth_it", judged)
    heads = [HeadData("first", first), HeadData("second", second)]
    lengths = {
        task.spec.name: len(task.validation)
        for task in tasks_of(heads, fraction=DEVELOPMENT_SHARE, seed=13)
    }
    assert lengths["first"] != lengths["second"]
    learned = learn(
        heads,
        base=PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none"),
        embedder=load_embedder(tiny_encoder, precision="fp32", threads=1),
        options=TrainOptions(
            method="full", epochs=1, threads=1, bf16=False, device="cpu", progress=False
        ),
        folder=tmp_path / "encoder",
        say=lambda _: None,
    )
    tuned = {name for name, fit in learned.chosen.items() if fit.classifier.finetuned}
    assert tuned == kept


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
