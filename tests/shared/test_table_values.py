"""Cells to typed columns, against values worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from shared.table_values import as_numbers, as_texts, as_timestamps


@pytest.mark.parametrize(
    ("cell", "iso"),
    [
        ("2024-01-31", "2024-01-31T00:00:00"),
        ("2024-01-31T10:00:00+02:00", "2024-01-31T08:00:00"),
        ("2024-01-31 10:00:00.123456Z", "2024-01-31T10:00:00.123456"),
        ("20240131", "2024-01-31T00:00:00"),
        ("1706695200", "2024-01-31T10:00:00"),
        ("1706695200.5", "2024-01-31T10:00:00.500000"),
        ("1706695200123", "2024-01-31T10:00:00.123000"),
        ("1706695200123456", "2024-01-31T10:00:00.123456"),
        ("Wed, 31 Jan 2024 10:00:00 GMT", "2024-01-31T10:00:00"),
        ("Wed, 31 Jan 2024 10:00:00 -0500", "2024-01-31T15:00:00"),
        ("0", "1970-01-01T00:00:00"),
        ("-86400", "1969-12-31T00:00:00"),
    ],
)
def test_a_time_stamp_is_read_as_utc(cell: str, iso: str) -> None:
    converted = as_timestamps(pd.Series([cell]))
    assert converted.values.iloc[0] == pd.Timestamp(iso, tz="UTC")
    assert converted.wrong == {}


@pytest.mark.parametrize(
    "cell",
    ["tomorrow", "2024-13-01", "31/31/2024", "1e30", "9" * 25, "0000-01-01", "-9e10",
     "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "Fri, 31 Dec 9999 23:00:00 -0500"],
)  # fmt: skip
def test_what_is_no_time_is_wrong(cell: str) -> None:
    converted = as_timestamps(pd.Series(["2024-01-01", cell]))
    assert converted.values.isna().tolist() == [False, True]
    assert converted.wrong == {1: repr(cell)}


def test_time_stamps_of_parquet_are_taken_over_in_utc() -> None:
    times = pd.Series(pd.to_datetime(["2024-01-31 10:00"]).tz_localize("Asia/Shanghai"))
    assert as_timestamps(times).values.iloc[0] == pd.Timestamp("2024-01-31 02:00", tz="UTC")


def test_a_time_column_with_one_that_no_clock_shows_keeps_the_others() -> None:
    far = pd.Series(np.array([1706695200000, 2**62, "NaT"], dtype="datetime64[ms]"))
    for times in (far, far.dt.tz_localize("UTC").dt.tz_convert("Asia/Shanghai")):
        converted = as_timestamps(times)
        assert converted.values.iloc[0] == pd.Timestamp("2024-01-31 10:00", tz="UTC")
        assert converted.values.isna().tolist() == [False, True, True]
        assert converted.empty.tolist() == [False, False, True]
        assert converted.wrong == {1: "'146140482-04-24 15:36:27.904'"}


def test_numbers_are_float_and_what_is_none_is_wrong() -> None:
    converted = as_numbers(pd.Series([" 1.5 ", "-2e3", "", "abc", "nan", "1,5"]))
    assert converted.values.tolist()[:2] == [1.5, -2000.0]
    assert converted.values.isna().tolist() == [False, False, True, True, True, True]
    assert converted.empty.tolist() == [False, False, True, False, False, False]
    assert sorted(converted.wrong) == [3, 4, 5]


def test_white_space_alone_is_empty_text() -> None:
    converted = as_texts(pd.Series(["a", " \t", "", None, float("nan")], dtype="object"))
    assert converted.empty.tolist() == [False, True, True, True, True]
    assert converted.values.tolist() == ["a", " \t", "", "", ""]
