"""The fusion learns what each scorer can see, and its promises hold on rows it never saw."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import DataError
from shared.evaluation.metrics import auroc, calibration_error
from shared.inference.classifier import FusedClassifier, Kind
from shared.training.examples import Examples, from_rows
from shared.training.fusion import fit_fused

TOPICS = {
    "refund": "refund money back return paid",
    "parcel": "parcel arrive deliver late track",
    "login": "password login account reset email",
}
FILLER = "please can you tell me i want to know about the my how do when hello thanks".split()


def floats(values: object) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


class BagOfWords:
    """Each word has a random direction; a text is the sum of its words'. `blind` words add none."""

    dim = 24

    def __init__(self, blind: Sequence[str] = (), salt: str = "") -> None:
        self.fingerprint = f"bag-{salt}"
        self._blind, self._salt = set(blind), salt

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        rows = np.stack([sum((self._word(w) for w in t.split()), np.zeros(24)) for t in texts])
        if normalised:
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
        return rows.astype(np.float32)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts, normalised=False)

    def _word(self, word: str) -> NDArray[np.float64]:
        if word in self._blind:
            return np.zeros(24)
        seed = int.from_bytes(hashlib.sha256((self._salt + word).encode()).digest()[:4], "big")
        return np.random.default_rng(seed).normal(size=24)


def texts_of(rows: int, seed: int) -> tuple[list[str], list[tuple[str, ...]]]:
    rng = np.random.default_rng(seed)
    names = list(TOPICS)
    texts: list[str] = []
    labels: list[tuple[str, ...]] = []
    for _ in range(rows):
        name = names[rng.integers(3)]
        words = [*rng.choice(TOPICS[name].split(), 2), *rng.choice(FILLER, 5)]
        if rng.uniform() < 0.15:  # some rows are hard: a word of another topic
            words += [str(rng.choice(TOPICS[names[rng.integers(3)]].split()))] * 2
        rng.shuffle(words)
        texts.append(" ".join(words))
        labels.append((name,))
    return texts, labels


def made(rows: int, seed: int, kind: Kind = "single") -> Examples:
    texts, labels = texts_of(rows, seed)
    return Examples(tuple(texts), tuple(labels), np.arange(rows), kind)


@pytest.fixture(scope="module")
def train() -> Examples:
    return made(400, 1)


@pytest.fixture(scope="module")
def unseen() -> Examples:
    return made(600, 2)


def test_promises_hold_on_rows_it_never_saw(train: Examples, unseen: Examples) -> None:
    fit = fit_fused(train, embedder=BagOfWords())
    classifier = fit.classifier
    p = classifier.predict_proba(unseen.texts)
    truth = unseen.targets(classifier.labels).argmax(1)
    right = p.argmax(1) == truth
    assert right.mean() > 0.85
    assert right.mean() == pytest.approx(fit.fused.accuracy, abs=0.05)
    assert calibration_error(p.max(1), right) < 0.05
    for alpha in (0.05, 0.2):
        sets = [
            prediction.conformal for prediction in classifier.predict(unseen.texts, alpha=alpha)
        ]
        covered = np.mean([y in kept for y, kept in zip(unseen.single, sets, strict=True)])
        assert covered == pytest.approx(1 - alpha, abs=0.04)
    oos = classifier.score(unseen.texts).oos
    for loss in (0.03, 0.1):
        assert (oos > classifier.oos_threshold(loss)).mean() == pytest.approx(loss, abs=0.04)


def test_strange_texts_score_out_of_scope(train: Examples, unseen: Examples) -> None:
    strange = [f"zebra{i} quantum{i} {i}" for i in range(40)]
    plain = fit_fused(train, embedder=BagOfWords()).classifier
    told = fit_fused(train, embedder=BagOfWords(), out_of_scope=[*strange[:20], " "]).classifier
    for classifier in (plain, told):
        scores = classifier.score([*unseen.texts, *strange[20:]]).oos
        assert auroc(scores, np.arange(len(scores)) >= len(unseen)) > 0.95
    assert plain.scope.weights.tolist() == [1.0, 1.0]
    assert told.scope.weights.sum() == pytest.approx(2.0)


