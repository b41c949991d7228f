"""Entities on marked examples: what is counted as right, and what a list of marked values finds."""

import gzip
from pathlib import Path

import numpy as np

from pipelines.benchmark_entities import DOMAINS, TURNS, measure_entities
from shared.settings import Home
from shared.training.options import TrainOptions


def test_new_values_are_learned_and_a_list_knows_the_old_ones(tmp_path: Path) -> None:
    letters = np.random.default_rng(5).choice(list("abdefgiklmnoprstu"), (90, 3, 6))
    rows = []
    for number, words in enumerate("".join(word) for word in letters.reshape(-1, 6)):
        part = "train" if number < 210 else "dev"
        for domain in DOMAINS:
            if number % 3 == 0:
                rows.append(f"{domain},{part},fly to {words} {words[:3]} now,O O city city O")
            else:
                rows.append(f"{domain},{part},{words} is no,O O O")
        rows.append(f"airline,{part},one word too many,O O")
    path = tmp_path / TURNS
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt") as file:
        file.write("\n".join(["domain,split,utterance,slot-labels", *rows]) + "\n")
    said: list[str] = []
    found = measure_entities(
        tmp_path, home=Home(tmp_path), options=TrainOptions(seed=1), say=said.append
    )
    figures = {(row.data, row.system, row.measure): row.found.value for row in found}
    assert said[0] == "MultiDoGo airline: 210 examples learned from, 60 asked"
    assert figures["MultiDoGo airline", "triptych", "precision"] == 1
    assert figures["MultiDoGo airline", "triptych", "recall"] == 1
    assert figures["MultiDoGo insurance", "list of the marked values", "recall"] == 0
    assert np.isnan(figures["MultiDoGo insurance", "list of the marked values", "precision"])
