"""Why an item is in a list: which item of the history brought it, by which channel, and whether
that is so.

Each channel but popularity scores an item by a weighted mean over the history, Σ share_l · sim_l,
so what the score loses without item l is known exactly and without ranking again: the other
shares grow by 1 / (1 - share_l), and

    loss_l = share_l / (1 - share_l) · (sim_l - Σ share · sim).

For the sequence channel that is its mean term; what the residual adds has no single owner.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.recommender.retrieval import CHANNELS, Asked, Channels, Rows, Scores
from apps.recommender.sequence_model import item_shares

# What each channel's part in a reason is called.
BECAUSE = {
    "sequence": "fits what you did last",
    "together": "often chosen together",
    "words": "alike in words",
    "meaning": "alike in meaning",
}
LONGEST_TITLE = 60
WORD = re.compile(r"[^\W_]{3,}")
DULL_WORDS = frozenset("and for from inch pack set the with your".split())


@dataclass(frozen=True, eq=False)
class Blame:
    """place: (users, k) column of the history that an item owes most to, -1 for none. channel:
    (users, k) index into CHANNELS of the channel in which it does. loss: (users, k) what the
    fused score's history terms lose without it.
    """

    place: Rows
    channel: Rows
    loss: Scores


def blame(
    top: Rows,
    asked: Asked,
    channels: Channels,
    *,
    weights: NDArray[np.float64],
    spreads: Scores,
) -> Blame:
    """For each listed item the history item whose loss would cost it most.

    top: (users, k) items. weights: (users, k, channels) of the fusion for each. spreads:
    (users, channels), see features.Features.
    """
    total = np.zeros((*asked.past.items.shape, top.shape[1]))  # (users, length, k)
    parts = []
    for place, (name, shares, near) in enumerate(_terms(top, asked, channels)):
        spread = spreads[:, place]
        scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0)[:, None, None]
        scale = scale * weights[:, None, :, place]  # (users, 1, k)
        parts.append((CHANNELS.index(name), scale * removal_losses(shares, near)))
        total += parts[-1][1]
    total[~asked.past.present] = -np.inf
    place = total.argmax(1)  # (users, k)
    loss = np.take_along_axis(total, place[:, None], 1)[:, 0]
    own = np.stack([np.take_along_axis(p, place[:, None], 1)[:, 0] for _, p in parts])
    channel = np.array([index for index, _ in parts])[own.argmax(0)]
    return Blame(np.where(loss > 1e-9, place, -1), channel, np.maximum(loss, 0).astype(np.float32))


def removal_losses(shares: Scores, near: Scores) -> NDArray[np.float64]:
    """(users, length, k): what Σ share · sim loses when one item of the history goes.

    shares: (users, length), rows sum to 1. near: (users, length, k) similarities. With one item
    alone all of its term is lost.
    """
    share = shares.astype(np.float64)[:, :, None]
    mean = (share * near).sum(1, keepdims=True)
    alone = share > 1 - 1e-6
    rest = np.where(alone, 1.0, 1 - share)
    lost: NDArray[np.float64] = np.where(alone, near, share / rest * (near - mean))
    return lost


def _terms(top: Rows, asked: Asked, channels: Channels) -> list[tuple[str, Scores, Scores]]:
    """(channel, shares (users, length), similarities (users, length, k)), in order of CHANNELS."""
    past = asked.past
    users, length, count = len(past), past.items.shape[1], top.shape[1]
    own = np.repeat(past.items.ravel(), count)
    other = np.repeat(top[:, None, :], length, 1).ravel()

    def looked_up(table: object) -> Scores:
        values = np.asarray(table[own, other], np.float32)  # type: ignore[index]
        return values.reshape(users, length, count)

    def cosine(vectors: Scores) -> Scores:
        product: Scores = vectors[past.items] @ vectors[top].transpose(0, 2, 1)
        return product

    return [
        ("sequence", item_shares(channels.sequence, past), cosine(channels.moved)),
        ("together", asked.shares, looked_up(channels.together)),
        ("words", asked.shares, looked_up(channels.words)),
        ("meaning", asked.shares, cosine(channels.meaning)),
    ]


def reason(title: str | None, channel: str, shared: Sequence[str], popular: str) -> str:
    """One line for a person. title: of the history item, None where none is to blame."""
    if title is None:
        return popular
    why = BECAUSE[channel]
    if channel in ("words", "meaning") and shared:
        why = f"both: {', '.join(shared)}"
    return f'because of "{shortened(title)}": {why}'


def shortened(title: str) -> str:
    """At most LONGEST_TITLE characters, cut at a blank where there is one."""
    if len(title) <= LONGEST_TITLE:
        return title
    head = title[: LONGEST_TITLE - 1]
    return f"{head.rsplit(' ', 1)[0] if ' ' in head[20:] else head}…"


def word_counts(texts: Sequence[str]) -> Counter[str]:
    """In how many of the texts each word stands, in lower case."""
    return Counter(word for text in texts for word in set(WORD.findall(text.casefold())))


def shared_words(
    left: str, right: str, counts: Mapping[str, int], most: int = 3
) -> tuple[str, ...]:
    """The rarest words that both texts have, in lower case, each once: they weigh most in the
    cosine of the words, and a word that every item has is no reason."""
    there = set(WORD.findall(right.casefold()))
    found = (word for word in WORD.findall(left.casefold()) if word in there)
    telling = [word for word in dict.fromkeys(found) if word not in DULL_WORDS]
    return tuple(sorted(telling, key=lambda word: counts.get(word, 0))[:most])
