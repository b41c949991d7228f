"""A model version opens the encoders of its training: their weights, vectors and prefix."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import ModelError, ModelNotFoundError
from shared.inference.model_encoders import (
    ENCODER_FOLDER,
    OpenEncoders,
    open_base_encoder,
    open_model_encoders,
)
from shared.inference.runtime import float_fingerprint, int8_fingerprint, load_embedder
from shared.modeling.encoder import Encoder
from shared.modeling.encoder_folder import read_encoder_folder
from shared.pretrained import PretrainedEncoder, resolve

TEXTS = ["my card is lost", "where is the tea cup", ""]


@dataclass(frozen=True)
class Trained:
    """What an application's configuration says."""

    base: str
    base_sha256: str
    base_fingerprint: str
    finetuned_fingerprint: str | None = None


@pytest.fixture
def trained(tiny_encoder: Path, tmp_path: Path) -> Trained:
    base = resolve(str(tiny_encoder), cache=tmp_path)
    found = read_encoder_folder(tiny_encoder, prefix=base.prefix)
    return Trained(base.name, base.sha256, float_fingerprint(found))


@pytest.fixture
def finetuned(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A model folder with an encoder whose weights are not those of the base."""
    encoder = Encoder.from_pretrained(tiny_encoder)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.mul_(1.5)
    encoder.save(tmp_path / "model" / ENCODER_FOLDER)
    return tmp_path / "model"


def test_models_of_one_process_share_the_base_encoder_and_nothing_else(
    trained: Trained, finetuned: Path, tmp_path: Path
) -> None:
    opened = OpenEncoders()
    own = float_fingerprint(read_encoder_folder(finetuned / ENCODER_FOLDER))
    first = open_model_encoders(tmp_path, trained, cache=tmp_path, threads=1, opened=opened)
    tuned = replace(trained, finetuned_fingerprint=own)
    second = open_model_encoders(finetuned, tuned, cache=tmp_path, threads=1, opened=opened)
    other = open_model_encoders(tmp_path, trained, cache=tmp_path, threads=2, opened=opened)
    assert second.base is first.base
    assert second.finetuned is not None
    assert second.finetuned is not first.base
    assert other.base is not first.base, "other threads, another encoder"


def test_the_base_encoder_gives_the_vectors_of_training_also_where_int8_is_there(
    trained: Trained, tiny_encoder: Path, tmp_path: Path
) -> None:
    fast = load_embedder(tiny_encoder, cache=tmp_path, threads=1)
    quick = int8_fingerprint(read_encoder_folder(tiny_encoder))
    in_int8 = replace(trained, base_fingerprint=quick)
    for said, expected in ((trained, load_embedder(tiny_encoder, threads=1)), (in_int8, fast)):
        opened = open_model_encoders(tmp_path, said, cache=tmp_path, threads=1)
        assert opened.finetuned is None
        assert opened.base.fingerprint == said.base_fingerprint
        np.testing.assert_array_equal(opened.base.encode(TEXTS), expected.encode(TEXTS))


def test_the_finetuned_encoder_of_the_model_folder_is_opened(
    trained: Trained, finetuned: Path, tmp_path: Path
) -> None:
    own = load_embedder(finetuned / ENCODER_FOLDER, threads=1)
    said = replace(trained, finetuned_fingerprint=own.fingerprint)
    opened = open_model_encoders(finetuned, said, cache=tmp_path, threads=1)
    assert opened.finetuned is not None
    assert opened.finetuned.fingerprint == own.fingerprint != opened.base.fingerprint
    np.testing.assert_array_equal(opened.finetuned.encode(TEXTS), own.encode(TEXTS))


def test_an_encoder_that_lies_there_and_was_not_kept_is_not_opened(
    trained: Trained, finetuned: Path, tmp_path: Path
) -> None:
    assert open_model_encoders(finetuned, trained, cache=tmp_path).finetuned is None


def test_a_base_encoder_with_other_weights_is_refused_with_both_hashes(
    trained: Trained, tmp_path: Path
) -> None:
    said = replace(trained, base_sha256="0123456789ab" + "0" * 52)
    with pytest.raises(ModelError) as caught:
        open_model_encoders(tmp_path / "bot", said, cache=tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'bot'}: trained on {trained.base} with sha256 0123456789ab…, but "
        f"{trained.base} has {trained.base_sha256[:12]}…; train again or restore that encoder"
    )


def test_a_finetuned_encoder_that_was_exchanged_is_refused(
    trained: Trained, finetuned: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    own = load_embedder(finetuned / ENCODER_FOLDER).fingerprint
    shutil.rmtree(finetuned / ENCODER_FOLDER)
    shutil.copytree(tiny_encoder, finetuned / ENCODER_FOLDER)
    said = replace(trained, finetuned_fingerprint=own)
    with pytest.raises(ModelError) as caught:
        open_model_encoders(finetuned, said, cache=tmp_path)
    assert str(caught.value).startswith(f"{finetuned / ENCODER_FOLDER}: gives vectors ")
    assert f"but {own} is needed" in str(caught.value)


@pytest.mark.parametrize("missing", ["base", "finetuned"])
def test_an_encoder_that_is_not_there_is_named(
    trained: Trained, tmp_path: Path, missing: str
) -> None:
    if missing == "base":
        said, named = replace(trained, base="mpnet"), "mpnet is not on this machine"
    else:
        said, named = replace(trained, finetuned_fingerprint="float-0"), str(tmp_path / "encoder")
    with pytest.raises(ModelNotFoundError) as caught:
        open_model_encoders(tmp_path, said, cache=tmp_path)
    assert named in str(caught.value)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_a_base_encoder_reads_its_prefix_once_before_every_text(
    tiny_encoder: Path, tmp_path: Path, kind: str
) -> None:
    """The folder says nothing of a prefix, as those of E5 on the hub."""
    base = PretrainedEncoder("x/e5-tiny", tiny_encoder, "please ", "", "unknown")
    found = read_encoder_folder(tiny_encoder, prefix="please ")
    name = float_fingerprint(found) if kind == "float" else int8_fingerprint(found)
    opened = open_base_encoder(base, cache=tmp_path, threads=1, fingerprint=name)
    plain = load_embedder(
        tiny_encoder, cache=tmp_path, threads=1, precision="fp32" if kind == "float" else "int8"
    )
    for times, same in ((0, False), (1, True), (2, False)):
        by_hand = plain.encode(["please " * times + text for text in TEXTS])
        assert np.allclose(opened.encode(TEXTS), by_hand, atol=1e-5) == same
