"""Slips, questions out of scope and first replies: what is counted, by a bot on a small encoder."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipelines.benchmark import run_benchmark
from pipelines.benchmark_customers import TWEETS, measure_replies, slipped
from shared.errors import DataError
from shared.settings import Home
from shared.training.options import TrainOptions


def edits(before: str, after: str) -> int:
    """Damerau-Levenshtein distance, adjacent letters swapped counting once."""
    far: dict[tuple[int, int], int] = {}
    for i in range(len(before) + 1):
        for j in range(len(after) + 1):
            if not i or not j:
                far[i, j] = i + j
                continue
            same = before[i - 1] == after[j - 1]
            far[i, j] = min(far[i - 1, j] + 1, far[i, j - 1] + 1, far[i - 1, j - 1] + (not same))
            if i > 1 and j > 1 and before[i - 2 : i] == after[j - 2 : j][::-1]:
                far[i, j] = min(far[i, j], far[i - 2, j - 2] + 1)
    return far[len(before), len(after)]


def test_each_message_gets_just_two_slips() -> None:
    texts = ["where is my card?", "退款 please help", "ok", "how do I top up by cheque", "1234"]
    first, again, other = (slipped(texts, 2, seed) for seed in (3, 3, 4))
    assert first == again != other
    assert [edits(a, b) for a, b in zip(texts, first, strict=True)] == [2, 2, 0, 2, 0]


# The command line silences it for the same reason (pipelines/cli.py).
@pytest.mark.filterwarnings("ignore:The number of unique classes is greater than 50%")
def test_replies_that_share_words_with_their_questions_are_found(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    things = [
        f"{colour} {thing}"
        for colour in ("red", "blue", "lost", "late", "good")
        for thing in ("card", "order", "money", "refund", "shoe", "cup", "tea", "bank")
    ]
    folder = tmp_path / TWEETS
    folder.mkdir(parents=True)
    for part, names in {"train": things[:30], "valid": things[30:]}.items():
        with gzip.open(folder / f"{part}.jsonl.gz", "wt", encoding="utf-8") as file:
            for name in names:
                turns = [
                    ("customer", "hello"), ("customer", f"where is my {name}?"),
                    ("agent", f"the {name} will arrive"), ("customer", "when"), ("agent", "late"),
                ]  # fmt: skip
                told = [{"speaker": who, "text": text} for who, text in turns]
                file.write(json.dumps({"turns": told}) + "\n")
    options = TrainOptions(
        method="frozen", base=str(tiny_encoder), seed=3, threads=1, progress=False
    )
    home = Home(tmp_path / "home")
    rows = list(measure_replies(tmp_path, home=home, options=options, say=lambda _: None))
    assert {row.data for row in rows} == {"TweetSumm, first reply among 10"}
    found: Mapping[str, float] = {row.system: row.found.value for row in rows}
    # Only the right reply has both of a question's words.
    assert found["cosine of TF-IDF n-grams"] == 1
    assert found["triptych"] > 0.5


def test_a_part_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        run_benchmark(
            "chatbot", datasets=tmp_path, items=None, events=None, seeds=(1,), home=Home(tmp_path),
            say=print, only=("typos",),
        )  # fmt: skip
    assert str(error.value) == (
        "--only typos: expected one of intents, answers, slips, scope, replies, several, entities"
    )
