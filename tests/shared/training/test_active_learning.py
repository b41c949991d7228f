"""What the model asks for teaches more than chance does, and no batch holds two of a kind."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import DataError
from shared.training.active_learning import choose_batch, doubt, simulate
from shared.training.examples import Examples


def floats(values: object) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def on_circle(degrees: Sequence[float]) -> NDArray[np.float32]:
    angles = np.radians(degrees)
    return floats(np.stack([np.cos(angles), np.sin(angles)], 1))


class Places:
    """A text is two numbers, its place in the plane; waves of four lengths make its vector."""

    dim = 16
    fingerprint = "places"

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        """Of length 1 either way: a sine and a cosine for each of 8 waves."""
        del normalised
        at = np.array([[float(part) for part in text.split()] for text in texts])
        waves = (at[:, :, None] * 2.0 ** np.arange(-1, 3)).reshape(len(texts), 8)
        return floats(np.concatenate([np.sin(waves), np.cos(waves)], 1) / np.sqrt(8))

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts, normalised=False)


def rare_border(rows: int, seed: int) -> Examples:
    """Nine in ten rows lie far from the border between the labels: chance labels those in vain."""
    rng = np.random.default_rng(seed)
    near = rng.uniform(size=rows) < 0.1
    y = rng.uniform(-1.5, 1.5, rows)
    off = np.where(near, rng.uniform(0.02, 0.25, rows), rng.uniform(0.9, 1.5, rows))
    side = rng.uniform(size=rows) < 0.5
    x = 0.5 * np.sin(3 * y) + np.where(side, off, -off)
    texts = tuple(f"{a:.4f} {b:.4f}" for a, b in zip(x, y, strict=True))
    labels = tuple(("right",) if s else ("left",) for s in side)
    return Examples(texts, labels, np.arange(rows))


def border_rows(rows: int, seed: int) -> Examples:
    made = rare_border(rows * 12, seed)
    x, y = np.array([[float(part) for part in text.split()] for text in made.texts]).T
    return made.take(np.flatnonzero(np.abs(x - 0.5 * np.sin(3 * y)) < 0.5)[:rows])


def test_doubt_is_the_lead_or_the_entropy() -> None:
    p = floats([[0.6, 0.3, 0.1], [1 / 3] * 3, [1, 0, 0]])
    np.testing.assert_allclose(doubt(p, "single"), [0.7, 1, 0], atol=1e-6)
    entropy = -(0.6 * np.log(0.6) + 0.3 * np.log(0.3) + 0.1 * np.log(0.1)) / np.log(3)
    np.testing.assert_allclose(doubt(p, "single", measure="entropy"), [entropy, 1, 0], atol=1e-5)


def test_of_several_labels_the_most_doubtful_counts() -> None:
    p = floats([[0.99, 0.4], [0.9, 0.05]])
    np.testing.assert_allclose(doubt(p, "multi"), [0.8, 0.2], atol=1e-6)
    h = -(0.4 * np.log(0.4) + 0.6 * np.log(0.6)) / np.log(2)
    assert doubt(p, "multi", measure="entropy")[0] == pytest.approx(h, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_batch_holds_no_near_copies_though_they_are_the_most_doubtful(seed: int) -> None:
    # Forty copies of one text, by vector and partly by group; five other texts, less doubtful.
    vectors = on_circle([*np.linspace(0, 0.2, 40), 60, 120, 180, 240, 300])
    groups = np.array([*[0] * 20, *range(20, 45)])
    doubts = floats([*[1.0] * 40, *[0.5] * 5])
    rows = choose_batch(doubts, vectors, groups, 6, seed=seed)
    assert len(set(rows.tolist())) == 6
    cosines = vectors[rows] @ vectors[rows].T
    assert cosines[~np.eye(6, dtype=bool)].max() < 0.6


def test_one_of_a_group_at_most_even_where_more_are_asked_for() -> None:
    vectors = on_circle(range(0, 90, 10))
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    doubts = floats([0.1, 0.9, 0.2, 0.3, 0.2, 0.1, 0.4, 0.5, 0.6])
    rows = choose_batch(doubts, vectors, groups, 7, seed=1)
    assert sorted(rows.tolist()) == [1, 3, 8]  # the most doubtful of each


def test_sure_texts_are_not_asked_for_while_doubtful_ones_are_left() -> None:
    rng = np.random.default_rng(2)
    vectors = floats(rng.normal(size=(60, 8)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    doubts = floats([0.0] * 40 + [0.7] * 20)
    assert choose_batch(doubts, vectors, np.arange(60), 20, seed=3).min() >= 40
    assert len(set(choose_batch(doubts, vectors, np.arange(60), 60, seed=3).tolist())) == 60


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(4)
    vectors = floats(rng.normal(size=(200, 8)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    doubts = floats(rng.uniform(size=200))
    first, again, other = (
        choose_batch(doubts, vectors, np.arange(200), 10, seed=seed).tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_what_cannot_be_chosen_from_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        choose_batch(floats([1]), on_circle([0, 1]), np.arange(2), 1, seed=1)
    assert str(caught.value) == ("1 doubts, 2 vectors and 2 groups: the three must be equally many")
    with pytest.raises(DataError) as caught:
        choose_batch(floats([1]), on_circle([0]), np.arange(1), 0, seed=1)
    assert str(caught.value) == "a batch of 0 texts: expected at least 1"


def test_asking_beats_chance_by_five_points_of_accuracy() -> None:
    gains = []
    for seed in range(6):
        pool, test = rare_border(600, seed), border_rows(300, 100 + seed)
        last = {}
        for strategy in ("active", "random"):
            points = simulate(
                pool, test, embedder=Places(), strategy=strategy, per_label=8, batch=16,
                rounds=3, seed=seed, threads=1,
            )  # fmt: skip
            assert [point.labels for point in points] == [16, 32, 48, 64]
            last[strategy] = points
        np.testing.assert_array_equal(last["active"][0].right, last["random"][0].right)
        gains.append(last["active"][-1].right.mean() - last["random"][-1].right.mean())
    assert np.mean(gains) > 0.05
    assert np.mean(np.array(gains) > 0) > 0.6  # one seed may be unlucky, most are not


def test_a_start_of_one_row_a_label_is_refused() -> None:
    pool = rare_border(20, 1)
    with pytest.raises(DataError, match="1 rows a label to start with: expected at least 2"):
        simulate(
            pool, pool, embedder=Places(), strategy="active", per_label=1, batch=1, rounds=1,
            seed=1,
        )  # fmt: skip
