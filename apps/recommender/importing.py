"""New items and events from files into what a trained recommender serves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.recommender.additions import EVENT_COLUMNS, AddedItem
from apps.recommender.catalog import read_catalog
from apps.recommender.formats import RawTable, read_event_file
from apps.recommender.growing import already_known
from apps.recommender.interactions import event_times
from apps.recommender.live import LiveRecommender
from apps.recommender.recommender import Recommender
from apps.recommender.tables import LONGEST_ID
from shared.errors import DataError
from shared.inference.runtime import Embedder

ITEMS_AT_ONCE = 256
LONGEST_TYPE = 40
# A clock may be ahead of ours by this; later events are a mistake that would spoil "the last week".
AHEAD = timedelta(days=1)
SECOND = 1_000_000  # microseconds


@dataclass(frozen=True)
class Imported:
    """added: were not there. left: why -> rows that were left out, and how many."""

    rows: int
    added: int
    left: Mapping[str, int] = field(default_factory=dict)

    def line(self, noun: str) -> str:
        """For a person."""
        left = "".join(f"; {count:,} {why}" for why, count in self.left.items() if count)
        return f"{noun}: {self.added:,} of {self.rows:,} added{left}"


def import_items(
    live: LiveRecommender,
    embedder: Callable[[], Embedder],
    path: Path,
    mapping: Mapping[str, str],
    say: Callable[[str], None] = lambda _: None,
) -> Imported:
    """Put the items of a catalogue into the index that the model does not know. One that an earlier
    import brought is replaced where it differs; one of the training stays as it was trained.

    embedder: opens the encoder of the model's vectors; called only where there is a text to encode.
    Raises: DataError: the file cannot be read. ServiceError: the database.
    """
    bundle = live.base.bundle
    read = read_catalog(path, mapping=mapping, settings=bundle.settings)
    for line in read.report.lines:
        say(f"items: {line}")
    frame = read.catalog.frame
    trained = frame["item_id"].isin(live.base.item_rows).to_numpy(bool)
    unfit = np.array([not _fits(name, LONGEST_ID) for name in frame["item_id"]], bool) & ~trained
    columns = usable_columns(live.base)
    fields = {
        str(row["item_id"]): {name: _plain(row.get(name)) for name in columns}
        for row in frame[~trained & ~unfit].to_dict("records")
    }
    changed = live.additions.changed(fields)
    for at in range(0, len(changed), ITEMS_AT_ONCE):
        part = changed[at : at + ITEMS_AT_ONCE]
        texts = [str(fields[name]["text"]) for name in part]
        vectors = np.zeros((len(part), bundle.channels.meaning.shape[1]), np.float32)
        told = np.array([bool(text) for text in texts])
        if told.any():
            raw = embedder().encode([text for text in texts if text], normalised=False)
            vectors[told] = bundle.whitening(raw)
        live.additions.put_items(
            [AddedItem(name, fields[name], v) for name, v in zip(part, vectors, strict=True)]
        )
        say(f"  {at + len(part):,} of {len(changed):,} items")
    left = {
        "known from the training, as they were": int(trained.sum()),
        "there already": len(fields) - len(changed),
        f"with an id that is no line of 1 to {LONGEST_ID} characters": int(unfit.sum()),
        "that cannot be read": read.report.rejected,
    }
    return Imported(read.report.rows, len(changed), left)


def usable_columns(base: Recommender) -> tuple[str, ...]:
    """Columns of the catalogue that a new item may fill: a fact that no item had in training would
    be a feature that the ranking does not know."""
    facts = base.facts
    known = {
        "price": facts.has_price,
        "brand": facts.has_brand,
        "categories": facts.has_categories,
    }
    columns = base.bundle.catalog.frame.columns
    return tuple(str(name) for name in columns if known.get(str(name), True))


def import_events(
    live: LiveRecommender,
    path: Path,
    mapping: Mapping[str, str],
    say: Callable[[str], None] = lambda _: None,
) -> Imported:
    """Add what users did since the training. A whole log may be given again and again: what the
    training or an earlier import had is not counted twice.

    Raises: DataError: the file cannot be read, or has no times where the model's log has.
    """
    raw = read_event_file(path, mapping)
    log = live.base.bundle.log
    if log.has_clock and not raw.has_clock:
        raise DataError(f"{path}: has no times; the events that the model was trained on have")
    frame = raw.frame
    events = pd.DataFrame(
        {
            "user_id": frame["user_id"].astype("str").str.strip(),
            "item_id": frame["item_id"].astype("str").str.strip(),
            "event": _types(frame),
            "time": event_times(raw),
            "value": frame.get("value", np.nan),
        }
    )
    done = add_events(live, events)
    left = {**done.left, "that cannot be read": len(raw.rejects)}
    waiting = ~events["item_id"].isin(live.current().item_rows)
    if waiting.any():
        first = ", ".join(events["item_id"][waiting].unique()[:3])
        say(f"events: {int(waiting.sum()):,} wait for items that were not imported yet: {first}")
    return Imported(done.rows + len(raw.rejects), done.added, left)


def add_events(live: LiveRecommender, events: pd.DataFrame) -> Imported:
    """events: EVENT_COLUMNS. Raises: ServiceError: the database."""
    base = live.base
    item = pd.Index(base.bundle.catalog.ids).get_indexer(pd.Index(events["item_id"]))
    user = pd.Index(base.users).get_indexer(pd.Index(events["user_id"]))
    time = events["time"].to_numpy(np.int64)
    log = base.bundle.log
    reasons = {
        "without a user": (events["user_id"] == "").to_numpy(bool),
        "with an id or a type that is no short line": _unfit(events),
        "of the future": _future(live, time) if log.has_clock else np.zeros(len(time), bool),
        "known from the training": already_known(log, user, item, time),
    }
    left: dict[str, int] = {}
    kept = np.ones(len(events), bool)
    for why, rows in reasons.items():
        left[why] = int((rows & kept).sum())
        kept &= ~rows
    added = live.additions.put_events(events.loc[kept, list(EVENT_COLUMNS)])
    left["there already"] = int(kept.sum()) - added
    return Imported(len(events), added, left)


def with_sent(raw: RawTable, sent: pd.DataFrame) -> tuple[RawTable, int]:
    """A log with what was sent to a service (EVENT_COLUMNS) and is not in it, and the count.

    An event is in the log where one of its user, item and type lies in the same second: many logs
    keep no fractions.
    """
    frame = raw.frame.assign(
        user_id=raw.frame["user_id"].astype("str").str.strip(),
        item_id=raw.frame["item_id"].astype("str").str.strip(),
        event=_types(raw.frame),
        value=raw.frame.get("value", np.nan),
    )
    names = ["user_id", "item_id", "event", "second"]
    logged = frame.assign(second=event_times(raw) // SECOND)[names].drop_duplicates()
    known = sent.assign(second=sent["time"] // SECOND).merge(
        logged, on=names, how="left", indicator="found"
    )["found"]
    new = sent[(known == "left_only").to_numpy(bool)]
    if not len(new):
        return raw, 0
    times = pd.to_datetime(new["time"], unit="us", utc=True)
    more = new.drop(columns="time").assign(timestamp=times)
    both = pd.concat([frame, more], ignore_index=True)
    return replace(raw, frame=both, lines=np.empty(0, np.int64)), len(new)


def _types(frame: pd.DataFrame) -> "pd.Series[str]":
    """As training takes them: a table with values but no types is one of ratings."""
    if "event" in frame:
        return frame["event"].astype("str").str.strip().str.lower()
    return pd.Series("rating" if "value" in frame else "", index=frame.index, dtype="str")


def _unfit(events: pd.DataFrame) -> NDArray[np.bool_]:
    limits = {"user_id": LONGEST_ID, "item_id": LONGEST_ID, "event": LONGEST_TYPE}
    fits = np.ones(len(events), bool)
    for name, limit in limits.items():
        fits &= [cell == "" or _fits(cell, limit) for cell in events[name]]
    return ~fits


def _fits(text: str, limit: int) -> bool:
    return 0 < len(text) <= limit and text.isprintable()


def _future(live: LiveRecommender, time: NDArray[np.int64]) -> NDArray[np.bool_]:
    latest = (live.base.clock() + AHEAD).timestamp() * 1e6
    return np.asarray(time > latest)


def _plain(cell: Any) -> str | float | None:
    """As JSON keeps it."""
    if cell is None or cell is pd.NaT or (isinstance(cell, float) and np.isnan(cell)):
        return None
    if isinstance(cell, pd.Timestamp):
        return cell.isoformat()
    if isinstance(cell, int | float | np.number):
        return float(cell)
    return str(cell)
