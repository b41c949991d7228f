"""The catalogue: items, the text each is known by, its price and its categories."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.formats import read_item_file
from apps.recommender.settings import RecommenderSettings
from shared.errors import DataError
from shared.text import normalise

# "A|B", "A;B", "A > B"; a comma separates only where nothing stronger does.
STRONG_SEPARATORS = re.compile(r"\s*[|;>\n]\s*")
COMMA = re.compile(r"\s*,\s*")


@dataclass(frozen=True, eq=False)
class Catalog:
    """Items in the file's order. frame: item_id, title, text, and where the file has them
    description, categories, tags, brand, year, price, created_at; index 0…n-1.
    """

    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.frame["item_id"])

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """What a person is shown: the title, or the id where there is none."""
        titles = self.frame["title"].where(self.frame["title"] != "", self.frame["item_id"])
        return tuple(titles)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        return tuple(self.frame["text"])

    @cached_property
    def categories(self) -> tuple[tuple[str, ...], ...]:
        return tuple(map(split_categories, self.texts_of("categories")))

    @cached_property
    def prices(self) -> NDArray[np.float64]:
        """(n,) NaN where unknown or not above 0."""
        if "price" not in self.frame:
            return np.full(len(self), np.nan)
        prices = self.frame["price"].to_numpy(np.float64)
        return np.where(prices > 0, prices, np.nan)

    @cached_property
    def created(self) -> NDArray[np.int64]:
        """(n,) microseconds since 1970, -1 where unknown."""
        if "created_at" not in self.frame:
            return np.full(len(self), -1, np.int64)
        times = pd.to_datetime(self.frame["created_at"], utc=True)
        micros = times.dt.tz_localize(None).astype("datetime64[us]").astype("int64").to_numpy()
        return np.where(times.isna().to_numpy(), -1, micros).astype(np.int64)

    @cached_property
    def opening_codes(self) -> NDArray[np.int64]:
        """(n,) a number for the first word of each title, in lower case, -1 where there is none:
        titles that begin alike are often of one maker."""
        first = [title.lower().split()[:1] for title in self.texts_of("title")]
        known = pd.Series([words[0] if words else None for words in first], dtype="str")
        return np.asarray(pd.factorize(known)[0], np.int64)

    def texts_of(self, column: str) -> list[str]:
        """A column's cells, "" throughout where the file lacks it."""
        if column not in self.frame:
            return [""] * len(self)
        return [str(cell) for cell in self.frame[column].fillna("")]

    @cached_property
    def category_matrix(self) -> sp.csr_matrix:
        """(n, categories): 1 where an item is in a category."""
        return _memberships(self.categories)

    @cached_property
    def brand_codes(self) -> NDArray[np.int64]:
        """(n,) a number for each brand, -1 where there is none."""
        codes, brands = pd.factorize(pd.Series(self.texts_of("brand")))
        empty = [i for i, brand in enumerate(brands) if not brand.strip()]
        return np.where(np.isin(codes, empty), -1, codes).astype(np.int64)


@dataclass(frozen=True)
class CatalogReport:
    """What reading a catalogue found. untitled: items with neither title nor other text."""

    rows: int
    items: int
    rejected: int = 0
    repeated: tuple[str, ...] = ()
    untitled: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        found = [f"{self.items:,} items"]
        if self.renamed:
            pairs = ", ".join(f"{theirs} as {ours}" for ours, theirs in self.renamed)
            found.append(f"columns read: {pairs}")
        if self.rejected:
            found.append(f"{self.rejected:,} rows cannot be read")
        if self.repeated:
            found.append(f"{len(self.repeated):,} item ids repeated, the first row of each kept")
        if self.untitled:
            found.append(f"{len(self.untitled):,} items without any text")
        return tuple(found)


@dataclass(frozen=True, eq=False)
class ReadCatalog:
    """The catalogue, and what was left out of it."""

    catalog: Catalog
    report: CatalogReport


def read_catalog(
    path: Path, *, mapping: Mapping[str, str], settings: RecommenderSettings
) -> ReadCatalog:
    """Read items in any of the formats of `formats.read_item_file` and give each its text.

    Raises: DataError when the file cannot be read.
    """
    raw = read_item_file(path, mapping)
    frame = raw.frame.copy()
    frame["item_id"] = frame["item_id"].astype("str").str.strip()
    repeated = frame["item_id"].duplicated()
    repeats = tuple(sorted(set(frame["item_id"][repeated])))
    frame = frame[~repeated].reset_index(drop=True)
    if frame.empty:
        raise DataError(f"{path}: holds no item")
    frame["text"] = item_texts(frame, settings.text_fields, settings.description_words)
    untitled = tuple(frame["item_id"][frame["text"] == ""])
    report = CatalogReport(
        len(raw.frame) + len(raw.rejects),
        len(frame),
        len(raw.rejects),
        repeats,
        untitled,
        tuple(raw.renamed.items()),
    )
    return ReadCatalog(Catalog(frame), report)


def item_texts(frame: pd.DataFrame, fields: Sequence[str], description_words: int) -> list[str]:
    """ "Title. Brand. Categories. …": the given columns that are there and not empty.

    A field whose words the text so far already holds is left out: keywords cut from the title
    would only weigh its first words twice. Texts are in one normal form: full width, in which some
    shops write, is another text to the encoder.
    """
    columns = {name: frame[name].fillna("").astype("str") for name in fields if name in frame}
    texts = []
    for row in range(len(frame)):
        parts: list[str] = []
        for name, cells in columns.items():
            cell = cells.iloc[row]
            if name == "description":
                cell = " ".join(cell.split()[:description_words])
            if name in ("categories", "tags"):
                cell = ", ".join(split_categories(cell))
            cell = normalise(cell).rstrip(".")
            if cell and cell.casefold() not in " ".join(parts).casefold():
                parts.append(cell)
        texts.append(". ".join(parts))
    return texts


def split_categories(cell: str) -> tuple[str, ...]:
    """ "Tea|Green > Japan" -> ("Tea", "Green", "Japan"); each once, in order."""
    separator = STRONG_SEPARATORS if STRONG_SEPARATORS.search(cell) else COMMA
    return tuple(dict.fromkeys(part for part in separator.split(cell.strip()) if part))


def _memberships(groups: Sequence[Sequence[str]]) -> sp.csr_matrix:
    columns: dict[str, int] = {}
    rows = [row for row, names in enumerate(groups) for _ in names]
    places = [columns.setdefault(name, len(columns)) for names in groups for name in names]
    shape = (len(groups), max(1, len(columns)))
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, places)), shape=shape)
