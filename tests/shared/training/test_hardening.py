"""Copies stay in their original's fold and out of every figure; remedies stay where they help."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.evaluation.robustness import TAUGHT, UNTAUGHT, Change, Judged
from shared.inference.classifier import FusedClassifier
from shared.inference.spelling import Spelling
from shared.training.copies import copies_of
from shared.training.examples import Examples
from shared.training.fusion import fit_fused
from shared.training.hardening import COPIES, MENDING, harden, scored
from shared.training.head_data import HeadData
from shared.training.options import TrainOptions
from shared.training.scorers import LexicalRows, fit_lexical, lexical_margins

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
OPTIONS = TrainOptions(method="frozen", seed=5, threads=1)


class Blind:
    """Sees nothing: what the lexical scorer can do is all there is."""

    dim = 4
    fingerprint = "blind"

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        del normalised
        return np.full((len(texts), 4), 0.5, dtype=np.float32)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts)


def questions(rows: int, seed: int, *, noise: int = 1, size: int = 2, letters: int = 8) -> Examples:
    """Each holds one of ten words of its topic, of four letters, and words that say nothing."""
    made = np.random.default_rng(4)
    words = ["".join(w) for w in made.choice(list(ALPHABET[:letters]), (40, 4))]
    others = ["".join(w) for w in made.choice(list(ALPHABET[:letters]), (150, size))]
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for n in range(rows):
        topic = n % 4
        chosen = [words[10 * topic + n // 4 % 10], *rng.choice(others, noise)]
        rng.shuffle(chosen)
        texts.append(" ".join(chosen))
        labels.append((f"topic{topic}",))
    return Examples(tuple(texts), tuple(labels), np.arange(rows))


@pytest.fixture(scope="module")
def train() -> Examples:
    return questions(400, 1)


def test_copies_teach_with_their_original_and_with_no_other_row(train: Examples) -> None:
    truth = train.targets(train.names)
    copies = copies_of(train, 3)
    assert len(copies) > 0.7 * len(train)
    assert all(text != train.texts[row] for row, text in copies)
    half = np.arange(0, len(train), 2)
    words = LexicalRows.of(train.texts, truth, copies)
    fitted = words.fit(half)
    mine = [(row // 2, text) for row, text in copies if row % 2 == 0]
    alone = train.take(half)
    small = LexicalRows.of(alone.texts, alone.targets(train.names), mine)
    expected = small.fit(np.arange(len(alone)))
    held = np.arange(1, len(train), 2)
    got = lexical_margins(fitted, words.ngrams, held)
    np.testing.assert_allclose(
        got, expected.margins([train.texts[row] for row in held]), rtol=0, atol=1e-4
    )
    # No copy of a row that was left out: n-grams that only they hold are no features.
    everyone = words.fit(np.arange(len(train)))
    assert (fitted.idf > 0).sum() < (everyone.idf > 0).sum()
    without = fit_lexical(words.ngrams, truth[words.owner], half)
    assert (without.idf > 0).sum() < (fitted.idf > 0).sum()


def test_figures_and_conformal_scores_are_of_rows_as_they_are(train: Examples) -> None:
    fit = fit_fused(train, embedder=Blind(), copies=copies_of(train, 3), threads=1)
    assert fit.out_of_fold.shape == (len(train), 4)
    assert len(fit.classifier.fusion.nonconformity) == len(train)
    assert len(fit.classifier.scope.in_scope) == len(train)
    scores = fit.held_out_scores(np.arange(len(train)), train.labels)
    assert scores.mean() == pytest.approx(fit.fused.accuracy)


def failures(classifier: FusedClassifier, judged: Judged, change: Change) -> float:
    """Share of the rows that are wrong once they are altered, with draws of the test's own."""
    altered = judged.altered(change, 77)
    return 1 - float(scored(classifier)(altered.texts, altered.labels).mean())


def test_copies_lower_the_failures_on_slips_of_the_kinds_they_hold(train: Examples) -> None:
    plain = fit_fused(train, embedder=Blind(), threads=1).classifier
    taught = fit_fused(train, embedder=Blind(), copies=copies_of(train, 3), threads=1).classifier
    rows = questions(800, 2)
    judged = Judged(rows.texts, rows.labels, rows.groups)
    before, after = (failures(model, judged, TAUGHT) for model in (plain, taught))
    assert before > 0.2
    assert after < 0.6 * before
    assert scored(taught)(rows.texts, rows.labels).mean() == 1.0


def test_copies_that_help_only_against_what_they_hold_are_left_out(train: Examples) -> None:
    said: list[str] = []
    found = harden(HeadData("intent", train), embedder=Blind(), options=OPTIONS, spelling=False,
                   copies=True, say=said.append)  # fmt: skip
    assert (found.spelling, found.copies, found.remedies) == (False, False, ())
    assert found.notes == tuple(said)
    assert said[0].startswith(f"intent, {COPIES}, on rows cut off the training rows: rows as they")
    assert said[0].endswith(": left out")


def test_mended_words_are_kept_where_slips_hurt() -> None:
    train = questions(240, 1, noise=2, size=4, letters=26)
    found = harden(HeadData("intent", train), embedder=Blind(), options=OPTIONS, spelling=True,
                   copies=False, say=lambda _: None)  # fmt: skip
    assert found.spelling
    assert found.remedies == (MENDING,)
    assert found.notes[0].endswith(": kept")
    # The same promise on rows that nothing was chosen by.
    rows = questions(400, 3, noise=2, size=4, letters=26)
    judged = Judged(rows.texts, rows.labels, rows.groups)
    model = fit_fused(train, embedder=Blind(), threads=1).classifier
    altered = judged.altered(UNTAUGHT, 77)
    mend = Spelling.of(train.texts).all_corrected
    after = 1 - float(scored(model, mend)(altered.texts, altered.labels).mean())
    assert after < 0.7 * failures(model, judged, UNTAUGHT)


def test_too_few_rows_choose_nothing() -> None:
    found = harden(HeadData("intent", questions(60, 1)), embedder=Blind(), options=OPTIONS,
                   spelling=True, copies=True, say=lambda _: None)  # fmt: skip
    assert not found.spelling
    assert found.notes == ("slips in writing: 12 rows are too few to choose a remedy by",)