def test_a_scorer_that_sees_nothing_gets_next_to_no_weight(train: Examples) -> None:
    words = {word for topic in TOPICS.values() for word in topic.split()}
    fit = fit_fused(train, embedder=BagOfWords(blind=sorted(words)))
    share = {part.name: part.weight for part in fit.parts}
    assert share["lexical"] > 0.9
    assert sum(share.values()) == pytest.approx(1.0)


def test_the_fusion_is_no_worse_than_its_parts(train: Examples) -> None:
    fit = fit_fused(train, embedder=BagOfWords())
    assert fit.fused.nll <= min(part.nll for part in fit.parts) + 0.01


def test_out_of_fold_rows_are_probabilities_and_a_label_seen_once_has_none() -> None:
    texts, labels = texts_of(60, 3)
    examples = from_rows([*texts, "something quite different"], [*labels, ("rare",)], "single")
    fit = fit_fused(examples, embedder=BagOfWords())
    assert np.isnan(fit.out_of_fold[-1]).all()
    known = ~np.isnan(fit.out_of_fold).any(1)
    np.testing.assert_allclose(fit.out_of_fold[known].sum(1), 1, atol=1e-5)
    assert fit.classifier.predict(["something quite different"])[0].label in fit.classifier.labels
    assert "1 label has one example only" in fit.notes[0]


def test_several_labels_or_none() -> None:
    one, two = made(300, 4), made(300, 5)
    texts = (*one.texts, *(f"{a} {b}" for a, b in zip(one.texts, two.texts, strict=True)))
    both = [tuple(dict.fromkeys(a + b)) for a, b in zip(one.labels, two.labels, strict=True)]
    rng = np.random.default_rng(6)
    empty = [" ".join(rng.choice(FILLER, 6)) for _ in range(80)]
    labels = (*one.labels, *both, *[()] * 80)
    examples = Examples((*texts, *empty), labels, np.arange(680), "multi")
    fit = fit_fused(examples, embedder=BagOfWords(), kind="multi")
    assert fit.fused.macro_f1 > 0.85
    said = fit.classifier.predict(["refund my password money login", "hello please can you"])
    assert set(said[0].labels) == {"refund", "login"}
    assert said[1].labels == ()
    p = fit.classifier.predict_proba(texts[:50])
    assert ((p >= 0) & (p <= 1)).all()


def test_a_fine_tuned_scorer_is_weighted_on_validation_rows(
    train: Examples, unseen: Examples
) -> None:
    tuned = BagOfWords(salt="tuned")
    validation = unseen.take(np.arange(200))
    fit = fit_fused(train, embedder=BagOfWords(), finetuned=tuned, validation=validation)
    assert [part.name for part in fit.parts] == ["lexical", "dense", "finetuned"]
    assert np.isnan(fit.out_of_fold).all()
    # The base encoder's view adds nothing to another one of the same words.
    assert set(fit.classifier.predict(["refund"])[0].scorers) == {"lexical", "finetuned"}


class Counted(BagOfWords):
    """Knows how many texts it was asked for."""

    asked = 0

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += len(texts)
        return self.encode(texts, normalised=False)


class Tuned(Counted):
    """Knows the topic of "t7" by its number, as no other scorer can, and is no more than fairly
    sure of it."""

    def _word(self, word: str) -> NDArray[np.float64]:
        topic: NDArray[np.float64] = 4 * np.eye(24)[int(word[1:]) % 3]
        return super()._word(word) + topic


def numbered(numbers: Sequence[int]) -> Examples:
    texts, labels = [f"t{n}" for n in numbers], [(list(TOPICS)[n % 3],) for n in numbers]
    return Examples(tuple(texts), tuple(labels), np.arange(len(texts)), "single")


