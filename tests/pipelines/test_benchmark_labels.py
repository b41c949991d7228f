"""The labels' benchmark reads each set as it is laid out, and judges every system on it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines import benchmark_labels as module
from pipelines.benchmark_core import SVM
from pipelines.benchmark_labels import (
    COMMON,
    FIQA,
    GOLD,
    OWN,
    PHRASEBANK,
    PLACES,
    SENTFIN,
    TWEETS,
    Learner,
)
from shared.inference.runtime import load_embedder
from shared.pretrained import PretrainedEncoder
from shared.settings import Home
from shared.training.examples import Examples, from_rows
from shared.training.options import TrainOptions

WORDS = {"negative": "slump loss", "neutral": "report plan", "positive": "gain record"}


def rows(seed: int, number: int = 45) -> list[tuple[str, str]]:
    """Two words of their sentiment among others that say nothing."""
    rng = np.random.default_rng(seed)
    others = [f"{a}{b}" for a in "bdfgklm" for b in "aeiou"]
    said = [list(WORDS)[n % 3] for n in range(number)]
    return [(" ".join([*rng.choice(others, 5), WORDS[label]]), label) for label in said]


def test_every_system_is_judged_on_every_set(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FOLDS", 2)

    # The fusion is tested elsewhere, and takes its time: here its answers are known beforehand.
    learned: list[Examples] = []

    def by_words(
        _: Learner, taught: Examples, texts: Sequence[str]
    ) -> tuple[Sequence[str], NDArray[np.float32]]:
        learned.append(taught)
        found = [[WORDS[label] in text for label in taught.names] for text in texts]
        return taught.names, np.array(found, np.float32)

    monkeypatch.setattr(Learner, "ask", by_words)
    spelt = {"negative": "0", "positive": "1", "neutral": "2"}
    tables = {
        PHRASEBANK: ["text,label", *(f"{text},{y}" for text, y in rows(1))],
        TWEETS: ["text,label", *(f"{text},{spelt[y]}" for text, y in rows(2))],
        SENTFIN: [
            "id,title,entity,sentiment",
            *(f"{n},{text},Oryx,{y}" for n, (text, y) in enumerate(rows(3))),
            "90,Oryx up and Lynx down,Oryx,positive",
            "90,Oryx up and Lynx down,Lynx,negative",
        ],
        FIQA: [
            json.dumps({"sentence": text, "sentiment_score": {"n": -0.4, "p": 0.3}.get(y[0], 0)})
            for text, y in rows(4)
            if y != "neutral"
        ],
    }
    for name, lines in tables.items():
        path = tmp_path / PLACES[name]
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    said: list[str] = []
    options = TrainOptions(
        method="frozen", base=str(tiny_encoder), seed=3, threads=1, progress=False
    )
    home = Home(tmp_path / "home")
    found = list(module.benchmark_labels(tmp_path, home=home, options=options, say=said.append))
    assert f"skipped: {tmp_path / PLACES[GOLD]} is not there" in said
    figures = {(row.data, row.system, row.measure): row.found for row in found}
    for name in (PHRASEBANK, TWEETS, SENTFIN):
        for system in (OWN, COMMON):
            assert figures[f"{name}, 2 folds", system, "accuracy"].value == 1
            assert figures[f"{name}, 2 folds", system, "weighted F1"].value == 1
        assert figures[f"{name}, 2 folds", SVM, "accuracy"].value > 0.9
        gain = figures[f"{name}, 2 folds", COMMON, "accuracy above its own model"]
        assert (gain.low, gain.value, gain.high) == (0, 0, 0)
    assert figures["FiQA, sign, never seen", OWN, "negative recall"].value == 1
    assert ("FiQA, sign, never seen", OWN, "accuracy above the SVM") in figures

    assert [rows.names for rows in learned[:-1]] == [tuple(WORDS)] * (len(learned) - 1)
    assert learned[-1].names == ("negative", "positive")
    assert len(learned[-1]) == len(learned[-2]) * 2 / 3  # those of PhraseBank and tweets
    alone = "FiQA, sign, never seen, taught its labels alone"
    assert figures[alone, OWN, "accuracy"].value == 1
    for rival, above in (
        (figures[alone, SVM, "accuracy"], "accuracy above the SVM"),
        (figures["FiQA, sign, never seen", SVM, "accuracy"], "accuracy above the SVM of all rows"),
    ):
        assert figures[alone, OWN, above].value == pytest.approx(1 - rival.value)
    assert len(module.read_sets(tmp_path, home, said.append).sentiment[SENTFIN]) == 45


def test_a_fine_tuned_learner_knows_the_words_it_was_taught(tiny_encoder: Path) -> None:
    texts, labels = zip(*rows(5, 90), strict=True)
    said: list[str] = []
    learner = Learner(
        PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none"),
        load_embedder(tiny_encoder, precision="fp32", threads=1),
        TrainOptions(method="full", epochs=1, threads=1, bf16=False, progress=False),
        said.append,
    )
    taught = from_rows(texts, [(label,) for label in labels], "single")
    found = learner.sentiment(taught, ["a slump loss", "a report plan", "a gain record"])
    assert found.argmax(1).tolist() == [0, 1, 2]
    assert any(line.startswith("  epoch 1 of 1") for line in said)


def test_what_is_called_neutral_is_judged_by_the_likelier_sign() -> None:
    held = from_rows(["a", "b", "c"], [("positive",), ("negative",), ("negative",)], "single")
    scores = np.array([[0.1, 0.7, 0.2], [0.2, 0.7, 0.1], [0.1, 0, 0.9]], np.float32)
    found = module.unseen_figures(FIQA, held, {OWN: scores, SVM: scores})
    figures = {(row.system, row.measure): row.found.value for row in found}
    assert figures[OWN, "accuracy on what it calls neutral"] == 1
    assert figures[OWN, "accuracy on what it calls bad or good"] == 0
