"""`triptych data curve` on a table, by the command."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.labelled_examples import read_labelled
from shared.settings import Home

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_curve_is_drawn_and_put_in_words(
    triptych_here: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    filler = "the a my is was please help how will red blue tea cup shoe bank news".split()
    rows = [f"{' '.join(rng.permutation([*rng.choice(filler, 5, replace=False), word]))},{word}"
            for word in ("cancel", "pay", "arrive") for _ in range(60)]  # fmt: skip
    (tmp_path / "q.csv").write_text("\n".join(["frage,label", *rows]) + "\n")
    done = triptych_here(
        "data", "curve", "chatbot", "--examples", tmp_path / "q.csv", "--text-column", "frage",
        "--base", tiny_encoder, "--repeats", "2", "--threads", "1", "--json",
        home=tmp_path / "home",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    curve = json.loads(done.stdout)
    measured = [point["n"] for point in curve["points"] if point["measured"]]
    assert measured == sorted(measured)
    assert [p["n"] for p in curve["points"][-2:]] == [2 * measured[-1], 4 * measured[-1]]
    assert curve["words"].startswith(f"{measured[-1]} rows give an accuracy of")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("negative", "neutral", "pos"), ("negative", "neutral", "positive")),
        (("Banks", "Banks|Shops", ""), ("Banks", "Shops")),
    ],
)
def test_news_tables_may_hold_sentiments_or_topics(
    tmp_path: Path, labels: tuple[str, ...], names: tuple[str, ...]
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "".join(f"story {n},{x}\n" for n, x in enumerate(labels)))
    examples = read_labelled("news", table, {}, Home(tmp_path), lambda _: None)
    assert examples.names == names
