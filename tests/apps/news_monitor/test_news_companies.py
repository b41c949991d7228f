"""The user's list of companies: what is read of it, and where it finds them in headlines."""

from pathlib import Path

import pytest

from apps.news_monitor.companies import Company, CompanyList, read_companies
from apps.news_monitor.company_names import CompanyFinder
from apps.news_monitor.company_sentiment import said_of, texts_about
from apps.news_monitor.labels import Labels
from shared.errors import DataError

LIST = """company,ticker,aliases,near,not_near
Apple,AAPL,Apple Inc,iphone|tim cook,pie|juice|orchard
Target,tgt,Target Corp,retailer|walmart,price|inflation
Bank of America,BAC,BofA,,
America Movil,AMX,,,
International Business Machines,$IBM,IBM,,
AT&T,T,,,
eBay,EBAY,,,
Info Tech,IT,IT,,
贵州茅台,600519,茅台,,
"""


@pytest.fixture
def listed(tmp_path: Path) -> CompanyList:
    path = tmp_path / "companies.csv"
    path.write_text(LIST, encoding="utf-8")
    return read_companies(path)


@pytest.fixture
def finder(listed: CompanyList) -> CompanyFinder:
    return CompanyFinder(listed)


def names_in(finder: CompanyFinder, text: str) -> list[str]:
    return [finder.companies[mention.company].name for mention in finder.find(text)]


def test_a_list_is_read_with_its_entries(listed: CompanyList) -> None:
    assert listed.companies[0] == Company(
        "Apple", "AAPL", ("Apple Inc",), ("iphone", "tim cook"), ("pie", "juice", "orchard")
    )
    assert [one.title for one in listed.companies[1:5]] == [
        "Target (TGT)",
        "Bank of America (BAC)",
        "America Movil (AMX)",
        "International Business Machines (IBM)",
    ]


def test_only_what_may_change_a_finding_changes_the_fingerprint(tmp_path: Path) -> None:
    lists = []
    for text in ("company\nShell\n", "company,note\nShell,x\n", "company,aliases\nShell,RDS\n"):
        path = tmp_path / "list.csv"
        path.write_text(text)
        lists.append(read_companies(path).fingerprint)
    assert lists[0] == lists[1] != lists[2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # Apple, the fruit and the firm.
        ("Apple's profit falls", ["Apple"]),
        ("Apple’s profit falls", ["Apple"]),
        ("Apple shares slide", ["Apple"]),
        ("Apple warns of weak demand", ["Apple"]),
        ("Regulators look into Apple again", ["Apple"]),
        ("Why the iPhone matters to Apple Services Division", ["Apple"]),
        ("Apple pie recipe wins the county fair", []),
        ("Growers press more apple juice", []),
        ("An apple a day", []),
        ("Big Apple Circus returns to the city", []),
        ("Apple Blossom Festival Opens In The Valley", []),
        # Target, the shop and the verb.
        ("Central Banks Target Lower Yields This Year", []),
        ("Analysts cut Target price to $10", []),
        ("Walmart and Target cut toy prices", ["Target"]),
        ("Target cuts toy range", ["Target"]),
        ("hackers target banks", []),
        ("$TGT holds Target in place", ["Target", "Target"]),
        ("TARGET TO MISS FORECASTS", ["Target"]),
        ("Next-Target study", []),
        # Longest first, inside nothing else.
        ("Bank of America raises fees", ["Bank of America"]),
        ("America raises fees", []),
        ("BofA and America Movil agree", ["Bank of America", "America Movil"]),
        # Tickers.
        ("$aapl gains", ["Apple"]),
        ("$AAPLX gains", []),
        ("Chips rally (NASDAQ: AAPL)", ["Apple"]),
        ("Chips rally (AAPL.O)", []),
        ("NYSE: T gains, (BAC) falls", ["AT&T", "Bank of America"]),
        ("A T bone steak", []),
        # Capital letters.
        ("IBM sells a unit", ["International Business Machines"]),
        ("ibm sells a unit", []),
        ("Ibm sells a unit", []),
        ("Is it over? It is", []),
        ("it is over", []),
        ("IT spending falls", ["Info Tech"]),
        ("EBAY and eBay and Ebay", ["eBay", "eBay", "eBay"]),
        ("AT&T sues", ["AT&T"]),
        ("at the T junction", []),
        ("贵州茅台股价下跌", ["贵州茅台"]),
        ("茅台酒涨价", ["贵州茅台"]),
        ("", []),
    ],
)
def test_companies_are_found_and_words_are_not(
    finder: CompanyFinder, text: str, found: list[str]
) -> None:
    assert names_in(finder, text) == found


