"""`triptych news find-companies`: a list of companies tried on a table of headlines."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from apps.news_monitor.companies import read_companies
from apps.news_monitor.company_names import CompanyFinder
from apps.news_monitor.company_sentiment import said_of, texts_about
from apps.news_monitor.labels import LabelTexts
from pipelines.predict import texts_of
from shared.tables import write_table

COLUMNS = ("row", "text", "company", "ticker", "spelt", "how")
SENTIMENT = ("sentiment", "p_negative")


@dataclass(frozen=True)
class FoundCompanies:
    """texts: read; named: of these, with a company; companies: of the list, found at least once."""

    texts: int
    named: int
    companies: int
    listed: int
    output: str

    @property
    def line(self) -> str:
        return (
            f"{self.named} of {self.texts} texts name a company, {self.companies} of "
            f"{self.listed} companies were found: {self.output}"
        )


def find_in_table(
    listed: Path,
    input_file: Path,
    output: Path,
    *,
    mapping: Mapping[str, str],
    labeller: LabelTexts | None,
) -> FoundCompanies:
    """A row for each company of each text (COLUMNS; with a labeller SENTIMENT too); row counts the
    input's rows from 1; spelt: its first mention there.

    Raises DataError for a list or a table that cannot be used.
    """
    finder = CompanyFinder(read_companies(listed))
    companies = finder.companies
    texts = texts_of(input_file, mapping)
    rows: list[tuple[object, ...]] = []
    asked: list[tuple[str, str]] = []
    for number, text in enumerate(texts, start=1):
        mentions = finder.find(text)
        about = texts_about(text, mentions)
        seen = set()
        for mention in mentions:
            if mention.company in seen:
                continue
            seen.add(mention.company)
            one = companies[mention.company]
            spelt = text[mention.start : mention.end]
            rows.append((number, text, one.name, one.ticker, spelt, mention.how))
            asked.append(about.get(mention.company, (text, text)))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    if labeller is not None:
        wholes, clauses = (labeller.label([pair[i] for pair in asked]) for i in (0, 1))
        said = [said_of(*pair) for pair in zip(wholes, clauses, strict=True)]
        frame[SENTIMENT[0]] = [one.sentiment for one in said]
        frame[SENTIMENT[1]] = [one.p_negative for one in said]
    write_table(frame, output)
    found = {row[2:4] for row in rows}
    return FoundCompanies(
        len(texts), int(frame["row"].nunique()), len(found), len(companies), str(output)
    )
