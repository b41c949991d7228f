"""An encoder cut in two computes, and learns, what the whole one does; in every known family."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from shared.errors import ModelError
from shared.modeling.architectures import ARCHITECTURES
from shared.modeling.encoder import Encoder
from shared.modeling.layer_split import LayerSplit
from shared.training.methods import apply_method
from shared.training.options import Method, TrainOptions

LAYERS = 3
SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
OWN_SIZES: dict[str, dict[str, int]] = {
    "electra": {"embedding_size": 8},  # widened by a projection above the embeddings
    "distilbert": {"dim": 16, "hidden_dim": 32, "n_layers": LAYERS, "n_heads": 2},
}


def encoder_of(family: str) -> Encoder:
    """Random weights, dropout as the family has it."""
    torch.manual_seed(5)
    config = AutoConfig.for_model(family, **SIZES, **OWN_SIZES.get(family, {}))
    model: nn.Module = AutoModel.from_config(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return Encoder(model, None, dim=16)


def batch(pad: int = 1) -> dict[str, Tensor]:
    """Three rows of 9, 4 and 1 tokens."""
    ids = torch.randint(5, 60, (3, 9), generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(9) < torch.tensor([[9], [4], [1]])).long()
    return {"input_ids": ids.where(mask == 1, pad), "attention_mask": mask}


@pytest.mark.parametrize("family", ARCHITECTURES)
@pytest.mark.parametrize("below", range(LAYERS + 1))
def test_both_halves_together_are_the_encoder(family: str, below: int) -> None:
    encoder = encoder_of(family).eval()
    split = LayerSplit(encoder, below)
    given = batch(pad=int(encoder.model.config.pad_token_id))  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        states = split.lower(**given)
        found = split.upper(states, given["attention_mask"])
        expected = encoder(**given)
    assert states.shape == (3, 9, 16)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_the_upper_half_learns_what_the_encoder_would_and_the_lower_nothing(family: str) -> None:
    encoder = encoder_of(family).eval()
    apply_method(encoder, Method.FULL, TrainOptions(freeze_layers=2))
    learned = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    assert learned
    assert all(".layer.2." in name for name in learned)
    given = batch()
    expected = torch.autograd.grad(encoder(**given).square().sum(), list(learned.values()))
    split = LayerSplit(encoder, 2)
    states = split.lower(**given)
    assert not states.requires_grad
    upper = split.upper(states, given["attention_mask"]).square().sum()
    found = torch.autograd.grad(upper, list(learned.values()))
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_the_lower_half_has_no_dropout_while_the_encoder_trains() -> None:
    encoder = encoder_of("bert")
    split = LayerSplit(encoder, 2)
    given = batch()
    encoder.train()
    first, second = split.lower(**given), split.lower(**given)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    upper = [split.upper(first, given["attention_mask"]) for _ in range(2)]
    assert not torch.equal(*upper)


@pytest.mark.parametrize("method", [Method.LORA, Method.IA3])
def test_an_adapter_above_the_cut_is_in_the_upper_half(method: Method) -> None:
    encoder = encoder_of("bert")
    apply_method(encoder, method, TrainOptions(freeze_layers=1))
    learned = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    assert {name.split(".layer.")[1][0] for name in learned} == {"1", "2"}
    for parameter in learned.values():
        nn.init.normal_(parameter, std=0.3)
    encoder.eval()
    split, given = LayerSplit(encoder, 1), batch()
    with torch.no_grad():
        found = split.upper(split.lower(**given), given["attention_mask"])
        torch.testing.assert_close(found, encoder(**given), rtol=0, atol=1e-5)


def test_the_weights_are_held_once(tiny_encoder: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder)
    names = [name for name, _ in encoder.named_parameters()]
    split = LayerSplit(encoder, 1)
    assert [name for name, _ in encoder.named_parameters()] == names
    given = encoder.tokens(["my card is lost"])
    before = split.lower(**given)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1)
    assert not torch.equal(split.lower(**given), before)


@pytest.mark.parametrize(
    ("transformer", "below", "message"),
    [
        (
            nn.Module(),
            1,
            "encoder of the family 'whale': its layers are not kept as BERT keeps them, so that it "
            "cannot be cut between two; leave freeze_layers at 0",
        ),
        (None, 4, "a cut above layer 4: the encoder has 3 layers"),
    ],
)
def test_what_cannot_be_cut_is_refused(transformer: Any, below: int, message: str) -> None:
    encoder = encoder_of("bert")
    if transformer is not None:
        transformer.config = AutoConfig.for_model("bert")
        transformer.config.model_type = "whale"
        encoder.model = transformer
    with pytest.raises(ModelError) as caught:
        LayerSplit(encoder, below)
    assert str(caught.value) == message
