"""Adapters on one open encoder: each call its own vectors, the base's untouched, faults named."""

import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from shared.errors import ModelError, ModelNotFoundError
from shared.inference.adapter_inputs import adapter_places, add_adapter_inputs
from shared.inference.calibrate import calibrate
from shared.inference.export import export_int8, trace_onnx
from shared.inference.parity import ParityGate
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import (
    CALIBRATION_FILE,
    ONNX_DESCRIPTION_FILE,
    ONNX_FILE,
    AdaptableEmbedder,
    OnnxEmbedder,
    load_embedder,
)
from shared.inference.token_quantisation import quantise_matmuls
from shared.modeling.adapter import ADAPTER_FILE, FACTORS_FILE, Adapter, Factors
from shared.modeling.architectures import ARCHITECTURES
from shared.modeling.encoder import Encoder
from shared.modeling.encoder_folder import read_encoder_folder

TEXTS = ["my card is lost", "where is the tea cup", "", "bank shares fall on bad news", "help"]
MODULES = [
    f"encoder.layer.{at}.attention.self.{name}" for at in (0, 1) for name in ("query", "value")
]
DIM = 32


def invented(seed: int, rank: int = 4, scale: float = 0.5, max_length: int = 64) -> Adapter:
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> NDArray[np.float32]:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    factors = {name: Factors(matrix(DIM, rank), matrix(rank, DIM)) for name in MODULES}
    return Adapter(factors, "a" * 64, max_length)


def merged(folder: Path, adapter: Adapter, target: Path) -> Path:
    """The oracle: an encoder whose weights are the sums, W + (down @ up)^T."""
    encoder = Encoder.from_pretrained(folder, max_length=adapter.max_length)
    for name, factors in adapter.factors.items():
        weight: torch.Tensor = encoder.model.get_submodule(name).weight  # type: ignore[assignment]
        with torch.no_grad():
            weight += torch.tensor(factors.down @ factors.up).T
    encoder.save(target)
    return target


def cosine(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) of the rows."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return np.asarray((one * two).sum(1) / lengths, dtype=np.float32)


