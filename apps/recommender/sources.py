"""Each channel of the recommender by itself, as lists: what the whole must be better than."""

import numpy as np

from apps.recommender.listing import ask
from apps.recommender.quality import DEPTH
from apps.recommender.retrieval import Asked, Channels, Rows, Scorer

USERS_AT_ONCE = 512


def source_lists(channels: Channels, users: Rows, k: int = DEPTH) -> dict[str, Rows]:
    """Channel -> (u, k) its best items for users of the log, what they have had left out; -1
    where it knows no more."""
    blocks: dict[str, list[Rows]] = {}
    for at in range(0, len(users), USERS_AT_ONCE):
        asked = ask(channels, users[at : at + USERS_AT_ONCE])
        for name, scorer in channels.scorers(asked).items():
            blocks.setdefault(name, []).append(_listed(scorer, asked, channels.log.n_items, k))
    return {name: np.concatenate(parts) for name, parts in blocks.items()}


def _listed(scorer: Scorer, asked: Asked, n_items: int, k: int) -> Rows:
    left_out = asked.seen + asked.hidden
    most_left_out = int(np.diff(left_out.indptr).max(initial=0))
    top, _ = scorer.top(min(n_items, k + most_left_out))
    user = np.repeat(np.arange(len(asked)), top.shape[1])
    out = np.asarray(left_out[user, np.maximum(top, 0).ravel()]).reshape(top.shape) > 0
    fine = (top >= 0) & ~out
    place = np.cumsum(fine, axis=1) - 1
    row, column = np.nonzero(fine & (place < k))
    lists = np.full((len(asked), k), -1, np.int64)
    lists[row, place[row, column]] = top[row, column]
    return lists
