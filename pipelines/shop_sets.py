"""The public shops that the recommender is measured on, as the two tables that training takes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

Say = Callable[[str], None]
RETAIL_COLUMNS = ["StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"]


@dataclass(frozen=True)
class ShopSet:
    """splits: what is held out of it, names of benchmark_recommender.SPLITS."""

    name: str
    items: Path
    events: Path
    splits: tuple[str, ...]


def shop_sets(sets: Path, work: Path, say: Say) -> list[ShopSet]:
    """Those that are there; a line for each that is not. work: a folder for tables that have to be
    made first."""
    shops = sets / "recommender"
    beauty, films = shops / "amazon_beauty", shops / "ml100k_plots"
    science = shops / "amazon_scientific"
    known = [
        ShopSet(
            "Amazon Beauty", beauty / "beauty_items.csv.gz",
            beauty / "beauty_user_sequences.txt.gz", ("last", "hidden"),
        ),
        ShopSet(
            "MovieLens-100k, plots", films / "items.csv.gz", films / "ratings.csv.gz",
            ("last", "time"),
        ),
        ShopSet(
            "Amazon Scientific", science / "Scientific.text", science / "Scientific.valid.inter",
            ("last",),
        ),
    ]  # fmt: skip
    found = []
    for shop in known:
        if shop.items.exists() and shop.events.exists():
            found.append(shop)
        else:
            say(f"skipped {shop.name}: {shop.items} or {shop.events.name} is not there")
    invoices = shops / "online_retail" / "until_2011-10-31.parquet"
    if invoices.exists():
        found.append(ShopSet("Online Retail", *retail_tables(invoices, work), ("month",)))
    else:
        say(f"skipped Online Retail: {invoices} is not there")
    return found


def retail_tables(invoices: Path, folder: Path) -> tuple[Path, Path]:
    """Items and events of a table of invoice lines. An item is called what it is called most often,
    and costs its median price; a line of a negative quantity takes a purchase back."""
    lines = pd.read_parquet(invoices, columns=RETAIL_COLUMNS)
    lines = lines[lines["CustomerID"].notna()]
    title = lines["Description"].fillna("").astype("str")
    by_item = lines.assign(title=title).groupby("StockCode")
    items = pd.DataFrame(
        {
            "title": by_item["title"].agg(lambda titles: titles.mode().iloc[0]),
            "price": by_item["UnitPrice"].median(),
        }
    )
    times = pd.to_datetime(lines["InvoiceDate"]).dt.strftime("%Y-%m-%dT%H:%M:%S")
    events = pd.DataFrame(
        {
            "user_id": lines["CustomerID"].astype("str"),
            "item_id": lines["StockCode"],
            "timestamp": times,
            "event": ["buy" if count > 0 else "cancel" for count in lines["Quantity"]],
        }
    )
    places = folder / "retail_items.csv", folder / "retail_events.csv"
    items.rename_axis("item_id").reset_index().to_csv(places[0], index=False)
    events.to_csv(places[1], index=False)
    return places
