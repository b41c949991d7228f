"""`triptych data curve`: would more labelled rows pay? Before anybody labels them."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipelines.labelled_examples import read_labelled
from shared.inference.model_encoders import open_base_encoder
from shared.inference.remembered import RememberingEmbedder
from shared.pretrained import resolve
from shared.settings import Home, wanted_device
from shared.training.learning_curve import SHARES, LearningCurve, fit_curve, measure_curve

Say = Callable[[str], None]


def curve_of(
    app: str,
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    base: str,
    repeats: int,
    seed: int,
    threads: int | None,
    say: Say,
    shares: Sequence[float] = SHARES,
) -> LearningCurve:
    """Train on growing parts of a table `text,label` and draw the curve on.

    app: "chatbot", or "news" with sentiments or topics.
    Raises: DataError: the table, or too few rows. ModelError: the base encoder.
    """
    examples = read_labelled(app, path, mapping, home, say)
    encoder = resolve(base, cache=home.cache)
    device = wanted_device(None, os.environ)
    embedder = open_base_encoder(encoder, cache=home.cache, threads=threads, device=device)
    measured = measure_curve(
        examples, embedder=RememberingEmbedder(embedder), shares=shares, repeats=repeats,
        seed=seed, threads=threads or 2, say=say,
    )  # fmt: skip
    return fit_curve(measured, seed=seed)
