"""The shop's rules as they are on one day, laid over a catalogue: what a list must know of each
item before it is cut."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.recommender.catalog import Catalog, split_categories
from apps.recommender.retrieval import Rows, Scores
from apps.recommender.settings import Campaign, RuleSettings
from shared.errors import DataError
from shared.table_values import as_timestamps
from shared.tables import Column, read_table
from shared.text import normalise

CATALOGUE = "catalogue"  # as `stock` in the settings: the catalogue's own column
STOCK = "stock"
# What shops write into a column of stock instead of a number.
STOCK_WORDS = {"true": 1.0, "yes": 1.0, "in stock": 1.0, "instock": 1.0, "available": 1.0,
               "false": 0.0, "no": 0.0, "out of stock": 0.0, "outofstock": 0.0,
               "unavailable": 0.0, "sold out": 0.0}  # fmt: skip
NO_LIMIT = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class DayRules:
    """What the rules say of each of n items.

    refusals, refused: (n,) an item may be shown (0) or is left out because of
    refusals[refused - 1]. boosters, boost: (n,) added to its score in deviations, by what stands in
    boosters[boosted] ("" for none). groups: (n, w) numbers of the limited groups it is in, padded
    with 0, the group without a limit; most: (groups,) of each group in one list.
    unexplored: (n,) so few took it that it may be drawn by lot. notes: for the shop, what in its
    rules fits nothing.
    """

    day: date
    refusals: tuple[str, ...]
    refused: NDArray[np.int16]
    boosters: tuple[str, ...]
    boosted: NDArray[np.int16]
    boost: Scores
    groups: Rows
    most: Rows
    unexplored: NDArray[np.bool_]
    diversity: float
    explore: float
    notes: tuple[str, ...] = ()

    @property
    def change_lists(self) -> bool:
        """Whether any list can be another than without them."""
        return bool(
            self.refused.any()
            or self.boost.any()
            or self.groups.shape[1]
            or self.diversity
            or self.explore
        )

    @property
    def digest(self) -> str:
        """Names what they do, 32 hex digits. The day counts where it decides who is drawn."""
        said = (self.refusals, self.boosters, self.diversity, self.explore)
        hashed = hashlib.sha256(repr((said, self.day if self.explore else None)).encode())
        for array in (self.refused, self.boosted, self.boost, self.groups, self.most):
            hashed.update(np.ascontiguousarray(array).tobytes())
        hashed.update(self.unexplored.tobytes())
        return hashed.hexdigest()[:32]


def day_rules(
    rules: RuleSettings,
    catalog: Catalog,
    counts: Rows,
    day: date,
    stock: Mapping[str, float] | None = None,
) -> DayRules:
    """counts: (n,) users who took each item. stock: item id -> pieces left, from a table.

    The first refusal of an item counts: blocked, stock, sale days, price, then the campaigns.
    """
    running = rules.on(day).campaigns
    chosen = {campaign.name: selected(campaign, catalog) for campaign in running}
    refusals = _shop_refusals(rules, catalog, day, stock)
    refusals |= {campaign.name: chosen[campaign.name] for campaign in running if campaign.block}
    refused = np.zeros(len(catalog), np.int16)
    for place, rows in enumerate(refusals.values(), start=1):
        refused[rows & (refused == 0)] = place
    boost, boosted, boosters = _boosts(running, chosen, len(catalog))
    groups, most = _groups(rules, running, chosen, catalog)
    return DayRules(
        day=day,
        refusals=tuple(refusals),
        refused=refused,
        boosters=boosters,
        boosted=boosted,
        boost=boost,
        groups=groups,
        most=most,
        unexplored=np.asarray(counts <= rules.explored_at),
        diversity=rules.diversity,
        explore=rules.explore,
        notes=_notes(rules, chosen, catalog),
    )


def selected(campaign: Campaign, catalog: Catalog) -> NDArray[np.bool_]:
    """(n,) the items a campaign is about. Names are compared without case and width; of a category
    "Kitchen > Baking" an item must be in both."""
    rows = np.ones(len(catalog), bool)
    if campaign.items:
        rows &= np.isin(np.array(catalog.ids, dtype=object), list(campaign.items))
    if campaign.brands:
        brands = set(map(_folded, campaign.brands))
        rows &= np.array([_folded(brand) in brands for brand in catalog.texts_of("brand")])
    if campaign.categories:
        rows &= _in_one_of(catalog.categories, campaign.categories)
    if campaign.tags:
        tags = [split_categories(cell) for cell in catalog.texts_of("tags")]
        rows &= _in_one_of(tags, campaign.tags)
    if campaign.price_from is not None:
        rows &= catalog.prices >= campaign.price_from  # NaN is not
    if campaign.price_to is not None:
        rows &= catalog.prices <= campaign.price_to
    return rows


def stock_table(rules: RuleSettings) -> Path | None:
    """The table of stock that the rules name, if they name one."""
    named = rules.stock
    return None if named is None or named == CATALOGUE else Path(named).expanduser()


def read_stock(path: Path) -> dict[str, float]:
    """item id -> pieces left, the last row of an id counts; what cannot be read is left out.

    Raises: DataError when the table cannot be read.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; [recommender.rules] stock names a table `item_id,stock`, or is "
            f"{CATALOGUE!r} for the catalogue's column"
        )
    table = read_table(path, [Column("item_id"), Column(STOCK, allow_empty=True)])
    levels = stock_levels(table.frame[STOCK])
    ids = table.frame["item_id"].str.strip()
    return {name: level for name, level in zip(ids, levels, strict=True) if not np.isnan(level)}


