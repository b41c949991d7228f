"""Unlabelled texts teach where they help, and every promise stays one about labelled rows."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import DataError
from shared.evaluation.metrics import calibration_error
from shared.training.examples import Examples
from shared.training.self_training import PER_ROW, self_train

TOPICS = 4
SYNONYMS = 100
FILLER = "please can you tell me want know about the my how do when hello thanks so now".split()
# Each topic has words of its own; a text has three of them, so that words meet in texts and an
# unlabelled text with one known word teaches two that no labelled text has.
LETTERS = np.random.default_rng(9).choice(list("abcdefghijklmnopqrstuvwxyz"), (TOPICS, SYNONYMS, 6))
WORDS = {f"topic{t}": ["".join(word) for word in LETTERS[t]] for t in range(TOPICS)}


class Blind:
    """Sees nothing but length: what is learned, the words teach."""

    dim = 4
    fingerprint = "blind"

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        rows = np.array([[1.0, len(t) / 40, 0.1, 0.0] for t in texts])
        length = np.linalg.norm(rows, axis=1, keepdims=True) if normalised else 1.0
        return np.asarray(rows / length, dtype=np.float32)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts, normalised=False)


def drawn(rows: int, seed: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    labels = [f"topic{n % TOPICS}" for n in range(rows)]
    texts = []
    for label in labels:
        other = f"topic{rng.integers(TOPICS)}" if rng.uniform() < 0.5 else label
        words = [*rng.choice(WORDS[label], 3, replace=False), *rng.choice(WORDS[other], 1)]
        texts.append(" ".join(rng.permutation([*words, *rng.choice(FILLER, 5, replace=False)])))
    return texts, labels


def made(rows: int, seed: int) -> Examples:
    texts, labels = drawn(rows, seed)
    return Examples(tuple(texts), tuple((label,) for label in labels), np.arange(rows))


@pytest.fixture(scope="module")
def few() -> Examples:
    return made(80, 1)


@pytest.fixture(scope="module")
def unlabelled() -> tuple[list[str], list[str]]:
    return drawn(800, 2)


def test_texts_that_help_are_kept_and_the_promises_hold(
    few: Examples, unlabelled: tuple[list[str], list[str]]
) -> None:
    texts, truth = unlabelled
    trained = self_train(few, texts, embedder=Blind(), threads=1)
    test = made(600, 3)
    alone = self_train(few, texts, embedder=Blind(), rounds=0, threads=1)
    assert trained.best >= 1
    assert alone.best == 0
    assert alone.pseudo == ()
    codes = test.targets(trained.classifier.labels).argmax(1)
    loss = {}
    for name, each in (("with", trained), ("without", alone)):
        p = each.classifier.predict_proba(test.texts)
        loss[name] = -np.log(np.maximum(p[np.arange(600), codes], 1e-7)).mean()
    # The loss it went by is one about rows it never saw, and there it falls too.
    assert loss["with"] < loss["without"] - 0.02
    assert trained.rounds[trained.best].loss < trained.rounds[0].loss
    assert trained.rounds[trained.best].loss == pytest.approx(loss["with"], abs=0.1)
    p = trained.classifier.predict_proba(test.texts)
    assert calibration_error(p.max(1), p.argmax(1) == codes) < 0.1
    sets = [each.conformal for each in trained.classifier.predict(test.texts, alpha=0.2)]
    covered = np.mean([y in kept for y, kept in zip(test.single, sets, strict=True)])
    assert covered == pytest.approx(0.8, abs=0.1)
    oos = trained.classifier.score(test.texts).oos
    assert (oos > trained.classifier.oos_threshold(0.1)).mean() == pytest.approx(0.1, abs=0.1)
    right = dict(zip(texts, truth, strict=True))
    assert np.mean([right[text] == label for text, label in trained.pseudo]) > 0.9
    given = [label for _, label in trained.pseudo]
    assert max(given.count(label) for label in set(given)) <= PER_ROW * 20
    assert trained.words.endswith("kept")


def test_texts_about_something_else_change_nothing(few: Examples) -> None:
    rng = np.random.default_rng(4)
    strange = [" ".join(rng.choice([f"odd{n}" for n in range(90)], 6)) for _ in range(150)]
    trained = self_train(few, strange, embedder=Blind(), threads=1)
    assert trained.best == 0
    assert trained.pseudo == ()
    assert len(trained.rounds) == 1 or trained.rounds[-1].loss >= trained.rounds[0].loss
    assert "kept" not in trained.words


def test_a_run_is_repeatable(few: Examples, unlabelled: tuple[list[str], list[str]]) -> None:
    first, second = (
        self_train(few, unlabelled[0][:120], embedder=Blind(), rounds=1, seed=5, threads=1)
        for _ in range(2)
    )
    assert first.rounds == second.rounds
    assert first.pseudo == second.pseudo


def test_near_copies_of_examples_are_no_news(few: Examples) -> None:
    for texts in ([few.texts[0], few.texts[1].upper()], ["", " "]):
        with pytest.raises(DataError) as caught:
            self_train(few, texts, embedder=Blind())
        assert str(caught.value) == (
            "no unlabelled text to learn from: each is empty or a near copy of a labelled one"
        )


def test_several_labels_a_row_are_refused(few: Examples) -> None:
    several = Examples(few.texts, few.labels, few.groups, "multi")
    with pytest.raises(DataError) as caught:
        self_train(several, ["text"], embedder=Blind())
    assert str(caught.value) == "self-training needs examples with exactly one label a row"


def test_too_few_examples_to_judge_on_are_refused() -> None:
    two = Examples(("refund my money", "track my parcel"), (("a",), ("b",)), np.arange(2))
    with pytest.raises(DataError) as caught:
        self_train(two, ["where is it"], embedder=Blind())
    assert str(caught.value) == (
        "2 examples in 2 groups of near copies are too few to judge self-training on: give 3 "
        "different texts of a label at least"
    )
