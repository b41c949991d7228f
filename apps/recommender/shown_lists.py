"""Lists as they are shown: the final ranking, or what is popular, under the shop's rules, with the
reason of each item."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apps.recommender.bundle import Bundle
from apps.recommender.day_rules import DayRules
from apps.recommender.features import ItemFacts
from apps.recommender.listing import Lists, list_users
from apps.recommender.reasons import blame, reason, shared_words
from apps.recommender.repeats import repeat_reason
from apps.recommender.retrieval import CHANNELS, Rows, Scores
from apps.recommender.ruling import LEFT_OUT, Ruled, apply_rules, draw_numbers, rule_notes

POPULAR = np.uint8(1 << CHANNELS.index("popular"))
# How many popular items the rules may choose from for a user without a history, and in lists.
POPULAR_REACH, POPULAR_LISTS = 100, 10
# Of an item that nobody has taken yet, where the ranking lifts these.
LIFTED = "new, moved up"


class Served(Protocol):
    """What a loaded recommender has for this."""

    @property
    def bundle(self) -> Bundle: ...
    @property
    def facts(self) -> ItemFacts: ...
    @property
    def word_counts(self) -> Counter[str]: ...
    @property
    def user_rows(self) -> dict[str, int]: ...
    @property
    def threads(self) -> int | None: ...


@dataclass(frozen=True, eq=False)
class ShownLists:
    """item, score, sources, reason: (users, k), -1 where a list is shorter. ranked: (users, depth)
    the items before the rules, best first. ruled: what the rules did to them."""

    users: tuple[str, ...]
    item: Rows
    score: Scores
    sources: NDArray[np.uint8]
    reason: NDArray[np.object_]
    ranked: Rows
    ruled: Ruled


def shown_lists(
    served: Served,
    users: Sequence[str],
    k: int,
    *,
    include_seen: bool,
    rules: DayRules,
    again: bool = True,
) -> ShownLists:
    """users: in any order, also the same one twice, also ids the log does not know. again: with
    what they are likely to take again, where the model has learned that; include_seen lets in all
    that they have had, and then nothing is put there for that alone."""
    names = tuple(dict.fromkeys(users))
    log = served.bundle.log
    rows = np.array([served.user_rows.get(name, -1) for name in names], np.int64)
    warm = rows >= 0
    warm[warm] = np.diff(log.starts)[rows[warm]] > 0
    again = again and not include_seen
    lists = _ranked(served, rows[warm], k, include_seen, rules, again) if warm.any() else None
    popular = _popular(served.bundle, k, rules)
    wide = max(len(popular), 1 if lists is None else lists.item.shape[1], 1)
    item = np.full((len(names), wide), -1, np.int64)
    score = np.full((len(names), wide), -np.inf, np.float32)
    item[~warm, : len(popular)] = popular
    # There is no score to go by: taken as falling off with the place, as popularity does.
    score[~warm, : len(popular)] = -np.log1p(np.arange(len(popular)))
    if lists is not None:
        item[warm, : lists.item.shape[1]] = lists.item
        score[warm, : lists.item.shape[1]] = lists.score
    if rules.change_lists:
        likeness = served.bundle.channels.meaning
        ruled = apply_rules(item, score, rules, likeness, k, draw_numbers(names, rules.day))
    else:
        ruled = unruled(item, k)
    shown = _shown(served, names, warm, item, lists, ruled)
    if rules.change_lists:
        notes = rule_notes(ruled, item, rules)
        shown.reason[:] = np.where(notes == "", shown.reason, shown.reason + "; " + notes)
    if len(names) == len(users):
        return shown
    return _repeated(shown, names, users)


def unruled(item: Rows, k: int) -> Ruled:
    """What no rule changed: the first k as they are."""
    wide = min(k, item.shape[1])
    place = np.full((len(item), k), -1, np.int64)
    place[:, :wide] = np.where(item[:, :wide] >= 0, np.arange(wide), -1)
    none = np.zeros(len(item), np.int64)
    fate = np.where(item[:, :wide] >= 0, np.arange(wide), LEFT_OUT)
    return Ruled(place, np.zeros(place.shape, np.uint8), fate, none, np.ones(len(item)))


def popular_reason(bundle: Bundle) -> str:
    """Why an item is shown for which nothing of the user speaks."""
    windows = bundle.settings.ranking.windows_days
    if bundle.log.has_clock and windows:
        return f"popular in the last {max(windows)} days"
    return "popular"


def _ranked(
    served: Served, rows: Rows, k: int, include_seen: bool, rules: DayRules, again: bool
) -> Lists:
    bundle = served.bundle
    refused = rules.refused > 0
    return list_users(
        bundle.channels,
        served.facts,
        bundle.ranking,
        rows,
        None if rules.change_lists else k,
        include_seen=include_seen,
        refused=refused if refused.any() else None,
        threads=served.threads,
        repeats=bundle.repeats if again else None,
    )


def _popular(bundle: Bundle, k: int, rules: DayRules) -> Rows:
    """What the list of a user without a history is made of, most wanted first."""
    order = bundle.channels.order
    if not rules.change_lists:
        return order[:k]
    reach = max(POPULAR_REACH, POPULAR_LISTS * k)
    kept = np.arange(len(order)) < reach
    kept[np.flatnonzero(rules.refused[order] == 0)[:reach]] = True
    return order[kept]


def _shown(
    served: Served,
    names: tuple[str, ...],
    warm: NDArray[np.bool_],
    ranked: Rows,
    lists: Lists | None,
    ruled: Ruled,
) -> ShownLists:
    there = ruled.place >= 0
    item = np.where(there, np.take_along_axis(ranked, np.maximum(ruled.place, 0), 1), -1)
    score = served.bundle.log.log_counts[np.maximum(item, 0)]
    sources = np.where(there, POPULAR, 0).astype(np.uint8)
    reasons = np.full(item.shape, popular_reason(served.bundle), dtype=object)
    if lists is not None:
        listed = lists.at(np.minimum(ruled.place[warm], lists.item.shape[1] - 1))
        score[warm], sources[warm] = listed.score, listed.sources
        reasons[warm] = _reasons(served, listed)
    return ShownLists(names, item, score, sources, reasons, ranked, ruled)


def _reasons(served: Served, lists: Lists) -> NDArray[np.object_]:
    """(users, k) one line for each listed item."""
    channels, catalog = served.bundle.channels, served.bundle.catalog
    popular = popular_reason(served.bundle)
    top = np.maximum(lists.item, 0)
    new = served.bundle.log.counts[top] == 0
    found = blame(
        top,
        lists.asked,
        channels,
        weights=served.bundle.ranking.channel_weights(new),
        spreads=lists.features.spreads,
    )
    texts = np.full(lists.item.shape, "", dtype=object)
    for user, place in np.argwhere(lists.item >= 0):
        if lists.habit[user, place] >= 0:
            texts[user, place] = _reason_again(served, lists, user, place)
            continue
        column = found.place[user, place]
        origin = int(lists.asked.past.items[user, column]) if column >= 0 else None
        shared: tuple[str, ...] = ()
        name = CHANNELS[found.channel[user, place]]
        if origin is not None and name in ("words", "meaning"):
            listed = catalog.texts[lists.item[user, place]]
            shared = shared_words(catalog.texts[origin], listed, served.word_counts)
        title = None if origin is None else catalog.titles[origin]
        texts[user, place] = reason(title, name, shared, popular)
        lifted = new[user, place] and served.bundle.ranking.lift.by
        if lifted or lists.moved[user, place]:
            texts[user, place] += f"; {LIFTED}"
    return texts


def _reason_again(served: Served, lists: Lists, user: int, place: int) -> str:
    repeats = served.bundle.repeats
    assert repeats is not None
    row = int(lists.habit[user, place])
    return repeat_reason(repeats.habits, row)


def _repeated(shown: ShownLists, names: tuple[str, ...], users: Sequence[str]) -> ShownLists:
    """A user asked for twice is ranked once."""
    number = {name: row for row, name in enumerate(names)}
    rows = np.array([number[name] for name in users], np.int64)
    ruled = shown.ruled
    return ShownLists(
        tuple(users),
        shown.item[rows],
        shown.score[rows],
        shown.sources[rows],
        shown.reason[rows],
        shown.ranked[rows],
        Ruled(
            ruled.place[rows], ruled.why[rows], ruled.fate[rows], ruled.lots[rows], ruled.kept[rows]
        ),
    )
