"""How near is near enough: the gate of what is taught, learned from a version's own questions.

Intents of the version are hidden by turns. Some of them are then taught with as many questions as
were really taught, and their other questions are what customers would ask of them; the questions of
intents that are not hidden are what the version goes on answering; those of intents that are hidden
and not taught are what nobody has taught. So a few seconds of arithmetic on vectors that are there
say how often a taught question would be found, and how often another one would be disturbed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apps.chatbot.bot import Bot
from apps.chatbot.taught import Asked, Gate, KnownGrams, Lesson, Taught, TaughtAnswer
from shared.inference.classifier import Floats
from shared.text import normalise

ROUNDS = 20
MOST_QUESTIONS = 2_000  # of the version, that teach the gate
MOST_OF_A_KIND = 200  # in one round
# Share of the intents that are taught in one round, and that are unknown: with fewer left, what is
# known would be farther from everything than it really is.
MOST_HIDDEN = 0.2
FEWEST_QUESTIONS = 20
FEWEST_INTENTS = 3  # with two questions or more: one taught, one hidden, one left


def known_grams(bot: Bot) -> KnownGrams | None:
    """Of the version's own questions; None where it keeps none."""
    return None if bot.precedents is None else KnownGrams.of(bot.precedents.texts)


def taught(
    bot: Bot,
    lessons: Sequence[Lesson],
    answers: Sequence[TaughtAnswer],
    counted: KnownGrams | None = None,
    *,
    seed: int = 13,
) -> Taught:
    """Encode what was taught and learn the gate; what the version was trained on is left out.
    counted: known_grams, where the caller has them."""
    kept = bot.precedents
    known = set() if kept is None else set(zip(kept.texts, kept.labels, strict=True))
    new = {(normalise(each.text), each.label): None for each in lessons}
    used = tuple(Lesson(*pair) for pair in new if pair not in known and pair[0])
    texts = bot.read([lesson.text for lesson in used])
    dense = bot.classifier.dense
    vectors = (
        dense.views(bot.classifier.embedder.features(texts)) if texts else dense.known[:0]
    )  # (m, d)
    if not texts or kept is None:
        grams = own = mine = None
    else:
        grams, own, mine = (counted or KnownGrams.of(kept.texts)).grown(texts)
    if not texts:
        gate = None
    elif kept is None:
        # Without its questions the dense scorer's own opinion of its rows stands for their labels.
        rows = dense.known[: len(dense.kernel.weight)][:MOST_QUESTIONS]
        codes = dense.kernel.margins(rows @ dense.known.T).argmax(1)
        gate = fit_gate(Asked(rows, None), codes, _counts(used), bot.config.alpha, seed)
    else:
        place = {label: at for at, label in enumerate(bot.classifier.labels)}
        codes = np.array([place.get(label, -1) for label in kept.labels], int)
        asked = Asked(dense.known[: len(codes)], own)
        gate = fit_gate(asked, codes, _counts(used), bot.config.alpha, seed)
    return Taught(used, tuple(answers), tuple(texts), Asked(vectors, mine), grams, own, gate)


def _counts(lessons: Sequence[Lesson]) -> tuple[int, ...]:
    """How many questions each label was taught with."""
    labels = [lesson.label for lesson in lessons]
    return tuple(labels.count(label) for label in sorted(set(labels)))


