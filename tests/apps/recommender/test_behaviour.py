"""Fine-tuning the encoder on what is taken together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from apps.recommender.auditing import open_encoder
from apps.recommender.behaviour import co_engaged
from apps.recommender.bundle import EncoderNote
from apps.recommender.interactions import Interactions
from apps.recommender.recipe import RecommenderRecipe
from apps.recommender.recommender import Recommender
from apps.recommender.settings import EncoderSettings, RecommenderSettings
from shared.inference.model_encoders import open_base_encoder
from shared.modeling.adapter import is_adapter
from shared.modeling.encoder import Encoder
from shared.pretrained import resolve
from shared.settings import Home
from shared.training.adapters import finetuned_embedder, save_trained
from shared.training.methods import apply_method
from shared.training.options import Method, TrainOptions


def test_pairs_lie_within_the_window_of_one_user_and_come_once(
    log_of: Callable[..., Interactions],
) -> None:
    log = log_of({"ann": [0, 1, 2, 3], "bob": [1, 0], "eve": [4]}, 5)
    left, right = co_engaged(log, window=2, most=100, seed=1)
    pairs = {tuple(sorted(pair)) for pair in zip(left.tolist(), right.tolist(), strict=True)}
    assert pairs == {(0, 1), (1, 2), (2, 3), (0, 2), (1, 3)}
    assert len(left) == 5


def test_what_everybody_takes_does_not_fill_the_pairs(
    log_of: Callable[..., Interactions],
) -> None:
    """Pair (0, 1) is in 1 history, (2, 3) too, but 2 and 3 are in 60 others apart."""
    crowd = {f"x{n}": [2 + n % 2] for n in range(120)}
    log = log_of({"ann": [0, 1], "bob": [2, 3]} | crowd, 4)
    first = [int(co_engaged(log, window=1, most=1, seed=seed)[0][0]) for seed in range(200)]
    assert np.mean(np.array(first) == 0) > 0.9


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_tuned_encoder_is_kept_only_where_it_ranks_better(
    method: str,
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path: Path,
    quick_settings: RecommenderSettings,
) -> None:
    recipe = RecommenderRecipe(
        *shop_files,
        settings=quick_settings.model_copy(update={"encoder": EncoderSettings(pairs=60)}),
    )
    folder = tmp_path / "model"
    options = TrainOptions(method=method, base=str(tiny_encoder), threads=1, epochs=1)
    report = recipe.fit(folder, options=options, home=Home(tmp_path), say=lambda _: None)
    note = next(note for note in report.notes if note.startswith("encoder: "))
    assert note.startswith("encoder: fine-tuned on ")
    assert note.endswith((", kept", ", not kept: it is no better"))
    others = {path.name for path in folder.iterdir() if path.is_dir()} - {"encoder"}
    assert not others  # no checkpoints are published
    kept = note.endswith(", kept")
    assert (folder / "encoder").exists() == kept
    if kept:
        bundle = Recommender.load(folder, home=Home(tmp_path)).bundle
        opened = open_encoder(bundle.encoder, folder, Home(tmp_path))
        assert opened.fingerprint == bundle.encoder.fingerprint


def test_a_model_kept_with_an_adapter_opens_it_on_its_base(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    home, options = Home(tmp_path), TrainOptions(threads=1, max_length=16)
    base = resolve(str(tiny_encoder), cache=home.cache)
    encoder = Encoder.from_pretrained(base.path, max_length=16)
    apply_method(encoder, Method.LORA, options)
    for name, parameter in encoder.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    save_trained(encoder, base, tmp_path / "model" / "encoder")
    embedder = open_base_encoder(base, cache=home.cache, threads=1)
    texts = ["red shoe", "blue tea cup", "a card and a shoe and a cup and a bank and tea " * 2]
    trained = finetuned_embedder(
        tmp_path / "model" / "encoder",
        embedder=embedder,
        probes=texts,
        options=options,
        say=lambda _: None,
    )
    assert is_adapter(tmp_path / "model" / "encoder")
    note = EncoderNote(base.name, base.sha256, trained.fingerprint, "encoder")
    opened = open_encoder(note, tmp_path / "model", home)
    np.testing.assert_allclose(opened.encode(texts), trained.encode(texts), atol=1e-5)
    assert np.abs(opened.encode(texts) - embedder.encode(texts)).max() > 0.01
