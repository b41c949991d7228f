"""Serving: what was saved is what answers, one text as a batch, and no other encoder's vectors."""

import doctest
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import ModelError
from shared.inference import conformal, dense
from shared.inference.classifier import (
    Calibration,
    FusedClassifier,
    Fusion,
    Kind,
    Scope,
    energy,
    squashed,
)
from shared.inference.dense import DenseScorer, KernelScorer, Views, distance_to
from shared.inference.lexical import LexicalScorer, Vocabulary

F = np.float32


def floats(values: object) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


class Letters:
    """A text's vector counts its letters a to d."""

    dim = 4

    def __init__(self, fingerprint: str = "letters") -> None:
        self.fingerprint = fingerprint

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts, normalised=False)

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        rows = np.array([[t.count(c) + 0.01 for c in "abcd"] for t in texts], dtype=F)
        if normalised:
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows


def made_dense(weight: NDArray[np.float32]) -> DenseScorer:
    views = Views(np.full((1, 4), 0.1, dtype=np.float32), first=2.0)
    return DenseScorer(views, KernelScorer(weight, 1.0, 0.05), np.eye(4, dtype=F))


def made(kind: Kind = "single", *, tuned: bool = False) -> FusedClassifier:
    names = ("lexical", "dense", "finetuned") if tuned else ("lexical", "dense")
    vocabulary = Vocabulary.of(["aa bb", "cc dd"])
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(len(vocabulary), 3)).astype(np.float16).astype(F)
    calibration = Calibration(np.ones(1, F), np.zeros(3, F))
    return FusedClassifier(
        labels=("x", "y", "z"),
        kind=kind,
        embedder=Letters(),
        lexical=LexicalScorer(vocabulary, np.ones(len(vocabulary), F), weight, np.zeros(3, F)),
        dense=made_dense(np.eye(3, dtype=F)),
        fusion=Fusion(
            dict.fromkeys(names, 0.5),
            calibration,
            dict.fromkeys(names, calibration),
            floats([0.3, 0.5, 0.9]),
            np.linspace(0, 0.9, 100, dtype=F),
        ),
        scope=Scope(floats([0, 0.5]), floats([1, 0.5]), np.ones(2, F), np.arange(100, dtype=F)),
        finetuned=Letters("tuned") if tuned else None,
        tuned=made_dense(rng.random((3, 3)).astype(np.float16).astype(F)) if tuned else None,
    )


TEXTS = ["aa bb", "cc", "dd dd aa", "", "b"]


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(conformal).failed == 0
    assert doctest.testmod(dense).failed == 0


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("tuned", [False, True])
def test_a_loaded_classifier_answers_as_the_saved_one(
    kind: Kind, tuned: bool, tmp_path: Path
) -> None:
    classifier = made(kind, tuned=tuned)
    classifier.save(tmp_path / "c")
    loaded = FusedClassifier.load(
        tmp_path / "c", embedder=Letters(), finetuned=Letters("tuned") if tuned else None
    )
    assert loaded.predict(TEXTS) == classifier.predict(TEXTS)
    assert loaded.dense.views.first == 2
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "classifier.json",
        "classifier.safetensors",
    ]


def test_one_text_is_answered_as_in_a_batch() -> None:
    classifier = made()
    batch = classifier.predict_proba(TEXTS)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(classifier.predict_proba([text])[0], batch[row], atol=1e-6)


