"""What the recommender is measured against: small, right, and run on the same users.

Every rival sees the same known events, ranks the whole catalogue and may not list what the user
has had. All but popularity take the profile (recency-weighted shares of the history) or, where
the method says so, the plain set of items.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from apps.recommender.interactions import Interactions
from apps.recommender.neighbours import co_occurrence
from apps.recommender.popularity import popularity
from apps.recommender.profiles import histories, profile_matrix, recency_weights
from apps.recommender.retrieval import Rows, Scores
from apps.recommender.sasrec import train_sasrec
from apps.recommender.settings import RecommenderSettings
from apps.recommender.vectors import unit_rows

# EASE inverts a dense items x items matrix: 12,000 items take .6 GB and half a minute.
EASE_ITEMS = 13_000
EASE_L2 = 250.0
ALS_FACTORS = 128
USERS_AT_ONCE = 1000

Score = Callable[[slice], NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class Field:
    """The same for all rivals. users: (u,) indices into the log, whom to rank for.

    profile: (u, items) recency shares. raw: (items, width) vectors of the encoder as it came.
    """

    log: Interactions
    users: Rows
    profile: sp.csr_matrix
    raw: Scores
    texts: tuple[str, ...]
    settings: RecommenderSettings
    seed: int


def rival_field(
    log: Interactions,
    users: Rows,
    *,
    raw: Scores,
    texts: tuple[str, ...],
    settings: RecommenderSettings,
    seed: int,
) -> Field:
    past = histories(log, users, settings.events.history)
    shares = recency_weights(past, settings.profile, has_clock=log.has_clock)
    return Field(log, users, profile_matrix(past, shares, log.n_items), raw, texts, settings, seed)


def rival_lists(given: Field, names: tuple[str, ...], k: int = 10) -> dict[str, Rows]:
    """Name -> (u, k) items, best first; rivals that cannot run on these data are left out."""
    lists = {}
    for name in names:
        score = RIVALS[name](given)
        if score is not None:
            lists[name] = rank_all(score, given, k)
    return lists


def rank_all(score: Score, given: Field, k: int) -> Rows:
    """(u, k) best items of the whole catalogue, what the user had left out.

    Equal scores come in an order drawn by the seed: left to the catalogue's order, a rival that
    knows nothing of most items would gain by how the file is sorted.
    """
    drawn = np.random.default_rng(given.seed).permutation(given.log.n_items)
    k = min(k, given.log.n_items)
    found = np.empty((len(given.users), k), np.int64)
    for at in range(0, len(given.users), USERS_AT_ONCE):
        part = slice(at, min(at + USERS_AT_ONCE, len(given.users)))
        scores = np.array(score(part), np.float32)
        users = given.users[part]
        out = (given.log.matrix[users] + given.log.withheld[users]).tocoo()
        scores[out.row, out.col] = -np.inf
        scores = scores[:, drawn]
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, 1)
        listed = drawn[best]
        found[part] = np.where(np.isneginf(np.take_along_axis(scores, best, 1)), -1, listed)
    return found


def _popular(days: float | None) -> Callable[[Field], Score | None]:
    def build(given: Field) -> Score | None:
        if days is not None and not given.log.has_clock:
            return None
        counts = popularity(given.log, days)
        # Within a short window many items are even: the longer run decides.
        counts = counts + popularity(given.log) / (len(given.log) + 1)
        return lambda part: np.broadcast_to(counts, (part.stop - part.start, len(counts)))

    return build


def _item_knn(given: Field) -> Score:
    """Cosine of the users in common, the hundred nearest of each item of the history."""
    table = co_occurrence(given.log, neighbours=100, shrink=10.0)
    return lambda part: (given.profile[part] @ table).toarray()


def _ease(given: Field) -> Score | None:
    """Steck 2019: B = -P / diag(P), P = (XᵀX + λI)⁻¹, diagonal 0; score = x B."""
    count = given.log.n_items
    if count > EASE_ITEMS:
        return None
    users = _binary(given.log)
    gram = np.asarray((users.T @ users).todense(), np.float32)
    gram[np.diag_indices(count)] += EASE_L2
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices(count)] = 0.0
    return lambda part: users[given.users[part]] @ weights


def _implicit_als(given: Field) -> Score | None:
    """Hu, Koren, Volinsky 2008, by the library `implicit` where it is installed."""
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError:
        return None
    # The library threads by itself and warns of, and suffers from, a second pool below it.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=ALS_FACTORS, regularization=0.05, alpha=10.0, iterations=15,
            random_state=given.seed, num_threads=1,
        )  # fmt: skip
        model.fit(_binary(given.log), show_progress=False)
    items = np.asarray(model.item_factors)
    users = np.asarray(model.user_factors)[given.users]
    return lambda part: users[part] @ items.T


def _sasrec(given: Field) -> Score:
    """See sasrec.py."""
    score = train_sasrec(given.log, given.seed)
    return lambda part: score(given.users[part])


def _tfidf(given: Field) -> Score | None:
    """Mean of the TF-IDF vectors of the history's texts, words and pairs of words."""
    vectoriser = TfidfVectorizer(
        ngram_range=(1, 2), min_df=1, sublinear_tf=True, stop_words="english", dtype=np.float32
    )
    try:
        vectors = vectoriser.fit_transform(given.texts).tocsr()
    except ValueError:  # no text holds a word
        return None
    return lambda part: (given.profile[part] @ vectors @ vectors.T).toarray()


def _encoder_mean(given: Field) -> Score:
    """Mean of the encoder's vectors of the history's texts, as the encoder gives them."""
    vectors = unit_rows(given.raw)
    return lambda part: unit_rows(np.asarray(given.profile[part] @ vectors)) @ vectors.T


def _binary(log: Interactions) -> sp.csr_matrix:
    ones = np.ones(len(log), np.float32)
    return sp.csr_matrix((ones, (log.user, log.item)), shape=(log.n_users, log.n_items))


RIVALS: dict[str, Callable[[Field], Score | None]] = {
    "popular, all time": _popular(None),
    "popular, last 30 days": _popular(30),
    "popular, last 7 days": _popular(7),
    "item-kNN": _item_knn,
    "TF-IDF mean": _tfidf,
    "encoder mean": _encoder_mean,
    "EASE": _ease,
    "iALS": _implicit_als,
    "SASRec": _sasrec,
}
# Seconds on any catalogue: what every training is compared with.
QUICK = (
    "popular, all time",
    "popular, last 30 days",
    "popular, last 7 days",
    "item-kNN",
    "TF-IDF mean",
    "encoder mean",
)
