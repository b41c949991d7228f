"""The first fold of a set, asked with and without fine-tuning."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines import benchmark_tuned as module
from pipelines.benchmark_labels import PLACES, TWEETS, Learner
from pipelines.benchmark_tuned import FROZEN, TUNED, benchmark_tuned, first_folds
from shared.inference.model_encoders import open_base_encoder
from shared.pretrained import resolve
from shared.settings import Home
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
    found = list(benchmark_tuned(tmp_path, home=home, options=options, say=lambda _: None))
    figures = {(row.system, row.measure): row.found.value for row in found}
    assert {row.data for row in found} == {f"{TWEETS}, first of 5 folds"}

    (fold,) = first_folds(tmp_path, home, 3, lambda _: None)
    assert len(fold.part) + len(fold.held) == 90
    assert not set(fold.part.texts) & set(fold.held.texts)
    base = resolve(str(tiny_encoder), cache=home.cache)
    embedder = open_base_encoder(base, cache=home.cache, threads=1)
    frozen = Learner(base, embedder, replace(options, method="frozen"), lambda _: None)
    labels, scores = frozen.ask(fold.part, fold.held.texts)
    right = [labels[at] == own for at, own in zip(scores.argmax(1), fold.held.single, strict=True)]
    assert figures[FROZEN, "accuracy"] == pytest.approx(np.mean(right))
    gain = figures[TUNED, "accuracy"] - figures[FROZEN, "accuracy"]
    assert figures[TUNED, "accuracy above the frozen one"] == pytest.approx(gain)
