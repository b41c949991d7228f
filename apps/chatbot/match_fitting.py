"""What a firm's questions teach about answers that none of them asks for.

Each training question whose answer has a text stands twice: as it is, and as if its own intent had
no examples. For the second the classifier's probabilities are those it gave the other intents, made
to sum to 1, and its answer is one of the unseen ones. Both come from models that had not learned
from the question.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from apps.chatbot.matching import (
    AnswerMatcher,
    Choice,
    Floats,
    gate_features,
    gate_of,
    joined,
    sureness,
)
from shared.evaluation.calibration import fit_pool
from shared.inference.runtime import Embedder
from shared.training.examples import Examples

FEWEST_QUESTIONS = 20  # with an answer; fewer teach nothing
# An intent's only question is never held out, and what intents with several teach does not hold for
# the others: this share of the intents must have one that was.
COVERED = 0.5
# Answers with examples are what customers are known to ask for: those without are taken to be asked
# for as often, answer by answer, but no more than all those with examples together.
MOST_UNSEEN = 0.5
_NO_OFFSETS = 1e-3  # prior deviation of a label's own offset, in logits: the answers are all alike


def fit_choice(
    matcher: AnswerMatcher,
    train: Examples,
    embedder: Embedder,
    held_out: Floats,
    seed: int,
) -> Choice | None:
    """Learn from n questions. held_out: (n, K) probabilities of models that had not seen them, NaN
    where there are none.

    None where fewer than FEWEST_QUESTIONS have an answer with a text, or no answer is unseen.
    """
    column = {label: at for at, label in enumerate(matcher.intents)}
    codes = np.array([column[label] for label in train.single], int)
    rows = np.flatnonzero(matcher.own[codes] >= 0)
    if len(rows) < FEWEST_QUESTIONS or not len(matcher.unseen):
        return None
    asked = train.take(rows)
    codes, p = codes[rows], held_out[rows]
    answers = matcher.own[codes]
    # Nothing was learned from the questions here, so that all may teach, held out or not.
    vectors = embedder.encode(asked.texts)
    cosines = matcher.cosines(asked.texts, vectors)
    weights = fit_pool(cosines, answers, offset_deviation=_NO_OFFSETS).weights.astype(np.float32)
    logits = weights[0] * cosines[0] + weights[1] * cosines[1]
    share = min(MOST_UNSEEN, len(matcher.unseen) / (len(matcher.unseen) + len(matcher.intents)))
    judged = ~np.isnan(p).any(1)
    if len(np.unique(codes[judged])) >= COVERED * len(matcher.intents):
        gate, scores = _by_sureness(
            matcher, p[judged], logits[judged], codes[judged], answers[judged], share
        )
        kept = vectors[:0]
    else:
        shorter = _shortened(asked.texts, seed)
        cosines = matcher.cosines(shorter, embedder.encode(shorter))
        again = weights[0] * cosines[0] + weights[1] * cosines[1]
        gate = _by_nearness(
            matcher, vectors, embedder.encode(shorter), logits, again, codes, answers, share
        )
        kept, scores = embedder.encode(train.texts), np.zeros(0, dtype=np.float32)
    return Choice(weights, gate.astype(np.float32), scores.astype(np.float32), kept)


def _by_sureness(
    matcher: AnswerMatcher,
    p: Floats,
    logits: Floats,
    codes: NDArray[np.int64],
    answers: NDArray[np.int64],
    share: float,
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The gate (4,), and the sorted nonconformity of its questions of both kinds."""
    each = np.arange(len(p))
    unseen, with_own = _open(matcher, answers)
    hidden = _without(p, codes)
    asked = gate_features(sureness(p), p.argmax(1), logits, unseen, matcher.own)
    unasked = gate_features(sureness(hidden), hidden.argmax(1), logits, with_own, matcher.own)
    gate = _gate(asked, unasked, share)
    seen = joined(p, logits[:, matcher.unseen], gate_of(asked, gate))[each, codes]
    masked = np.where(with_own, logits, -np.inf)
    found = joined(hidden, masked, gate_of(unasked, gate))[each, len(matcher.intents) + answers]
    return gate, np.sort(np.concatenate(_in_share(1 - seen, 1 - found, share)))


def _by_nearness(
    matcher: AnswerMatcher,
    vectors: Floats,
    shorter: Floats,
    logits: Floats,
    shorter_logits: Floats,
    codes: NDArray[np.int64],
    answers: NDArray[np.int64],
    share: float,
) -> NDArray[np.float64]:
    """The gate (4,) where an intent's single question cannot be held out: asked for is what says
    it in fewer words, and not asked for is the question itself beside those of other intents."""
    cosine = vectors @ vectors.T
    cosine[codes[:, None] == codes] = -1.0
    unseen, with_own = _open(matcher, answers)
    asked = gate_features((shorter @ vectors.T).max(1), codes, shorter_logits, unseen, matcher.own)
    others = codes[cosine.argmax(1)]
    unasked = gate_features(cosine.max(1), others, logits, with_own, matcher.own)
    gate = _gate(asked, unasked, share)
    if gate[0] <= 0:
        return gate
    # Questions that are all alike: nearness tells nothing, and must not speak for the unseen.
    asked[:, 0] = unasked[:, 0] = 0.0
    return _gate(asked, unasked, share)


def _open(
    matcher: AnswerMatcher, answers: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n, A) which answers are unseen, and which are if each question's own is one of them."""
    unseen = np.zeros((len(answers), len(matcher.labels)), bool)
    unseen[:, matcher.unseen] = True
    with_own = unseen.copy()
    with_own[np.arange(len(answers)), answers] = True
    return unseen, with_own


def _shortened(texts: Sequence[str], seed: int) -> list[str]:
    """Each without a third of its words, by lot; of Chinese and the like, of its characters."""
    rng = np.random.default_rng(seed)
    found = []
    for text in texts:
        words = text.split()
        parts, joint = (words, " ") if len(words) > 1 else (list(text), "")
        kept = np.sort(rng.permutation(len(parts))[: max(1, 2 * len(parts) // 3)])
        found.append(joint.join(parts[at] for at in kept))
    return found


def _without(p: Floats, codes: NDArray[np.int64]) -> Floats:
    """(n, K) as if the true intent were not among them."""
    rest = p.copy()
    rest[np.arange(len(p)), codes] = 0.0
    return np.asarray(rest / np.maximum(rest.sum(1, keepdims=True), 1e-12))


def _gate(
    asked: NDArray[np.float64], unasked: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """(4,) logistic regression of the two kinds, the second as frequent as `share` says."""
    features = np.concatenate([asked, unasked])
    kind = np.repeat([0, 1], [len(asked), len(unasked)])
    scale = StandardScaler().fit(features)
    found = LogisticRegression().fit(
        scale.transform(features), kind, sample_weight=np.where(kind, 2 * share, 2 - 2 * share)
    )
    slopes = found.coef_[0] / scale.scale_
    return np.append(slopes, found.intercept_[0] - slopes @ scale.mean_)


def _in_share(
    first: Floats, second: Floats, share: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All of the first, and of the second so many, evenly over their order, that they are `share`
    of both; share <= MOST_UNSEEN, and both are equally many."""
    wanted = max(1, round(len(first) * share / (1 - share)))
    places = np.linspace(0, len(second) - 1, wanted).round().astype(int)
    return np.sort(first), np.sort(second)[places]
