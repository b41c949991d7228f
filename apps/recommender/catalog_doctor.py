"""What is wrong with a catalogue: items told twice or not at all, dead ones, mistaken prices."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.recommender.catalog import item_texts, split_categories
from apps.recommender.formats import RawTable
from apps.recommender.settings import RecommenderSettings
from apps.recommender.tables import LONGEST_ID
from shared.data_findings import Finding, first_of, lines_of
from shared.near_duplicates import near_duplicate_key
from shared.table_values import as_timestamps
from shared.text import normalise

# Modified z-scores: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993, page 11.
OUTLYING = 3.5
# A mistaken decimal point is a factor of ten; a dear item of its kind is seldom one of five.
FACTOR = 5.0
# Fewer priced items of a category are judged with the whole catalogue.
LEAST_OF_CATEGORY = 20
FEW_WORDS = 2
# Of the log's time: an item nobody took in the last quarter is no longer taken.
QUIET_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class ItemTable:
    """A catalogue as its file has it. frame: item_id, text and the file's columns, each id once;
    lines: (n,) of the file. repeats: rows of `raw` whose id an earlier row has."""

    path: Path
    raw: RawTable
    frame: pd.DataFrame
    lines: NDArray[np.int64]
    repeats: NDArray[np.int64]

    def where(self, rows: Sequence[int] | NDArray[np.int64]) -> str:
        """The file, the first lines and the ids of some rows of `frame`."""
        rows = np.asarray(rows, np.int64)
        ids = first_of(self.frame["item_id"].iloc[rows].tolist())
        told = lines_of(self.lines[rows].tolist()) if len(self.lines) else ""
        return f"{self.path.name}{f', {told}' if told else ''}: {ids}"

    @cached_property
    def prices(self) -> NDArray[np.float64]:
        """(n,) NaN where there is none."""
        if "price" not in self.frame:
            return np.full(len(self.frame), np.nan)
        return self.frame["price"].to_numpy(np.float64)

    @cached_property
    def categories(self) -> list[tuple[str, ...]]:
        """(n,)"""
        if "categories" not in self.frame:
            return [()] * len(self.frame)
        return [split_categories(cell) for cell in self.frame["categories"].fillna("").astype(str)]


def item_table(path: Path, raw: RawTable, settings: RecommenderSettings) -> ItemTable:
    """As training would read it."""
    frame = raw.frame.copy()
    frame["item_id"] = frame["item_id"].astype("str").str.strip()
    repeated = frame["item_id"].duplicated().to_numpy(bool)
    lines = raw.lines[~repeated] if len(raw.lines) else raw.lines
    kept = frame[~repeated].reset_index(drop=True)
    kept["text"] = item_texts(kept, settings.text_fields, settings.description_words)
    return ItemTable(path, raw, kept, lines, np.flatnonzero(repeated))


def check_catalogue(
    table: ItemTable,
    last: "pd.Series[pd.Timestamp] | None",
    settings: RecommenderSettings,
    now: datetime,
) -> list[Finding]:
    """last: item id -> time of its last event, for items that were taken; None: no log was given,
    or one without times.
    """
    return [
        *_unreadable(table),
        *_repeated(table),
        *_ids(table),
        *_copies(table),
        *_texts(table),
        *_prices(table),
        *_spellings(table),
        *_dates(table, settings, now),
        *(_dead(table, last) if last is not None else []),
    ]


def unreadable(path: Path, raw: RawTable) -> list[Finding]:
    """Rows that no reader can use, of either file."""
    if not raw.rejects:
        return []
    first = raw.rejects[0]
    told = f"{path.name}, {lines_of([reject.line for reject in raw.rejects])}: {first.reason}"
    what = f"{len(raw.rejects):,} rows cannot be read"
    return [Finding("warning", what, told, "mend these rows; they are left out, the rest is used")]


def outlying_prices(
    prices: NDArray[np.float64], categories: Sequence[tuple[str, ...]]
) -> NDArray[np.bool_]:
    """(n,) priced beyond what its first category, or the catalogue, has: a modified z-score of the
    logarithm above OUTLYING, and FACTOR times the median or a FACTOR-th of it.

    Nine items at 10 and one at 1000 in one category: the last one.
    """
    priced = np.flatnonzero(prices > 0)
    counts = Counter(categories[row][0] for row in priced.tolist() if categories[row])
    groups: dict[str, list[int]] = defaultdict(list)
    for row in map(int, priced):
        name = categories[row][0] if categories[row] else ""
        groups[name if counts[name] >= LEAST_OF_CATEGORY else ""].append(row)
    whole = np.log(prices[priced])
    found = np.zeros(len(prices), bool)
    for name, rows in groups.items():
        own = np.log(prices[rows])
        found[rows] = _outlying(own, own if name else whole)
    return found


def _outlying(values: NDArray[np.float64], group: NDArray[np.float64]) -> NDArray[np.bool_]:
    centre = float(np.median(group))
    away = np.abs(group - centre)
    # Where half of the prices are one price the median deviation is 0: the mean one, by the same
    # source, with the factor that makes both alike on normal data.
    spread = float(np.median(away)) / 0.6745 or float(away.mean()) * 1.253314
    distance = np.abs(values - centre)
    far: NDArray[np.bool_] = (distance > OUTLYING * spread) & (distance >= np.log(FACTOR))
    return far


def _unreadable(table: ItemTable) -> list[Finding]:
    return unreadable(table.path, table.raw)


def _repeated(table: ItemTable) -> Iterator[Finding]:
    if not len(table.repeats):
        return
    raw = table.raw.frame.assign(item_id=table.raw.frame["item_id"].astype("str").str.strip())
    again = raw.iloc[table.repeats]
    first = raw.drop_duplicates("item_id").set_index("item_id").loc[again["item_id"]]
    columns = [name for name in raw.columns if name != "item_id"]
    same = (again[columns].astype("str").to_numpy() == first[columns].astype("str").to_numpy()).all(
        1
    )
    told = lines_of(table.raw.lines[table.repeats].tolist()) if len(table.raw.lines) else ""
    where = f"{table.path.name}{f', {told}' if told else ''}: {first_of(again['item_id'].tolist())}"
    differ = int((~same).sum())
    yield Finding(
        "warning" if differ else "note",
        f"{len(again):,} rows repeat an item id, {differ:,} of them with other contents",
        where,
        "the first row of an id counts; keep the right one" if differ else "",
    )


def _ids(table: ItemTable) -> Iterator[Finding]:
    ids = table.frame["item_id"]
    bad = [not (0 < len(name) <= LONGEST_ID and name.isprintable()) for name in ids]
    rows = np.flatnonzero(bad)
    if len(rows):
        yield Finding(
            "error",
            f"{len(rows):,} item ids are no line of 1 to {LONGEST_ID} characters",
            table.where(rows),
            "give these items other ids: `triptych recommender import` and REST refuse such ids",
        )


def _copies(table: ItemTable) -> Iterator[Finding]:
    # Numbers count here: "0.5 l" and "1 l" are two items of a shop.
    texts = table.frame["text"].map(lambda text: " ".join(normalise(text).casefold().split()))
    told = (texts != "").to_numpy(bool)
    same = texts.duplicated(keep=False).to_numpy(bool) & told
    if same.any():
        groups = int(texts[same].nunique())
        yield Finding(
            "warning",
            f"{int(same.sum()):,} items have the text of another one ({groups:,} texts)",
            table.where(np.flatnonzero(same)),
            "join them if they are one item, or tell them apart in title or tags: their events are "
            "divided among the copies, and a list may show both",
        )
    keys = table.frame["text"].map(near_duplicate_key)
    variants = keys.duplicated(keep=False).to_numpy(bool) & told & ~same
    if variants.any():
        yield Finding(
            "note",
            f"{int(variants.sum()):,} items differ from another one in numbers alone",
            table.where(np.flatnonzero(variants)),
            "sizes of one item: [recommender.rules] per_category and diversity keep a list varied",
        )


def _texts(table: ItemTable) -> Iterator[Finding]:
    words = table.frame["text"].str.split().map(len).to_numpy(np.int64)
    empty = np.flatnonzero(words == 0)
    if len(empty):
        share = len(empty) / len(words)
        yield Finding(
            "error" if share > 0.5 else "warning",
            f"{len(empty):,} items ({share:.1%}) have no text",
            table.where(empty),
            "give them a title: until somebody takes them, nothing else can place them",
        )
    short = np.flatnonzero((words > 0) & (words <= FEW_WORDS))
    if len(short):
        yield Finding(
            "note",
            f"{len(short):,} items have a text of {FEW_WORDS} words or fewer",
            table.where(short),
            "a description, categories or tags would place them better while they are new",
        )


def _prices(table: ItemTable) -> Iterator[Finding]:
    prices = table.prices
    known = ~np.isnan(prices)
    if not known.any():
        return
    nothing = np.flatnonzero(known & (prices <= 0))
    if len(nothing):
        yield Finding(
            "warning",
            f"{len(nothing):,} items have a price of 0 or less",
            table.where(nothing),
            "such a price is taken for unknown",
        )
    far = np.flatnonzero(outlying_prices(prices, table.categories))
    if len(far):
        middle = float(np.median(prices[prices > 0]))
        told = first_of([f"{table.frame['item_id'].iloc[r]} at {prices[r]:g}" for r in far])
        yield Finding(
            "warning",
            f"{len(far):,} prices are far from those of their category",
            f"{table.path.name}: {told} (median of all {middle:g})",
            "look for a lost decimal point or another currency",
        )
    missing = int((~known).sum())
    if missing:
        yield Finding(
            "note",
            f"{missing:,} of {len(prices):,} items have no price",
            table.where(np.flatnonzero(~known)),
            "price limits of [recommender.rules] let them through",
        )


def _spellings(table: ItemTable) -> Iterator[Finding]:
    """Categories that are one but for case and width, and items without any."""
    counts = Counter(name for names in table.categories for name in names)
    if not counts:
        return
    spelt: dict[str, list[str]] = defaultdict(list)
    for name in counts:
        spelt[normalise(name).casefold()].append(name)
    double = [names for names in spelt.values() if len(names) > 1]
    if double:
        yield Finding(
            "warning",
            f"{len(double):,} categories are written in several ways",
            f"{table.path.name}: {first_of([' / '.join(names) for names in double])}",
            "write each in one way: limits and affinities count them apart",
        )
    without = np.flatnonzero([not names for names in table.categories])
    if len(without):
        yield Finding(
            "note",
            f"{len(without):,} of {len(table.frame):,} items are in no category",
            table.where(without),
        )


def _dates(table: ItemTable, settings: RecommenderSettings, now: datetime) -> Iterator[Finding]:
    frame = table.frame
    if "created_at" in frame:
        late = (pd.to_datetime(frame["created_at"], utc=True) > now).to_numpy(bool)
        if late.any():
            yield Finding(
                "warning",
                f"{int(late.sum()):,} items are created in the future",
                table.where(np.flatnonzero(late)),
                "mend created_at: an item's age is a feature of the ranking",
            )
    if "available_to" in frame:
        past = (as_timestamps(frame["available_to"]).values < now).to_numpy(bool)
        if past.any() and not settings.rules.sale_days:
            yield Finding(
                "warning",
                f"{int(past.sum()):,} items are no longer sold (available_to)",
                table.where(np.flatnonzero(past)),
                "set [recommender.rules] sale_days = true, or take them out of the catalogue",
            )


def _dead(table: ItemTable, last: "pd.Series[pd.Timestamp]") -> Iterator[Finding]:
    times = table.frame["item_id"].map(last)
    never = times.isna().to_numpy(bool)
    if never.any():
        yield Finding(
            "note",
            f"{int(never.sum()):,} of {len(times):,} items were never taken",
            table.where(np.flatnonzero(never)),
            "new ones are recommended by their texts; take out those that are no longer sold",
        )
    if last.empty:
        return
    end = last.max()
    quiet = end - QUIET_SHARE * (end - last.min())
    if end - quiet < pd.Timedelta(days=14):
        return
    dead = (times < quiet).to_numpy(bool)
    if dead.any():
        yield Finding(
            "note",
            f"{int(dead.sum()):,} items were taken once, but not since {quiet:%Y-%m-%d}",
            table.where(np.flatnonzero(dead)),
            "if they are no longer sold, take them out, or name them in a table of stock",
        )
