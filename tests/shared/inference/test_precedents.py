"""The training texts a model keeps: masked, found by likeness, refused if they do not fit."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import ModelError
from shared.inference.classifier import DENSE, FINETUNED, FusedClassifier
from shared.inference.precedents import FILE_NAME, Precedents
from shared.inference.remembered import RememberingEmbedder
from shared.training import kernel
from shared.training.examples import Examples, from_rows
from shared.training.fusion import fit_fused

ROWS = {
    "lost": [
        "lost card one",
        "my lost card",
        "card is lost",
        "lost my bank card",
        "late lost card",
    ],
    "refund": ["refund money", "my money refund", "pay refund please", "refund order", "refund it"],
}


class Words:
    """A vector counts four words, so that everything can be reckoned by hand."""

    dim = 4
    fingerprint = "words"
    words: tuple[str, ...] = ("lost", "card", "refund", "money")

    def __init__(self) -> None:
        self.asked = 0

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        self.asked += len(texts)
        rows = np.array([[t.count(w) + 0.1 for w in self.words] for t in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalised else rows

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts, normalised=False)


class OtherWords(Words):
    """As a fine-tuned encoder would: it sees other things."""

    dim = 5
    fingerprint = "other words"
    words = ("my", "is", "order", "pay", "bank")


@pytest.fixture(scope="module")
def classifier() -> FusedClassifier:
    texts = [text for several in ROWS.values() for text in several]
    labels = [(label,) for label, several in ROWS.items() for _ in several]
    return fit_fused(from_rows(texts, labels, "single"), embedder=Words(), threads=1).classifier


@pytest.fixture
def kept(classifier: FusedClassifier) -> Precedents:
    texts = [text for several in ROWS.values() for text in several]
    labels = [label for label, several in ROWS.items() for _ in several]
    found = Precedents.of(classifier, texts, labels)
    assert found is not None
    return found


def test_the_nearest_are_those_of_brute_force(
    classifier: FusedClassifier, kept: Precedents
) -> None:
    centre = classifier.dense.views.centre[0]
    rows = Words().features([*kept.texts, "my lost thing"]) - centre
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows[:-1] @ rows[-1]
    found = kept.nearest(classifier, "my lost thing", k=3)
    assert [p.similarity for p in found] == pytest.approx(np.sort(cosines)[::-1][:3], abs=2e-3)
    assert {p.text for p in kept.nearest(classifier, "my lost thing", k=10)} == set(kept.texts)


def test_the_nearest_question_is_one_like_it(classifier: FusedClassifier, kept: Precedents) -> None:
    first = kept.nearest(classifier, "refund money", k=1)[0]
    assert (first.text, first.label) == ("refund money", "refund")
    assert first.similarity == pytest.approx(1, abs=2e-3)


def test_personal_data_are_masked_before_they_are_kept(classifier: FusedClassifier) -> None:
    texts = [text for several in ROWS.values() for text in several]
    texts[0] += ", ann@example.com"
    found = Precedents.of(classifier, texts, ["lost"] * 10)
    assert found is not None
    assert found.texts[0] == "lost card one, <email>"


def test_rows_that_the_scorer_does_not_weigh_are_not_kept(classifier: FusedClassifier) -> None:
    texts = [text for several in ROWS.values() for text in several]
    assert Precedents.of(classifier, [*texts, "a"], ["lost"] * 11) is None
    assert Precedents.of(classifier, texts[::-1], ["lost"] * 10) is None


def test_rows_that_nobody_asked_may_stand_behind_the_questions(
    classifier: FusedClassifier, tmp_path: Path
) -> None:
    found = Precedents.of(classifier, ROWS["lost"], ["lost"] * 5)
    assert found is not None
    found.save(tmp_path)
    assert Precedents.load(tmp_path, classifier) == found
    nearest = found.nearest(classifier, "refund money", k=10)
    assert {precedent.text for precedent in nearest} == set(ROWS["lost"])


def test_what_is_saved_is_read(
    classifier: FusedClassifier, kept: Precedents, tmp_path: Path
) -> None:
    assert Precedents.load(tmp_path, classifier) is None
    kept.save(tmp_path)
    assert Precedents.load(tmp_path, classifier) == kept


def test_a_file_that_does_not_fit_is_named(
    classifier: FusedClassifier, kept: Precedents, tmp_path: Path
) -> None:
    replace(kept, texts=kept.texts[1:]).save(tmp_path)
    with pytest.raises(ModelError) as caught:
        Precedents.load(tmp_path, classifier)
    assert str(caught.value) == (
        f"{tmp_path / FILE_NAME}: 9 texts and 10 labels for 10 known vectors; train again"
    )
    (tmp_path / FILE_NAME).write_text(json.dumps([1]))
    with pytest.raises(ModelError, match="not readable"):
        Precedents.load(tmp_path, classifier)


def cosines_of(
    embedder: Words, centre: NDArray[np.float32], texts: Sequence[str], asked: str
) -> NDArray[np.float32]:
    """(n,) by brute force."""
    rows = embedder.features([*texts, asked]) - centre
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found: NDArray[np.float32] = rows[:-1] @ rows[-1]
    return found


def many(n: int, seed: int = 0) -> Examples:
    """Texts of words drawn by lot, no two alike to Words."""
    rng = np.random.default_rng(seed)
    texts: dict[tuple[int, ...], str] = {}
    while len(texts) < n:
        drawn = list(rng.choice([*Words.words, *OtherWords.words], 6))
        texts.setdefault(tuple(drawn.count(word) for word in Words.words), " ".join(drawn))
    labels = [("lost" if lost >= refund else "refund",) for lost, _, refund, _ in texts]
    return Examples(tuple(texts.values()), tuple(labels), np.arange(n))


def test_of_copies_with_one_label_the_first_is_shown(
    classifier: FusedClassifier, kept: Precedents
) -> None:
    twins = replace(kept, texts=("My lost card", *kept.texts[1:]))
    found = twins.nearest(classifier, "my lost card", k=9)
    assert len(found) == 9
    assert [p.text.lower() for p in found].count("my lost card") == 1
    told_apart = replace(twins, labels=("refund", *twins.labels[1:]))
    found = told_apart.nearest(classifier, "my lost card", k=10)
    assert {p.label for p in found if p.text.lower() == "my lost card"} == {"lost", "refund"}


def test_of_many_rows_those_are_kept_that_the_classifier_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, rows in (("EXACT_ROWS", 30), ("LANDMARKS", 20), ("KNOWN_ROWS", 50)):
        monkeypatch.setattr(kernel, name, rows)
    examples = many(60)
    embedder = Words()
    found = fit_fused(examples, embedder=RememberingEmbedder(embedder), threads=1).classifier
    asked_before = embedder.asked
    assert Precedents.of(found, examples.texts, examples.single) is None
    some = Precedents.of_known(found, examples.texts, examples.single)
    assert some is not None
    assert embedder.asked == asked_before  # all of them are remembered
    assert (len(some.texts), len(found.dense.known)) == (50, 50)
    assert set(zip(some.texts, some.labels, strict=True)) <= set(
        zip(examples.texts, examples.single, strict=True)
    )
    # Each text lies where its vector does.
    vectors = found.dense.views(found.embedder.features(some.texts))
    assert np.allclose(vectors, found.dense.known, atol=1e-3)
    cosines = cosines_of(Words(), found.dense.views.centre[0], some.texts, "lost my refund")
    nearest = some.nearest(found, "lost my refund", k=1)[0]
    assert nearest.similarity == pytest.approx(cosines.max(), abs=2e-3)
    some.save(tmp_path)
    assert Precedents.load(tmp_path, found) == some


@pytest.mark.parametrize("most", [100, 30])
def test_the_nearest_are_those_of_the_encoder_with_most_say(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "EXACT_ROWS", most)
    monkeypatch.setattr(kernel, "LANDMARKS", 20)
    examples = many(60)
    fit = fit_fused(
        examples, embedder=Words(), finetuned=OtherWords(), validation=many(40, seed=1), threads=1
    )
    found = fit.classifier
    assert found.tuned is not None
    some = Precedents.of_known(found, examples.texts, examples.single)
    assert some is not None
    # Both scorers know the rows in one order.
    vectors = found.tuned.views(OtherWords().features(some.texts))
    assert np.allclose(vectors[: len(found.tuned.known)], found.tuned.known, atol=1e-3)
    for heard, deaf, embedder, scorer in (
        (DENSE, FINETUNED, Words(), found.dense),
        (FINETUNED, DENSE, OtherWords(), found.tuned),
    ):
        weights = {**found.fusion.weights, heard: 1.0, deaf: 0.0}
        by_one = replace(found, fusion=replace(found.fusion, weights=weights))
        among = some.texts[: len(scorer.known)]
        cosines = cosines_of(embedder, scorer.views.centre[0], among, "lost my order")
        best = some.nearest(by_one, "lost my order", k=1)[0]
        assert best.similarity == pytest.approx(cosines.max(), abs=2e-3)
        assert cosines[among.index(best.text)] == pytest.approx(cosines.max(), abs=2e-3)


def test_rows_that_taught_nothing_are_left_out_and_rows_of_others_are_none(
    classifier: FusedClassifier,
) -> None:
    texts = [text for several in ROWS.values() for text in several]
    labels = ["lost"] * 5 + ["refund"] * 5
    held = ["money for a card", *texts[:5], "refund refund lost", *texts[5:]]
    found = Precedents.of_known(classifier, held, ["lost"] * 7 + ["refund"] * 5)
    assert found == Precedents(tuple(texts), tuple(labels))
    behind = Precedents.of_known(classifier, texts[:5], labels[:5])  # others stand behind them
    assert behind == Precedents(tuple(texts[:5]), tuple(labels[:5]))
    assert Precedents.of_known(classifier, texts[5:], labels[5:]) is None
    assert Precedents.of_known(classifier, [*texts[:2], *texts[3:]], ["lost"] * 9) is None
