"""Events to weighted pairs, items to texts; what was left out is counted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.recommender.catalog import Catalog, item_texts, read_catalog, split_categories
from apps.recommender.formats import RawTable
from apps.recommender.interactions import ReadLog, from_events, read_interactions
from apps.recommender.settings import EventSettings, RecommenderSettings
from shared.errors import DataError


def events(rows: list[tuple[object, ...]], *columns: str) -> RawTable:
    frame = pd.DataFrame(rows, columns=pd.Index(["user_id", "item_id", "timestamp", *columns]))
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True)
    return RawTable(frame, (), True, {})


def read(raw: RawTable, items: list[str], seed: int = 1) -> ReadLog:
    return from_events(raw, items, settings=EventSettings(), seed=seed)


def test_weights_of_a_pair_add_up_and_are_capped() -> None:
    raw = events(
        [("ann", "a", "2024-01-01", "view"), ("ann", "a", "2024-01-03", "click"),
         ("ann", "b", "2024-01-02", "buy"), ("ann", "b", "2024-01-02", "buy")],
        "event",
    )  # fmt: skip
    log = read(raw, ["a", "b"]).interactions
    assert log.item.tolist() == [1, 0]  # a was touched last
    assert log.weight.tolist() == [10.0, 3.0]  # two purchases are 16, capped; 1 + 2


def test_a_refund_undoes_the_purchase() -> None:
    raw = events(
        [("ann", "a", "2024-01-01", "buy"), ("ann", "a", "2024-01-05", "refund"),
         ("ann", "b", "2024-01-02", "view")],
        "event",
    )  # fmt: skip
    found = read(raw, ["a", "b"])
    assert found.interactions.item.tolist() == [1]
    assert found.report.undone == 1


def test_a_rating_counts_by_its_share_of_the_highest() -> None:
    raw = events([("ann", "a", "2024-01-01", 5.0), ("ann", "b", "2024-01-02", 1.0)], "value")
    assert read(raw, ["a", "b"]).interactions.weight.tolist() == pytest.approx([4.0, 0.8])


def test_missing_users_unknown_items_and_types_are_counted_and_told() -> None:
    raw = events(
        [("", "a", "2024-01-01", "buy"), ("ann", "zz", "2024-01-01", "buy"),
         ("ann", "a", "2024-01-01", "wave"), ("ann", "a", "2024-01-01", "view")],
        "event",
    )  # fmt: skip
    report = read(raw, ["a"]).report
    assert report.lines == (
        "4 events -> 1 pairs of 1 users",
        "1 events without a user left out",
        "1 events on 1 items that are not in the catalogue left out (first: zz)",
        "1 events of unknown type counted as 1: wave",
        "1 repeated events joined",
    )


def test_ties_in_time_are_drawn_and_not_left_in_the_order_of_ids() -> None:
    names = [f"item{number:02d}" for number in range(30)]
    raw = events([("ann", name, "2024-01-01") for name in names])
    one, other = read(raw, names, seed=1), read(raw, names, seed=2)
    assert one.interactions.item.tolist() != list(range(30))
    assert one.interactions.item.tolist() != other.interactions.item.tolist()
    assert read(raw, names, seed=1).interactions.item.tolist() == one.interactions.item.tolist()
    assert one.report.tied == 1.0


def test_row_numbers_in_the_time_column_are_no_clock() -> None:
    raw = events([("ann", "a", pd.Timestamp(0, unit="s")), ("ann", "b", pd.Timestamp(1, unit="s"))])
    log = read(raw, ["a", "b"]).interactions
    assert not log.has_clock
    assert log.item.tolist() == [0, 1]


def test_a_log_of_another_shop_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("user_id,item_id,timestamp\nann,x,2024-01-01\n")
    with pytest.raises(DataError) as caught:
        read_interactions(file, ["a", "b"], mapping={}, settings=EventSettings(), seed=1)
    assert str(caught.value) == (
        f"{file}: none of its 1 events is of a user on an item of the catalogue "
        "(2 items, first: a, b; unknown here: x)"
    )


def test_an_item_text_joins_the_fields_and_repeats_nothing() -> None:
    frame = pd.DataFrame(
        {
            "title": ["Green Tea."],
            "brand": ["Leaf"],
            "categories": ["Drinks|Tea"],
            "tags": ["green tea"],  # its words are those of the title
            "description": ["one two three four"],
        }
    )
    fields = ("title", "brand", "categories", "tags", "description")
    assert item_texts(frame, fields, 3) == ["Green Tea. Leaf. Drinks, Tea. one two three"]


def test_a_text_in_full_width_is_the_same_text() -> None:
    frame = pd.DataFrame({"title": ["Ｇｒｅｅｎ　Ｔｅａ", "Green Tea"]})
    assert item_texts(frame, ("title",), 3) == ["Green Tea", "Green Tea"]


def test_the_first_row_of_a_repeated_item_is_kept_and_told(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text("item_id,title,price\na,first,2\na,second,3\nb,,\n")
    found = read_catalog(file, mapping={}, settings=RecommenderSettings())
    assert found.catalog.titles == ("first", "b")
    assert np.isnan(found.catalog.prices[1])
    assert found.report.lines == (
        "2 items",
        "1 item ids repeated, the first row of each kept",
        "1 items without any text",
    )


@pytest.mark.parametrize(
    ("cell", "parts"),
    [("A|B", ("A", "B")), ("A > B > A", ("A", "B")), ("A, B", ("A", "B")),
     ("Arts, Crafts|Tea", ("Arts, Crafts", "Tea")), ("", ())],
)  # fmt: skip
def test_categories_are_split_at_the_strongest_separator(cell: str, parts: tuple[str, ...]) -> None:
    assert split_categories(cell) == parts


def test_titles_that_begin_with_the_same_word_share_a_number() -> None:
    titles = ["Avo green tea", "AVO cup", "Bru", " ", "avocado"]
    codes = Catalog(pd.DataFrame({"title": titles})).opening_codes
    assert codes.tolist() == [0, 0, 1, -1, 2]
    assert Catalog(pd.DataFrame({"item_id": ["a", "b"]})).opening_codes.tolist() == [-1, -1]