@pytest.fixture(scope="module")
def exported(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("adapters") / "onnx"
    gate = ParityGate(0.0, 0.0, 0.0)
    assert export_int8(tiny_encoder, target, TEXTS, gate, threads=1).int8 is not None
    return target


@pytest.fixture(scope="module")
def exported_static(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With scales measured beforehand."""
    folder = tmp_path_factory.mktemp("static") / "model"
    shutil.copytree(tiny_encoder, folder)
    calibrate(read_encoder_folder(folder), TEXTS, seed=1).write(folder / CALIBRATION_FILE)
    gate = ParityGate(0.0, 0.0, 0.0)
    assert export_int8(folder, folder / "onnx", TEXTS, gate, threads=1).int8 is not None
    return folder / "onnx"


@pytest.fixture(params=["int8", "fp32", "bf16"])
def base(request: pytest.FixtureRequest, exported: Path, tiny_encoder: Path) -> AdaptableEmbedder:
    """The base encoder in each runtime."""
    if request.param == "int8":
        return OnnxEmbedder(exported, threads=2)
    opened = load_embedder(tiny_encoder, precision=request.param, threads=1)
    assert isinstance(opened, AdaptableEmbedder)
    return opened


def test_an_adapter_gives_the_vectors_of_the_merged_encoder(
    base: AdaptableEmbedder, tiny_encoder: Path, tmp_path: Path
) -> None:
    adapter = invented(1)
    whole = load_embedder(merged(tiny_encoder, adapter, tmp_path / "m"), precision="fp32")
    precision = getattr(base, "precision", "")
    for views in ("encode", "features"):
        found, wanted = (getattr(e, views)(TEXTS) for e in (base.with_adapter(adapter), whole))
        if precision == "fp32":
            np.testing.assert_allclose(found, wanted, atol=2e-5)
        cosines = cosine(found, wanted)
        assert (cosines > 0.998).all(), precision
    plain = base.encode(TEXTS)
    assert (plain * whole.encode(TEXTS)).sum(1).max() < 0.99, "the adapter must matter here"


def test_an_adapter_is_served_beside_scales_measured_beforehand(
    exported_static: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """A gentle one. Activations that a wild one moves out of the spans are cut off, which the
    parity check of a run finds (training/adapters.py)."""
    adapter = invented(1, scale=0.2)
    wanted = load_embedder(merged(tiny_encoder, adapter, tmp_path / "m"), precision="fp32")
    base = OnnxEmbedder(exported_static, threads=1)
    plain, adapted = (
        1 - cosine(e.encode(TEXTS), wanted.encode(TEXTS))
        for e in (base, base.with_adapter(adapter))
    )
    assert adapted.mean() < plain.mean() / 2


def test_the_base_gives_the_same_bits_with_adapters_about(base: AdaptableEmbedder) -> None:
    before = base.features(TEXTS)
    base.with_adapter(invented(1)).features(TEXTS)
    np.testing.assert_array_equal(base.features(TEXTS), before)


def test_threads_that_use_the_base_and_two_adapters_at_once_get_each_its_own(
    base: AdaptableEmbedder,
) -> None:
    ways = [base, base.with_adapter(invented(1)), base.with_adapter(invented(2, rank=7))]
    alone = [way.features(TEXTS) for way in ways]
    assert not np.allclose(alone[1], alone[2], atol=1e-2)
    jobs = [at % 3 for at in range(60)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda at: ways[at].features(TEXTS), jobs))
    for at, vectors in zip(jobs, found, strict=True):
        np.testing.assert_allclose(vectors, alone[at], atol=1e-5)


def test_an_adapter_reads_texts_to_its_own_length(base: AdaptableEmbedder) -> None:
    short = base.with_adapter(invented(1, max_length=4))
    long = base.with_adapter(invented(1))
    text = "my card is lost where is my money"
    np.testing.assert_allclose(
        short.encode([text]), long.encode(["my card"]), atol=1e-5
    )  # [CLS] my card [SEP]
    assert short.fingerprint != long.fingerprint


def test_every_fingerprint_is_another_and_names_the_family(base: AdaptableEmbedder) -> None:
    first, again, other = (base.with_adapter(invented(seed)).fingerprint for seed in (1, 1, 2))
    assert first == again
    assert len({first, other, base.fingerprint}) == 3
    assert first.partition("-")[0] == base.fingerprint.partition("-")[0]


def test_a_base_that_the_adapter_was_not_judged_on_is_refused(base: AdaptableEmbedder) -> None:
    adapter = replace(invented(1), base_fingerprint="float-0123")
    with pytest.raises(ModelError) as caught:
        base.with_adapter(adapter)
    assert str(caught.value) == (
        "an adapter made for the base encoder float-0123 cannot be served on "
        f"{base.fingerprint}; use the encoder and the precision of training, or train again"
    )


def test_a_remembering_embedder_hands_the_adapter_to_the_encoder_it_asks(
    base: AdaptableEmbedder,
) -> None:
    adapted = RememberingEmbedder(base).with_adapter(invented(1))
    expected = base.with_adapter(invented(1))
    np.testing.assert_array_equal(adapted.encode(TEXTS), expected.encode(TEXTS))
    with pytest.raises(ModelError, match="serves no adapters"):
        RememberingEmbedder(RememberedOnly(base)).with_adapter(invented(1))


class RememberedOnly:
    """An embedder without adapters, such as one that reads vectors from a file."""

    def __init__(self, embedder: AdaptableEmbedder) -> None:
        self.dim, self.fingerprint = embedder.dim, embedder.fingerprint
        self.encode, self.features = embedder.encode, embedder.features


def renamed(adapter: Adapter, factors: Mapping[str, Factors]) -> Adapter:
    return replace(adapter, factors=factors)


def test_a_module_that_the_base_has_not_is_named(base: AdaptableEmbedder) -> None:
    strange = renamed(
        invented(1), {"encoder.layer.9.attention.self.query": invented(1).factors[MODULES[0]]}
    )
    with pytest.raises(ModelError, match=r"encoder\.layer\.9\.attention\.self\.query"):
        base.with_adapter(strange)


def test_a_matrix_of_another_width_has_no_place_in_the_graph(exported: Path) -> None:
    wide = Factors(np.zeros((48, 2), np.float32), np.zeros((2, DIM), np.float32))
    with pytest.raises(ModelError) as caught:
        OnnxEmbedder(exported).with_adapter(renamed(invented(1), {MODULES[0]: wide}))
    assert f"has no place for {MODULES[0]}.down of shape (48, 2)" in str(caught.value)


def session_of(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of each input that has a default
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def test_the_graph_with_room_computes_the_bits_of_the_graph_without(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    trace_onnx(Encoder.from_pretrained(tiny_encoder).eval(), tmp_path / "fp32.onnx")
    found = {}
    for room in (False, True):
        model = onnx.load(str(tmp_path / "fp32.onnx"))
        places = adapter_places(model, "bert")
        quantise_matmuls(model)
        if room:
            add_adapter_inputs(model, places)
        onnx.save(model, str(tmp_path / "int8.onnx"))
        ids = np.array([[2, 7, 9, 3], [2, 8, 3, 0]])
        given = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}
        (found[room],) = session_of(tmp_path / "int8.onnx").run(None, given)
    np.testing.assert_array_equal(found[True], found[False])


def test_the_export_says_where_adapters_have_room(exported: Path) -> None:
    said = json.loads((exported / ONNX_DESCRIPTION_FILE).read_text())
    assert said["adapters"] == MODULES
    graph = onnx.load(str(exported / ONNX_FILE)).graph
    defaults = {t.name: numpy_helper.to_array(t).shape for t in graph.initializer}
    assert defaults[f"{MODULES[0]}.down"] == (DIM, 0)
    assert defaults[f"{MODULES[0]}.up"] == (0, DIM)


def test_an_export_of_an_older_version_in_the_cache_is_made_again(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    first = load_embedder(tiny_encoder, precision="int8", cache=tmp_path, threads=1)
    (folder,) = (p for p in (tmp_path / "onnx").iterdir() if p.is_dir())
    said = json.loads((folder / ONNX_DESCRIPTION_FILE).read_text())
    del said["adapters"]
    (folder / ONNX_DESCRIPTION_FILE).write_text(json.dumps(said))
    again = load_embedder(tiny_encoder, precision="int8", cache=tmp_path, threads=1)
    assert "adapters" in json.loads((folder / ONNX_DESCRIPTION_FILE).read_text())
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.features(TEXTS), first.features(TEXTS))


@pytest.mark.parametrize("family", ["mpnet", "distilbert", "roberta", "electra"])
def test_the_products_of_every_family_are_found_by_their_names(family: str, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    if family == "distilbert":
        sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16}
    config = AutoConfig.for_model(
        family, vocab_size=20, intermediate_size=16, max_position_embeddings=16, **sizes
    )
    model = AutoModel.from_config(config)
    trace_onnx(Encoder(model, tokenizer=None, dim=16), tmp_path / "fp32.onnx")
    places = adapter_places(onnx.load(str(tmp_path / "fp32.onnx")), family)
    names = ARCHITECTURES[family].attention
    wanted = [n for n, _ in model.named_modules() if n.rpartition(".")[2] in names]
    assert sorted(place.module for place in places) == sorted(wanted)
    assert len(wanted) == 4
    assert {(place.width_in, place.width_out) for place in places} == {(16, 16)}


def test_a_saved_adapter_is_the_same_again_and_small(tmp_path: Path) -> None:
    adapter = replace(invented(3, rank=2), base_fingerprint="float-1")
    adapter.save(tmp_path)
    again = Adapter.load(tmp_path)
    assert (again.base_sha256, again.max_length, again.base_fingerprint) == (
        "a" * 64,
        64,
        "float-1",
    )
    assert again.tensors().keys() == adapter.tensors().keys()
    for name, matrix in adapter.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], matrix)
    assert again.fingerprint("float-1") == adapter.fingerprint("float-1")
    numbers = len(MODULES) * 2 * 2 * DIM
    assert (tmp_path / FACTORS_FILE).stat().st_size < 4 * numbers + 2000


@pytest.mark.parametrize("place", [8, 200, -1])
def test_a_broken_byte_is_found_and_the_file_named(tmp_path: Path, place: int) -> None:
    invented(1).save(tmp_path)
    content = bytearray((tmp_path / FACTORS_FILE).read_bytes())
    content[place] ^= 1
    (tmp_path / FACTORS_FILE).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        Adapter.load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / FACTORS_FILE}: sha256 differs from the one in {ADAPTER_FILE}; restore the "
        "file or train again"
    )


def test_an_adapter_of_a_later_format_or_without_a_file_is_refused(tmp_path: Path) -> None:
    invented(1).save(tmp_path)
    path = tmp_path / ADAPTER_FILE
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"format": 2}))
    with pytest.raises(ModelError, match="format 2; this version reads 1"):
        Adapter.load(tmp_path)
    path.write_text(json.dumps({"format": 1, "sha256": said["sha256"]}))
    with pytest.raises(ModelError, match="unexpected content"):
        Adapter.load(tmp_path)
    (tmp_path / FACTORS_FILE).unlink()
    with pytest.raises(ModelNotFoundError, match=FACTORS_FILE):
        Adapter.load(tmp_path)


def test_matrices_that_do_not_fit_or_hold_no_numbers_are_refused() -> None:
    with pytest.raises(ModelError, match=r"shapes \(4, 2\) and \(3, 4\)"):
        Factors(np.zeros((4, 2), np.float32), np.zeros((3, 4), np.float32))
    with pytest.raises(ModelError, match="no numbers"):
        Factors(np.full((4, 2), np.nan, np.float32), np.zeros((2, 4), np.float32))
