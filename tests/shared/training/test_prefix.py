"""An encoder that wants a prefix gets it once before a text: in every kind of run, and in use."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from shared.inference.runtime import load_embedder
from shared.modeling.encoder import Encoder
from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder, resolve
from shared.training.examples import Examples
from shared.training.finetune import HeadTask, finetune_classifier
from shared.training.options import TrainOptions
from shared.training.pairs import Pairs, ScoredPairs, finetune_matcher, finetune_pair_scorer

PREFIX = "news "
LEFTS = ("my card", "late tea", "the order", "is it lost", "a cup", "red shoe", "bank", "refund")
RIGHTS = ("good money", "loss", "shares fall", "help", "please", "blue", "hello", "profit")
ONCE = TrainOptions(
    method="full", epochs=1, batch_size=4, bf16=False, progress=False, threads=1
)  # fmt: skip


@pytest.fixture(scope="module")
def prefixed(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainedEncoder:
    """The tiny encoder in a folder that names its prefix to us and to sentence-transformers."""
    folder = tmp_path_factory.mktemp("prefixed")
    Encoder.from_pretrained(tiny_encoder, prefix=PREFIX).save(folder)
    base = resolve(str(folder), cache=folder)
    assert base.prefix == PREFIX
    return base


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Token ids of every row that goes through an encoder, without its padding."""
    rows: list[list[int]] = []
    forward = Encoder.forward

    def watched(self: Encoder, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        pairs = zip(input_ids.tolist(), attention_mask.tolist(), strict=True)
        rows.extend([i for i, one in zip(ids, mask, strict=True) if one] for ids, mask in pairs)
        return forward(self, input_ids, attention_mask)

    monkeypatch.setattr(Encoder, "forward", watched)
    return rows


def train_classifier(base: PretrainedEncoder, folder: Path) -> None:
    part = Examples(LEFTS, (("x",), ("y",)) * 4, np.arange(8))
    task = HeadTask(HeadSpec("kind", "single", ("x", "y")), part, part)
    finetune_classifier([task], encoder=base, options=ONCE, folder=folder)


def train_matcher(base: PretrainedEncoder, folder: Path) -> None:
    part = Pairs(LEFTS, RIGHTS)
    finetune_matcher(part, part, encoder=base, options=ONCE, folder=folder)


def train_scorer(base: PretrainedEncoder, folder: Path) -> None:
    part = ScoredPairs(LEFTS, RIGHTS, (1.0, 0.0) * 4)
    finetune_pair_scorer(part, part, encoder=base, options=ONCE, folder=folder)


@pytest.mark.parametrize("train", [train_classifier, train_matcher, train_scorer])
def test_training_puts_the_prefix_once_before_every_row(
    prefixed: PretrainedEncoder,
    seen: list[list[int]],
    tmp_path: Path,
    train: Callable[[PretrainedEncoder, Path], None],
) -> None:
    train(prefixed, tmp_path / "m")
    word = Encoder.from_pretrained(prefixed.path).tokenizer.convert_tokens_to_ids("news")
    assert len(seen) >= 2 * len(LEFTS)  # training rows and those of the evaluation
    assert [row for row in seen if row[1] != word or row.count(word) != 1] == []


def test_serving_reads_what_training_read(
    prefixed: PretrainedEncoder, seen: list[list[int]], tmp_path: Path
) -> None:
    train_matcher(prefixed, tmp_path / "m")
    learned_from = {tuple(row) for row in seen}
    seen.clear()
    ours = load_embedder(tmp_path / "m", precision="fp32", threads=1).encode(LEFTS + RIGHTS)
    assert {tuple(row) for row in seen} == learned_from
    theirs = SentenceTransformer(str(tmp_path / "m"), device="cpu")
    with torch.no_grad():
        same = theirs.encode([*LEFTS, *RIGHTS], normalize_embeddings=True)
    np.testing.assert_allclose(ours, same, atol=1e-5)
