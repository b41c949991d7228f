"""The one step in which the shop's rules turn a final ranking into a list.

    value = (score - mean) / deviation + boost         over the user's candidates
    place by place the best of  (1 - d) · relevance - d · likeness  that is not left out, not
    listed yet and in no group that is full

relevance: value scaled to 0..1 over what may be shown. likeness: the largest cosine of the item's
text with one that is listed, 0 where that is below 0 (maximal marginal relevance, Carbonell &
Goldstein 1998; d = 0 leaves the order of the values). The last places are drawn by lot among what
few have taken, where exploration is asked for and there is any.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from apps.recommender.day_rules import DayRules
from apps.recommender.retrieval import Rows, Scores

# Users whose candidates' vectors are in memory at once: 30 MB at 400 candidates of 256 dimensions.
USERS_AT_ONCE = 64
# Why an item has its place, as bits.
VARIED, DRAWN, OVER_LIMIT = 1, 2, 4
# What became of an item of the ranking's first places that is not listed.
LEFT_OUT, LIMITED, OVERTAKEN = -1, -2, -3


@dataclass(frozen=True, eq=False)
class Ruled:
    """place: (users, k) column of the ranking that is listed there, -1 for none. why: (users, k)
    bits. fate: (users, ≤ k) of the ranking's own first k: its place in the list, or one of
    LEFT_OUT, LIMITED, OVERTAKEN; LEFT_OUT where the ranking is shorter. lots: (users,) how many
    items could be drawn. kept: (users,) see `kept_share`.
    """

    place: Rows
    why: NDArray[np.uint8]
    fate: Rows
    lots: Rows
    kept: NDArray[np.float64]


def apply_rules(
    item: Rows, score: Scores, rules: DayRules, likeness: Scores, k: int, draw: NDArray[np.uint64]
) -> Ruled:
    """item, score: (users, depth) the whole ranking, best first; -1 and -inf where it ends.
    likeness: (items, d) vectors of unit length, or of zeros. draw: (users,) a number for each
    user and day, see `draw_numbers`.
    """
    parts = [
        _ruled(item[part], score[part], rules, likeness, k, draw[part])
        for at in range(0, max(1, len(item)), USERS_AT_ONCE)
        for part in [slice(at, at + USERS_AT_ONCE)]
    ]
    place, why, fate, lots = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Ruled(place, why, fate, lots, kept_share(score, place, k))


def kept_share(score: Scores, place: Rows, k: int) -> NDArray[np.float64]:
    """(users,) what a list is expected to keep of the NDCG of the ranking's first k, 0..1.

    A candidate is the one that is taken with the chance softmax(score), as the fusion was fitted
    (for trees the same is an assumption); at place p that counts 1 / log2(1 + p). 1 for the
    ranking's own order, and where there is nothing to list.
    """
    listed = np.isfinite(score)
    top = np.where(listed.any(1), np.max(score, axis=1, initial=-np.inf), 0.0)[:, None]
    odds = np.exp((score - top).astype(np.float64))  # 0 where the ranking has ended
    own = np.where(place >= 0, np.take_along_axis(odds, np.maximum(place, 0), 1), 0.0)
    discount = 1 / np.log2(np.arange(k) + 2)
    best = odds[:, :k] @ discount[: odds.shape[1]]
    kept: NDArray[np.float64] = np.where(best > 0, own @ discount / np.where(best > 0, best, 1), 1)
    return kept


def draw_numbers(users: Sequence[str], day: date) -> NDArray[np.uint64]:
    """(users,) the same for the same user on the same day, on whatever machine."""
    named = (f"{day.isoformat()}\0{user}".encode("utf-8", "surrogatepass") for user in users)
    drawn = (hashlib.blake2b(name, digest_size=8).digest() for name in named)
    return np.array([int.from_bytes(number, "little") for number in drawn], np.uint64)


def lot(draw: NDArray[np.uint64], item: Rows) -> NDArray[np.uint64]:
    """(users, depth) a number for each pair, the smallest are drawn (splitmix64, Steele 2014)."""
    mixed = draw[:, None] + (item.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)


def rule_notes(ruled: Ruled, item: Rows, rules: DayRules) -> NDArray[np.object_]:
    """(users, k) what the rules have to do with an item being where it is, "" for nothing.

    item: (users, depth) the ranking.
    """
    notes = np.full(ruled.place.shape, "", dtype=object)
    for user, at in np.argwhere(ruled.place >= 0):
        column, why = int(ruled.place[user, at]), int(ruled.why[user, at])
        row = item[user, column]
        said: list[str] = []
        if why & DRAWN:
            said.append(f"still new: drawn by lot from {ruled.lots[user]}")
        elif rules.boost[row]:
            by = rules.boosters[rules.boosted[row]]
            said.append(f"promoted: {by}" if rules.boost[row] > 0 else f"held back: {by}")
        if why & VARIED:
            said.append("moved up for variety")
        if why & OVER_LIMIT:
            said.append("moved up: a group before it is full")
        if not said and column >= len(ruled.place[user]):
            said.append(f"moved up for items left out{_left_out(ruled, item, rules, user)}")
        notes[user, at] = "; ".join(said)
    return notes


def fate_notes(ruled: Ruled, item: Rows, rules: DayRules, user: int) -> list[str]:
    """For a person: what became of each of one user's first items of the ranking."""
    said = []
    for column, fate in enumerate(ruled.fate[user]):
        row = item[user, column]
        if row < 0:
            break
        if fate == LEFT_OUT:
            said.append(f"left out: {rules.refusals[rules.refused[row] - 1]}")
        elif fate == LIMITED:
            said.append("over a limit")
        elif fate == OVERTAKEN:
            held = rules.boost[row] < 0
            said.append(f"held back: {rules.boosters[rules.boosted[row]]}" if held else "overtaken")
        else:
            said.append(f"place {fate + 1}")
    return said


