"""Why a fused classifier gives a label: what each word did for it, in every scorer.

What is explained is the label's log-odds, ln p / (1 - p). Its rivals are held at the weight they
have for this text, so that it is a linear function of the scorers' margins:

    log-odds ≈ Σ_labels u · (Σ_scorers weight · margin) + constant,  u = slope · (1 at the label,
    -p / (1 - p_label) at each rival); "multi" labels stand alone and have no rivals.

The lexical scorer is linear in its n-grams: their terms are exact, and sum to its part. The other
scorers read vectors of the whole text. A word's part in these is its Shapley value in a game whose
players are the words and whose worth is the scorer's part for the text without the others, or, at a
hundredth of the price, what the scorer's part loses without the word (occlusion).
Source: Shapley 1953; Štrumbelj and Kononenko 2014, algorithm 1, with antithetic permutations
(Mitchell et al. 2022).
"""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.evaluation.text_units import Occurrence, Segmented, Unit, segment
from shared.inference.classifier import LEXICAL, FusedClassifier, squashed
from shared.inference.lexical import weigh

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]
Worth = Callable[[Masks], Mapping[str, Floats]]
"""(n, players) which of the first units are kept, later ones always are -> scorer -> (n,) its part
in the log-odds, or in whatever else is explained."""
Method = Literal["occlusion", "shapley"]
MOST_UNITS = 64  # more than a short text has; what comes after them gets no part
PERMUTATIONS = 8
GRAMS_LISTED = 10
SIGNS = string.punctuation + "。，；：！？、“”‘’（）…"
WORDS: Literal["words"] = "words"
CHARACTERS: Literal["characters"] = "characters"


@dataclass(frozen=True)
class WordPart:
    """What one unit did: scorer -> its part in the log-odds, or in whatever else is explained,
    above 0 for the label."""

    unit: Unit
    scorers: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.scorers.values())


@dataclass(frozen=True)
class GramPart:
    """An n-gram's exact term in the log-odds, all its occurrences together."""

    gram: str
    kind: Literal["words", "characters"]
    part: float


@dataclass(frozen=True)
class Explanation:
    """Why `text` has `label` with this calibrated probability, 0..1.

    words: in the order of the text. grams: the heaviest n-grams, exact. scorers: each scorer's
    part in the log-odds against an empty text.
    """

    text: str
    label: str
    probability: float
    words: tuple[WordPart, ...]
    grams: tuple[GramPart, ...]
    scorers: Mapping[str, float]

    def strongest(self, most: int = 3) -> tuple[str, ...]:
        """The words that speak for the label, the strongest first, without signs around them;
        none without a letter, and none with less than a quarter of the strongest one's part."""
        spoken = [word for word in self.words if any(c.isalpha() for c in word.unit.text)]
        ranked = sorted(spoken, key=lambda word: -word.total)[:most]
        least = max(ranked[0].total, 0.0) / 4 if ranked else 0.0
        return tuple(
            word.unit.text.strip(SIGNS) for word in ranked if word.total > 0 and word.total >= least
        )


def explain(
    classifier: FusedClassifier,
    text: str,
    *,
    label: str | None = None,
    method: Method = "shapley",
    seed: int = 13,
) -> Explanation:
    """label: by default the most probable one. seed: of the permutations.

    Encodes about 2 * PERMUTATIONS texts for each unit ("shapley"), or one ("occlusion").

    Raises DataError when the classifier does not know the label.
    """
    if label is not None and label not in classifier.labels:
        known = ", ".join(classifier.labels)
        raise DataError(f"label {label!r} is not known to this model: expected one of {known}")
    p = classifier.predict_proba([text])[0]
    target = int(p.argmax()) if label is None else classifier.labels.index(label)
    contrast = contrast_of(classifier, text, target)
    segmented = segment(text)
    exact, grams = lexical_terms(classifier, segmented, contrast)
    worth = neural_worth(classifier, segmented, contrast)
    count = min(len(segmented.units), MOST_UNITS)
    neural = occlusion(worth, count) if method == "occlusion" else shapley(worth, count, seed=seed)
    return Explanation(
        text,
        classifier.labels[target],
        float(p[target]),
        word_parts(segmented, {LEXICAL: exact} | neural),
        grams,
        {LEXICAL: float(exact.sum())} | gained(worth, len(segmented.units)),
    )


def word_parts(segmented: Segmented, parts: Mapping[str, Floats]) -> tuple[WordPart, ...]:
    """Every unit with its parts. parts: scorer -> (≤ units,) those of the first units."""
    return tuple(
        WordPart(
            unit, {name: float(part[i]) if i < len(part) else 0.0 for name, part in parts.items()}
        )
        for i, unit in enumerate(segmented.units)
    )


