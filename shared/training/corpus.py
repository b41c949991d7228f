"""Unlabelled texts to pretrain on: cleaned, one of each group of copies, and a held-out part."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.errors import DataError
from shared.text import near_duplicate_groups, normalise

HELD_OUT_SHARE = 0.1
MOST_HELD_OUT = 1000  # a loss over so many texts is known well enough, and quickly measured
FEWEST_TEXTS = 40


@dataclass(frozen=True)
class Corpus:
    """Texts of which no two are near duplicates.

    train: what is learned from. held_out: what is measured on, never learned from. read: texts
    before cleaning; empty, duplicates: those left out.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    read: int
    empty: int
    duplicates: int

    @property
    def sha256(self) -> str:
        """Of both parts, in their order. Hex, 64 characters."""
        total = hashlib.sha256()
        for part in (self.train, self.held_out):
            for text in part:
                total.update(text.encode("utf-8", errors="replace") + b"\0")
            total.update(b"\1")
        return total.hexdigest()

    def line(self) -> str:
        return (
            f"{self.read} texts: {self.empty} empty and {self.duplicates} near duplicates left "
            f"out, {len(self.train)} to learn from, {len(self.held_out)} held out"
        )


def corpus_of(texts: Sequence[str], *, seed: int) -> Corpus:
    """Clean, thin and split.

    Of each group of near duplicates the first text stays: the others would be false negatives of
    the contrastive objective, and on the other side of the split they would flatter the figures.

    Raises DataError where fewer than FEWEST_TEXTS are left.
    """
    clean = [text for text in map(normalise, texts) if text]
    groups = near_duplicate_groups(clean) if clean else np.empty(0, dtype=np.int64)
    kept = np.unique(groups, return_index=True)[1]
    if len(kept) < FEWEST_TEXTS:
        raise DataError(
            f"{len(texts)} texts, of which {len(kept)} are left without empty ones and near "
            f"duplicates: expected {FEWEST_TEXTS} or more to pretrain on; give more tables"
        )
    order = np.random.default_rng(seed).permutation(kept)
    held = min(MOST_HELD_OUT, round(len(order) * HELD_OUT_SHARE))
    return Corpus(
        train=tuple(clean[row] for row in order[held:]),
        held_out=tuple(clean[row] for row in order[:held]),
        read=len(texts),
        empty=len(texts) - len(clean),
        duplicates=len(clean) - len(kept),
    )


def without_copies(texts: Sequence[str], held: Sequence[str]) -> list[str]:
    """Those of `texts` that are no near duplicate of a held-out one."""
    groups = near_duplicate_groups([*texts, *held])
    seen = set(groups[len(texts) :].tolist())
    return [text for text, group in zip(texts, groups, strict=False) if int(group) not in seen]
