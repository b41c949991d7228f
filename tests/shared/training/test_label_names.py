"""Labels' names as rows: which are words, and what they may not touch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.inference.runtime import load_embedder
from shared.pretrained import PretrainedEncoder
from shared.training.examples import Examples, from_rows
from shared.training.fusion import fit_fused
from shared.training.head_data import HeadData
from shared.training.label_names import name_rows, words_of
from shared.training.learning import learn, refit
from shared.training.options import TrainOptions

OPTIONS = TrainOptions(method="frozen", threads=1, device="cpu", progress=False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refund_status", "refund status"),
        ("Refund_not_showing_up", "refund not showing up"),
        ("faq/orderCancelled", "faq order cancelled"),
        ("退款进度", "退款进度"),
        ("LABEL_3", ""),
        ("0", ""),
        ("ok", ""),
        ("--", ""),
    ],
)
def test_a_name_is_its_words_and_a_code_is_none(name: str, words: str) -> None:
    assert words_of(name) == words


def test_names_are_rows_of_their_labels_in_groups_of_their_own() -> None:
    texts = ["where is it", "money back", "close my account please", "refund status"]
    labels = ["late_delivery", "refund_status", "close_account", "refund_status"]
    rows = name_rows(from_rows(texts, [(label,) for label in labels], "single"))
    assert rows is not None
    # "refund status" is a copy of the last example, which it would flatter.
    assert dict(zip(rows.texts, rows.single, strict=True)) == {
        "late delivery": "late_delivery",
        "close account": "close_account",
    }
    assert rows.groups.min() > 3
    assert len(set(rows.groups)) == 2


def test_names_that_read_the_same_teach_neither_label() -> None:
    examples = from_rows(["one", "two", "three"], [("a-bill",), ("a_bill",), ("x1",)], "single")
    assert name_rows(examples) is None


def told_apart(every: int) -> Examples:
    """Six rows each of two labels; one in `every` holds a word of its label's name."""
    filler = "hello there when will it be done".split()
    rng = np.random.default_rng(5)
    texts = [
        " ".join(rng.permutation([*rng.choice(filler, 4), "now" if at % every else word]))
        for word in ("refund", "parcel")
        for at in range(6)
    ]
    labels = ["the_refund"] * 6 + ["the_parcel"] * 6
    return Examples(tuple(texts), tuple((label,) for label in labels), np.arange(12))


def test_named_rows_teach_and_are_never_held_out(tiny_encoder: Path) -> None:
    few = told_apart(2)
    embedder = load_embedder(tiny_encoder, precision="fp32", threads=1)
    plain = fit_fused(few, embedder=embedder, threads=1)
    named = fit_fused(few, embedder=embedder, named=name_rows(few), threads=1)
    assert (len(plain.classifier.dense.known), len(named.classifier.dense.known)) == (12, 14)
    assert len(named.losses) == len(plain.losses) == 12
    assert named.out_of_fold.shape == plain.out_of_fold.shape == (12, 2)
    assert len(named.classifier.fusion.nonconformity) == 12


@pytest.mark.parametrize("helps", [True, False])
def test_names_stay_where_they_lower_the_loss_on_held_out_rows(
    tiny_encoder: Path, tmp_path: Path, helps: bool
) -> None:
    embedder = load_embedder(tiny_encoder, precision="fp32", threads=1)
    few = told_apart(2 if helps else 1)
    if not helps:  # names that say the opposite of what the rows say plainly
        few = replace(few, labels=few.labels[::-1])
    head = HeadData("intent", few)
    learned = learn(
        [head],
        base=PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none"),
        embedder=embedder, options=OPTIONS, folder=tmp_path / "m", say=lambda _: None,
    )  # fmt: skip
    rows = 14 if helps else 12
    assert len(learned.classifier("intent").dense.known) == rows
    assert learned.notes[-1].startswith("intent: the names of 2 labels, as a row each, moved")
    assert learned.notes[-1].endswith(": kept" if helps else ": left out")
    assert len(refit(head, embedder=embedder, options=OPTIONS).classifier.dense.known) == rows
