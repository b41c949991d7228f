"""Planted wrong labels are found, right ones left alone, and the counts are those of the paper."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import DataError
from shared.training.examples import Examples, from_rows
from shared.training.fusion import fit_fused
from shared.training.label_errors import NOBODY, confident_joint, find_label_errors

WORDS = {
    "refund": "refund money return paid reimburse",
    "parcel": "parcel arrive deliver courier track",
    "login": "password login account reset email",
    "card": "card pin freeze chip contactless",
}
FILLER = "please can you tell me want know about the my how do when hello thanks so now".split()


class WordCounts:
    """A text's vector counts the words of each topic and of the filler."""

    fingerprint = "counts"
    _known = tuple(word for words in WORDS.values() for word in words.split()) + tuple(FILLER)
    dim = len(_known)

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        rows = np.array([[t.split().count(w) for w in self._known] for t in texts], np.float32)
        length = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
        return np.asarray(rows / length if normalised else rows, dtype=np.float32)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts, normalised=False)


def sentence(names: Sequence[str], rng: np.random.Generator) -> str:
    words = [str(w) for name in names for w in rng.choice(WORDS[name].split(), 2, replace=False)]
    return " ".join(rng.permutation([*words, *rng.choice(FILLER, 6, replace=False)]))


def planted(rows: int, share: float, seed: int) -> tuple[Examples, NDArray[np.bool_], list[str]]:
    """Examples of which `share` have a label drawn from the others; which; and the true labels."""
    rng = np.random.default_rng(seed)
    names = sorted(WORDS)
    truth = [names[rng.integers(len(names))] for _ in range(rows)]
    wrong = rng.uniform(size=rows) < share
    given = [
        str(rng.choice([n for n in names if n != name])) if bad else name
        for name, bad in zip(truth, wrong, strict=True)
    ]
    texts = tuple(sentence([name], rng) for name in truth)
    return Examples(texts, tuple((g,) for g in given), np.arange(rows)), wrong, truth


def test_the_joint_is_the_one_computed_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9], [0.85, 0.15]])
    joint = confident_joint(p, np.array([0, 0, 0, 1, 1, 1]))
    # Means: .6 of rows given 0, (.6 + .9 + .15) / 3 = .55 of rows given 1.
    np.testing.assert_allclose(joint.thresholds, [0.6, 0.55])
    assert joint.truth.tolist() == [0, 0, 1, 1, 1, 0]
    assert joint.counts.tolist() == [[2, 1], [1, 2]]
    np.testing.assert_allclose(joint.shares, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]])


def test_a_row_below_every_threshold_is_counted_nowhere_and_a_blank_label_is_taken_as_right() -> (
    None
):
    p = np.array([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.1, 0.9, 0.0], [0.45, 0.45, 0.1]])
    joint = confident_joint(p, np.array([0, 0, 1, 1]))
    assert joint.truth.tolist() == [0, NOBODY, 1, NOBODY]
    assert joint.counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert joint.shares[2].tolist() == [0, 0, 1]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_errors_are_found_with_what_they_should_be(seed: int) -> None:
    examples, wrong, truth = planted(400, 0.1, seed)
    found = find_label_errors(examples, fit_fused(examples, embedder=WordCounts()).out_of_fold)
    rows = np.array([suspect.row for suspect in found.suspects])
    assert wrong[rows].mean() > 0.8  # precision
    assert wrong[rows].sum() / wrong.sum() > 0.8  # recall
    right = [suspect.suggested == truth[suspect.row] for suspect in found.suspects]
    assert np.mean(right) > 0.8
    assert all(s.given == examples.single[s.row] != s.suggested for s in found.suspects)
    margins = [suspect.margin for suspect in found.suspects]
    assert margins == sorted(margins, reverse=True)
    assert 0 < margins[-1] <= margins[0] <= 1
    share = sum(noise.wrong * noise.rows for noise in found.labels) / found.judged
    assert share == pytest.approx(wrong.mean(), abs=0.06)


def test_clean_labels_give_next_to_no_suspects() -> None:
    examples, _, _ = planted(400, 0.0, 4)
    found = find_label_errors(examples, fit_fused(examples, embedder=WordCounts()).out_of_fold)
    assert len(found.suspects) <= 4
    assert found.judged == 400


def test_of_several_labels_the_missing_and_the_superfluous_are_named() -> None:
    rng = np.random.default_rng(5)
    names = sorted(WORDS)
    truth = [tuple(sorted(rng.choice(names, rng.integers(1, 3), replace=False)))
             for _ in range(500)]  # fmt: skip
    texts = tuple(sentence(labels, rng) for labels in truth)
    given = [tuple(str(label) for label in labels) for labels in truth]
    planted_rows = list(range(0, 500, 20))
    for row in planted_rows:
        other = next(name for name in names if name not in given[row])
        given[row] = (other,) if len(given[row]) == 1 else (given[row][0],)
    examples = Examples(texts, tuple(given), np.arange(500), "multi")
    fit = fit_fused(examples, embedder=WordCounts(), kind="multi")
    found = find_label_errors(examples, fit.out_of_fold)
    rows = {suspect.row for suspect in found.suspects}
    assert len(rows & set(planted_rows)) >= 0.8 * len(planted_rows)
    assert len(rows & set(planted_rows)) >= 0.7 * len(rows)
    right = [s.suggested == "|".join(truth[s.row]) for s in found.suspects if s.row % 20 == 0]
    assert np.mean(right) > 0.8


def test_rows_that_nothing_judged_are_no_suspects() -> None:
    examples, _, _ = planted(120, 0.05, 6)
    more = from_rows([*examples.texts, "quite unlike"], [*examples.labels, ("rare",)], "single")
    found = find_label_errors(more, fit_fused(more, embedder=WordCounts()).out_of_fold)
    assert 120 not in {suspect.row for suspect in found.suspects}
    assert found.judged < len(more)


def test_probabilities_that_do_not_fit_are_refused() -> None:
    examples, _, _ = planted(20, 0.0, 7)
    with pytest.raises(DataError) as caught:
        find_label_errors(examples, np.zeros((20, 2), dtype=np.float32))
    assert str(caught.value) == (
        "out-of-fold probabilities of shape (20, 2) for 20 examples of 4 labels: expected one row "
        "an example and one column a label"
    )
    with pytest.raises(DataError, match="no row was judged by a model that had not seen it"):
        find_label_errors(examples, np.full((20, 4), np.nan, dtype=np.float32))
