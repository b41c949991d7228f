"""Rows of three labels, each told by a word of its own."""

import numpy as np

from shared.training.examples import Examples

WORDS = {"1": "loss", "2": "tea", "3": "profit"}  # names that teach nothing


def rows(count: int, seed: int) -> Examples:
    """`count` of them, their labels in turn; the words of its label among others."""
    rng = np.random.default_rng(seed)
    labels = [sorted(WORDS)[at % 3] for at in range(count)]
    filler = "the a my was is where how late when will it help please hello".split()
    texts = [" ".join(rng.permutation([*rng.choice(filler, 6), WORDS[at]])) for at in labels]
    return Examples(tuple(texts), tuple((label,) for label in labels), np.arange(count))
