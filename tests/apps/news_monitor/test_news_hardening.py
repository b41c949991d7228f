"""`train news --augment`: what was tried is noted, and the report's table is before and after."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from apps.news_monitor.hardened import Hardening
from shared.evaluation.robustness import AS_THEY_ARE, TAUGHT, Judged
from shared.training.copies import copies_of
from shared.training.examples import Examples
from shared.training.fusion import fit_fused
from shared.training.hardening import scored
from shared.training.head_data import HeadData
from shared.training.learning import refit
from shared.training.options import TrainOptions

OPTIONS = TrainOptions(method="frozen", seed=5, threads=1)
SENTIMENTS = ("negative", "neutral", "positive")


class Blind:
    """Sees nothing: what the lexical scorer can do is all there is."""

    dim = 4
    fingerprint = "blind"

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        del normalised
        return np.full((len(texts), 4), 0.5, dtype=np.float32)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts)


def headlines(rows: int, seed: int) -> Examples:
    """Each holds one of ten words of its sentiment, of four letters from eight, and a short one."""
    made = np.random.default_rng(4)
    words = ["".join(word) for word in made.choice(list("abcdefgh"), (30, 4))]
    others = ["".join(word) for word in made.choice(list("abcdefgh"), (60, 2))]
    rng = np.random.default_rng(seed)
    texts = tuple(f"{rng.choice(others)} {words[10 * (n % 3) + n // 3 % 10]}" for n in range(rows))
    labels = tuple((SENTIMENTS[n % 3],) for n in range(rows))
    return Examples(texts, labels, np.arange(rows))


@pytest.fixture(scope="module")
def head() -> HeadData:
    return HeadData("sentiment", headlines(240, 1))


def test_nothing_is_tried_unasked_and_what_was_tried_is_said(head: HeadData) -> None:
    said: list[str] = []
    plain = Hardening.of([head], embedder=Blind(), options=OPTIONS, copies=False, say=said.append)
    assert (plain.heads, plain.notes, said) == ((head,), (), [])
    tried = Hardening.of([head], embedder=Blind(), options=OPTIONS, copies=True, say=said.append)
    (note,) = tried.notes
    assert said == [note]
    assert note.startswith("sentiment, learning from altered copies, on rows cut off")
    assert tried.heads == (replace(head, altered=note.endswith(": kept")),)


def test_the_table_is_of_the_model_without_copies_and_with_them(head: HeadData) -> None:
    taught = replace(head, altered=True)
    fit = refit(taught, embedder=Blind(), options=OPTIONS)
    held = headlines(150, 2)
    hardening = Hardening((taught,), (), Blind(), OPTIONS)
    (table,) = hardening.tables({"sentiment": fit}, {"sentiment": held})
    judged = Judged(held.texts, held.labels, held.groups)
    plain = fit_fused(head.examples, embedder=Blind(), seed=5, threads=1)
    with_copies = fit_fused(
        head.examples, embedder=Blind(), seed=5, threads=1, copies=copies_of(head.examples, 5)
    )
    for figure, rows in zip(table.figures, (judged, judged.altered(TAUGHT, 5)), strict=False):
        before = scored(plain.classifier)(rows.texts, rows.labels).mean()
        after = scored(with_copies.classifier)(rows.texts, rows.labels).mean()
        assert (figure.before, figure.after) == pytest.approx((before, after))
    assert table.figures[0].part == AS_THEY_ARE
    assert table.figures[1].after > table.figures[1].before
    assert hardening.tables({"sentiment": fit}, {"sentiment": held}) == (table,)
    assert Hardening((head,), (), Blind(), OPTIONS).tables({}, {}) == ()
