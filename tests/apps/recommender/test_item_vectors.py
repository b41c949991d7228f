"""Item texts reach the encoder as it wants to read them."""

import shutil
from pathlib import Path

import numpy as np

from apps.recommender.fitting import part
from apps.recommender.recipe import RecommenderRecipe, embed
from apps.recommender.settings import RecommenderSettings
from shared.inference.runtime import float_fingerprint, int8_fingerprint, load_embedder
from shared.modeling.encoder_folder import read_encoder_folder
from shared.settings import Home
from shared.training.options import TrainOptions


def test_item_texts_are_encoded_with_the_prefix_of_the_base_encoder(
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path: Path,
    quick_settings: RecommenderSettings,
) -> None:
    """Folders of E5 models do not say their prefix; their name does."""
    folder = tmp_path / "e5-tiny"
    shutil.copytree(tiny_encoder, folder)
    catalog, log = RecommenderRecipe(*shop_files).read(quick_settings, 3, lambda _: None)
    texts = embed(
        catalog,
        part(log, quick_settings, 3),
        quick_settings,
        TrainOptions(method="frozen", base=str(folder), threads=1),
        tmp_path / "model",
        Home(tmp_path),
        lambda _: None,
    )
    found = read_encoder_folder(folder, prefix="query: ")
    known = {"fp32": float_fingerprint(found), "int8": int8_fingerprint(found)}
    precision = next(p for p, name in known.items() if name == texts.encoder.fingerprint)
    plain = load_embedder(
        folder, cache=tmp_path, threads=1, precision="int8" if precision == "int8" else "fp32"
    )
    by_hand = plain.encode([f"query: {text}" for text in catalog.texts], normalised=False)
    np.testing.assert_allclose(texts.raw, by_hand, atol=1e-4)