def test_mentions_are_where_they_say(finder: CompanyFinder) -> None:
    text = "BofA sees Apple's margin at risk ($AAPL)"
    spans = [text[one.start : one.end] for one in finder.find(text)]
    assert spans == ["BofA", "Apple", "$AAPL"]


def test_where_several_are_named_the_others_are_masked(finder: CompanyFinder) -> None:
    text = "BofA gains as Apple slumps; BofA to buy back"
    assert texts_about(text, finder.find(text)) == {
        0: ("it gains as Apple slumps; it to buy back", "Apple slumps"),
        2: ("BofA gains as it slumps; BofA to buy back", "BofA gains"),
    }
    alone = "Apple slumps, Apple's shares too"
    assert texts_about(alone, finder.find(alone)) == {}


def labels(p_negative: float, p_neutral: float, *, negative: bool) -> Labels:
    return Labels("", p_negative, p_neutral, 1 - p_negative - p_neutral, negative, ())


def test_two_readings_are_averaged() -> None:
    said = said_of(labels(0.9, 0.1, negative=True), labels(0.4, 0.6, negative=False))
    # sqrt(.9 * .4) = .6 and sqrt(.1 * .6) = .245, scaled to 1; the floor moves them little.
    assert said.p_negative == pytest.approx(0.6 / 0.8449, abs=0.01)
    assert said.p_negative + said.p_neutral + said.p_positive == pytest.approx(1.0)
    assert (said.sentiment, said.negative) == ("negative", True)
    mild = said_of(labels(0.6, 0.4, negative=True), labels(0.1, 0.9, negative=False))
    assert (mild.sentiment, mild.negative) == ("neutral", False)
    both = said_of(labels(0.45, 0.55, negative=True), labels(0.45, 0.55, negative=True))
    assert (both.sentiment, both.negative) == ("neutral", True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("company\n", "{path}: has a header (company) but no rows"),
        (
            "company,ticker\nShell,SHEL\nShell,SHEL\n",
            "{path}, line 3: the company 'shell (shel)' stands in line 2 too; give it to one of "
            "them, or give both words in `near` that tell them apart",
        ),
        (
            "company,ticker,aliases\nShell,A,Sun\nSun Pharma,B,Sun\n",
            "{path}, line 3: the name 'sun' stands in line 2 too; give it to one of them, or give "
            "both words in `near` that tell them apart",
        ),
        (
            "company\nShell|BP\n",
            "{path}, line 2: one company and at most one ticker a row; other names belong into "
            "`aliases`, joined by |",
        ),
        (
            "company,aliases\nShell," + "x" * 101 + "\n",
            "{path}, line 2: at most 100 entries of at most 100 characters in a cell",
        ),
    ],
)
def test_a_list_that_cannot_be_used_says_why(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "companies.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_companies(path)
    assert str(caught.value) == complaint.format(path=path)


def test_words_tell_two_companies_of_one_name_apart() -> None:
    finder = CompanyFinder(
        CompanyList(
            (
                Company("Delta Air", "DAL", ("Delta",), ("airline", "flights")),
                Company("Delta Apparel", "DLA", ("Delta",), ("apparel", "clothing")),
            )
        )
    )
    assert names_in(finder, "Clothing maker Delta lifts outlook") == ["Delta Apparel"]
    assert names_in(finder, "Delta adds flights") == ["Delta Air"]