def contrast_of(classifier: FusedClassifier, text: str, target: int) -> Floats:
    """(C,) u: what one more unit of each label's weighted margin adds to the target's log-odds."""
    fusion = classifier.fusion
    slope = np.broadcast_to(fusion.whole.slope, len(classifier.labels)).astype(np.float64)
    direction = np.zeros(len(classifier.labels))
    if classifier.kind == "single":
        margins, _ = classifier.margins([text])
        p = squashed(fusion.logits(margins), "single")[0].astype(np.float64)
        rivals = np.delete(p, target).sum()
        direction -= p / rivals if rivals > 0 else 1 / max(len(p) - 1, 1)
    direction[target] = 1.0
    return slope * direction


def lexical_terms(
    classifier: FusedClassifier, segmented: Segmented, contrast: Floats
) -> tuple[Floats, tuple[GramPart, ...]]:
    """(units,) the lexical scorer's part of each unit, and its heaviest n-grams.

    The terms sum to the weighted margin less that of a text without any known n-gram.
    """
    lexical = classifier.lexical
    counts = lexical.vocabulary.count([segmented.text])
    features = weigh(counts, lexical.idf, len(lexical.vocabulary.words))
    weight = classifier.fusion.weights[LEXICAL] * contrast
    terms = features.data * (lexical.weight[features.indices] @ weight)
    term_of = dict(zip(features.indices.tolist(), terms.tolist(), strict=True))
    units = np.zeros(len(segmented.units))
    listed: list[GramPart] = []
    vocabulary = lexical.vocabulary
    for kind, occurrences, columns in (
        (WORDS, segmented.words, vocabulary.words),
        (CHARACTERS, segmented.chars, vocabulary.chars),
    ):
        places: dict[str, list[Occurrence]] = {}
        for occurrence in occurrences:
            if columns.get(occurrence.gram) in term_of:
                places.setdefault(occurrence.gram, []).append(occurrence)
        for gram, found in places.items():
            term = term_of[columns[gram]]
            listed.append(GramPart(gram, kind, term))
            for occurrence in found:
                for unit, share in occurrence.shares:
                    units[unit] += term * share / len(found)
    listed.sort(key=lambda part: -abs(part.part))
    return units, tuple(listed[:GRAMS_LISTED])


def neural_worth(classifier: FusedClassifier, segmented: Segmented, contrast: Floats) -> Worth:
    """The game of every scorer but the lexical one."""

    def scores(texts: Sequence[str]) -> Mapping[str, Floats]:
        margins, _ = classifier.margins(texts)
        weights = classifier.fusion.weights
        return {
            name: weights[name] * (z.astype(np.float64) @ contrast)
            for name, z in margins.items()
            if name != LEXICAL
        }

    return text_worth(scores, segmented)


def text_worth(
    scores: Callable[[Sequence[str]], Mapping[str, Floats]], segmented: Segmented
) -> Worth:
    """The game whose worth is what `scores` says of the text without some of its units.

    scores: n texts -> scorer -> (n,). Each text is scored once in a call.
    """
    later = len(segmented.units)

    def worth(masks: Masks) -> Mapping[str, Floats]:
        distinct, inverse = np.unique(masks, axis=0, return_inverse=True)
        distinct = np.pad(distinct, ((0, 0), (0, later - masks.shape[1])), constant_values=True)
        found = scores([segmented.keeping(mask) for mask in distinct])
        return {name: part[inverse.reshape(-1)] for name, part in found.items()}

    return worth


def gained(worth: Worth, count: int) -> dict[str, float]:
    """scorer -> the worth of all `count` units less that of none."""
    both = np.stack([np.zeros(count, bool), np.ones(count, bool)])
    return {name: float(part[1] - part[0]) for name, part in worth(both).items()}


def occlusion(worth: Worth, count: int) -> dict[str, Floats]:
    """scorer -> (count,) what its part loses when one unit alone is left out."""
    if count == 0:
        return {}
    masks = np.vstack([np.ones((1, count), bool), ~np.eye(count, dtype=bool)])
    return {name: part[0] - part[1:] for name, part in worth(masks).items()}


def shapley(
    worth: Worth, count: int, *, permutations: int = PERMUTATIONS, seed: int = 13
) -> dict[str, Floats]:
    """scorer -> (count,) mean gain of adding a unit to those before it in a random order, each
    order also backwards. The values sum to the worth of all less that of none.
    """
    if count == 0:
        return {}
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.permutation(count) for _ in range(permutations)])
    orders = np.vstack([drawn, drawn[:, ::-1]])
    # ranks[o, i]: when unit i joins in order o; masks[o, s]: the units that joined before step s.
    ranks = np.argsort(orders, axis=1)
    masks = ranks[:, None, :] < np.arange(count + 1)[None, :, None]
    found: dict[str, Floats] = {}
    for name, part in worth(masks.reshape(-1, count)).items():
        gains = np.diff(part.reshape(len(orders), count + 1), axis=1)  # (orders, steps)
        found[name] = np.take_along_axis(gains, ranks, axis=1).mean(0)
    return found
