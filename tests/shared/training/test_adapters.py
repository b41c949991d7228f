"""A trained encoder is kept as an adapter where it can be, and serves what training saw."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from shared.errors import ModelError
from shared.inference.model_encoders import ENCODER_FOLDER, OpenEncoders, open_model_encoders
from shared.inference.parity import PARITY_FILE, ParityGate
from shared.inference.probes import PROBE_TEXTS
from shared.inference.runtime import Embedder, load_embedder
from shared.modeling.adapter import FACTORS_FILE, Adapter, is_adapter
from shared.modeling.encoder import Encoder
from shared.modeling.heads import HeadSpec
from shared.modeling.text_model import HEAD_WEIGHTS_FILE, HEADS_FILE, TextModel
from shared.pretrained import PretrainedEncoder, resolve
from shared.training.adapters import ADAPTER_FOLDER, finetuned_embedder, save_trained
from shared.training.methods import METHODS, apply_method
from shared.training.options import Method, TrainOptions

TEXTS = list(PROBE_TEXTS[:12])
LOOSE = ParityGate(0.9, 0.95, 0.0)
STRICT = ParityGate(2.0, 2.0, 2.0)
ADAPTED = (Method.LORA, Method.ADALORA)
OPTIONS = TrainOptions(adapter_rank=4, threads=1)


def silent(_: str) -> None:
    return


@dataclass(frozen=True)
class Trained:
    """What an application's configuration says."""

    base: str
    base_sha256: str
    base_fingerprint: str
    finetuned_fingerprint: str | None = None


@pytest.fixture
def base(tiny_encoder: Path, tmp_path: Path) -> PretrainedEncoder:
    return resolve(str(tiny_encoder), cache=tmp_path)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the base's int8 export is kept, made once."""
    return tmp_path_factory.mktemp("cache")


def open_base(base: PretrainedEncoder, cache: Path, kind: str) -> Embedder:
    precision = "int8" if kind == "int8" else "fp32"
    return load_embedder(base.path, precision=precision, cache=cache, threads=1)  # type: ignore[arg-type]


def run_of(
    method: Method, base: PretrainedEncoder, folder: Path, seed: int = 1
) -> tuple[np.ndarray, Path]:
    """The vectors of an encoder as after a run of this method, before anything is merged, and the
    folder that the run leaves."""
    encoder = Encoder.from_pretrained(base.path, base.prefix)
    apply_method(encoder, method, OPTIONS)
    torch.manual_seed(seed)
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.25)
        if "lora_E" in name:
            with torch.no_grad():
                parameter[1::2] = 0.0  # ranks that the run took away
        if "ranknum" in name:
            with torch.no_grad():
                parameter.fill_(3.0)
    model = TextModel(encoder.eval(), [HeadSpec("tone", "single", ("bad", "good"))])
    with torch.no_grad():
        vectors = encoder(**encoder.tokens(TEXTS)).numpy()
    save_trained(model, base, folder)
    return vectors, folder


@pytest.mark.parametrize("kind", ["int8", "fp32"])
@pytest.mark.parametrize("method", [m for m in METHODS if METHODS[m].adapter])
def test_every_adapter_method_serves_the_vectors_that_training_saw(
    method: Method, kind: str, base: PretrainedEncoder, cache: Path, tmp_path: Path
) -> None:
    expected, folder = run_of(method, base, tmp_path / "run")
    embedder = open_base(base, cache, kind)
    told: list[str] = []
    served = finetuned_embedder(
        folder, embedder=embedder, probes=TEXTS, options=OPTIONS, say=told.append, gate=LOOSE
    )
    found = served.encode(TEXTS, normalised=False)
    exact = kind == "fp32" and method in ADAPTED
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1)
    cosines /= np.linalg.norm(expected, axis=1)
    assert cosines.min() > (0.99999 if exact else 0.99)
    plain = embedder.encode(TEXTS, normalised=False)
    # What was learned is far more than what is lost.
    assert np.abs(found - expected).mean() < np.abs(plain - expected).mean() / 2
    assert is_adapter(folder) == (method in ADAPTED)
    assert (folder / "model.safetensors").exists() == (method not in ADAPTED)
    assert not (folder / ADAPTER_FOLDER).exists()
    assert len(told) == (method in ADAPTED)


def test_only_small_files_are_kept_beside_an_adapter(
    base: PretrainedEncoder, cache: Path, tmp_path: Path
) -> None:
    _, folder = run_of(Method.ADALORA, base, tmp_path / "run")
    embedder = open_base(base, cache, "fp32")
    finetuned_embedder(
        folder, embedder=embedder, probes=TEXTS, options=OPTIONS, say=silent, gate=LOOSE
    )
    assert {path.name for path in folder.iterdir()} == {
        "adapter.json",
        FACTORS_FILE,
        HEADS_FILE,
        HEAD_WEIGHTS_FILE,
        PARITY_FILE,
    }
    ranks = {factors.down.shape[1] for factors in Adapter.load(folder).factors.values()}
    assert ranks == {3}  # of 4 + 2, each second one taken away


