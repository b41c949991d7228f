"""What is read from an encoder folder, and what is refused."""

import json
import re
import shutil
from pathlib import Path

import pytest

from shared.errors import ModelError, ModelNotFoundError
from shared.modeling.encoder_folder import check_safetensors, read_encoder_folder


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_plain_folder_is_mean_pooled_without_a_prefix(folder: Path) -> None:
    found = read_encoder_folder(folder)
    assert (found.dim, found.pooling, found.prefix, found.max_length) == (32, "mean", "", 64)


def test_the_packaged_encoder_is_cut_at_128_tokens(minilm: Path) -> None:
    found = read_encoder_folder(minilm)
    assert (found.dim, found.pooling, found.prefix, found.max_length) == (384, "mean", "", 128)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"embedding_dimension": 32, "pooling_mode": "cls"}, "cls"),
    ],
)
def test_old_and_new_pooling_files_are_read(
    folder: Path, pooling: dict[str, object], expected: str
) -> None:
    modules = [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    write(folder / "modules.json", modules)
    write(folder / "1_Pooling" / "config.json", pooling)
    assert read_encoder_folder(folder).pooling == expected


def test_a_transformer_in_a_folder_of_its_own_is_found(tiny_encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder, tmp_path / "0_Transformer")
    write(tmp_path / "modules.json", [{"path": "0_Transformer", "type": "x.Transformer"}])
    write(tmp_path / "0_Transformer" / "sentence_bert_config.json", {"max_seq_length": 17})
    found = read_encoder_folder(tmp_path)
    assert (found.weights, found.max_length) == (tmp_path / "0_Transformer", 17)


def test_the_default_prompt_is_the_prefix(folder: Path) -> None:
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}}
    path = folder / "config_sentence_transformers.json"
    write(path, {**prompts, "default_prompt_name": "query"})
    assert read_encoder_folder(folder).prefix == "query: "
    write(path, {**prompts, "default_prompt_name": None})
    assert read_encoder_folder(folder).prefix == ""


def test_our_own_description_wins_and_the_caller_wins_over_it(folder: Path) -> None:
    write(
        folder / "triptych_encoder.json", {"prefix": "query: ", "max_length": 40, "pooling": "cls"}
    )
    found = read_encoder_folder(folder)
    assert (found.prefix, found.max_length, found.pooling) == ("query: ", 40, "cls")
    found = read_encoder_folder(folder, prefix="", max_length=12)
    assert (found.prefix, found.max_length) == ("", 12)


def test_families_that_reserve_two_positions_have_two_fewer_tokens(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for family, limit in (("bert", 64), ("mpnet", 62), ("xlm-roberta", 62)):
        write(folder / "config.json", {**config, "model_type": family})
        message = (
            f"{folder}: max_length = 65; allowed is 3 to {limit} tokens "
            "(the positions this encoder was made with)"
        )
        with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
            read_encoder_folder(folder, max_length=65)
        assert read_encoder_folder(folder, max_length=limit).max_length == limit


def test_the_digest_changes_with_everything_that_decides_a_vector(folder: Path) -> None:
    digests = {read_encoder_folder(folder).digest()}
    digests.add(read_encoder_folder(folder, prefix="query: ").digest())
    digests.add(read_encoder_folder(folder, max_length=20).digest())
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    digests.add(read_encoder_folder(folder).digest())
    with (folder / "tokenizer.json").open("a") as tokenizer:
        tokenizer.write(" ")
    digests.add(read_encoder_folder(folder).digest())
    assert len(digests) == 5


def test_the_digest_does_not_depend_on_the_place(folder: Path, tiny_encoder: Path) -> None:
    assert read_encoder_folder(folder).digest() == read_encoder_folder(tiny_encoder).digest()


def test_a_folder_that_is_not_there_or_holds_no_encoder(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(
        ModelNotFoundError,
        match=re.escape(f"{missing}: no such folder; expected a folder with an encoder"),
    ):
        read_encoder_folder(missing)
    with pytest.raises(ModelNotFoundError, match=r"no config\.json; expected a Hugging Face"):
        read_encoder_folder(tmp_path)
    write(tmp_path / "config.json", {})
    with pytest.raises(ModelNotFoundError, match=r"no model\.safetensors; expected the encoder"):
        read_encoder_folder(tmp_path)


def test_pickled_weights_alone_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = (
        f"{folder}: only pickled weights (pytorch_model.bin), which can run code when loaded; "
        "expected model.safetensors: convert them where you trust the file"
    )
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        read_encoder_folder(folder)


def test_a_truncated_weights_file_is_named_with_both_lengths(folder: Path) -> None:
    weights = folder / "model.safetensors"
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:-100])
    message = (
        f"{weights}: {size - 100} bytes where its header promises {size}; "
        "the file is damaged, fetch it again"
    )
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        read_encoder_folder(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"\xff" * 64,  # a header longer than the file
        (10).to_bytes(8, "little") + b"not json!!",
        (2).to_bytes(8, "little") + b"[]",
        (9).to_bytes(8, "little") + b'{"a": {}}',
    ],
)
def test_a_weights_file_without_a_header_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"^{re.escape(str(path))}: .*the file is damaged"):
        check_safetensors(path)


def test_what_a_pipeline_does_beyond_pooling_is_refused(folder: Path) -> None:
    modules = [{"path": "", "type": "a.Transformer"}, {"path": "1_D", "type": "a.Dense"}]
    write(folder / "modules.json", modules)
    with pytest.raises(
        ModelError,
        match=re.escape(
            "modules Transformer, Dense; allowed are Transformer, Pooling and Normalize"
        ),
    ):
        read_encoder_folder(folder)


def test_a_pipeline_must_not_point_outside_its_folder(folder: Path) -> None:
    write(folder / "modules.json", [{"path": "../other", "type": "a.Transformer"}])
    with pytest.raises(
        ModelError, match=re.escape("module path '../other' leaves the model folder")
    ):
        read_encoder_folder(folder)


def test_an_unknown_pooling_is_named_with_those_allowed(folder: Path) -> None:
    write(folder / "triptych_encoder.json", {"pooling": "max"})
    with pytest.raises(ModelError, match="pooling 'max'; allowed are mean and cls"):
        read_encoder_folder(folder)


@pytest.mark.parametrize("name", ["config.json", "modules.json", "triptych_encoder.json"])
def test_damaged_json_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("{", encoding="utf-8")
    with pytest.raises(
        ModelError, match=f"^{re.escape(str(folder / name))}: damaged or unreadable JSON"
    ):
        read_encoder_folder(folder)
