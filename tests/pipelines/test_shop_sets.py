"""Public shops as the tables that training takes; the last month of a log by hand."""

from pathlib import Path

import numpy as np
import pandas as pd

from apps.recommender.interactions import DAY, Interactions
from apps.recommender.splits import days_split
from pipelines.shop_sets import shop_sets

LINES = pd.DataFrame(
    {
        "StockCode": ["85123A", "85123A", "85123A", "22423", "22423"],
        "Description": ["LIGHT HOLDER", "wrong", "LIGHT HOLDER", None, "CAKE STAND"],
        "Quantity": [6, 2, -2, 1, 1],
        "InvoiceDate": pd.to_datetime(["2011-09-01 08:26"] * 4 + ["2011-10-02 10:00"]),
        "UnitPrice": [2.5, 3.0, 2.5, 10.0, 12.0],
        "CustomerID": [17850.0, 13047.0, 17850.0, 13047.0, None],
    }
)


def test_invoices_become_items_and_events(tmp_path: Path) -> None:
    folder = tmp_path / "recommender" / "online_retail"
    folder.mkdir(parents=True)
    LINES.to_parquet(folder / "until_2011-10-31.parquet", index=False)
    work, said = tmp_path / "work", list[str]()
    work.mkdir()
    (shop,) = shop_sets(tmp_path, work, said.append)
    assert (shop.name, shop.splits) == ("Online Retail", ("month",))
    assert [line.split(":")[0] for line in said] == [
        "skipped Amazon Beauty",
        "skipped MovieLens-100k, plots",
        "skipped Amazon Scientific",
    ]
    assert shop.items.read_text().splitlines() == [
        "item_id,title,price",
        "22423,,10.0",
        "85123A,LIGHT HOLDER,2.5",
    ]
    assert shop.events.read_text().splitlines() == [
        "user_id,item_id,timestamp,event",
        "17850.0,85123A,2011-09-01T08:26:00,buy",
        "13047.0,85123A,2011-09-01T08:26:00,buy",
        "17850.0,85123A,2011-09-01T08:26:00,cancel",
        "13047.0,22423,2011-09-01T08:26:00,buy",
    ]


def test_the_last_days_are_those_after_so_many_before_the_last_event() -> None:
    day = np.array([0, 60, 70, 71, 100])
    log = Interactions(
        ("ann",), 5, np.zeros(5, np.int32), np.arange(5, dtype=np.int32), day * DAY,
        np.ones(5, np.float32), True,
    )  # fmt: skip
    split = days_split(log, 30)
    assert split.known.item.tolist() == [0, 1, 2]
    assert split.item.tolist() == [3, 4]
