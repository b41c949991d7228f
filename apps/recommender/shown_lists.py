"""Lists as they are shown: the final ranking, or what is popular, under the shop's rules, with the
reason of each item."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apps.recommender.arrivals import NEW, arrivals_of, popular_with_arrivals
from apps.recommender.bundle import Bundle
from apps.recommender.day_rules import DayRules
from apps.recommender.features import ItemFacts
from apps.recommender.listing import Lists, list_users
from apps.recommender.reasons import blame, reason, shared_words
from apps.recommender.repeats import repeat_reason
from apps.recommender.retrieval import CHANNELS, SOURCES, Rows, Scores
from apps.recommender.ruling import LEFT_OUT, Ruled, apply_rules, draw_numbers, rule_notes

POPULAR = np.uint8(1 << SOURCES.index("popular"))
# How many popular items the rules may choose from for a user without a history, and in lists.
POPULAR_REACH, POPULAR_LISTS = 100, 10
# Of an item that nobody has taken yet: where the ranking lifts these, and where nothing of the user
# speaks for it.
LIFTED = "new, moved up"
JUST_IN = "new in the shop"


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
    popular = _popular(served, rows[~warm], k, rules)
    wide = max(popular.shape[1], 1 if lists is None else lists.item.shape[1], 1)
    item = np.full((len(names), wide), -1, np.int64)
    score = np.full((len(names), wide), -np.inf, np.float32)
    item[~warm, : popular.shape[1]] = popular
    # There is no score to go by: taken as falling off with the place, as popularity does.
    score[~warm, : popular.shape[1]] = -np.log1p(np.arange(popular.shape[1]))
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


def _popular(served: Served, rows: Rows, k: int, rules: DayRules) -> Rows:
    """(users, n) what the lists of users without a history are made of, most wanted first, -1 where
    there is no more. rows: of the log, -1 for who is not in it."""
    channels = served.bundle.channels
    if not len(rows):
        return np.empty((0, 0), np.int64)
    hidden = channels.log.withheld[np.maximum(rows, 0)].multiply((rows >= 0)[:, None]).tocsr()
    most_hidden = int(np.diff(hidden.indptr).max())
    refused = rules.refused > 0
    arrivals = arrivals_of(channels, served.facts, refused if refused.any() else None)
    order = channels.order
    if rules.change_lists:
        reach = max(POPULAR_REACH, POPULAR_LISTS * k) + most_hidden
        kept = np.arange(len(order)) < reach
        kept[np.flatnonzero(~refused[order])[:reach]] = True
        order = order[kept]
    else:
        order = order[: k + most_hidden]
    order = popular_with_arrivals(order, arrivals)
    lists = np.broadcast_to(order, (len(rows), len(order)))
    out = hidden[:, order].toarray() > 0
    last = np.argsort(out, axis=1, kind="stable")
    found: Rows = np.where(out, -1, lists)
    return np.take_along_axis(found, last, 1)


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
    new = served.bundle.log.counts[np.maximum(item, 0)] == 0
    sources = np.where(there, np.where(new, NEW, POPULAR), 0).astype(np.uint8)
    reasons = np.where(new, JUST_IN, popular_reason(served.bundle)).astype(object)
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
        otherwise = JUST_IN if new[user, place] else popular
        texts[user, place] = reason(title, name, shared, otherwise)
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
