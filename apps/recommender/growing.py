"""A trained model with what came after its training: new items are placed by their texts, new
events are in the histories. Nothing is trained; what it was made from stays as it is, so that a
request that is under way goes on with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from apps.recommender.additions import AddedItem
from apps.recommender.bundle import Bundle
from apps.recommender.catalog import Catalog
from apps.recommender.event_joining import join_events
from apps.recommender.interactions import Events, Interactions, is_taking
from apps.recommender.neighbours import keep_largest, relatives, word_vectoriser
from apps.recommender.popularity import item_clock, windowed_order
from apps.recommender.retrieval import Channels, alike_in_meaning
from apps.recommender.sequence_model import reworded_vectors
from apps.recommender.settings import EventSettings

# A rating counts by its value against the highest one, at least this: one alone says no scale.
STARS = 5.0


@dataclass(frozen=True, eq=False)
class Trained:
    """A bundle as it was trained, with what is made of it once."""

    bundle: Bundle

    @cached_property
    def words(self) -> tuple[TfidfVectorizer, sp.csr_matrix] | None:
        """What weighs words, and the weighed catalogue; None where it has no word."""
        texts = self.bundle.catalog.texts
        if not any(text.strip() for text in texts):
            return None
        vectoriser = word_vectoriser(len(texts))
        return vectoriser, vectoriser.fit_transform(texts).tocsr()


def with_items(trained: Trained, items: Sequence[AddedItem]) -> Bundle:
    """The bundle with further items at the end of its catalogue; nobody has taken them."""
    bundle = trained.bundle
    if not items:
        return bundle
    catalog = longer_catalog(bundle.catalog, items)
    repeats = None if bundle.repeats is None else bundle.repeats.of_items(len(catalog))
    channels = _more_channels(trained, catalog, items)
    return replace(bundle, catalog=catalog, channels=channels, repeats=repeats)


def with_events(bundle: Bundle, events: pd.DataFrame) -> Bundle:
    """The bundle with further events (additions.EVENT_COLUMNS). Those on items that are not in the
    catalogue wait until these are. Co-occurrence stays as trained."""
    channels, repeats = bundle.channels, bundle.repeats
    settings = channels.settings.events
    kinds = settings.taken if repeats is None else repeats.model.kinds
    everybody, added = added_events(channels.log, events, bundle.catalog.ids, settings, kinds)
    if not len(added):
        return bundle
    log = longer_log(channels.log, everybody, added, settings.most)
    order = windowed_order(log, channels.settings.ranking.windows_days)
    return replace(
        bundle,
        channels=replace(channels, log=log, order=order, clock=item_clock(log)),
        repeats=None if repeats is None else repeats.with_events(added, log),
    )


def longer_catalog(catalog: Catalog, items: Sequence[AddedItem]) -> Catalog:
    """Columns stay those of the catalogue, with their types."""
    frame = pd.DataFrame([dict(item.fields) for item in items])
    frame = frame.reindex(columns=catalog.frame.columns)
    for name, kind in catalog.frame.dtypes.items():
        column = frame[name]
        if isinstance(kind, pd.DatetimeTZDtype):
            frame[name] = pd.to_datetime(column, utc=True).astype(kind)
        elif pd.api.types.is_numeric_dtype(kind):
            frame[name] = pd.to_numeric(column, errors="coerce").astype("float64")
        else:
            frame[name] = column.fillna("").astype("str")
    return Catalog(pd.concat([catalog.frame, frame], ignore_index=True))


def added_events(
    log: Interactions,
    events: pd.DataFrame,
    item_ids: Sequence[str],
    settings: EventSettings,
    kinds: tuple[str, ...] = (),
) -> tuple[tuple[str, ...], Events]:
    """(users of the log and new ones, what the log does not hold yet). An event on a pair that it
    knows counts if it is later than the pair's last one; in a log without a clock it does not.

    kinds: see Events.
    """
    item = pd.Index(item_ids).get_indexer(pd.Index(events["item_id"]))
    users = pd.Index(log.users)
    codes = users.get_indexer(pd.Index(events["user_id"]))
    known = (item >= 0) & ~already_known(log, codes, item, events["time"].to_numpy(np.int64))
    events, item, codes = events[known], item[known], codes[known]
    strangers, new = pd.factorize(events["user_id"][codes < 0])
    codes[codes < 0] = len(users) + strangers
    weight = event_weights(events, settings)
    added = Events(
        codes.astype(np.int32),
        item.astype(np.int32),
        _times(log, events, codes),
        weight.astype(np.float32),
        is_taking(events["event"].str.strip().str.lower(), weight, kinds),
        kinds,
    )
    return (*log.users, *map(str, new)), added


def longer_log(
    log: Interactions, everybody: tuple[str, ...], added: Events, most: float
) -> Interactions:
    """Weights add up as in training, at most `most` of a pair, and what undoes takes away.
    everybody: the users, those of the log first."""
    own = pd.DataFrame({"user": log.user, "item": log.item, "time": log.time,
                        "weight": log.weight.astype(np.float64), "taking": False})  # fmt: skip
    pair = log.user.astype(np.int64) * log.n_items + log.item
    touched = np.isin(pair, added.user.astype(np.int64) * log.n_items + added.item)
    joined = join_events(
        pd.concat([own[touched], added.frame], ignore_index=True), most, log.hidden
    )
    whole = pd.concat([own.loc[~touched, list(joined.pairs)], joined.pairs])
    order = np.lexsort((whole["time"].to_numpy(np.int64), whole["user"].to_numpy()))
    whole = whole.iloc[order]
    return Interactions(
        everybody,
        log.n_items,
        whole["user"].to_numpy(np.int32),
        whole["item"].to_numpy(np.int32),
        whole["time"].to_numpy(np.int64),
        whole["weight"].to_numpy(np.float32),
        log.has_clock,
        most=most,
        hidden=joined.hidden,
    )


def already_known(
    log: Interactions, user: NDArray[np.int64], item: NDArray[np.int64], time: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(m,) whether the log's pair is as late as the event, so that it may hold it already."""
    width = max(int(item.max(initial=0)) + 1, log.n_items)
    hidden = log.hidden
    pair = np.concatenate([log.user, hidden.user]).astype(np.int64) * width
    pair += np.concatenate([log.item, hidden.item])
    last = np.concatenate([log.time, hidden.time])
    if not len(pair):
        return np.zeros(len(user), bool)
    order = np.argsort(pair)
    wanted = user.astype(np.int64) * width + item
    place = np.searchsorted(pair[order], wanted)
    row = order[np.minimum(place, len(pair) - 1)]
    met = (user >= 0) & (item >= 0) & (pair[row] == wanted)
    known: NDArray[np.bool_] = met & ((last[row] >= time) | (not log.has_clock))
    return known