def test_views_are_centred_and_weigh_the_same() -> None:
    features = floats([[1, 0, 10, 0], [-1, 0, 0, 0], [0, 3, -10, 30]])
    views = Views.of(features, dim=2)
    assert views.centre.tolist() == [[0, 1], [0, 10]]
    found = views(features)
    # Row 0: (1, -1) and (10, -10), both made (1, -1) / sqrt(2), then the whole / sqrt(2).
    np.testing.assert_allclose(found[0], [0.5, -0.5, 0.5, -0.5], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert features[0].tolist() == [1, 0, 10, 0], "what the caller gave is left as it was"


def test_the_first_view_may_weigh_more() -> None:
    views = Views(floats([[0, 0], [0, 0]]), first=0.75)
    np.testing.assert_allclose(views(floats([[5, 0, 0, 7]])), [[0.6, 0, 0, 0.8]], atol=1e-6)


def test_no_texts_give_no_predictions() -> None:
    assert made().predict([]) == []
    assert made().predict_proba([]).shape == (0, 3)


def test_given_vectors_are_used() -> None:
    classifier = made()
    other = Letters().encode(["cc"] * len(TEXTS))
    assert (
        classifier.predict_proba(TEXTS, features=other) != classifier.predict_proba(TEXTS)
    ).any()


def test_a_prediction_holds_what_follows_from_its_probabilities() -> None:
    classifier = made()
    for text, said in zip(TEXTS, classifier.predict(TEXTS, alpha=0.2), strict=True):
        p = dict(zip(classifier.labels, classifier.predict_proba([text])[0], strict=True))
        best = max(p, key=lambda name: p[name])
        assert (said.label, said.labels) == (best, (best,))
        assert [name for name, _ in said.ranking] == sorted(p, key=lambda name: -p[name])
        # 100 scores 0, .0091, ..., .9: the 81st (ceil of 101 * .8) is 80 * .9 / 99.
        assert set(said.conformal) == {name for name in p if 1 - p[name] <= 80 * 0.9 / 99 + 1e-6}
        assert set(said.scorers) == {"lexical", "dense"}


def test_several_labels_are_given_by_their_own_thresholds() -> None:
    classifier = made("multi")
    p = floats([[0.31, 0.4, 0.95], [0.2, 0.5, 0.89]])
    assert classifier.decide(p).tolist() == [[True, False, True], [False, True, False]]


def test_the_scope_threshold_loses_the_share_asked_for() -> None:
    classifier = made()
    assert (classifier.scope.in_scope > classifier.oos_threshold(0.05)).mean() == pytest.approx(
        0.05, abs=0.011
    )
    with pytest.raises(ValueError, match=r"in_scope_loss = 2, expected between 0 and 1"):
        classifier.oos_threshold(2)


def test_energy_and_softmax_do_not_overflow() -> None:
    logits = floats([[1000, 0, -1000]])
    assert energy(logits).tolist() == [-1000]
    assert squashed(logits, "single").tolist() == [[1, 0, 0]]
    assert squashed(logits, "multi").tolist() == [[1, 0.5, 0]]


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    made(tuned=True).save(tmp_path)
    with pytest.raises(ModelError) as caught:
        FusedClassifier.load(tmp_path, embedder=Letters("other"))
    assert str(caught.value) == (
        f"{tmp_path}: made with the base encoder letters, given other; "
        "use the encoder and precision it was trained with"
    )
    with pytest.raises(ModelError) as caught:
        FusedClassifier.load(tmp_path, embedder=Letters())
    assert str(caught.value) == (
        f"{tmp_path}: needs its fine-tuned encoder tuned, which was not given"
    )


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        FusedClassifier.load(tmp_path, embedder=Letters())
    assert str(caught.value) == f"{tmp_path}: not a classifier, there is no classifier.json"
    made().save(tmp_path)
    head = json.loads((tmp_path / "classifier.json").read_text())
    (tmp_path / "classifier.json").write_text(json.dumps(head | {"format": 9}))
    with pytest.raises(ModelError) as caught:
        FusedClassifier.load(tmp_path, embedder=Letters())
    assert str(caught.value) == f"{tmp_path / 'classifier.json'}: format 9, expected 2"
    head.pop("labels")
    (tmp_path / "classifier.json").write_text(json.dumps(head))
    with pytest.raises(ModelError) as caught:
        FusedClassifier.load(tmp_path, embedder=Letters())
    assert str(caught.value) == (
        f"{tmp_path}: incomplete classifier, or of an earlier version: 'labels' is missing; "
        "train again"
    )
    (tmp_path / "classifier.safetensors").write_bytes(b"short")
    with pytest.raises(ModelError, match="damaged classifier"):
        FusedClassifier.load(tmp_path, embedder=Letters())


def test_a_finetuned_scorer_changes_the_answer() -> None:
    classifier = made(tuned=True)
    without = replace(classifier, finetuned=None, tuned=None)
    assert (classifier.predict_proba(TEXTS) != without.predict_proba(TEXTS)).any()


def test_serving_loads_neither_training_nor_evaluation_nor_their_libraries() -> None:
    code = (
        "import sys, shared.inference.classifier\n"
        "print([m for m in sys.modules if m.startswith(('shared.training', 'shared.evaluation'))"
        " or m in ('torch', 'sklearn')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("neighbour", [1, 3, 40])
def test_distances_are_to_the_neighbour_asked_for(neighbour: int) -> None:
    rng = np.random.default_rng(0)
    vectors, known = (rng.normal(size=(rows, 8)).astype(F) for rows in (1500, 30))
    vectors, known = (
        each / np.linalg.norm(each, axis=1, keepdims=True) for each in (vectors, known)
    )
    by_hand = 1 - np.sort(vectors @ known.T, axis=1)[:, -min(neighbour, 30)]
    np.testing.assert_allclose(distance_to(vectors, known, neighbour), by_hand, atol=1e-6)
    scorer = replace(
        made_dense(np.zeros((30, 3), F)),
        views=Views(np.zeros((1, 8), F)),
        known=known,
        neighbour=neighbour,
    )
    np.testing.assert_allclose(scorer(vectors)[1], by_hand, atol=1e-6)


def test_the_neighbour_is_kept_and_was_the_nearest_before_it_was(tmp_path: Path) -> None:
    model = made()
    replace(model, dense=replace(model.dense, neighbour=2)).save(tmp_path)
    assert FusedClassifier.load(tmp_path, embedder=Letters()).dense.neighbour == 2
    file = tmp_path / "classifier.json"
    head = json.loads(file.read_text())
    del head["dense"]["neighbour"]
    file.write_text(json.dumps(head))
    assert FusedClassifier.load(tmp_path, embedder=Letters()).dense.neighbour == 1
