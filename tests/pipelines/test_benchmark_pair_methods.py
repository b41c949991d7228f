"""The pairs that scorers are measured on, and what is told of them without learning."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.benchmark_pair_methods import (
    QuestionPairs,
    best_cut,
    cosines_of,
    frozen_embedder,
    matching,
    near_labels,
    question_pairs,
    told_by_scorer,
)
from pipelines.public_sets import Parts
from shared.errors import DataError
from shared.modeling.encoder import Encoder
from shared.modeling.text_model import TextModel
from shared.near_duplicates import near_duplicate_groups
from shared.pretrained import PretrainedEncoder
from shared.training.examples import Examples, from_rows
from shared.training.options import TrainOptions
from shared.training.pair_models import PAIR_HEAD, pair_tokens
from shared.training.pairs import ScoredPairs

LABELS = ("card", "order", "money", "refund", "bank", "shoe")
FILLER = "the a my is was where how late when will it help please hello tea cup news red".split()
# A ring: each label's neighbours are near to it.
NEAR = {label: (LABELS[at - 1], LABELS[(at + 1) % len(LABELS)]) for at, label in enumerate(LABELS)}


def examples(rows: int, seed: int) -> Examples:
    rng = random.Random(seed)
    labels = [LABELS[at % len(LABELS)] for at in range(rows)]
    texts = [" ".join([*rng.sample(FILLER, 6), label]) for label in labels]
    return from_rows(texts, [(label,) for label in labels], "single")


def made(parts: Parts, *, train: int = 80, seed: int = 1) -> QuestionPairs:
    return question_pairs(parts, NEAR, train=train, stopping=12, judged=40, seed=seed)


@pytest.fixture(scope="module")
def parts() -> Parts:
    """A question of the training part is held out as well, and one has a near copy there."""
    train, held = examples(240, 1), examples(90, 2)
    copies = from_rows(
        [held.texts[0], f"{held.texts[1]}!!"], [held.labels[0], held.labels[1]], "single"
    )
    return Parts(train.beside(copies), held)


def test_no_question_is_in_two_parts_and_half_of_the_pairs_have_one_label(parts: Parts) -> None:
    found = made(parts)
    label_of = dict(zip(parts.train.texts, parts.train.single, strict=True))
    label_of |= dict(zip(parts.held.texts, parts.held.single, strict=True))
    texts = []
    for part, count in ((found.train, 80), (found.stopping, 12), (found.judged, 40)):
        assert len(part) == count
        assert sum(part.scores) == count / 2
        pairs = list(zip(part.lefts, part.rights, strict=True))
        labels = [(label_of[left], label_of[right]) for left, right in pairs]
        assert [float(left == right) for left, right in labels] == list(part.scores)
        assert sum(right in NEAR[left] for left, right in labels) >= count / 4
        assert len(set(part.lefts)) == len({frozenset(pair) for pair in pairs}) == count
        texts.append({text for pair in pairs for text in pair})
    train, stopping, judged = texts
    assert not train & stopping
    assert judged <= set(parts.held.texts)
    together = [*(train | stopping), *judged]
    groups = near_duplicate_groups(together)
    seen = len(together) - len(judged)
    assert not set(groups[:seen].tolist()) & set(groups[seen:].tolist())


def test_the_same_seed_makes_the_same_pairs(parts: Parts) -> None:
    assert made(parts) == made(parts)
    assert made(parts) != made(parts, seed=2)


def test_too_few_questions_are_refused(parts: Parts) -> None:
    with pytest.raises(DataError, match=r"^\d+ questions make \d+ pairs: expected 500$"):
        made(parts, train=500)


class Compass:
    """A text is a number of degrees, and its vector points there."""

    dim = 2
    fingerprint = "compass"

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:  # noqa: ARG002
        turned = np.radians([float(text) for text in texts])
        return np.stack([np.cos(turned), np.sin(turned)], 1).astype(np.float32)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts)


def test_near_labels_are_those_whose_mean_points_the_same_way() -> None:
    degrees = {"a": (0, 20), "b": (50, 70), "c": (98, 116), "d": (150, 170), "e": (200, 220)}
    rows = [(str(at), (label,)) for label, own in degrees.items() for at in own]
    texts, labels = zip(*rows, strict=True)
    given = Examples(texts, labels, np.arange(len(texts)))
    found = near_labels(given, Compass())
    assert found["a"] == ("b", "c", "d")
    assert found["c"] == ("b", "d", "a")
    two = given.take([0, 1, 2, 3])
    assert near_labels(two, Compass()) == {"a": ("b",), "b": ("a",)}


def test_a_cut_may_say_the_same_of_all() -> None:
    cosines = np.array([0.2, 0.4])
    assert best_cut(cosines, np.array([True, True])) == -np.inf
    assert best_cut(cosines, np.array([False, False])) == np.inf
    # Equal cosines cannot be told apart.
    assert best_cut(np.array([0.4, 0.4, 0.8]), np.array([True, False, True])) == -np.inf


def test_a_pair_is_told_by_its_cosine_or_its_logit(tiny_encoder: Path, tmp_path: Path) -> None:
    pairs = ScoredPairs(
        ("tea cup", "bank loss", "red shoe"), ("tea cup", "my card", "late order"), (1.0, 0.0, 0.0)
    )
    assert matching(pairs).tolist() == [True, False, False]
    options = TrainOptions(threads=1, max_length=32, device="cpu")
    base = PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none")
    cosines = cosines_of(pairs, frozen_embedder(base, options))
    assert cosines[0] == pytest.approx(1, abs=1e-5)
    assert (cosines[1:] < 0.999).all()
    model = TextModel(Encoder.from_pretrained(tiny_encoder), [PAIR_HEAD])
    model.save(tmp_path / "m")
    tokens = pair_tokens(model.encoder, list(pairs.lefts), list(pairs.rights))
    expected = model.eval()(**tokens)[PAIR_HEAD.name][:, 0] > 0
    assert told_by_scorer(tmp_path / "m", pairs, options).tolist() == expected.tolist()
