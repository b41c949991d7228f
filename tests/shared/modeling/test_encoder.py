"""The encoder against transformers, sentence-transformers and its own folder."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import AutoModel, MPNetConfig, MPNetModel, XLMRobertaConfig, XLMRobertaModel

from shared.errors import ModelError
from shared.modeling.encoder import FEATURE_BLOCKS, Encoder, largest, pool

TEXTS = ["where is my order", "good news", "the bank will pay the money late, please help"]
SMALL = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}


def vectors(encoder: Encoder, texts: list[str]) -> torch.Tensor:
    encoder.eval()
    with torch.inference_mode():
        found: torch.Tensor = encoder(**encoder.tokens(texts))
    return found


def other_family(name: str, tiny_encoder: Path, folder: Path) -> Path:
    """A random MPNet or XLM-R with the tiny tokenizer."""
    shutil.copytree(tiny_encoder, folder)
    model = (
        MPNetModel(MPNetConfig(**SMALL))
        if name == "mpnet"
        else XLMRobertaModel(XLMRobertaConfig(**SMALL))
    )
    model.save_pretrained(folder)
    return folder


def test_mean_pooling_counts_each_token_once_and_padding_never() -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(states, mask, "mean").tolist() == [[2.0, 4.0]]
    assert pool(states, mask, "cls").tolist() == [[1.0, 2.0]]
    assert pool(states, torch.zeros_like(mask), "mean").tolist() == [[0.0, 0.0]]


def test_the_largest_value_is_that_of_a_real_token() -> None:
    states = torch.tensor([[[-1.0, 2.0], [-3.0, 6.0], [100.0, 100.0]]])
    assert largest(states, torch.tensor([[1, 1, 0]])).tolist() == [[-1.0, 6.0]]


@pytest.mark.parametrize("family", ["bert", "mpnet", "xlm-roberta"])
def test_features_are_pooled_states_of_two_layers(
    family: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = tiny_encoder
    if family != "bert":
        folder = other_family(family, tiny_encoder, tmp_path / "model")
    encoder = Encoder.from_pretrained(folder).eval()
    batch = encoder.tokens(TEXTS[:1])  # one text: no padding to leave out
    with torch.inference_mode():
        features = encoder.features(**batch)[0]
        layers = AutoModel.from_pretrained(folder)(**batch, output_hidden_states=True)
    middle = layers.hidden_states[round((len(layers.hidden_states) - 1) * 2 / 3)][0]
    last = layers.last_hidden_state[0]
    expected = [last.mean(0), last.amax(0), middle.mean(0), middle.amax(0)]
    assert features.shape == (FEATURE_BLOCKS * encoder.dim,)
    torch.testing.assert_close(features, torch.cat(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(features[: encoder.dim], vectors(encoder, TEXTS[:1])[0])


def test_features_do_not_depend_on_padding(tiny_encoder: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder).eval()
    with torch.inference_mode():
        together = encoder.features(**encoder.tokens(TEXTS))
        alone = torch.cat([encoder.features(**encoder.tokens([text])) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_pooling_adds_in_float32_where_the_states_are_bf16() -> None:
    states = torch.full((1, 300, 1), 1.0, dtype=torch.bfloat16)
    states[0, 0] = 3.0
    pooled = pool(states, torch.ones(1, 300), "mean")
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(302 / 300, abs=1e-6)


def test_the_vector_is_the_mean_of_what_transformers_gives(tiny_encoder: Path) -> None:
    model = AutoModel.from_pretrained(tiny_encoder).eval()
    encoder = Encoder.from_pretrained(tiny_encoder)
    batch = encoder.tokens(["where is my order"])
    with torch.inference_mode():
        expected = model(**batch).last_hidden_state[0].mean(0)
    torch.testing.assert_close(vectors(encoder, ["where is my order"])[0], expected)


def test_a_text_in_a_padded_batch_equals_the_text_alone(tiny_encoder: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder)
    alone = torch.cat([vectors(encoder, [text]) for text in TEXTS])
    torch.testing.assert_close(vectors(encoder, TEXTS), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["mpnet", "xlm-roberta"])
def test_other_families_survive_their_folder_at_full_length(
    family: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    encoder = Encoder.from_pretrained(other_family(family, tiny_encoder, tmp_path / "in"))
    assert encoder.max_length == 38
    texts = [*TEXTS, "money " * 100]
    encoder.save(tmp_path / "out")
    again = Encoder.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(vectors(again, texts), vectors(encoder, texts))


def test_saving_keeps_prefix_length_pooling_and_vectors(tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder, prefix="query: ", max_length=20)
    encoder.pooling = "cls"
    encoder.save(tmp_path)
    again = Encoder.from_pretrained(tmp_path)
    assert (again.prefix, again.max_length, again.pooling) == ("query: ", 20, "cls")
    torch.testing.assert_close(vectors(again, TEXTS), vectors(encoder, TEXTS))
    assert not [p for p in tmp_path.rglob("*") if p.suffix in {".bin", ".pt", ".pkl"}]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_sentence_transformers_reads_the_folder_and_agrees(
    tiny_encoder: Path, tmp_path: Path, pooling: str
) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder, prefix="query: ", max_length=24)
    encoder.pooling = "cls" if pooling == "cls" else "mean"
    encoder.save(tmp_path)
    theirs = SentenceTransformer(str(tmp_path), device="cpu")
    assert theirs.max_seq_length == 24
    ours = nn.functional.normalize(vectors(encoder, [*TEXTS, "pay " * 99]))
    found = torch.from_numpy(theirs.encode([*TEXTS, "pay " * 99]))
    torch.testing.assert_close(found, ours, atol=1e-5, rtol=1e-5)


def test_what_sentence_transformers_saves_is_read(tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder, prefix="query: ", max_length=24)
    encoder.save(tmp_path / "ours")
    theirs = SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    theirs.save(str(tmp_path / "theirs"))
    again = Encoder.from_pretrained(tmp_path / "theirs")
    assert (again.prefix, again.max_length, again.pooling) == ("query: ", 24, "mean")
    torch.testing.assert_close(vectors(again, TEXTS), vectors(encoder, TEXTS))


def test_the_packaged_encoder_knows_what_a_paraphrase_is(minilm: Path) -> None:
    encoder = Encoder.from_pretrained(minilm)
    a, b, c = nn.functional.normalize(
        vectors(
            encoder, ["I lost my card", "my credit card is missing", "a recipe for tomato soup"]
        )
    )
    assert (a @ b).item() > 0.5 > 0.2 > (a @ c).item()


def test_an_unused_pooler_is_not_loaded(minilm: Path) -> None:
    encoder = Encoder.from_pretrained(minilm)
    assert not [name for name, _ in encoder.named_parameters() if "pooler" in name]


def test_missing_weights_are_not_replaced_by_random_ones(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    weights = load_file(folder / "model.safetensors")
    gone = "encoder.layer.1.output.dense.weight"
    del weights[gone]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    message = (
        f"{folder}: 1 weights are missing, {gone} among them; the folder is not a complete encoder"
    )
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        Encoder.from_pretrained(folder)


def test_weights_of_another_shape_are_refused_in_one_line(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.LayerNorm.weight"] = torch.ones(7)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"cannot be loaded as an encoder: [^\n]*$"):
        Encoder.from_pretrained(folder)


def test_a_damaged_tokenizer_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="the tokenizer cannot be loaded: "):
        Encoder.from_pretrained(folder)


def test_code_in_a_folder_is_never_run(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(
        config.replace(
            '"model_type": "bert"', '"model_type": "evil", "auto_map": {"AutoConfig": "e.E"}'
        )
    )
    (folder / "e.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="cannot be loaded as an encoder"):
        Encoder.from_pretrained(folder)
