"""Answers that no example asks for: one distribution with the learned intents, learned honestly."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from apps.chatbot.answers import Answer, AnswerBook
from apps.chatbot.match_fitting import FEWEST_QUESTIONS, _in_share, _shortened, fit_choice
from apps.chatbot.matching import (
    FILE_NAME,
    MEANING,
    AnswerMatcher,
    Choice,
    Floats,
    gate_features,
    joined,
    sureness,
)
from apps.chatbot.mining.answer_choice import Encode
from shared.errors import ModelError
from shared.inference.classifier import Prediction
from shared.inference.lexical import Grams
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import Embedder, load_embedder
from shared.near_duplicates import near_duplicate_groups
from shared.training.examples import Examples, from_rows
from shared.training.fusion import fit_fused

F32 = np.float32
SAMPLES = Path("data/samples/chatbot")


def book(**texts: str) -> AnswerBook:
    return AnswerBook(
        tuple(Answer(label, {"en": label}, {"en": (text,)}) for label, text in texts.items())
    )


class Fixed:
    """An encoder that gives every text the same vector."""

    dim = 3

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.tile(np.eye(3, dtype=F32)[:1], (len(texts), 1))


FIXED = cast("Embedder", Fixed())


def taught(choice: Sequence[float], gate: Sequence[float], nonconformity: Floats) -> Choice:
    weights, curve = np.array(choice, F32), np.array(gate, F32)
    return Choice(weights, curve, nonconformity, np.zeros((0, 3), F32))


def tiny(choice: Choice | None = None) -> AnswerMatcher:
    """Intents a and b; b has an answer, and so have x and y, of which no example is known."""
    vectors = np.eye(3, dtype=F32)
    return AnswerMatcher(
        ("a", "b"), ("b", "x", "y"), ("blue", "red box", "yellow"), vectors, choice
    )


def test_unseen_answers_and_the_answer_of_each_intent() -> None:
    assert tiny().unseen.tolist() == [1, 2]
    assert tiny().own.tolist() == [-1, 0]


def test_gate_features_by_hand() -> None:
    p = np.array([[0.8, 0.2], [0.25, 0.75]], dtype=F32)
    logits = np.array([[3.0, 1.0, 2.0], [5.0, -1.0, -4.0]], dtype=F32)
    unseen = np.array([[False, True, True]] * 2)
    found = gate_features(sureness(p), p.argmax(1), logits, unseen, np.array([-1, 0]))
    # a has no answer of its own: the mean of all logits stands for it.
    assert found == pytest.approx(np.array([[np.log(4), 2, 2], [np.log(3), -1, 5]]), abs=1e-6)


def test_the_joint_distribution_by_hand() -> None:
    choice = taught([2, 1], [0.5, 0.25, -1, 0.1], np.zeros(1, F32))
    matcher = tiny(choice)
    vector = np.array([[0.0, 0.6, 0.8]], dtype=F32)
    p = np.array([[0.9, 0.1]], dtype=F32)
    (found,) = matcher.joint(["red"], vector, p)
    by_gram = matcher.cosines(["red"], vector)[1][0]
    logits = [0 + by_gram[0], 1.2 + by_gram[1], 1.6 + by_gram[2]]
    z = 0.5 * np.log(9) + 0.25 * max(logits[1:]) - sum(logits) / 3 + 0.1
    gate = 1 / (1 + exp(-z))
    first = exp(logits[1]) / (exp(logits[1]) + exp(logits[2]))
    assert found == pytest.approx(
        [(1 - gate) * 0.9, (1 - gate) * 0.1, gate * first, gate * (1 - first)], abs=1e-5
    )


def test_grams_are_cosines_of_words_and_of_characters() -> None:
    grams, rows = Grams.of(["red box", "yellow"])
    same, other = (grams.rows(["Red  BOX"]) @ rows.T).toarray()[0]
    assert (same, other) == (pytest.approx(2, abs=1e-6), 0)
    matcher = tiny()
    nothing = np.zeros((1, 3), F32)
    (named,) = matcher.cosines([matcher.texts[1].upper()], nothing)[1]
    assert named[1] == pytest.approx(1, abs=1e-6)
    assert matcher.cosines(["nothing known 7"], nothing)[1].tolist() == [[0, 0, 0]]


def test_rows_of_the_joint_add_up_to_one_and_an_unfitted_matcher_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1], 50).astype(F32)
    logits, gate = rng.normal(0, 20, (50, 2)).astype(F32), rng.random(50)
    assert joined(p, logits, gate).sum(1) == pytest.approx(np.ones(50), abs=1e-5)
    untouched = tiny().joint(["x"] * 50, rng.random((50, 3)).astype(F32), p)
    assert untouched[:, :2].tolist() == p.tolist()
    assert not untouched[:, 2:].any()


def test_a_prediction_names_the_unseen_answer_and_what_found_it() -> None:
    sure = taught([30, 0], [0, 0, 0, 3], np.full(99, 0.5, F32))
    before = Prediction("a", 0.9, ("a",), (("a", 0.9), ("b", 0.1)), ("a",), 4.0, {"lexical": 0.9})
    vector, p = np.array([[0, 0, 1]], dtype=F32), np.array([[0.9, 0.1]], dtype=F32)
    (after,) = tiny(sure).weighed(["?"], vector, p, [before], 0.05)
    assert after.label == "y"
    assert after.probability == pytest.approx(1 / (1 + exp(-3)), abs=1e-5)
    assert [label for label, _ in after.ranking] == ["y", "a", "b", "x"]
    assert after.conformal == ("y",)
    assert after.oos_score == 4.0
    assert after.scorers == {MEANING: after.probability}
    shut = replace(sure, gate=np.array([0, 0, 0, -30], F32))
    (kept,) = tiny(shut).weighed(["?"], vector, p, [before], 0.05)
    assert (kept.label, kept.scorers) == ("a", before.scorers)


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 4), (0.2, 1), (0.05, 1)])
def test_the_second_kind_is_thinned_to_its_share(share: float, wanted: int) -> None:
    first, second = np.arange(4, dtype=F32), np.arange(10, 14, dtype=F32)[::-1]
    kept, thinned = _in_share(first, second, share)
    assert kept.tolist() == [0, 1, 2, 3]
    assert len(thinned) == wanted
    assert set(thinned) <= set(second)


def one_question(times: int) -> Examples:
    return Examples(("blue",) * times, (("b",),) * times, np.arange(times), "single")


def test_too_few_questions_and_no_unseen_answer_teach_nothing() -> None:
    n = FEWEST_QUESTIONS
    p = np.full((n, 2), 0.5, dtype=F32)
    assert fit_choice(tiny(), one_question(n), FIXED, p, 1) is not None
    assert fit_choice(tiny(), one_question(n - 1), FIXED, p[1:], 1) is None
    all_seen = replace(tiny(), intents=("b", "x", "y"))
    thirds = np.full((n, 3), 0.3, dtype=F32)
    assert fit_choice(all_seen, one_question(n), FIXED, thirds, 1) is None


def test_questions_never_held_out_are_told_from_others_by_nearness_and_promise_nothing(
    words_encode: Encode,
) -> None:
    embedder = SimpleNamespace(encode=words_encode, dim=512)
    names = [f"label{at}" for at in range(60)]
    questions = [f"how can i a{at} my b{at} for c{at} or d{at}" for at in range(60)]
    answers = book(**{f"label{at}": f"you a{at} the b{at} for c{at} here" for at in range(60)})
    known = names[::2]
    train = from_rows(questions[::2], [(name,) for name in known], "single")
    matcher = AnswerMatcher.of(answers, sorted(known), cast("Embedder", embedder))
    nothing = np.full((len(known), len(known)), np.nan, dtype=F32)
    choice = fit_choice(matcher, train, cast("Embedder", embedder), nothing, 1)
    assert choice is not None
    assert choice.questions.shape == (len(known), 512)
    assert not len(choice.nonconformity)
    # The nearer a known question, the less an unseen answer is asked for.
    assert choice.gate[0] < 0
    fitted = replace(matcher, choice=choice)
    flat = np.full((len(names), len(known)), 1 / len(known), dtype=F32)
    p = fitted.joint(questions, words_encode(questions), flat)
    unseen = p[:, len(known) :].sum(1)
    assert unseen[::2].max() < unseen[1::2].min()


def test_two_thirds_of_the_words_are_left_in_their_order() -> None:
    (words,) = _shortened(["one two three four five six"], 3)
    kept = words.split()
    assert len(kept) == 4
    assert [word for word in "one two three four five six".split() if word in kept] == kept
    assert [len(text) for text in _shortened(["退货怎么办呢", "abc", "a"], 3)] == [4, 2, 1]


def test_it_is_read_as_it_was_written_and_a_broken_file_is_one_line(tmp_path: Path) -> None:
    answers = book(b="blue", x="red box", y="yellow")
    choice = taught([1, 1], [1, 1, 1, 1], np.array([0.1, 0.4], F32))
    assert AnswerMatcher.load(tmp_path, answers=answers, intents=["a"], dim=3) is None
    tiny(choice).save(tmp_path)
    again = AnswerMatcher.load(tmp_path, answers=answers, intents=("a", "b"), dim=3)
    assert again is not None
    vector, p = np.eye(3, dtype=F32)[1:2], np.array([[0.4, 0.6]], dtype=F32)
    assert (again.joint(["red"], vector, p) == tiny(choice).joint(["red"], vector, p)).all()
    with pytest.raises(ModelError, match=r"vectors of shape \(3, 3\), expected \(3, 4\)$"):
        AnswerMatcher.load(tmp_path, answers=answers, intents=["a"], dim=4)
    (tmp_path / FILE_NAME).write_bytes(b"torn")
    with pytest.raises(ModelError, match="not readable"):
        AnswerMatcher.load(tmp_path, answers=answers, intents=["a"], dim=3)


def test_questions_for_unseen_answers_find_them_and_others_keep_theirs(minilm: Path) -> None:
    """Five questions of each of the sample's intents but ten, which have their answers alone."""
    said = pd.read_csv(SAMPLES / "answers.csv", keep_default_na=False)
    said = said[said["language"] == "en"].drop_duplicates("label")
    answers = book(**dict(zip(said["label"], said["answer"], strict=True)))
    rows = pd.read_csv(SAMPLES / "examples.csv", keep_default_na=False)
    asked = pd.read_csv(SAMPLES / "validation.csv", keep_default_na=False)
    asked = asked[asked["label"].isin(said["label"])][:300]
    hidden = sorted(said["label"])[::5]
    known = rows[rows["label"].isin(said["label"]) & ~rows["label"].isin(hidden)]
    few = known.groupby("label").head(5)
    texts = tuple(few["text"])
    train = Examples(
        texts, tuple((label,) for label in few["label"]), near_duplicate_groups(texts), "single"
    )
    embedder = RememberingEmbedder(load_embedder(minilm, precision="fp32", threads=1))
    fit = fit_fused(train, embedder=embedder, threads=1)
    matcher = AnswerMatcher.of(answers, fit.classifier.labels, embedder)
    choice = fit_choice(matcher, train, embedder, fit.out_of_fold, 13)
    questions, truth = list(asked["text"]), np.array(asked["label"])
    p = fit.classifier.score(questions).probabilities
    vectors = embedder.encode(questions)
    found = replace(matcher, choice=choice).joint(questions, vectors, p)
    names = np.array([*fit.classifier.labels, *(matcher.labels[at] for at in matcher.unseen)])
    right = names[found.argmax(1)] == truth
    before = np.array(fit.classifier.labels)[p.argmax(1)] == truth
    unseen = np.isin(truth, hidden)
    assert right[unseen].mean() > 0.3
    assert right[~unseen].mean() > before[~unseen].mean() - 0.06
    assert right.mean() > before.mean() + 0.04
    # Sure as often as it is right: the promise that the decisions rest on.
    assert abs(found.max(1).mean() - right.mean()) < 0.06
