"""Sets asked with and without fine-tuning: a fold of each, unseen ones, one model for all."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipelines import benchmark_tuned as module
from pipelines.benchmark_core import SVM
from pipelines.benchmark_labels import (
    FIQA,
    PHRASEBANK,
    PLACES,
    TOPICS,
    TWEETS,
    Answers,
    LabelRow,
    Learner,
    read_sets,
)
from pipelines.benchmark_tuned import (
    FROZEN,
    TUNED,
    tuned_folds,
    tuned_together,
    tuned_unseen,
)
from shared.inference.model_encoders import open_base_encoder
from shared.pretrained import resolve
from shared.settings import Home
from shared.training.examples import Examples, folds
from shared.training.options import TrainOptions

WORDS = {"0": "slump loss", "2": "report plan", "1": "gain record"}


def test_both_are_asked_the_same_rows_and_compared_in_pairs(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EPOCHS", 1)
    rng = np.random.default_rng(4)
    others = [f"{a}{b}" for a in "bdfgklm" for b in "aeiou"]
    table = tmp_path / PLACES[TWEETS]
    table.parent.mkdir(parents=True)
    said = [list(WORDS)[n % 3] for n in range(90)]
    lines = [f"{' '.join([*rng.choice(others, 5), WORDS[label]])},{label}" for label in said]
    table.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    home = Home(tmp_path / "home")
    options = TrainOptions(
        method="frozen", base=str(tiny_encoder), seed=3, threads=1, bf16=False, progress=False
    )
    found = list(tuned_folds(tmp_path, home=home, options=options, say=lambda _: None))
    figures = {(row.system, row.measure): row.found.value for row in found}
    assert {row.data for row in found} == {f"{TWEETS}, first of 5 folds"}

    rows = read_sets(tmp_path, home, lambda _: None).sentiment[TWEETS]
    train, held = (rows.take(part) for part in next(iter(folds(rows, 5, 3))))
    assert len(train) + len(held) == 90
    assert not set(train.texts) & set(held.texts)
    base = resolve(str(tiny_encoder), cache=home.cache)
    embedder = open_base_encoder(base, cache=home.cache, threads=1)
    frozen = Learner(base, embedder, replace(options, method="frozen"), lambda _: None)
    labels, scores = frozen.ask(train, held.texts)
    right = [labels[at] == own for at, own in zip(scores.argmax(1), held.single, strict=True)]
    assert figures[FROZEN, "accuracy"] == pytest.approx(np.mean(right))
    gain = figures[TUNED, "accuracy"] - figures[FROZEN, "accuracy"]
    assert figures[TUNED, "accuracy above the frozen one"] == pytest.approx(gain)


SAID = {"negative": "slump", "neutral": "report", "positive": "gain"}
OF_TOPICS = {"5": "slump", "7": "report", "9": "gain"}
SPELT = {"negative": "0", "neutral": "2", "positive": "1"}


def given_answers(rows: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What was learned answers by the words, but frozen it calls all good news bad, and so does
    what was fine-tuned on more than so many rows. Returns how many rows were learned from."""
    learned = []

    def answers(_: Learner, taught: Examples, texts: Sequence[str]) -> Answers:
        learned.append(len(taught))
        # The labels in another order than SENTIMENTS.
        names = taught.names[::-1]
        words = [(SAID | OF_TOPICS)[label] for label in names]
        known = np.array([[word in text for word in words] for text in texts], np.float32)
        blind = known.copy()
        blind[:, words.index("slump")] += 2 * known[:, words.index("gain")]
        return {FROZEN: (names, blind), TUNED: (names, blind if len(taught) > rows else known)}

    monkeypatch.setattr(module, "_asked", answers)
    return learned


def tables(folder: Path, rows: int) -> None:
    """PhraseBank and tweets, a third of each sentiment, and two thirds of FiQA's rows good."""
    for place in (PLACES[PHRASEBANK], PLACES[TWEETS], PLACES[FIQA]):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
    said = [list(SAID)[n % 3] for n in range(rows)]
    # Nothing alike but the word, or all of a sentiment would be near copies in one fold.
    noise = np.random.default_rng(5)
    letters = list("bcdfghjklmnpqrtvwxz")
    texts = [
        " ".join([*("".join(noise.choice(letters, 6)) for _ in range(6)), SAID[label]])
        for label in said
    ]
    bank = [f"{text},{label}" for text, label in zip(texts, said, strict=True)]
    tweets = [f"{text[::-1]} {SAID[y]},{SPELT[y]}" for text, y in zip(texts, said, strict=True)]
    for name, lines in ((PHRASEBANK, bank), (TWEETS, tweets)):
        (folder / PLACES[name]).write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    scores = [("the slump", -0.5), ("the gain", 0.3), ("a gain", 0.1)] * 10
    lines = [json.dumps({"sentence": text, "sentiment_score": score}) for text, score in scores]
    (folder / PLACES[FIQA]).write_text("\n".join(lines), encoding="utf-8")