def fit_gate(
    known: Asked, codes: NDArray[np.int64], sizes: Sequence[int], alpha: float, seed: int
) -> Gate | None:
    """codes: (n,) the intent of each known question. sizes: questions that each label was taught
    with. alpha: share of the version's own questions, and of what nobody has taught, that may be
    taken for what was taught.

    None where the version has too few questions or intents.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(codes))[:MOST_QUESTIONS])
    codes = codes[rows]
    likeness = _likeness(known, rows)
    intents, counts = np.unique(codes, return_counts=True)
    several = intents[counts >= 2]
    if len(codes) < FEWEST_QUESTIONS or len(several) < FEWEST_INTENTS:
        return None
    features: list[list[NDArray[np.float64]]] = [[], [], []]
    for _ in range(ROUNDS):
        for kind, part in enumerate(_round(likeness, codes, several, sizes, rng)):
            features[kind].append(part)
    asked, others, nobodys = (np.concatenate(parts) for parts in features)
    share = min(0.5, len(sizes) / (len(sizes) + len(intents)))
    weights = _logistic(asked, (others, nobodys), share)
    gate = Gate(weights, 0.0, 1.0)
    # Neither what the version answers nor what nobody has taught may be taken for what was taught.
    threshold = max(
        float(np.quantile(gate(kind), 1 - alpha, method="higher")) for kind in (others, nobodys)
    )
    return Gate(weights, threshold, max(1 - alpha, threshold))


@dataclass(frozen=True, eq=False)
class _Likeness:
    """views: (n, n) cosines, of vectors and perhaps of n-grams, a question to itself -1."""

    views: tuple[Floats, ...]

    def features(
        self, rows: NDArray[np.int64], taught: NDArray[np.int64], left: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """(rows, 2 views) the highest to the taught questions, then to those of `left`."""
        found = [view[np.ix_(rows, taught)].max(1) for view in self.views]
        found += [np.where(left, view[rows], -1.0).max(1) for view in self.views]
        return np.stack(found, axis=1).astype(np.float64)


def _likeness(known: Asked, rows: NDArray[np.int64]) -> _Likeness:
    vectors = known.vectors[rows]
    views = [np.asarray(vectors @ vectors.T, dtype=np.float32)]
    if known.grams is not None:
        grams: sparse.csr_matrix = known.grams[rows]
        views.append(np.asarray((grams @ grams.T).toarray() / 2, dtype=np.float32))
    for view in views:
        np.fill_diagonal(view, -1.0)
    return _Likeness(tuple(views))


def _round(
    likeness: _Likeness,
    codes: NDArray[np.int64],
    several: NDArray[np.int64],
    sizes: Sequence[int],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Features of questions asked of what is taught, of the version, and of nobody."""
    hidden = max(1, min(len(sizes), int(MOST_HIDDEN * len(several))))
    chosen = rng.permutation(several)[: 2 * hidden]
    to_teach, unknown = chosen[:hidden], chosen[hidden:]
    examples, asked = [], []
    for intent, size in zip(to_teach, rng.permutation(sizes), strict=False):
        own = rng.permutation(np.flatnonzero(codes == intent))
        cut = min(int(size), len(own) - 1)
        examples.append(own[:cut])
        asked.append(own[cut:])
    given = np.concatenate(examples)
    left = ~np.isin(codes, chosen)
    kinds = (np.concatenate(asked), np.flatnonzero(left), np.flatnonzero(np.isin(codes, unknown)))
    first, second, third = (
        likeness.features(rng.permutation(rows)[:MOST_OF_A_KIND], given, left) for rows in kinds
    )
    return first, second, third


def _logistic(
    asked: NDArray[np.float64], others: Sequence[NDArray[np.float64]], share: float
) -> NDArray[np.float64]:
    """(F + 1,) logistic regression; asked weighs `share`, each kind of the others alike."""
    parts = [asked, *others]
    weight = [share, *((1 - share) / len(others) for _ in others)]
    features = np.concatenate(parts)
    each = np.concatenate(
        [np.full(len(p), len(features) * w / len(p)) for p, w in zip(parts, weight, strict=True)]
    )
    kind = np.arange(len(features)) < len(asked)
    # Deferred: a conversation teaches nothing, and it takes long to import.
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(features)
    found = LogisticRegression(max_iter=1000).fit(
        scale.transform(features), kind, sample_weight=each
    )
    slopes = found.coef_[0] / scale.scale_
    return np.append(slopes, found.intercept_[0] - slopes @ scale.mean_)