def event_weights(events: pd.DataFrame, settings: EventSettings) -> NDArray[np.float64]:
    """(m,) as in training; a rating against the highest of these, at least STARS."""
    types = events["event"].str.strip().str.lower()
    weight = (
        types.map(settings.weights).astype("float64").fillna(settings.default).to_numpy().copy()
    )
    value = events["value"].to_numpy(np.float64)
    rated = (types == "rating").to_numpy(bool) & ~np.isnan(value)
    highest = max(STARS, float(value[rated].max(initial=0.0)))
    weight[rated] *= np.clip(value[rated] / highest, 0.1, 1.0)
    return np.asarray(weight, np.float64)


def _times(log: Interactions, events: pd.DataFrame, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Microseconds, or, without a clock, the places after the user's last one."""
    if log.has_clock or not len(events):
        return events["time"].to_numpy(np.int64)
    after = pd.Series(codes).groupby(codes).cumcount().to_numpy(np.int64)
    last = np.full(int(codes.max()) + 1, -1, np.int64)
    np.maximum.at(last, log.user[log.user <= codes.max()], log.time[log.user <= codes.max()])
    return np.asarray(last[codes] + 1 + after, np.int64)


def _more_channels(trained: Trained, catalog: Catalog, items: Sequence[AddedItem]) -> Channels:
    channels = trained.bundle.channels
    before, count = channels.log.n_items, len(catalog)
    start = np.stack([item.vector for item in items])
    placed = reworded_vectors(channels.sequence, before, start, with_id=False)
    ids = [str(row) for row in range(before, count)]
    log = replace(channels.log, n_items=count)
    moved = np.concatenate([channels.moved, placed])
    words = more_words(trained, [catalog.texts[row] for row in range(before, count)])
    near = alike_in_meaning(channels.meaning_index, start, before)
    near.resize(len(items), count)
    meant = sp.vstack([_padded(channels.meant, count)[:before], near], format="csr")
    own = relatives(words[before:], meant[before:], log.counts > 0)
    related = sp.vstack([_padded(channels.relatives, count)[:before], own], format="csr")
    return replace(
        channels,
        log=log,
        meaning=np.concatenate([channels.meaning, start]),
        meaning_index=channels.meaning_index.with_more(start, ids),
        moved=moved,
        worded=np.concatenate([channels.worded, placed]),
        moved_index=channels.moved_index.with_more(placed, ids),
        together=_padded(channels.together, count),
        words=words,
        meant=meant,
        relatives=related,
        speaks_for=related.T.tocsr(),
        kindred=np.concatenate([channels.kindred, np.asarray(own @ moved)]),
        order=windowed_order(log, channels.settings.ranking.windows_days),
        clock=item_clock(log),
    )


def more_words(trained: Trained, texts: Sequence[str]) -> sp.csr_matrix:
    """The table of like words with further items, weighed as the catalogue is. A row that is full
    takes a new item only if it is nearer than the last one there, and loses nothing for it."""
    table = trained.bundle.channels.words
    count = table.shape[0] + len(texts)
    most = trained.bundle.settings.ranking.neighbours
    grown = _padded(table, count)
    if trained.words is None:
        return grown
    vectoriser, old = trained.words
    new = vectoriser.transform(texts).tocsr()
    near = (old @ new.T).tocoo()  # (old, new)
    lengths = np.diff(table.indptr)
    least = np.zeros(len(lengths), np.float32)
    filled = np.flatnonzero(lengths >= most)
    least[filled] = [table.data[table.indptr[r] : table.indptr[r + 1]].min() for r in filled]
    kept = (near.data > 0) & (near.data >= least[near.row])
    columns = sp.csr_matrix(
        (near.data[kept], (near.row[kept], near.col[kept] + table.shape[0])), shape=(count, count)
    )
    own = sp.hstack([new @ old.T, new @ new.T], format="coo")
    own.data[own.row + table.shape[0] == own.col] = 0.0
    rows = keep_largest(own.tocsr(), most)
    above = sp.csr_matrix((table.shape[0], count), dtype=np.float32)
    return (grown + columns + sp.vstack([above, rows], format="csr")).tocsr().astype(np.float32)


def _padded(table: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """With empty rows and columns at the end."""
    more = np.full(count - table.shape[0], table.indptr[-1], table.indptr.dtype)
    return sp.csr_matrix(
        (table.data, table.indices, np.concatenate([table.indptr, more])), shape=(count, count)
    )
