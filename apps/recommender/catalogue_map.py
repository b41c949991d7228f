"""The catalogue on a plane: items whose texts mean the like lie near each other."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from apps.recommender.bundle import Bundle
from shared.text import normalise

# Items that are laid out; further ones go where their nearest ones are.
LAID_OUT = 2000
NEAREST = 3
LEAST = 12
SEED = 13
COLUMNS = ("x", "y", "item_id", "title", "category", "taken")


def catalogue_map(bundle: Bundle, seed: int = SEED) -> pd.DataFrame:
    """COLUMNS, one row for each item that has a text, in the catalogue's order. taken: by so many
    users. category: the first one, "" for none."""
    meaning = bundle.channels.meaning
    rows = np.flatnonzero(np.any(meaning != 0, axis=1))
    place = plane(meaning[rows], seed)
    catalog = bundle.catalog
    return pd.DataFrame(
        {
            "x": place[:, 0],
            "y": place[:, 1],
            "item_id": [catalog.ids[row] for row in rows],
            "title": [catalog.titles[row] for row in rows],
            "category": [next(iter(catalog.categories[row]), "") for row in rows],
            "taken": bundle.log.counts[rows],
        },
        columns=list(COLUMNS),
    )


def plane(vectors: NDArray[np.float32], seed: int = SEED) -> NDArray[np.float64]:
    """(n, 2) places of n vectors of unit length.

    t-SNE on cosines (van der Maaten and Hinton 2008), for the vectors are whitened: their first
    two principal axes hold no more than any other two. Beyond LAID_OUT vectors the others go to the
    mean place of their NEAREST ones. Fewer than LEAST vectors lie on their first two axes.
    """
    if len(vectors) < LEAST:
        flat = np.zeros((len(vectors), 2))
        flat[:, : min(2, vectors.shape[1])] = vectors[:, :2]
        return flat
    chosen = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:LAID_OUT])
    layout = TSNE(
        perplexity=min(30.0, (len(chosen) - 1) / 3),
        metric="cosine",
        init="random",
        random_state=seed,
        n_jobs=1,
    ).fit_transform(vectors[chosen])
    place = np.empty((len(vectors), 2))
    for at in range(0, len(vectors), LAID_OUT):
        cosines = vectors[at : at + LAID_OUT] @ vectors[chosen].T
        near = np.argpartition(-cosines, NEAREST, axis=1)[:, :NEAREST]
        place[at : at + LAID_OUT] = layout[near].mean(1)
    place[chosen] = layout
    return place


def found_by(frame: pd.DataFrame, wanted: str) -> NDArray[np.bool_]:
    """(n,) whether all words of `wanted` are in title, id or category; none for no words."""
    words = normalise(wanted).casefold().split()
    if not words:
        return np.zeros(len(frame), bool)
    texts = [
        normalise(f"{row.title} {row.item_id} {row.category}").casefold()
        for row in frame.itertuples()
    ]
    return np.array([all(word in text for word in words) for text in texts], bool)
