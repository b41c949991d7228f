"""Files as they come from elsewhere."""

import gzip
from pathlib import Path

import pytest

from apps.recommender.formats import read_event_file, read_item_file
from shared.errors import DataError


def test_lines_of_a_user_and_items_become_positions(tmp_path: Path) -> None:
    file = tmp_path / "sequences.txt.gz"
    file.write_bytes(gzip.compress(b"ann a b\nbob c\n\neve\n"))
    raw = read_event_file(file, {})
    assert raw.frame.to_numpy().tolist() == [["ann", "a", 0], ["ann", "b", 1], ["bob", "c", 0]]
    assert not raw.has_clock
    assert [(r.line, r.reason) for r in raw.rejects] == [(4, "a user without items")]


def test_recbole_events_are_read_by_their_typed_header(tmp_path: Path) -> None:
    file = tmp_path / "shop.inter"
    file.write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "ann\ta\t5\t1700000000\nbob\tb\t3\tnever\nbob\n"
    )
    raw = read_event_file(file, {})
    assert raw.frame[["user_id", "item_id", "value"]].to_numpy().tolist() == [["ann", "a", 5.0]]
    assert raw.frame["timestamp"].iloc[0].isoformat() == "2023-11-14T22:13:20+00:00"
    assert {r.reason for r in raw.rejects} == {
        "1 fields, expected 4",
        "timestamp is 'never', expected a number",
    }


def test_the_longest_augmented_sequence_of_a_user_holds_the_others(tmp_path: Path) -> None:
    (tmp_path / "shop.item2index").write_text("tea\t0\ncup\t1\npot\t2\n")
    (tmp_path / "shop.user2index").write_text("ann\t0\n")
    file = tmp_path / "shop.train.inter"
    file.write_text(
        "user_id:token\titem_id_list:token_seq\titem_id:token\n0\t0 1\t2\n0\t0\t1\n9\t2\t0\n"
    )
    raw = read_event_file(file, {})
    assert raw.frame.to_numpy().tolist() == [
        ["ann", "tea", 0], ["ann", "cup", 1], ["ann", "pot", 2], ["9", "pot", 0], ["9", "tea", 1],
    ]  # fmt: skip


def test_movielens_ratings_are_known_by_their_column_names(tmp_path: Path) -> None:
    file = tmp_path / "ratings.csv"
    file.write_text("userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n")
    raw = read_event_file(file, {})
    assert raw.frame[["user_id", "item_id", "value"]].to_numpy().tolist() == [["1", "31", 2.5]]
    assert raw.renamed == {"user_id": "userId", "item_id": "movieId", "value": "rating"}


def test_the_files_of_movielens_100k_need_no_header(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n")
    flags = "|".join("1" if place in (1, 5) else "0" for place in range(19))
    (tmp_path / "u.item").write_bytes(
        f"242|Café (1996)|01-Jan-1996||http://x|{flags}\n".encode("latin-1")
    )
    events, items = (
        read_event_file(tmp_path / "u.data", {}),
        read_item_file(tmp_path / "u.item", {}),
    )
    assert events.frame[["user_id", "item_id", "value"]].to_numpy().tolist() == [
        ["196", "242", 3.0]
    ]
    assert items.frame.to_numpy().tolist() == [["242", "Café (1996)", "Action|Comedy"]]


def test_a_mapping_wins_where_the_file_has_its_column(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text("sku,title,headline\na,old,new\n")
    raw = read_item_file(file, {"title": "headline", "item_id": "sku", "user_id": "who"})
    assert raw.frame[["item_id", "title"]].to_numpy().tolist() == [["a", "new"]]


def test_a_missing_column_is_named_with_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("user_id,when\nann,2024-01-01\n")
    with pytest.raises(DataError, match=r"no column 'item_id'; the file has: user_id, when"):
        read_event_file(file, {})


def test_a_recbole_file_without_types_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shop.item"
    file.write_text("item_id\ttitle\na\tb\n")
    with pytest.raises(DataError) as caught:
        read_item_file(file, {})
    assert str(caught.value) == (
        f"{file}: the header is 'item_id\\ttitle', expected RecBole's name:type"
    )