@pytest.mark.parametrize("kind", ["int8", "fp32"])
def test_an_adapter_that_misses_the_gate_as_served_is_not_kept(
    kind: str, base: PretrainedEncoder, cache: Path, tmp_path: Path
) -> None:
    expected, folder = run_of(Method.LORA, base, tmp_path / "run")
    told: list[str] = []
    served = finetuned_embedder(
        folder,
        embedder=open_base(base, cache, kind),
        probes=TEXTS,
        options=OPTIONS,
        say=told.append,
        gate=STRICT,
    )
    assert not is_adapter(folder)
    assert "kept whole, its adapter missed: cosine_min" in told[0]
    np.testing.assert_allclose(served.encode(TEXTS, normalised=False), expected, atol=1e-4)


def versions(base: PretrainedEncoder, folder: Path, cache: Path) -> tuple[list[Trained], Trained]:
    """Two models with an adapter each in <folder>/0 and <folder>/1, and one without."""
    embedder = open_base(base, cache, "int8")
    plain = Trained(base.name, base.sha256, embedder.fingerprint)
    tuned = []
    for at in (0, 1):
        _, kept = run_of(Method.LORA, base, folder / str(at) / ENCODER_FOLDER, seed=at)
        served = finetuned_embedder(
            kept, embedder=embedder, probes=TEXTS, options=OPTIONS, say=silent, gate=LOOSE
        )
        tuned.append(Trained(base.name, base.sha256, embedder.fingerprint, served.fingerprint))
    return tuned, plain


def test_models_of_one_process_serve_their_adapters_on_one_open_encoder(
    base: PretrainedEncoder, cache: Path, tmp_path: Path
) -> None:
    tuned, plain = versions(base, tmp_path, cache)
    opened = OpenEncoders()
    found = [
        open_model_encoders(tmp_path / str(at), said, cache=cache, threads=1, opened=opened)
        for at, said in enumerate([*tuned, plain])
    ]
    assert found[0].base is found[1].base is found[2].base
    assert found[2].finetuned is None
    sessions = {id(getattr(e, "_session", None)) for f in found for e in (f.base, f.finetuned) if e}
    assert len(sessions) == 1
    first, second = (f.finetuned.encode(TEXTS) for f in found[:2] if f.finetuned is not None)
    assert np.abs(first - second).max() > 0.05
    for said, one in zip(tuned, found, strict=False):
        assert one.finetuned is not None
        assert one.finetuned.fingerprint == said.finetuned_fingerprint != said.base_fingerprint


def test_a_model_on_another_base_encoder_is_refused_with_both_hashes(
    base: PretrainedEncoder, cache: Path, tmp_path: Path
) -> None:
    tuned, _ = versions(base, tmp_path, cache)
    other = tmp_path / "other"
    encoder = Encoder.from_pretrained(base.path)
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.01)
    encoder.save(other)
    strange = resolve(str(other), cache=tmp_path)
    fingerprint = load_embedder(other, precision="int8", cache=cache, threads=1).fingerprint
    said = Trained(strange.name, strange.sha256, fingerprint, tuned[0].finetuned_fingerprint)
    with pytest.raises(ModelError) as caught:
        open_model_encoders(tmp_path / "0", said, cache=cache, threads=1)
    folder = tmp_path / "0" / ENCODER_FOLDER
    assert str(caught.value) == (
        f"{folder}: an adapter of the base encoder with sha256 {base.sha256[:12]}…, but {other} "
        f"has {strange.sha256[:12]}…; train again or restore that encoder"
    )


def test_a_broken_byte_or_an_exchanged_adapter_is_refused(
    base: PretrainedEncoder, cache: Path, tmp_path: Path
) -> None:
    tuned, _ = versions(base, tmp_path, cache)
    folder = tmp_path / "0" / ENCODER_FOLDER
    path = folder / FACTORS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + b"x" + whole[-2:])
    with pytest.raises(ModelError, match=f"{FACTORS_FILE}: sha256 differs"):
        open_model_encoders(tmp_path / "0", tuned[0], cache=cache, threads=1)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "1" / ENCODER_FOLDER, folder)
    with pytest.raises(ModelError) as caught:
        open_model_encoders(tmp_path / "0", tuned[0], cache=cache, threads=1)
    assert f"but {tuned[0].finetuned_fingerprint} is needed" in str(caught.value)
    assert f"gives vectors {tuned[1].finetuned_fingerprint}" in str(caught.value)


def test_a_version_with_a_whole_merged_encoder_is_opened_as_before(
    base: PretrainedEncoder, cache: Path, tmp_path: Path
) -> None:
    """As versions before adapters were kept, and those that missed the gate."""
    expected, folder = run_of(Method.LORA, base, tmp_path / "old" / ENCODER_FOLDER)
    shutil.rmtree(folder / ADAPTER_FOLDER)
    own = load_embedder(folder, threads=1)
    said = Trained(
        base.name, base.sha256, open_base(base, cache, "int8").fingerprint, own.fingerprint
    )
    found = open_model_encoders(tmp_path / "old", said, cache=cache, threads=1)
    assert found.finetuned is not None
    np.testing.assert_allclose(found.finetuned.encode(TEXTS, normalised=False), expected, atol=1e-4)
