"""The encoder fine-tuned on behaviour: texts of items that people engage with together belong
together. Kept only where the training-free ranking gets better by it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.recommender.catalog import Catalog
from apps.recommender.fitting import Parts
from apps.recommender.interactions import Interactions
from apps.recommender.retrieval import Rows, Scores
from apps.recommender.sequence_model import SequenceModel, new_model
from apps.recommender.sequence_training import ranking_watch
from apps.recommender.settings import RecommenderSettings
from apps.recommender.vectors import fit_whitening
from shared.inference.runtime import Embedder
from shared.pretrained import PretrainedEncoder
from shared.training.adapters import finetuned_embedder
from shared.training.budget import Share
from shared.training.options import TrainOptions
from shared.training.pairs import Pairs, finetune_matcher

# Pairs when fine-tuning is asked for and the settings do not say how many: two or three minutes.
USUAL_PAIRS = 6000
VALIDATION_PAIRS = 500
# Learning the pairs by heart is no aim: a second pass brings little.
EPOCHS = 1
MAX_LENGTH = 64
# Texts on which the encoder as it is served must agree with itself in fp32.
PROBES = 400


@dataclass(frozen=True, eq=False)
class TunedEncoder:
    """raw: (items, width) vectors of the fine-tuned encoder. before, after: NDCG@10 of the
    training-free mean over whitened vectors, users who choose, in the whole catalogue.
    """

    raw: Scores
    fingerprint: str
    pairs: int
    before: float
    after: float

    @property
    def better(self) -> bool:
        return self.after > self.before

    @property
    def line(self) -> str:
        verdict = "kept" if self.better else "not kept: it is no better"
        return (
            f"fine-tuned on {self.pairs:,} pairs: NDCG@10 of the mean profile "
            f"{self.before:.4f} -> {self.after:.4f}, {verdict}"
        )


def tuned_encoder(
    catalog: Catalog,
    parts: Parts,
    raw: Scores,
    settings: RecommenderSettings,
    base: PretrainedEncoder,
    embedder: Embedder,
    options: TrainOptions,
    folder: Path,
    say: Callable[[str], None],
    share: Share | None = None,
) -> TunedEncoder:
    """Fine-tune `base` on what is known of the log, into `folder`, and compare.

    raw: (items, width) vectors of the base, which `embedder` gave. share: what fine-tuning gets of
    a call, by default `minutes` of the options.
    """
    wanted = settings.encoder.pairs or USUAL_PAIRS
    left, right = co_engaged(
        parts.split.known, settings.encoder.window, wanted + VALIDATION_PAIRS, options.seed
    )
    texts = catalog.texts
    usable = [(texts[a], texts[b]) for a, b in zip(left, right, strict=True)]
    usable = [(a, b) for a, b in usable if a and b and a != b]
    held = min(VALIDATION_PAIRS, len(usable) // 10)
    watch = ranking_watch(parts.chooser, settings.events.history, options.seed)
    before = watch(_mean_model(raw, settings))
    if not held:
        return TunedEncoder(raw, "", 0, before, before)
    finetune_matcher(
        _pairs(usable[held:]),
        _pairs(usable[:held]),
        encoder=base,
        options=replace(
            options,
            epochs=options.epochs or EPOCHS,
            max_length=options.max_length or MAX_LENGTH,
        ),
        folder=folder,
        say=say,
        share=share,
    )
    probes = [text for pair in usable[:held] for text in pair][:PROBES]
    tuned = finetuned_embedder(folder, embedder=embedder, probes=probes, options=options, say=say)
    vectors = tuned.encode(texts, normalised=False)
    after = watch(_mean_model(vectors, settings))
    return TunedEncoder(vectors, tuned.fingerprint, len(usable) - held, before, after)


def co_engaged(log: Interactions, window: int, most: int, seed: int) -> tuple[Rows, Rows]:
    """(a, b): pairs of items that one user took at most `window` places apart, each pair once.

    Drawn without repetition, a pair likelier by its weights and less likely by how popular its
    items are: otherwise the few that everybody takes would fill the batches.
    """
    lefts, rights, weights = [], [], []
    for gap in range(1, window + 1):
        same = log.user[gap:] == log.user[:-gap]
        lefts.append(log.item[:-gap][same])
        rights.append(log.item[gap:][same])
        weights.append(np.minimum(log.weight[:-gap], log.weight[gap:])[same] / gap)
    left, right = np.concatenate(lefts).astype(np.int64), np.concatenate(rights).astype(np.int64)
    low, high = np.minimum(left, right), np.maximum(left, right)
    keys, first, place = np.unique(low * log.n_items + high, return_index=True, return_inverse=True)
    weight = np.bincount(place, np.concatenate(weights), minlength=len(keys))
    chance = weight / np.sqrt(log.counts[left[first]] * log.counts[right[first]])
    rng = np.random.default_rng(seed)
    # Weighted sampling without replacement: the largest of u^(1/w) (Efraimidis & Spirakis 2006).
    drawn: NDArray[np.float64] = np.log(rng.random(len(keys))) / np.maximum(chance, 1e-12)
    chosen = first[np.argsort(-drawn)[:most]]
    return left[chosen], right[chosen]


def _pairs(rows: list[tuple[str, str]]) -> Pairs:
    return Pairs(tuple(a for a, _ in rows), tuple(b for _, b in rows))


def _mean_model(raw: Scores, settings: RecommenderSettings) -> SequenceModel:
    """The sequence model before its first step: the recency-weighted mean."""
    start = fit_whitening(raw, settings.sequence.dimensions)(raw)
    return new_model(start, settings.sequence, decay=settings.profile.decay, seed=0)
