"""The training questions a bot keeps: masked, found by likeness, refused if they do not fit."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from apps.chatbot.precedents import FILE_NAME, Precedents
from shared.errors import ModelError
from shared.inference.classifier import FusedClassifier
from shared.training.examples import from_rows
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

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        words = ("lost", "card", "refund", "money")
        rows = np.array([[t.count(w) + 0.1 for w in words] for t in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalised else rows

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts, normalised=False)


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
        f"{tmp_path / FILE_NAME}: 9 questions and 10 labels for 10 known vectors; train again"
    )
    (tmp_path / FILE_NAME).write_text(json.dumps([1]))
    with pytest.raises(ModelError, match="not readable"):
        Precedents.load(tmp_path, classifier)