def _left_out(ruled: Ruled, item: Rows, rules: DayRules, user: int) -> str:
    """ ": price, out of stock" of the ranking's first items, "" where none was refused."""
    gone = item[user, : ruled.fate.shape[1]][ruled.fate[user] == LEFT_OUT]
    kinds = [rules.refusals[rules.refused[row] - 1] for row in gone if row >= 0]
    return f": {', '.join(dict.fromkeys(kinds))}" if kinds else ""


def _ruled(
    item: Rows, score: Scores, rules: DayRules, likeness: Scores, k: int, draw: NDArray[np.uint64]
) -> tuple[Rows, NDArray[np.uint8], Rows, Rows]:
    """place, why, fate and lots, see Ruled."""
    users = np.arange(len(item))
    there = item >= 0
    own = np.maximum(item, 0)
    free = there & (rules.refused[own] == 0)
    relevance = _relevance(score, there, free, rules.boost[own])
    vectors = likeness[own] if rules.diversity else None
    groups = rules.groups[own]  # (users, depth, w)
    counts = np.zeros((len(item), len(rules.most)), np.int64)
    full = np.zeros(item.shape, bool)
    near = np.zeros(item.shape, np.float32)
    unexplored = rules.unexplored[own] & (rules.explore > 0)
    lots = lot(draw, own)
    ranked = k - int(rules.explore * k + 0.5)
    could = np.zeros(len(item), np.int64)
    place = np.full((len(item), k), -1, np.int64)
    why = np.zeros((len(item), k), np.uint8)
    for at in range(k):
        open_ = free & ~full
        worth = (1 - rules.diversity) * relevance - rules.diversity * near
        best = np.where(open_, worth, -np.inf)
        chosen = best.argmax(1)
        dearest = np.where(open_, relevance, -np.inf).max(1, initial=-np.inf)
        over = np.where(free & full, worth, -np.inf).max(1, initial=-np.inf)
        bits = np.where(relevance[users, chosen] < dearest, VARIED, 0)
        bits = bits | np.where(over > best[users, chosen], OVER_LIMIT, 0)
        if at >= ranked:
            drawable = open_ & unexplored
            if at == ranked:
                could = drawable.sum(1)
            by_lot = drawable.any(1)
            drawn = np.where(drawable, lots, np.iinfo(np.uint64).max).argmin(1)
            chosen, bits = np.where(by_lot, drawn, chosen), np.where(by_lot, DRAWN, bits)
        found = open_[users, chosen]
        place[found, at], why[found, at] = chosen[found], bits[found]
        free[users[found], chosen[found]] = False
        if groups.shape[2]:
            for column in range(groups.shape[2]):
                np.add.at(counts, (users[found], groups[users, chosen][found, column]), 1)
            full = np.any((counts >= rules.most)[users[:, None, None], groups], axis=2)
        if vectors is not None:
            alike = np.einsum("upd,ud->up", vectors, vectors[users, chosen])
            near = np.where(found[:, None], np.maximum(near, alike), near)
    return place, why, _fates(item, place, rules, full, k), could


def _relevance(
    score: Scores, there: NDArray[np.bool_], free: NDArray[np.bool_], boost: Scores
) -> Scores:
    """(users, depth) scaled to 0..1 over what is free; 0 for all where their values are equal."""
    count = np.maximum(there.sum(1, keepdims=True), 1)
    known = np.where(there, score, 0.0)
    mean = known.sum(1, keepdims=True) / count
    spread = np.where(there, score - mean, 0.0)
    deviation = np.sqrt((spread**2).sum(1, keepdims=True) / count)
    value = spread / np.where(deviation > 1e-9, deviation, 1.0) + boost
    least = np.where(free, value, np.inf).min(1, initial=np.inf, keepdims=True)
    most = np.where(free, value, -np.inf).max(1, initial=-np.inf, keepdims=True)
    wide = most > least
    scaled = np.where(free & wide, value - np.where(wide, least, 0.0), 0.0)
    relevance: Scores = (scaled / np.where(wide, most - least, 1.0)).astype(np.float32)
    return relevance


def _fates(item: Rows, place: Rows, rules: DayRules, full: NDArray[np.bool_], k: int) -> Rows:
    """(users, ≤ k) see Ruled. full: as it was when the list was done."""
    first = item[:, :k]
    fate = np.where(full[:, :k], LIMITED, OVERTAKEN).astype(np.int64)
    fate[(first < 0) | (rules.refused[np.maximum(first, 0)] > 0)] = LEFT_OUT
    user, at = np.nonzero((place >= 0) & (place < first.shape[1]))
    fate[user, place[user, at]] = at
    return fate
