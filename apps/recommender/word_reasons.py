"""Which words of an item's text brought it to a user, and how far.

Three of the five channels read the text: `sequence` and `meaning` through its whitened vector,
`words` through the weights of its words. What is explained is their part in the weighted sum of
the channels, in which a channel counts by its weight and in deviations of its scores among the
user's candidates:

    worth(S) = Σ_channels weight · score(the item, had its text the words S alone) / deviation

Everything else is held as it is: the user, the id offset, who took the item and how many, the other
candidates and with them the deviations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from apps.recommender.listing import Described, describe_users
from apps.recommender.recommender import Recommender
from apps.recommender.repeats import repeat_reason, rows_of
from apps.recommender.retrieval import CHANNELS, Asked
from apps.recommender.sequence_model import reworded_vectors, user_vectors
from shared.errors import DataError
from shared.evaluation.explain import (
    MOST_UNITS,
    Floats,
    Method,
    WordPart,
    gained,
    occlusion,
    shapley,
    text_worth,
    word_parts,
)
from shared.evaluation.text_units import segment
from shared.inference.runtime import Embedder

TEXT_CHANNELS = ("sequence", "words", "meaning")


@dataclass(frozen=True)
class WordReasons:
    """What the words of an item's text did for its score with one user.

    words: in the order of the text; their scorers are TEXT_CHANNELS. Those after the first
    MOST_UNITS were always left in, and have parts of 0. channels: every channel -> its part in the
    score, 0 for the mean of the user's candidates. written: of TEXT_CHANNELS -> what the whole text
    is worth, against the item without any. All are in the unit of the weighted sum of the channels.
    kind: of the ranking that orders the list; trees read these channels and more, so that the
    weighted sum is only one of the things they look at.
    """

    user_id: str
    item_id: str
    text: str
    words: tuple[WordPart, ...]
    channels: Mapping[str, float]
    written: Mapping[str, float]
    kind: Literal["fusion", "trees"]

    @property
    def total(self) -> float:
        """Of all channels, against the mean candidate."""
        return sum(self.channels.values())

    @property
    def by_text(self) -> float:
        """Of the channels that read the text, against the mean candidate."""
        return sum(self.channels[name] for name in TEXT_CHANNELS)

    @property
    def untried(self) -> int:
        """Words of a long text that were never left out."""
        return max(0, len(self.words) - MOST_UNITS)


def word_reasons(
    recommender: Recommender,
    embedder: Embedder,
    user_id: str,
    item_id: str,
    *,
    include_seen: bool = False,
    method: Method = "occlusion",
    seed: int = 13,
) -> WordReasons:
    """embedder: the one that made the model's vectors. include_seen: as in the list that is
    explained. method: "occlusion" encodes one text for each word and gives nothing to a word that
    another one replaces; "shapley" shares between the two, at sixteen times the price.

    Raises: DataError: nothing to explain, because the item is unknown, has no text or is no
    candidate, or because the user has no history.
    """
    bundle = recommender.bundle
    item = recommender.item_row(item_id)
    text = bundle.catalog.texts[item]
    if not text:
        raise DataError(
            f"item {item_id!r} has no text in the catalogue: what reads texts knows nothing of it"
        )
    described = _described(recommender, user_id, include_seen)
    place = np.flatnonzero(described.found.item == item)
    if not len(place):
        _refuse_habit(recommender, user_id, item)
        raise DataError(
            f"item {item_id!r} is not among the {len(described.found.item):,} candidates of user "
            f"{user_id!r}: no channel proposes it, or the user may not be shown it"
        )
    (weights,) = bundle.ranking.channel_weights(bundle.log.counts[[item]] == 0)  # (channels,)
    standing = [described.features.column(f"z_{name}")[place[0]] for name in CHANNELS]
    deviations = described.features.spreads[0].astype(np.float64)
    # A channel that finds all candidates equal moves none of them; as in reasons.blame.
    scale = np.where(deviations > 1e-6, weights / np.maximum(deviations, 1e-6), 0.0)

    def scores(texts: Sequence[str]) -> Mapping[str, Floats]:
        raw = text_scores(recommender, embedder, described.asked, item, texts)
        return {name: scale[CHANNELS.index(name)] * score for name, score in raw.items()}

    segmented = segment(text)
    worth = text_worth(scores, segmented)
    count = min(len(segmented.units), MOST_UNITS)
    parts = occlusion(worth, count) if method == "occlusion" else shapley(worth, count, seed=seed)
    return WordReasons(
        user_id,
        item_id,
        text,
        word_parts(segmented, parts),
        {name: float(w * z) for name, w, z in zip(CHANNELS, weights, standing, strict=True)},
        gained(worth, len(segmented.units)),
        "fusion" if bundle.ranking.trees is None else "trees",
    )


def text_scores(
    recommender: Recommender, embedder: Embedder, asked: Asked, item: int, texts: Sequence[str]
) -> dict[str, Floats]:
    """TEXT_CHANNELS -> (n,) the score of one item, had it each of these n texts.

    asked: one user, whose history stays as it is, even where the item is in it.
    """
    bundle, channels = recommender.bundle, recommender.bundle.channels
    start = bundle.whitening(embedder.encode(texts, normalised=False))  # (n, d)
    # As in training: an item without a text means nothing.
    start[[not text for text in texts]] = 0.0
    moved = reworded_vectors(
        channels.sequence, item, start, with_id=bool(channels.log.counts[item] > 0)
    )
    (person,) = user_vectors(channels.sequence, channels.moved, asked.past)
    (profile,) = np.asarray(asked.profile @ channels.meaning)
    return {
        "sequence": (moved @ person).astype(np.float64),
        "words": _worded_scores(recommender, asked, item, texts),
        "meaning": (start @ profile).astype(np.float64),
    }


def _worded_scores(
    recommender: Recommender, asked: Asked, item: int, texts: Sequence[str]
) -> Floats:
    """(n,) by the `words` table as it would be. A row of it is cut after its nearest items: a text
    less alike than the last of them scores 0, as it would there."""
    bundle, channels = recommender.bundle, recommender.bundle.channels
    present = asked.past.present[0]
    history, shares = asked.past.items[0][present], asked.shares[0][present]
    vectors = recommender.word_weights.transform(
        [*(bundle.catalog.texts[i] for i in history), *texts]
    )
    near = (vectors[: len(history)] @ vectors[len(history) :].T).toarray()  # (history, n)
    most = bundle.settings.ranking.neighbours
    rows = [channels.words[i].data for i in history]
    last = np.array([row.min() if len(row) >= most else 0.0 for row in rows])
    near[(near < last[:, None] - 1e-6) | (history == item)[:, None]] = 0.0
    scores: Floats = shares.astype(np.float64) @ near
    return scores


def _refuse_habit(recommender: Recommender, user_id: str, item: int) -> None:
    """Raises: DataError: the item is listed because the user takes it again."""
    repeats = recommender.bundle.repeats
    if repeats is None:
        return
    _, rows = rows_of(repeats.habits, np.array([recommender.user_rows[user_id]]))
    for row in rows[repeats.habits.item[rows] == item]:
        why = repeat_reason(repeats.habits, int(row))
        raise DataError(
            f"item {recommender.bundle.catalog.ids[item]!r} is offered to user {user_id!r} for "
            f"what they did, whatever its text says: {why}"
        )


def _described(recommender: Recommender, user_id: str, include_seen: bool) -> Described:
    """One user's candidates. Raises: DataError when the user has no history."""
    bundle = recommender.bundle
    user = recommender.user_rows.get(user_id)
    if user is None or not len(bundle.log.items_of(user)):
        raise DataError(
            f"user {user_id!r} has no history: what is listed is popular, whatever its text says"
        )
    refused = recommender.day_rules().refused > 0
    return describe_users(
        bundle.channels,
        recommender.facts,
        np.array([user]),
        include_seen=include_seen,
        refused=refused if refused.any() else None,
    )
