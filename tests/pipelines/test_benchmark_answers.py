"""Questions whose answers no example asks for, against nearest answers alone."""

from pathlib import Path

import pytest

from pipelines.benchmark_answers import BY_GRAM, BY_VECTOR, FAQS, OURS, benchmark_answers
from shared.errors import DataError
from shared.settings import Home
from shared.training.options import TrainOptions

THINGS = [
    f"{colour} {thing}"
    for colour in ("red", "blue", "lost", "late", "good")
    for thing in ("card", "order", "money", "refund", "shoe", "cup", "tea", "bank")
]


# The command line silences it for the same reason (pipelines/cli.py).
@pytest.mark.filterwarnings("ignore:The number of unique classes is greater than 50%")
def test_words_that_questions_share_with_their_answers_find_them(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    path = tmp_path / FAQS
    path.parent.mkdir(parents=True)
    rows = [f"where is my {thing}?,the {thing} will arrive" for thing in THINGS]
    path.write_text("\n".join(["question,answer", *rows, rows[0]]) + "\n", encoding="utf-8")
    options = TrainOptions(
        method="frozen", base=str(tiny_encoder), seed=3, threads=1, progress=False
    )
    home = Home(tmp_path / "home")
    found = {
        row.system: row.recall
        for row in benchmark_answers(tmp_path, home=home, options=options, say=lambda _: None)
    }
    assert list(found) == [OURS, BY_VECTOR, BY_GRAM]
    # Only the right answer has both of a question's words.
    assert found[BY_GRAM].value == 1
    assert found[OURS].value > 0.5
    assert found[OURS].low <= found[OURS].value <= found[OURS].high


def test_where_all_answers_have_examples_there_is_nothing_to_ask(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    path = tmp_path / FAQS
    path.parent.mkdir(parents=True)
    said = ("it will arrive", "the bank will pay")
    rows = [f"where is my {thing}?,{said[at % 2]}" for at, thing in enumerate(THINGS)]
    path.write_text("\n".join(["question,answer", *rows]) + "\n", encoding="utf-8")
    options = TrainOptions(method="frozen", base=str(tiny_encoder), threads=1, progress=False)
    with pytest.raises(DataError, match="every answer is among the examples"):
        list(
            benchmark_answers(
                tmp_path, home=Home(tmp_path / "home"), options=options, say=lambda _: None
            )
        )
