"""Pretraining learns from texts without labels, measures itself, and goes on after a cut."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from shared.errors import DataError, ModelError
from shared.modeling.encoder import Encoder
from shared.pretrained import SOURCE_FILE, PretrainedEncoder, resolve
from shared.training import masked_language, pretraining
from shared.training.contrastive import MISSING_SHARE, HeldOutLoss, with_words_missing
from shared.training.corpus import Corpus, corpus_of, without_copies
from shared.training.machine import machine_of
from shared.training.masked_language import MaskedObjective, measure_masked
from shared.training.masking import MaskedRows, Vocabulary, word_rows
from shared.training.options import PretrainingObjective, TrainOptions
from shared.training.pretraining import MANIFEST, pretrain, shared_neighbours

# Sentences with a rule: each word is followed by its partner, so that one tells the other.
PARTNERS = [
    ("card", "tea"), ("order", "bank"), ("money", "shoe"), ("refund", "loss"), ("late", "cup"),
    ("lost", "rise"), ("shares", "news"), ("cancel", "pay"), ("blue", "red"), ("good", "bad"),
]  # fmt: skip
QUICK = TrainOptions(
    method="full", epochs=8, batch_size=16, learning_rate=3e-3, patience=8, bf16=False,
    progress=False, threads=1,
)  # fmt: skip


def sentences(rows: int) -> list[str]:
    rng = random.Random(1)
    return [" ".join(" ".join(rng.choice(PARTNERS)) for _ in range(6)) for _ in range(rows)]


@pytest.fixture(scope="module")
def tiny(tiny_encoder: Path) -> PretrainedEncoder:
    return PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "MIT")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    texts = sentences(330)
    return Corpus(tuple(texts[:300]), tuple(texts[300:]), 330, 0, 0)


def test_copies_and_empty_texts_are_left_out() -> None:
    words = [f"{a} {b} {c}" for a in "abcde" for b in ("tea", "cup", "shoe") for c in "vwxyz"]
    texts = [f"number {word} of the {word[::-1]} house" for word in words]
    found = corpus_of([*texts, texts[0].upper(), "  ", f"{texts[1]} "], seed=1)
    assert (found.read, found.empty) == (len(texts) + 3, 1)
    assert set(found.train) | set(found.held_out) <= set(texts)
    assert not set(found.train) & set(found.held_out)
    kept = len(found.train) + len(found.held_out)
    assert kept + found.duplicates + found.empty == found.read
    assert found.duplicates >= 2
    assert len(found.held_out) == round(0.1 * kept)
    assert corpus_of(texts, seed=1).sha256 != corpus_of(texts, seed=2).sha256


def test_too_few_texts_are_refused() -> None:
    with pytest.raises(DataError) as refused:
        corpus_of(["one text of a house", "another that is different", ""], seed=1)
    assert str(refused.value) == (
        "3 texts, of which 2 are left without empty ones and near duplicates: expected 40 or more "
        "to pretrain on; give more tables"
    )


def test_copies_of_held_out_texts_are_not_learned_from() -> None:
    texts = [
        "where is the parcel that I ordered",
        "cancel my card",
        "WHERE is the parcel I ordered",
    ]
    held = ["Cancel my card!", "something else altogether"]
    kept = without_copies(texts, held)
    assert kept == [texts[0], texts[2]]
    assert without_copies(texts, []) == texts


def test_masked_language_modelling_learns_on_held_out_text(
    tiny: PretrainedEncoder, corpus: Corpus, tmp_path: Path
) -> None:
    said: list[str] = []
    done = pretrain(
        corpus, encoder=tiny, objective=PretrainingObjective.MLM, options=QUICK,
        folder=tmp_path / "out", say=said.append,
    )  # fmt: skip
    (stage,) = done.stages
    for figures in (stage.before, stage.after):
        assert figures["perplexity"] == pytest.approx(math.exp(figures["masked_loss"]))
    # A head that has learned alone knows the 20 words; their partners only the encoder can tell.
    assert stage.before["masked_loss"] < math.log(40)
    assert stage.after["masked_loss"] < stage.before["masked_loss"] - 0.5
    assert any("steps of the fresh head alone" in line for line in said)
    assert sum("(best)" in line for line in said) > 1  # the lower, the better
    assert not (tmp_path / "out.pretraining").exists()


def test_what_comes_out_is_a_base_encoder_with_its_origin(
    tiny: PretrainedEncoder, corpus: Corpus, tmp_path: Path
) -> None:
    done = pretrain(
        corpus, encoder=tiny, objective=PretrainingObjective.BOTH, options=replace(QUICK, epochs=2),
        folder=tmp_path / "out",
    )  # fmt: skip
    found = resolve(str(tmp_path / "out"), cache=tmp_path)
    assert found.licence == "MIT"
    vectors = Encoder.from_pretrained(found.path)
    with torch.no_grad():
        assert vectors(**vectors.tokens(["card tea"])).shape == (1, 32)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest["base"] == {"name": "tiny", "sha256": "0" * 64, "licence": "MIT"}
    assert manifest["data"]["sha256"] == corpus.sha256
    assert [stage["objective"] for stage in manifest["stages"]] == ["mlm", "contrastive"]
    assert manifest["neighbours_kept"] == done.neighbours_kept
    assert 0 <= done.neighbours_kept <= 1
    assert "model.safetensors" in json.loads((found.path / SOURCE_FILE).read_text())["files"]
    with pytest.raises(DataError, match="out: is there already; name another folder"):
        pretrain(
            corpus,
            encoder=tiny,
            objective=PretrainingObjective.MLM,
            options=QUICK,
            folder=tmp_path / "out",
        )


def test_contrastive_pretraining_learns_on_held_out_text(
    tiny: PretrainedEncoder, corpus: Corpus, tmp_path: Path
) -> None:
    done = pretrain(
        corpus, encoder=tiny, objective=PretrainingObjective.CONTRASTIVE, options=QUICK,
        folder=tmp_path / "out",
    )  # fmt: skip
    (stage,) = done.stages
    assert stage.after["contrastive_loss"] < stage.before["contrastive_loss"] - 0.3
    assert stage.after["found_first"] > stage.before["found_first"]


def test_the_figures_are_the_mean_over_hidden_pieces(tiny: PretrainedEncoder) -> None:
    """Against one text at a time: a batch of texts of unequal lengths weighs each piece alike."""
    encoder = Encoder.from_pretrained(tiny.path)
    objective = MaskedObjective(encoder)
    texts = ["card", *sentences(5), "the shares rise"]
    rows = MaskedRows(word_rows(encoder, texts), Vocabulary.of(encoder), seed=5)
    figures = measure_masked(objective, rows, machine_of(QUICK))
    losses: list[float] = []
    for row in (rows[key] for key in range(len(rows))):
        given = torch.tensor([row["ids"]])
        states = encoder.model(
            input_ids=given, attention_mask=torch.ones_like(given)
        ).last_hidden_state[0]
        for place, label in enumerate(row["labels"]):
            if label >= 0:
                logits = objective.heads(states[place : place + 1], objective.table)[0]
                losses.append(float(-torch.log_softmax(logits, 0)[label].detach()))
    assert figures["masked_loss"] == pytest.approx(float(np.mean(losses)), abs=1e-5)


def test_the_head_alone_leaves_the_encoder_as_it_is(
    tiny: PretrainedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masked_language, "HEAD_STEPS", 25)
    encoder = Encoder.from_pretrained(tiny.path)
    objective = MaskedObjective(encoder)
    rows = MaskedRows(word_rows(encoder, sentences(60)), Vocabulary.of(encoder), seed=5)
    machine = machine_of(QUICK)
    before = measure_masked(objective, rows, machine)["masked_loss"]
    state = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    assert masked_language.warm_head(objective, rows, QUICK) == 25
    assert all(torch.equal(value, state[n]) for n, value in encoder.model.state_dict().items())
    assert measure_masked(objective, rows, machine)["masked_loss"] < before
    stopped = masked_language.warm_head(objective, rows, QUICK, going_on=lambda: False)
    assert stopped == 1


class CutError(Exception):
    """Stands for whatever ends a process between two lines."""


def test_a_run_that_was_cut_off_ends_as_an_unbroken_one(
    tiny: PretrainedEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = sentences(110)
    corpus = Corpus(tuple(texts[:100]), tuple(texts[100:]), 110, 0, 0)
    options = replace(QUICK, epochs=2, checkpoint_minutes=0.0)
    monkeypatch.setattr(masked_language, "HEAD_STEPS", 5)

    def call(name: str, said: list[str]) -> pretraining.Pretrained:
        return pretrain(
            corpus, encoder=tiny, objective=PretrainingObjective.BOTH, options=options,
            folder=tmp_path / name, say=said.append,
        )  # fmt: skip

    whole = call("whole", [])
    checkpoints = {"mlm": 9, "contrastive": 3}
    for objective, step in checkpoints.items():
        root = tmp_path / "cut.pretraining" / f"{objective}.training"
        with monkeypatch.context() as patch:
            patch.setattr("shared.training.progress.Logging.on_step_end", _cut_at(root, step))
            with pytest.raises(CutError):
                call("cut", [])
        assert not (tmp_path / "cut").exists()
    said: list[str] = []
    cut = call("cut", said)
    assert "The objective mlm was finished by an earlier call" in said
    assert [stage.resumed_at_step for stage in whole.stages] == [None, None]
    assert all(stage.resumed_at_step for stage in cut.stages)
    assert [s.before for s in cut.stages] == [s.before for s in whole.stages]
    assert [s.after for s in cut.stages] == [s.after for s in whole.stages]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def _cut_at(root: Path, step: int) -> object:
    def on_step_end(*_: object, **__: object) -> None:
        if (root / f"checkpoint-{step}" / "manifest.json").exists():
            raise CutError

    return on_step_end


def test_a_factorised_token_table_is_refused(tiny: PretrainedEncoder) -> None:
    encoder = Encoder.from_pretrained(tiny.path)
    encoder.dim = 64
    with pytest.raises(ModelError, match="token table is 32 wide and its states 64"):
        MaskedObjective(encoder)


def test_a_third_of_the_words_is_missing() -> None:
    rng = np.random.default_rng(0)
    text = "one two three four five six seven eight nine ten"
    for _ in range(20):
        left = with_words_missing(text, rng).split()
        assert len(left) == 10 - math.ceil(10 * MISSING_SHARE)
        assert left == [word for word in text.split() if word in left]  # in their order
    assert with_words_missing("alone", rng) == "alone"
    assert len(with_words_missing("我的银行卡丢了吗在哪里", rng)) == 11 - 4


def test_the_held_out_loss_of_vectors_that_tell_nothing() -> None:
    """All alike: ln(n), and the first is nearest for one text of n."""

    class Alike:
        def encode(self, texts: list[str], **_: object) -> torch.Tensor:
            return torch.ones(len(texts), 1)

    figures = HeldOutLoss(["a b", "c d", "e f", "g h"], seed=1)(Alike())
    assert figures["contrastive_loss"] == pytest.approx(math.log(4))
    assert figures["found_first"] == 0.25


def test_neighbours_that_two_encoders_share() -> None:
    """Twelve texts on a circle: mirrored they keep all; two that change places do not."""
    angles = np.linspace(0, 2, 12)
    one = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert shared_neighbours(one, one[:, ::-1]) == 1.0
    # 11 others, 10 nearest: each leaves out only its farthest, an end of the row of texts.
    moved = one[[6, 1, 2, 3, 4, 5, 0, 7, 8, 9, 10, 11]]
    nearest = [_left_out(vectors) for vectors in (one, moved)]
    expected = np.mean([10 if a == b else 9 for a, b in zip(*nearest, strict=True)]) / 10
    assert expected < 1
    assert shared_neighbours(one, moved) == pytest.approx(expected)


def _left_out(vectors: NDArray[np.float32]) -> list[int]:
    return [int(at) for at in (vectors @ vectors.T).argmin(1)]


def test_texts_without_a_known_word_are_refused(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    strange = Corpus(("€ ¥",) * 50, ("€ ¥",) * 5, 55, 0, 0)
    with pytest.raises(DataError, match="hold no word that the encoder's tokenizer knows"):
        pretrain(
            strange,
            encoder=tiny,
            objective=PretrainingObjective.MLM,
            options=QUICK,
            folder=tmp_path / "x",
        )
