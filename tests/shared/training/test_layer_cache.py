"""Layers that do not learn: which those are, and that keeping their output changes nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from shared.errors import SettingsError
from shared.modeling.encoder import Encoder
from shared.modeling.heads import HeadSpec
from shared.modeling.layer_split import LayerSplit
from shared.pretrained import PretrainedEncoder
from shared.training import layer_cache
from shared.training.batches import Collator, HeadTask, Rows
from shared.training.examples import Examples
from shared.training.finetune import finetune_classifier, new_model
from shared.training.freezing import layers_in
from shared.training.layer_cache import CachedRows, RaggedStates, cached, upper_vectors
from shared.training.machine import Machine
from shared.training.methods import apply_method
from shared.training.options import FineTuned, Method, TrainOptions

CPU = Machine(torch.device("cpu"), bf16=False)
RATE = 1e-3
OPTIONS = TrainOptions(
    method="full", freeze_layers=1, epochs=3, batch_size=16, learning_rate=RATE, patience=9,
    threads=1, bf16=False, device="cpu", progress=False, seed=3,
)  # fmt: skip


def task(rows: int = 80) -> HeadTask:
    rng = np.random.default_rng(1)
    words = {"bad": "loss", "good": "profit", "dull": "tea"}
    labels = [str(name) for name in rng.choice(sorted(words), rows)]
    texts = [
        " ".join(rng.choice(["the", "a", "my", words[label]], rng.integers(2, 9)))
        for label in labels
    ]
    examples = Examples(tuple(texts), tuple((label,) for label in labels), np.arange(rows))
    cut = rows * 3 // 4
    spec = HeadSpec("tone", "single", tuple(sorted(words)))
    return HeadTask(spec, examples.take(np.arange(cut)), examples.take(np.arange(cut, rows)))


@pytest.fixture(scope="module")
def tiny(tiny_encoder: Path) -> PretrainedEncoder:
    return PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none")


def trained(
    tiny: PretrainedEncoder, folder: Path, options: TrainOptions
) -> tuple[FineTuned, list[str]]:
    said: list[str] = []
    done = finetune_classifier(
        [task()], encoder=tiny, options=options, folder=folder, say=said.append
    )
    return done, said


def farthest(one: Path, two: Path) -> float:
    found = [
        (load_file(one / name), load_file(two / name))
        for name in ("model.safetensors", "heads.safetensors")
    ]
    return max(float((a[key] - b[key]).abs().max()) for a, b in found for key in a)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_kept_and_computed_states_teach_the_same_weights(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Dropout of the layers that learn included; in fp32, so that nothing is rounded."""
    monkeypatch.setattr(layer_cache, "STORAGE", torch.float32)
    options = replace(OPTIONS, method=method)
    _, said = trained(tiny, tmp_path / "kept", options)
    assert any(line.startswith("The output of the frozen layers: ") for line in said)
    again, said = trained(tiny, tmp_path / "computed", replace(options, layer_cache_mb=0.0))
    assert not any("frozen layers" in line for line in said)
    assert again.trained_share < 1
    # Adam's steps are about the learning rate however small a gradient is: rounding grows with it.
    assert farthest(tmp_path / "kept", tmp_path / "computed") < 0.05 * RATE