def measured(
    measure: Callable[..., Iterator[LabelRow]], folder: Path, encoder: Path
) -> list[LabelRow]:
    options = TrainOptions(method="frozen", base=str(encoder), seed=3, threads=1)
    return list(measure(folder, home=Home(folder / "home"), options=options, say=lambda _: None))


def test_every_fold_is_asked_and_told_as_one_set(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = given_answers(1_000, monkeypatch)
    tables(tmp_path, 60)
    spelt = {word: topic for topic, word in OF_TOPICS.items()}
    tweets = (tmp_path / PLACES[TWEETS]).read_text(encoding="utf-8").splitlines()[1:]
    words = [line.rsplit(",", 1)[0].rsplit(" ", 1)[1] for line in tweets]
    lines = [f"{line.rsplit(',', 1)[0]},{spelt[w]}" for line, w in zip(tweets, words, strict=True)]
    (tmp_path / PLACES[TOPICS]).parent.mkdir(parents=True)
    (tmp_path / PLACES[TOPICS]).write_text("\n".join(["text,label", *lines]), encoding="utf-8")

    found = measured(partial(tuned_folds, every=True), tmp_path, tiny_encoder)
    figures = {(row.data, row.system, row.measure): row.found.value for row in found}
    assert len(learned) == 15
    # Each row is held out once, so that four fifths of 60 are learned from on average.
    assert [sum(learned[at : at + 5]) for at in (0, 5, 10)] == [240, 240, 240]
    for name in (PHRASEBANK, TWEETS, TOPICS):
        data = f"{name}, 5 folds"
        assert figures[data, TUNED, "accuracy"] == 1
        # Of 20 rows each, all that is good is called bad.
        assert figures[data, FROZEN, "accuracy"] == pytest.approx(2 / 3)
        assert figures[data, TUNED, "accuracy above the frozen one"] == pytest.approx(1 / 3)
    for name in (PHRASEBANK, TWEETS):
        data = f"{name}, 5 folds"
        assert figures[data, TUNED, "macro F1"] == 1
        assert figures[data, FROZEN, "macro F1"] == pytest.approx((2 * 20 / 60 + 1 + 0) / 3)


def test_what_was_never_seen_is_asked_of_both_and_of_the_svm(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = given_answers(1_000, monkeypatch)
    tables(tmp_path, 60)
    found = measured(tuned_unseen, tmp_path, tiny_encoder)
    figures = {
        (row.system, row.measure): row.found.value
        for row in found
        if row.data == f"{FIQA}, never seen"
    }
    # With neutral rows, a third of them, and without.
    assert learned == [120, 80]
    assert figures[TUNED, "accuracy"] == 1
    assert figures[FROZEN, "accuracy"] == pytest.approx(1 / 3)
    assert figures[TUNED, "accuracy above the frozen one"] == pytest.approx(2 / 3)
    for system in (FROZEN, TUNED):
        above = figures[system, "accuracy"] - figures[SVM, "accuracy"]
        assert figures[system, "accuracy above the SVM"] == pytest.approx(above)
    alone = {
        (row.system, row.measure): row.found.value for row in found if row.data.endswith("alone")
    }
    assert alone[TUNED, "accuracy"] == 1
    assert alone[FROZEN, "accuracy"] == pytest.approx(1 / 3)
    assert alone[TUNED, "accuracy above the SVM"] == pytest.approx(1 - alone[SVM, "accuracy"])


def test_one_model_of_all_sets_is_set_against_each_sets_own(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = given_answers(60, monkeypatch)
    tables(tmp_path, 60)
    found = measured(tuned_together, tmp_path, tiny_encoder)
    figures = {(row.data.split(",")[0], row.system, row.measure): row.found.value for row in found}
    assert len(learned) == 3
    assert learned[0] == sum(learned[1:])
    assert all(part < 60 < learned[0] for part in learned[1:])
    for name in (PHRASEBANK, TWEETS):
        good = 1 - figures[name, FROZEN, "accuracy"]
        assert 0.2 < good < 0.5  # the share of good news, of which frozen sees none
        assert figures[name, TUNED, "accuracy"] == 1
        assert figures[name, FROZEN, "negative recall"] == 1
        together = f"{TUNED}, one model for all sets"
        assert figures[name, together, "accuracy"] == pytest.approx(1 - good)
        assert figures[name, together, "accuracy above its own model"] == pytest.approx(-good)
        frozen = f"{FROZEN}, one model for all sets"
        assert figures[name, frozen, "accuracy above its own model"] == 0
