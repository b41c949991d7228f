"""Several heads over one encoder: forward, folder, adapters."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from shared.errors import ModelError, ModelNotFoundError
from shared.inference.runtime import load_embedder
from shared.modeling.encoder import Encoder
from shared.modeling.heads import Head, HeadSpec
from shared.modeling.text_model import TextModel

TOPIC = HeadSpec("topic", "multi", ("tea", "shoes", "银行"))
MOOD = HeadSpec("mood", "single", ("bad", "good"))
TEXTS = ["good tea", "bad shoe", "the bank will pay the money late"]


@pytest.fixture
def model(tiny_encoder: Path) -> TextModel:
    return TextModel(Encoder.from_pretrained(tiny_encoder), [TOPIC, MOOD]).eval()


def logits(model: TextModel, texts: list[str]) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        found: dict[str, torch.Tensor] = model(**model.encoder.tokens(texts))
    return found


def test_each_head_gives_a_logit_for_each_of_its_labels(model: TextModel) -> None:
    found = logits(model, TEXTS)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        "topic": (3, 3),
        "mood": (3, 2),
    }
    vectors = model.encoder(**model.encoder.tokens(TEXTS))
    head = model.heads["mood"]
    assert isinstance(head, Head)
    expected = vectors @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(found["mood"], expected)


def test_a_saved_model_answers_as_before(model: TextModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    again = TextModel.load(tmp_path)
    assert again.specs == (TOPIC, MOOD)
    assert not again.training
    for name, tensor in logits(model, TEXTS).items():
        torch.testing.assert_close(logits(again, TEXTS)[name], tensor)
    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} == {".json", ".safetensors"}


def test_the_folder_is_an_encoder_too(model: TextModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    found = load_embedder(tmp_path, precision="fp32").encode(TEXTS, normalised=False)
    with torch.inference_mode():
        expected = model.encoder(**model.encoder.tokens(TEXTS))
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-5)


# peft 0.21 asks transformers 5.23 by a name that is about to go.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_lora_is_merged_into_what_is_saved_and_stays_in_the_model(
    model: TextModel, tmp_path: Path
) -> None:
    plain = logits(model, TEXTS)["mood"].clone()
    config = LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)
    model.encoder.model = get_peft_model(model.encoder.model, config)
    model.eval()
    adapted = logits(model, TEXTS)["mood"]
    assert (adapted - plain).abs().max() > 1e-3
    model.save(tmp_path)
    again = TextModel.load(tmp_path)
    torch.testing.assert_close(logits(again, TEXTS)["mood"], adapted, atol=1e-5, rtol=1e-5)
    assert [name for name, _ in model.named_parameters() if "lora_" in name]
    assert not [name for name, _ in again.named_parameters() if "lora_" in name]


def test_both_heads_learn_toy_data_through_one_encoder(tiny_encoder: Path) -> None:
    torch.manual_seed(0)
    model = TextModel(Encoder.from_pretrained(tiny_encoder), [TOPIC, MOOD], dropout=0.0)
    texts = ["good tea", "bad tea", "good shoe", "bad shoe", "good bank", "bad bank"] * 2
    mood = torch.tensor([1, 0, 1, 0, 1, 0] * 2)
    topic = nn.functional.one_hot(torch.tensor([0, 0, 1, 1, 2, 2] * 2), 3).float()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batch = model.encoder.tokens(texts)
    for _ in range(40):
        found = model(**batch)
        loss = nn.functional.cross_entropy(found["mood"], mood)
        loss = loss + nn.functional.binary_cross_entropy_with_logits(found["topic"], topic)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    found = logits(model.eval(), texts)
    assert (found["mood"].argmax(1) == mood).all()
    assert ((found["topic"] > 0) == topic.bool()).all()


@pytest.mark.parametrize(
    ("name", "kind", "labels", "message"),
    [
        ("a.b", "single", ("x", "y"), "head name 'a.b'; allowed is a word without dots"),
        ("", "single", ("x", "y"), "head name ''; allowed is a word without dots"),
        ("items", "single", ("x", "y"), "head name 'items'; allowed is a word without dots"),
        ("h", "double", ("x", "y"), "head 'h': kind 'double'; allowed are single and multi"),
        ("h", "single", ("x", "x"), "head 'h': label 'x' is there twice"),
        ("h", "single", ("x",), "head 'h': 1 labels; a single head needs at least 2"),
        ("h", "multi", (), "head 'h': 0 labels; a multi head needs at least 1"),
    ],
)
def test_a_head_that_cannot_be_is_refused(
    name: str, kind: str, labels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ModelError, match=f"^{re.escape(message)}"):
        HeadSpec(name, kind, labels)  # type: ignore[arg-type]


def test_heads_need_names_of_their_own(tiny_encoder: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder)
    with pytest.raises(
        ModelError, match=re.escape("heads ['mood', 'mood']; expected at least one")
    ):
        TextModel(encoder, [MOOD, MOOD])
    with pytest.raises(ModelError, match=re.escape("heads []; expected at least one")):
        TextModel(encoder, [])


def test_a_damaged_model_folder_is_named(model: TextModel, tmp_path: Path) -> None:
    model.save(tmp_path / "whole")

    def damaged(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(tmp_path / "whole", folder)
        return folder

    folder = damaged("no_heads")
    (folder / "heads.json").unlink()
    message = f"{folder / 'heads.json'}: no such file; expected a model with heads in {folder}"
    with pytest.raises(ModelNotFoundError, match=f"^{re.escape(message)}$"):
        TextModel.load(folder)

    folder = damaged("truncated")
    weights = folder / "heads.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ModelError, match=f"^{re.escape(str(weights))}: .* the file is damaged"):
        TextModel.load(folder)

    folder = damaged("other_labels")
    said = json.loads((folder / "heads.json").read_text())
    said["heads"][1]["labels"].append("so-so")
    (folder / "heads.json").write_text(json.dumps(said))
    with pytest.raises(ModelError, match=r"heads.safetensors: does not fit heads.json \([^\n]*$"):
        TextModel.load(folder)

    folder = damaged("strange")
    (folder / "heads.json").write_text('{"heads": [{}]}')
    with pytest.raises(ModelError, match=r"heads.json: unexpected content \(KeyError\('name'\)\)"):
        TextModel.load(folder)
