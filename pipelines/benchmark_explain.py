"""How true the explanations are: areas under deletion and insertion beside rivals, on the samples.

The chatbot's sample is learned with the packaged encoder in fp32, so that integrated gradients
differentiate exactly the vectors that the classifier reads.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.explain import (
    contrast_of,
    lexical_terms,
    neural_worth,
    occlusion,
    shapley,
)
from shared.evaluation.faithfulness import Areas, areas, strongest_first
from shared.evaluation.integrated_gradients import dense_head, integrated_gradients
from shared.evaluation.intervals import Difference, Interval, bootstrap, mean_of, paired_bootstrap
from shared.evaluation.text_units import Segmented, segment
from shared.inference.classifier import FusedClassifier
from shared.inference.runtime import load_embedder
from shared.modeling.encoder import Encoder
from shared.pretrained import resolve
from shared.settings import Home
from shared.tables import Column, read_table
from shared.training.examples import from_table
from shared.training.fusion import fit_fused

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples" / "chatbot"
TEXTS = 100
RANDOM_ORDERS = 5
RANDOM = "random order"

Parts = NDArray[np.float64]
Way = Callable[[FusedClassifier, Segmented, int, int], Parts]
"""(classifier, text, column of the label, seed) -> (units,) parts."""


@dataclass(frozen=True)
class Truth:
    """A way to explain, over all texts. deletion: better small; insertion: better large. gain:
    insertion less deletion, less that of random orders. milliseconds: median for one text."""

    way: str
    deletion: Interval
    insertion: Interval
    gain: Difference
    milliseconds: float


def benchmark_explain(
    *, home: Home, seed: int, texts: int = TEXTS, say: Callable[[str], None]
) -> list[Truth]:
    """Train on the chatbot's sample, explain `texts` of its validation rows in every way.

    Raises ModelError when the packaged encoder is not installed.
    """
    base = resolve("minilm", cache=home.cache)
    embedder = load_embedder(base.path, prefix=base.prefix, precision="fp32")
    columns = [Column("text"), Column("label")]
    examples = from_table(read_table(SAMPLES / "examples.csv", columns), "single")
    classifier = fit_fused(examples, embedder=embedder, seed=seed, say=say).classifier
    held = read_table(SAMPLES / "validation.csv", columns).frame["text"].tolist()
    chosen = np.random.default_rng(seed).permutation(len(held))[:texts]
    encoder = Encoder.from_pretrained(base.path).eval()
    return measure_ways(classifier, encoder, [held[row] for row in chosen], seed=seed)


def measure_ways(
    classifier: FusedClassifier, encoder: Encoder, texts: list[str], *, seed: int
) -> list[Truth]:
    """encoder: the float weights behind classifier.embedder. Texts of one unit say nothing about
    an order and are left out."""
    segmented = [found for found in map(segment, texts) if len(found.units) > 1]
    targets = classifier.predict_proba([s.text for s in segmented]).argmax(1)
    rng = np.random.default_rng(seed)
    random: list[Areas] = []
    for one, target in zip(segmented, targets, strict=True):
        orders = [rng.permutation(len(one.units)) for _ in range(RANDOM_ORDERS)]
        found = areas(classifier, one, int(target), orders)
        deletion, insertion = (
            np.mean([getattr(a, name) for a in found]) for name in ("deletion", "insertion")
        )
        random.append(Areas(float(deletion), float(insertion)))
    measured = [_truth(RANDOM, random, random, 0.0)]
    for name, way in _ways(encoder):
        got: list[Areas] = []
        seconds: list[float] = []
        for one, target in zip(segmented, targets, strict=True):
            started = time.perf_counter()
            parts = way(classifier, one, int(target), seed)
            seconds.append(time.perf_counter() - started)
            got += areas(classifier, one, int(target), [strongest_first(parts)])
        measured.append(_truth(name, got, random, 1000 * float(np.median(seconds))))
    return measured


def _ways(encoder: Encoder) -> Iterator[tuple[str, Way]]:
    def exact(classifier: FusedClassifier, one: Segmented, target: int, _: int) -> Parts:
        return lexical_terms(classifier, one, contrast_of(classifier, one.text, target))[0]

    def occluded(classifier: FusedClassifier, one: Segmented, target: int, seed: int) -> Parts:
        worth = neural_worth(classifier, one, contrast_of(classifier, one.text, target))
        return _summed(exact(classifier, one, target, seed), occlusion(worth, len(one.units)))

    def shared(classifier: FusedClassifier, one: Segmented, target: int, seed: int) -> Parts:
        worth = neural_worth(classifier, one, contrast_of(classifier, one.text, target))
        neural = shapley(worth, len(one.units), seed=seed)
        return _summed(exact(classifier, one, target, seed), neural)

    def gradients(classifier: FusedClassifier, one: Segmented, target: int, seed: int) -> Parts:
        head = dense_head(classifier, contrast_of(classifier, one.text, target))
        return exact(classifier, one, target, seed) + integrated_gradients(encoder, head, one)

    yield "lexical terms alone", exact
    yield "with integrated gradients", gradients
    yield "with occlusion", occluded
    yield "with Shapley values", shared


def _summed(exact: Parts, neural: Mapping[str, Parts]) -> Parts:
    total: Parts = np.sum([exact, *neural.values()], axis=0)
    return total


def _truth(way: str, got: list[Areas], random: list[Areas], milliseconds: float) -> Truth:
    deletion, insertion = (
        np.array([getattr(a, name) for a in got]) for name in ("deletion", "insertion")
    )
    chance = np.array([a.insertion - a.deletion for a in random])
    rows = len(got)
    return Truth(
        way,
        bootstrap(mean_of(deletion), rows),
        bootstrap(mean_of(insertion), rows),
        paired_bootstrap(mean_of(insertion - deletion), mean_of(chance), rows),
        milliseconds,
    )


def truth_lines(found: list[Truth]) -> Iterator[str]:
    """The table as aligned lines."""
    yield f"{'way':<28} {'deletion':>22} {'insertion':>22} {'gain over random':>22} {'ms':>8}"
    for row in found:
        cells = (
            f"{x.value:.3f} ({x.low:.3f}-{x.high:.3f})"
            for x in (row.deletion, row.insertion, row.gain)
        )
        yield f"{row.way:<28} " + " ".join(f"{c:>22}" for c in cells) + f" {row.milliseconds:>8.1f}"