def test_without_dropout_the_states_teach_what_the_whole_encoder_learns(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival knows of no halves: the same layers have no gradient, and that is all."""
    still = tmp_path / "still"
    still.mkdir()
    for file in tiny.path.iterdir():
        (still / file.name).write_bytes(file.read_bytes())
    config = json.loads((still / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (still / "config.json").write_text(json.dumps(config))
    base, options = replace(tiny, path=still), replace(OPTIONS, dropout=0.0)
    monkeypatch.setattr(layer_cache, "STORAGE", torch.float32)
    trained(base, tmp_path / "kept", options)
    with monkeypatch.context() as patched:
        patched.setattr("shared.training.finetune.LayerSplit", lambda *_: None)
        trained(base, tmp_path / "whole", options)
    assert farthest(tmp_path / "kept", tmp_path / "whole") < 0.05 * RATE
    before, after = (load_file(f / "model.safetensors") for f in (still, tmp_path / "kept"))
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved
    assert all(".layer.1." in name for name in moved)


def test_rows_of_any_lengths_come_back_as_they_were() -> None:
    lengths = np.array([3, 1, 0, 7])
    states = RaggedStates.empty(lengths, 4, torch.float16)
    rows = [torch.randn(length, 4).half() for length in lengths]
    for at, row in enumerate(rows):
        states[at].copy_(row)
    assert states.tokens.shape == (11, 4)  # no padding
    assert len(states) == 4
    for at, row in enumerate(rows):
        assert torch.equal(states[at], row)


def both(tiny: PretrainedEncoder, budget_mb: float = 1.0) -> tuple[Encoder, list[Rows], list[str]]:
    """An encoder, rows of which two are alike, and what was said."""
    encoder = Encoder.from_pretrained(tiny.path).eval()
    targets = np.zeros((3, 1), dtype=np.float32)
    parts = [Rows([[2, 9, 8, 7, 3], [2, 5, 3], [2, 9, 8, 7, 3]], targets), Rows([[2, 3]], targets)]
    said: list[str] = []
    found = cached(
        parts, LayerSplit(encoder, 1), dim=32, pad_token_id=0, machine=CPU,
        budget_mb=budget_mb, say=said.append,
    )  # fmt: skip
    return encoder, found, said


def test_each_distinct_text_is_kept_once_in_half_precision(tiny: PretrainedEncoder) -> None:
    encoder, (train, held), said = both(tiny)
    assert isinstance(train, CachedRows)
    assert isinstance(held, CachedRows)
    assert train.states is held.states
    assert train.states.tokens.shape == (5 + 3 + 2, 32)
    assert train.states.tokens.dtype == torch.float16
    assert said == ["The output of the frozen layers: 3 texts in 0 MiB of memory"]
    for part in (train, held):
        for row, ids in enumerate(part.inputs):
            alone = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}
            expected = LayerSplit(encoder, 1).lower(**alone)[0]
            torch.testing.assert_close(part[row]["states"].float(), expected, rtol=1e-3, atol=1e-3)
        vectors = upper_vectors(LayerSplit(encoder, 1), part, machine=CPU)
        for row, ids in enumerate(part.inputs):
            alone = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}
            expected = encoder(**alone)[0].detach()
            torch.testing.assert_close(vectors[row], expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("processes", [1, 2])
def test_each_process_gets_the_states_of_its_own_rows(
    tiny: PretrainedEncoder, processes: int
) -> None:
    _, (train, _), _ = both(tiny)
    rows = [train[at] for at in range(3)]
    for rank in range(processes):
        batch = Collator(0, part=(rank, processes))(rows)
        own = rows[rank::processes]
        assert batch["states"].shape == (*batch["input_ids"].shape, 32)
        for at, row in enumerate(own):
            length = len(row["inputs"])
            assert torch.equal(batch["states"][at, :length], row["states"])
            assert not batch["states"][at, length:].any()


def test_what_does_not_fit_the_budget_is_computed_in_every_step(
    tiny: PretrainedEncoder, tmp_path: Path
) -> None:
    _, parts, said = both(tiny, budget_mb=0.0005)  # 10 tokens of 32 halves are 640 bytes
    assert not any(isinstance(part, CachedRows) for part in parts)
    assert said == [
        "The output of the frozen layers takes 0 of 0.0005 MiB: it is computed again in every step"
    ]
    done, said = trained(tiny, tmp_path / "m", replace(OPTIONS, layer_cache_mb=0.001))
    assert any("computed again in every step" in line for line in said)
    assert done.steps == 12


def test_states_too_large_for_half_precision_are_not_kept(tiny: PretrainedEncoder) -> None:
    encoder = Encoder.from_pretrained(tiny.path)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith("layer.0.output.LayerNorm.weight"):
                parameter.fill_(1e6)
    said: list[str] = []
    rows = Rows([[2, 9, 3]], np.zeros((1, 1), dtype=np.float32))
    (found,) = cached(
        [rows], LayerSplit(encoder, 1), dim=32, pad_token_id=0, machine=CPU, budget_mb=1.0,
        say=said.append,
    )  # fmt: skip
    assert found is rows
    assert said == [
        "The output of the frozen layers is too large for half precision: it is computed again in "
        "every step"
    ]


def test_every_layer_may_be_frozen(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    done, _ = trained(tiny, tmp_path / "m", replace(OPTIONS, freeze_layers=2))
    assert done.trained_parameters == 3 * 32 + 3
    before, after = (load_file(f / "model.safetensors") for f in (tiny.path, tmp_path / "m"))
    assert all(torch.equal(before[name], after[name]) for name in after)


def test_mpnets_shared_position_bias_learns_only_with_all_layers() -> None:
    class Shaped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Module()
            self.encoder.layer = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
            self.encoder.relative_attention_bias = nn.Embedding(4, 2)

    for frozen, expected in ((0, 3 * 2 + 1), (1, 2 * 2)):
        model = Shaped()
        assert layers_in(model) == 3
        encoder = Encoder(model, None, dim=2)
        apply_method(encoder, Method.FULL, TrainOptions(freeze_layers=frozen))
        assert sum(p.requires_grad for p in model.parameters()) == expected


@pytest.mark.parametrize(
    ("method", "frozen", "message"),
    [
        ("full", 3, "freeze_layers = 3: expected 0 to 2, the encoder has 2 layers"),
        (
            "lora",
            2,
            "freeze_layers = 2: expected 0 to 1, the encoder has 2 layers; an adapter needs one "
            "that learns",
        ),
        (
            "prompt",
            1,
            "freeze_layers = 1 beside the method prompt, which learns below every layer: leave it "
            "at 0, or use full, lora, adalora or ia3",
        ),
    ],
)
def test_more_than_can_be_frozen_is_refused(
    tiny: PretrainedEncoder, method: str, frozen: int, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        new_model([task()], tiny, Method(method), replace(OPTIONS, freeze_layers=frozen))
    assert str(caught.value) == message


def test_less_than_none_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        TrainOptions(freeze_layers=-1)
    assert str(caught.value) == "freeze_layers = -1: expected 0 or more"
