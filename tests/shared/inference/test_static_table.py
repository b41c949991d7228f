"""The static encoder: its vectors against plain numpy, its folder, and what is built on it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from shared.errors import ModelError
from shared.inference.runtime import float_fingerprint, load_embedder
from shared.inference.static_table import StaticEmbedder, write_static_encoder
from shared.modeling.encoder import Encoder
from shared.modeling.encoder_folder import read_encoder_folder
from shared.pretrained import resolve
from shared.training.examples import from_rows
from shared.training.fusion import fit_fused
from shared.training.head_data import HeadData
from shared.training.learning import learn
from shared.training.options import TrainOptions

TEXTS = ["where is my order", "good", "", "the bank will pay the money late " * 6, "red shoe!"]
DIM, LENGTH, PREFIX = 6, 20, "a "


def table_for(tokenizer: Tokenizer) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(tokenizer.get_vocab_size(), DIM)).astype("f4")


@pytest.fixture(scope="module")
def static(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static") / "model"
    tokenizer = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    write_static_encoder(
        folder, table_for(tokenizer), tokenizer, prefix=PREFIX, max_length=LENGTH, pad_token_id=0
    )
    return folder


def test_a_vector_is_the_mean_of_the_tokens_rows(static: Path) -> None:
    embedder = load_embedder(static)
    assert isinstance(embedder, StaticEmbedder)
    tokenizer = Tokenizer.from_file(str(static / "tokenizer.json"))
    table = table_for(tokenizer).astype(np.float16).astype(np.float64)
    tokenizer.enable_truncation(LENGTH)
    rows = [table[tokenizer.encode(PREFIX + text).ids] for text in TEXTS]
    assert max(map(len, rows)) == LENGTH
    mean = np.array([row.mean(0) for row in rows])
    np.testing.assert_allclose(embedder.encode(TEXTS, normalised=False), mean, atol=1e-6)
    unit = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.encode(TEXTS), unit, atol=1e-6)
    largest = np.array([row.max(0) for row in rows])
    np.testing.assert_allclose(embedder.features(TEXTS), np.hstack([mean, largest]), atol=1e-6)
    assert embedder.features([]).shape == (0, 2 * DIM)


def test_a_text_has_the_same_vector_in_any_company(static: Path) -> None:
    together = load_embedder(static).features(TEXTS)
    alone = [load_embedder(static, batch_size=1).features([text])[0] for text in TEXTS]
    np.testing.assert_array_equal(together, np.array(alone))


def test_its_fingerprint_is_that_of_the_folder(static: Path, tmp_path: Path) -> None:
    wanted = float_fingerprint(read_encoder_folder(static))
    assert load_embedder(static, fingerprint=wanted).fingerprint == wanted
    for precision in ("auto", "fp32", "bf16"):
        assert load_embedder(static, precision=precision).fingerprint == wanted
    kept = load_embedder(static, cache_vectors=tmp_path / "vectors.sqlite")
    np.testing.assert_array_equal(kept.encode(TEXTS), load_embedder(static).encode(TEXTS))
    with pytest.raises(ModelError, match=rf"gives vectors {wanted}, but float-other is needed"):
        load_embedder(static, fingerprint="float-other")
    with pytest.raises(ModelError) as refused:
        load_embedder(static, precision="int8")
    assert str(refused.value) == f"{static}: a static encoder has no int8 form; use precision auto"


def rows(count: int, seed: int) -> tuple[list[str], list[tuple[str]]]:
    words = {"card": "lost order bank", "tea": "good cup red", "news": "shares profit fall"}
    rng = np.random.default_rng(seed)
    labels = [str(rng.choice(list(words))) for _ in range(count)]
    texts = [" ".join(["the", *rng.permutation(words[label].split())[:2]]) for label in labels]
    return texts, [(label,) for label in labels]


def test_the_fusion_learns_on_it(static: Path) -> None:
    train, held = (
        from_rows(*rows(count, seed), kind="single") for count, seed in ((90, 1), (30, 2))
    )
    fit = fit_fused(train, embedder=load_embedder(static), seed=1, threads=1)
    best = fit.classifier.score(held.texts).probabilities.argmax(1)
    assert (
        np.mean([fit.classifier.labels[b] == t for b, t in zip(best, held.single, strict=True)])
        > 0.9
    )


def test_the_method_auto_leaves_it_as_it_is(static: Path, tmp_path: Path) -> None:
    said: list[str] = []
    head = HeadData("intent", from_rows(*rows(90, 1), kind="single"))
    base = resolve(str(static), cache=tmp_path)
    done = learn(
        [head], base=base, embedder=load_embedder(static), options=TrainOptions(threads=1),
        folder=tmp_path / "model", say=said.append,
    )  # fmt: skip
    assert done.encoder is None
    assert done.notes == ("method frozen: a static encoder has no layers to train",)


def test_there_is_nothing_to_train_in_it(static: Path) -> None:
    with pytest.raises(ModelError) as refused:
        Encoder.from_pretrained(static)
    assert str(refused.value) == (
        f"{static}: a static encoder, which has no layers to train; use it as it is, with --method "
        "frozen or auto"
    )


def test_damaged_folders_are_named(static: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(static, tmp_path / "model"))
    weights, tokens = folder / "model.safetensors", folder / "tokenizer.json"

    def complaint() -> str:
        with pytest.raises(ModelError) as refused:
            load_embedder(folder)
        return str(refused.value)

    good = weights.read_bytes()
    save_file({"other": np.zeros((2, DIM), np.float16)}, weights)
    assert complaint() == (
        f"{weights}: no table of token vectors (KeyError('table')); make it again"
    )
    save_file({"table": np.zeros((9, DIM + 1), np.float16)}, weights)
    assert complaint() == (
        f"{weights}: a table of shape (9, {DIM + 1}); expected (tokens, {DIM}), as config.json says"
    )
    save_file({"table": np.zeros((9, DIM), np.float16)}, weights)
    size = Tokenizer.from_file(str(tokens)).get_vocab_size()
    assert complaint() == (
        f"{tokens}: {size} tokens for a table of 9 rows; the folder's files do not belong together"
    )
    weights.write_bytes(good[:-10])
    assert re.search(r"bytes where its header promises \d+; the file is damaged", complaint())
    weights.write_bytes(good)
    tokens.write_text(json.dumps({"version": "1.0"}))
    assert complaint().startswith(f"{tokens}: the tokenizer cannot be loaded: ")
