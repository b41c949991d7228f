"""A student of few layers: which it keeps, what its loss is, and that it learns."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import MPNetConfig, MPNetModel

from shared.errors import ModelError, SettingsError
from shared.modeling.encoder import Encoder
from shared.pretrained import PretrainedEncoder
from shared.training import layer_student
from shared.training.batches import Rows, tokenise
from shared.training.corpus import Corpus
from shared.training.layer_student import (
    RECIPE,
    DistilObjective,
    distil_layers,
    keep_layers,
    measure_student,
    spread_layers,
    view_spread,
)
from shared.training.machine import machine_of
from shared.training.options import TrainOptions
from shared.training.pretraining_stage import Stage
from shared.training.student_space import StudentSpace

WORDS = "card order money refund late lost bank profit loss shares fall rise tea cup".split()
QUICK = TrainOptions(epochs=6, batch_size=16, learning_rate=2e-3, bf16=False, progress=False,
                     threads=1)  # fmt: skip


def sentences(rows: int) -> tuple[str, ...]:
    rng = random.Random(1)
    return tuple(" ".join(rng.choices(WORDS, k=rng.randint(3, 8))) for _ in range(rows))


@pytest.mark.parametrize(("count", "kept"), [(6, 1), (6, 3), (6, 5), (12, 4), (24, 7)])
def test_the_layers_kept_are_spread_evenly_with_the_last(count: int, kept: int) -> None:
    chosen = spread_layers(count, kept)
    assert len(set(chosen)) == kept
    assert chosen[-1] == count - 1
    gaps = np.diff((-1, *chosen))
    assert gaps.max() - gaps.min() <= 1


def test_a_student_has_its_teachers_weights(tiny_encoder: Path, tmp_path: Path) -> None:
    teacher, student = (Encoder.from_pretrained(tiny_encoder) for _ in range(2))
    assert keep_layers(student, 1) == (1,)
    student.save(tmp_path / "student")
    read = Encoder.from_pretrained(tmp_path / "student").eval()
    layers = teacher.model.encoder.layer  # type: ignore[union-attr]
    teacher.model.encoder.layer = nn.ModuleList([layers[1]])  # type: ignore[union-attr,index,list-item]
    batch = read.tokens(["where is my order"])
    with torch.no_grad():
        assert torch.equal(read(**batch), teacher.eval()(**batch))


def test_other_families_keep_layers_too() -> None:
    small = MPNetConfig(vocab_size=50, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
                        intermediate_size=32)  # fmt: skip
    model = MPNetModel(small, add_pooling_layer=False)
    last = model.encoder.layer[3]
    encoder = Encoder(model, None, dim=16)
    assert keep_layers(encoder, 2) == (1, 3)
    assert model.encoder.layer[1] is last
    assert model.config.num_hidden_layers == 2


@pytest.mark.parametrize("layers", [0, 2, 3])
def test_a_student_has_fewer_layers_than_its_teacher(tiny_encoder: Path, layers: int) -> None:
    with pytest.raises(SettingsError) as refused:
        keep_layers(Encoder.from_pretrained(tiny_encoder), layers)
    assert str(refused.value) == f"layers = {layers}: expected 1 to 1, for the teacher has 2"


def test_who_begins_as_another_encoder_may_keep_all_layers(tiny_encoder: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder)
    assert keep_layers(encoder, 2, name="tiny") == (0, 1)
    with pytest.raises(SettingsError) as refused:
        keep_layers(encoder, 3, name="tiny")
    assert str(refused.value) == "layers = 3: expected 1 to 2, for tiny has 2"


def test_an_encoder_without_a_list_of_layers_is_refused(tiny_encoder: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder)
    encoder.model.encoder.layer = nn.Sequential()  # type: ignore[union-attr]
    with pytest.raises(ModelError, match=r"^encoder of the family 'bert': no list of layers$"):
        keep_layers(encoder, 1)


def test_the_loss_is_the_share_of_the_spread_that_is_not_explained(tiny_encoder: Path) -> None:
    """By hand in numpy; 0 for the teacher itself, 1 for one who always says the mean."""
    encoder = Encoder.from_pretrained(tiny_encoder).eval()
    texts = sentences(20)
    batch = encoder.tokens(list(texts))
    with torch.no_grad():
        features = encoder.features(**batch).numpy()
    spread = view_spread(features, 32)
    views = features.reshape(20, 4, 32)
    expected = [np.var(views[:, at], axis=0).sum() for at in range(4)]
    np.testing.assert_allclose(spread, expected, rtol=1e-4)
    objective = DistilObjective(encoder, spread)
    machine = machine_of(QUICK)

    def figures(targets: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> dict[str, float]:
        return measure_student(objective, Rows(tokenise(encoder, texts), targets), machine)

    same = figures(features)
    assert same["unexplained"] == pytest.approx(0, abs=1e-6)
    assert same["cosine"] == pytest.approx(1)
    mean = np.broadcast_to(features.mean(0), features.shape).copy()
    assert figures(mean)["unexplained"] == pytest.approx(1, rel=1e-3)
    other = np.random.default_rng(1).normal(size=features.shape).astype(np.float32)
    squares = np.square(features - other).reshape(20, 4, 32).sum(2) / spread
    assert figures(other)["unexplained"] == pytest.approx(float(squares.mean()), rel=1e-4)


def test_distillation_brings_the_student_nearer_to_its_teacher(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_student, "MOST_TEXTS", 190)
    texts = sentences(240)
    corpus = Corpus(texts[:200], texts[200:], 240, 0, 0)
    teacher = PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "MIT")
    said: list[str] = []
    stage = Stage("student of 1 layers", "unexplained", RECIPE, corpus, teacher, QUICK,
                  tmp_path / "student", said.append)  # fmt: skip
    trained = distil_layers(stage, 1)
    assert said[:2] == ["Layers 2 of the teacher are kept", "190 of 200 texts teach it"]
    assert trained.after["unexplained"] < 0.7 * trained.before["unexplained"]
    assert trained.after["cosine"] > trained.before["cosine"]
    student, large = (Encoder.from_pretrained(path).eval() for path in (stage.folder, tiny_encoder))
    batch = student.tokens(list(texts[200:]))
    with torch.no_grad():
        cosine = torch.cosine_similarity(student(**batch), large(**batch)).mean()
    assert float(cosine) == pytest.approx(trained.after["cosine"], abs=1e-4)


def test_a_student_that_begins_as_another_encoder_learns_the_wider_teacher(
    tiny_encoder: Path, wide_encoder: Path, tmp_path: Path
) -> None:
    texts = sentences(240)
    corpus = Corpus(texts[:200], texts[200:], 240, 0, 0)
    teacher = PretrainedEncoder("wide", wide_encoder, "", "0" * 64, "MIT")
    start = PretrainedEncoder("tiny", tiny_encoder, "good ", "1" * 64, "MIT")
    said: list[str] = []
    stage = Stage("student of 2 layers", "unexplained", RECIPE, corpus, teacher, QUICK,
                  tmp_path / "student", said.append)  # fmt: skip
    trained = distil_layers(stage, 2, start, tmp_path / "space.safetensors")
    space = StudentSpace.load(tmp_path / "space.safetensors")
    assert said[:2] == [
        "Layers 1, 2 of tiny are kept",
        f"Its 32 dimensions hold {space.kept[0]:.1%} of the spread of the teacher's vectors",
    ]
    assert 0.5 < space.kept[0] < 1
    assert trained.after["unexplained"] < 0.9 * trained.before["unexplained"]
    student, large = (Encoder.from_pretrained(path).eval() for path in (stage.folder, wide_encoder))
    assert (student.dim, student.prefix) == (32, "good ")
    with torch.no_grad():
        own = student(**student.tokens(list(texts[200:])))
        theirs = space(large.features(**large.tokens(list(texts[200:]))).numpy())[:, :32]
    cosine = torch.cosine_similarity(own, torch.from_numpy(theirs)).mean()
    assert float(cosine) == pytest.approx(trained.after["cosine"], abs=1e-4)
