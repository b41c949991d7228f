"""`triptych data labels`: which labels of a table are probably wrong, for a person to look at."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from pipelines.labelled_examples import read_labelled
from shared.inference.model_encoders import open_base_encoder
from shared.pretrained import resolve
from shared.settings import Home, wanted_device
from shared.training.fusion import fit_fused
from shared.training.label_errors import LabelErrors, find_label_errors

COLUMNS = ("text", "label", "suggested", "margin")


def label_errors_of(
    app: str,
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    base: str,
    seed: int,
    threads: int | None,
    say: Callable[[str], None],
) -> LabelErrors:
    """Train on a table `text,label` without fine-tuning and doubt its labels out of fold.

    app: "chatbot", or "news" with sentiments or topics.
    Raises: DataError: the table, or too few rows. ModelError: the base encoder.
    """
    examples = read_labelled(app, path, mapping, home, say)
    encoder = resolve(base, cache=home.cache)
    device = wanted_device(None, os.environ)
    embedder = open_base_encoder(encoder, cache=home.cache, threads=threads, device=device)
    fit = fit_fused(
        examples, embedder=embedder, kind=examples.kind, seed=seed, threads=threads or 2, say=say
    )
    return find_label_errors(examples, fit.out_of_fold)


def suspects_table(found: LabelErrors) -> pd.DataFrame:
    """text, label as given, suggested, margin: one row a suspect, the surest first."""
    rows = [(each.text, each.given, each.suggested, each.margin) for each in found.suspects]
    return pd.DataFrame(rows, columns=list(COLUMNS))