def stock_levels(cells: "pd.Series[str]") -> NDArray[np.float64]:
    """Numbers, and words as "out of stock" or true; NaN where neither."""
    texts = cells.astype("str").str.strip().str.lower()
    numbers = pd.to_numeric(texts, errors="coerce").astype("float64")
    return np.asarray(numbers.fillna(texts.map(STOCK_WORDS).astype("float64")), np.float64)


def _shop_refusals(
    rules: RuleSettings, catalog: Catalog, day: date, stock: Mapping[str, float] | None
) -> dict[str, NDArray[np.bool_]]:
    """Name -> (n,) what it leaves out, of the rules that are no campaigns."""
    found: dict[str, NDArray[np.bool_]] = {}
    ids = np.array(catalog.ids, dtype=object)
    if rules.blocked:
        found["blocked"] = np.isin(ids, list(rules.blocked))
    if rules.stock == CATALOGUE:
        if STOCK not in catalog.frame:
            raise DataError(
                f"[recommender.rules] stock = {CATALOGUE!r}: the catalogue has no column "
                f"{STOCK!r}; it has: {', '.join(catalog.frame.columns)}"
            )
        found["out of stock"] = stock_levels(pd.Series(catalog.texts_of(STOCK))) <= 0
    elif stock is not None:
        found["out of stock"] = np.array([stock.get(name, 1.0) <= 0 for name in catalog.ids])
    if rules.sale_days:
        found["not on sale"] = ~_on_sale(catalog, day)
    if rules.price_from is not None or rules.price_to is not None:
        prices = catalog.prices
        least = 0.0 if rules.price_from is None else rules.price_from
        most = np.inf if rules.price_to is None else rules.price_to
        found["price"] = (prices < least) | (prices > most)
    return found


def _on_sale(catalog: Catalog, day: date) -> NDArray[np.bool_]:
    """(n,) available_from <= day <= available_to; a day that is absent or unreadable is open."""
    now = pd.Timestamp(day, tz="UTC")
    rows = np.ones(len(catalog), bool)
    for column, sign in (("available_from", 1), ("available_to", -1)):
        if column in catalog.frame:
            days = as_timestamps(catalog.frame[column]).values.dt.floor("D")
            late = days > now if sign > 0 else days < now
            rows &= ~late.to_numpy(bool)
    return rows


def _boosts(
    running: Sequence[Campaign], chosen: Mapping[str, NDArray[np.bool_]], count: int
) -> tuple[Scores, NDArray[np.int16], tuple[str, ...]]:
    """(sum of the boosts of each item, index into the names, names)"""
    boost = np.zeros(count, np.float32)
    names = np.full(count, "", dtype=object)
    for campaign in running:
        if campaign.boost:
            rows = chosen[campaign.name]
            boost[rows] += campaign.boost
            names[rows] = [f"{said}, {campaign.name}".removeprefix(", ") for said in names[rows]]
    boosters = tuple(dict.fromkeys(["", *names]))
    place = {name: number for number, name in enumerate(boosters)}
    return boost, np.array([place[name] for name in names], np.int16), boosters


def _groups(
    rules: RuleSettings,
    running: Sequence[Campaign],
    chosen: Mapping[str, NDArray[np.bool_]],
    catalog: Catalog,
) -> tuple[Rows, Rows]:
    """(groups (n, w), most): every category where there is a limit on all, and campaigns' own."""
    own: list[list[int]] = [[] for _ in range(len(catalog))]
    most = [NO_LIMIT]
    if rules.per_category is not None:
        numbers: dict[str, int] = {}
        for item, names in enumerate(catalog.categories):
            own[item] += [numbers.setdefault(name, 1 + len(numbers)) for name in names]
        most += [rules.per_category] * len(numbers)
    for campaign in running:
        if campaign.most is not None:
            for item in np.flatnonzero(chosen[campaign.name]).tolist():
                own[item].append(len(most))
            most.append(campaign.most)
    groups = np.zeros((len(own), max(map(len, own), default=0)), np.int64)
    for item, numbers_of in enumerate(own):
        groups[item, : len(numbers_of)] = numbers_of
    return groups, np.array(most, np.int64)


def _notes(
    rules: RuleSettings, chosen: Mapping[str, NDArray[np.bool_]], catalog: Catalog
) -> tuple[str, ...]:
    known = set(catalog.ids)
    missing = [name for name in rules.blocked if name not in known]
    notes = [
        f"campaign {name!r} is about no item" for name, rows in chosen.items() if not rows.any()
    ]
    if missing:
        notes.append(f"{len(missing):,} blocked ids are no items (first: {missing[0]})")
    return tuple(notes)


def _in_one_of(groups: Sequence[tuple[str, ...]], wanted: Iterable[str]) -> NDArray[np.bool_]:
    paths = [set(map(_folded, split_categories(path))) for path in wanted]
    folded = [set(map(_folded, names)) for names in groups]
    return np.array([any(path and path <= names for path in paths) for names in folded], bool)


def _folded(name: str) -> str:
    return normalise(name).casefold()