def test_a_base_encoder_without_a_say_is_not_asked(tmp_path: Path) -> None:
    base, tuned = Counted(salt="c"), Tuned(salt="tuned")
    examples, validation = numbered(range(300)), numbered(range(300, 500))
    fit = fit_fused(examples, embedder=base, finetuned=tuned, validation=validation)
    classifier = fit.classifier
    weights = classifier.fusion.weights
    assert (weights["dense"], weights["finetuned"] > 0) == (0, True)
    classifier.save(tmp_path)
    loaded = FusedClassifier.load(tmp_path, embedder=base, finetuned=tuned)
    base.asked = tuned.asked = 0
    texts = ["t501", "t502", "t905"]
    scores = loaded.score(texts)
    assert (base.asked, tuned.asked) == (0, 3)
    assert set(scores.parts) == {"lexical", "finetuned"}

    # With the base encoder's part, times 0, it says the same.
    assert classifier.tuned is not None
    tuned_margins, _ = classifier.tuned(tuned.features(texts))
    logits = classifier.fusion.whole(
        weights["lexical"] * classifier.lexical.margins(texts)
        + weights["finetuned"] * tuned_margins
    )
    parts = np.exp(logits)
    np.testing.assert_allclose(
        scores.probabilities, parts / parts.sum(1, keepdims=True), rtol=0, atol=1e-3
    )
    # A text is as far out as the tenth nearest example is for the encoder that is asked.
    views = classifier.tuned.views
    cosines = views(tuned.features(texts)) @ views(tuned.features(examples.texts)).T
    tenth = np.sort(cosines, axis=1)[:, -10]
    expected = classifier.scope.scores(floats(-np.log(parts.sum(1))), floats(1 - tenth))
    np.testing.assert_allclose(scores.oos, expected, rtol=0, atol=0.02)
    # And what is usual was learned from the same distances.
    held = np.sort(classifier.score(validation.texts).oos)
    np.testing.assert_allclose(classifier.scope.in_scope, held, rtol=0, atol=0.02)


def test_of_the_fine_tuned_vectors_only_those_are_kept_that_are_weighed(
    train: Examples, unseen: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.training.kernel.EXACT_ROWS", 60)
    monkeypatch.setattr("shared.training.kernel.LANDMARKS", 50)
    monkeypatch.setattr("shared.training.fusion_weights.worse_beyond_noise", lambda *_: True)
    tuned = BagOfWords(salt="tuned")
    classifier = fit_fused(
        train, embedder=BagOfWords(), finetuned=tuned, validation=unseen
    ).classifier
    assert classifier.tuned is not None
    assert len(classifier.tuned.known) == 50
    assert len(classifier.dense.known) == len(train)


@pytest.mark.parametrize(("threads", "tolerance"), [(1, 0.0), (2, 1e-4)])
def test_a_fit_is_repeatable(
    train: Examples, unseen: Examples, threads: int, tolerance: float
) -> None:
    few = train.take(np.arange(120))
    first, second = (
        fit_fused(few, embedder=BagOfWords(), seed=5, threads=threads).classifier.predict_proba(
            unseen.texts
        )
        for _ in range(2)
    )
    np.testing.assert_allclose(first, second, rtol=0, atol=tolerance)


def test_what_does_not_fit_together_is_refused(train: Examples) -> None:
    with pytest.raises(DataError) as caught:
        fit_fused(train, embedder=BagOfWords(), kind="multi")
    assert str(caught.value) == 'examples of kind "single" for a classifier of kind "multi"'
    with pytest.raises(DataError) as caught:
        fit_fused(train, embedder=BagOfWords(), finetuned=BagOfWords())
    assert str(caught.value) == (
        "a fine-tuned scorer needs validation rows that it was not trained on"
    )
