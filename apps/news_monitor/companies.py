"""The companies a desk follows: a table the user edits, read into names to look for.

    company,ticker,aliases,near,not_near
    Apple,AAPL,Apple Inc,iphone|mac|tim cook,pie|juice|orchard|fruit
    Target,TGT,Target Corp,retailer|stores|walmart,
    International Business Machines,IBM,IBM|Big Blue,,

Only `company` is needed. `aliases`, `near` and `not_near` hold several entries joined by |. near
and not_near are for names that are words too, see company_names.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from shared.errors import DataError
from shared.tables import Column, read_table
from shared.text import normalise

SEPARATOR = "|"
MOST_COMPANIES = 5000
MOST_ENTRIES = 100
LONGEST = 100
RULES = 1
"""Grows when names are looked for in another way: then past headlines are read again."""
COLUMNS = (
    Column("company"),
    Column("ticker", required=False, allow_empty=True),
    Column("aliases", required=False, allow_empty=True),
    Column("near", required=False, allow_empty=True),
    Column("not_near", required=False, allow_empty=True),
)


@dataclass(frozen=True)
class Company:
    """near: one of these must stand near a name of one word; not_near: none of these may."""

    name: str
    ticker: str = ""
    aliases: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    not_near: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """As alerts and pages name it: "Apple (AAPL)"."""
        return f"{self.name} ({self.ticker})" if self.ticker else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """All spellings to look for, its name first."""
        return tuple(dict.fromkeys((self.name, *self.aliases)))


@dataclass(frozen=True)
class CompanyList:
    """The companies in the order of the table."""

    companies: tuple[Company, ...]

    @property
    def fingerprint(self) -> str:
        """Changes with anything that may change what is found."""
        told = repr((RULES, [astuple(company) for company in self.companies]))
        return hashlib.sha256(told.encode()).hexdigest()


def read_companies(path: Path, *, mapping: Mapping[str, str] = {}) -> CompanyList:
    """The list in a table of COLUMNS.

    Raises DataError, naming the line, for a table that cannot be read, a row without a company, a
    company or a ticker given twice, one name for two companies that nothing tells apart, and
    entries too long or too many.
    """
    table = read_table(path, COLUMNS, mapping=mapping)
    if table.rejects:
        first = table.rejects[0]
        raise DataError(f"{path}, line {first.line}: {first.reason}")
    if len(table.frame) > MOST_COMPANIES:
        raise DataError(
            f"{path}: {len(table.frame)} companies; at most {MOST_COMPANIES} are followed"
        )
    found = []
    for line, row in zip(table.lines.tolist(), table.frame.to_dict("records"), strict=True):
        cells = {
            column.name: _entries(str(row.get(column.name) or ""), f"{path}, line {line}")
            for column in COLUMNS
        }
        if len(cells["company"]) != 1 or len(cells["ticker"]) > 1:
            raise DataError(
                f"{path}, line {line}: one company and at most one ticker a row; other names "
                "belong into `aliases`, joined by |"
            )
        found.append(
            Company(
                cells["company"][0],
                "".join(cells["ticker"]).upper().lstrip("$"),
                cells["aliases"],
                tuple(word.casefold() for word in cells["near"]),
                tuple(word.casefold() for word in cells["not_near"]),
            )
        )
    _check(found, table.lines.tolist(), path)
    return CompanyList(tuple(found))


def _entries(cell: str, place: str) -> tuple[str, ...]:
    entries = [normalise(part) for part in cell.split(SEPARATOR)]
    kept = tuple(dict.fromkeys(entry for entry in entries if entry))
    if len(kept) > MOST_ENTRIES or any(len(entry) > LONGEST for entry in kept):
        raise DataError(
            f"{place}: at most {MOST_ENTRIES} entries of at most {LONGEST} characters in a cell"
        )
    return kept


def _check(companies: list[Company], lines: list[int], path: Path) -> None:
    """Nothing stands for two companies, unless the words near it tell them apart."""
    seen: dict[str, tuple[Company, int]] = {}
    for company, line in zip(companies, lines, strict=True):
        keys = [f"company {company.title.casefold()}"]
        keys += [f"ticker {company.ticker}"] if company.ticker else []
        keys += [f"name {name.casefold()}" for name in company.names]
        for key in keys:
            other, first = seen.setdefault(key, (company, line))
            told_apart = key.startswith("name ") and company.near and other.near
            if other is not company and not told_apart:
                kind, _, word = key.partition(" ")
                raise DataError(
                    f"{path}, line {line}: the {kind} {word!r} stands in line {first} too; give "
                    "it to one of them, or give both words in `near` that tell them apart"
                )
