"""Times of a Parquet file beyond Python's years: they cost their rows, and no command its table."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import DataError
from shared.tables import Column, read_table, write_rejects, write_table

NOON = pd.Timestamp("2024-01-31 12:00", tz="UTC")
SECONDS = int(NOON.timestamp())
TICKS = {"ms": 10**3, "us": 10**6}
TITLE, AT = Column("title"), Column("at", kind="timestamp")


def save(folder: Path, at: pa.Array) -> Path:
    path = folder / "a.parquet"
    pq.write_table(pa.table({"title": [f"{n}" for n in range(len(at))], "at": at}), path)
    return path


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Shanghai"])
@pytest.mark.parametrize("far", [2**62, -(2**62)])
def test_a_time_that_no_clock_shows_costs_its_row(
    tmp_path: Path, unit: str, zone: str | None, far: int
) -> None:
    kind = pa.timestamp(unit, zone)
    path = save(tmp_path, pa.array([SECONDS * TICKS[unit], far, None], kind))
    table = read_table(path, [TITLE, AT])
    assert table.frame["at"].tolist() == [NOON]
    assert [(one.line, one.reason) for one in table.rejects] == [
        (2, "at is " + f"'<value out of range: {far}"[:37] + "..., expected timestamp"),
        (3, "at is empty"),
    ]
    write_rejects(table, tmp_path / "rejects.csv")
    assert str(far) in pd.read_csv(tmp_path / "rejects.csv")["row"][0]


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Shanghai"])
def test_a_column_that_nobody_reads_is_kept_as_it_is_written(
    tmp_path: Path, zone: str | None
) -> None:
    path = save(tmp_path, pa.array([SECONDS * 1000, 2**62, None], pa.timestamp("ms", zone)))
    table = read_table(path, [TITLE])
    write_table(table.frame, tmp_path / "b.csv")
    back = pd.read_csv(tmp_path / "b.csv", keep_default_na=False)["at"].tolist()
    mark = "" if zone is None else "Z"
    assert back == [f"2024-01-31 12:00:00.000{mark}", f"<value out of range: {2**62}>", ""]


def test_days_beyond_these_years_cost_their_row(tmp_path: Path) -> None:
    day = SECONDS // 86400
    for kind, ticks in ((pa.date32(), 1), (pa.date64(), 86_400_000)):
        path = save(tmp_path, pa.array([day * ticks, 2**30 * ticks, None], kind))
        table = read_table(path, [TITLE, AT])
        assert table.frame["at"].tolist() == [NOON.normalize()]
        said = f"at is '<value out of range: {2**30}>', expected timestamp"
        assert table.rejects[0].reason == said
        assert read_table(path, [TITLE]).frame["at"].tolist()[0] == "2024-01-31"


def test_the_last_second_of_python_s_years_is_read_in_any_zone(tmp_path: Path) -> None:
    last = pd.Timestamp("9999-12-31 23:59:59", tz="UTC")
    at = pa.array([int(last.timestamp()) * 1000], pa.timestamp("ms", "Asia/Shanghai"))
    path = save(tmp_path, at)
    assert read_table(path, [TITLE, AT]).frame["at"].tolist() == [last]
    write_table(read_table(path, [TITLE]).frame, tmp_path / "b.jsonl")
    assert "9999-12-31 23:59:59.000Z" in (tmp_path / "b.jsonl").read_text()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([SECONDS * 1000, None], pa.timestamp("ms")),
        pa.array([None, None], pa.timestamp("us", "UTC")),
        pa.array([19000, 2932896], pa.date32()),
    ],
)
def test_what_python_knows_stays_as_it_came(tmp_path: Path, column: pa.Array) -> None:
    frame = read_table(save(tmp_path, column), [TITLE]).frame
    kept: Any = pd.read_parquet(tmp_path / "a.parquet")["at"].infer_objects()
    pd.testing.assert_series_equal(frame["at"], kept)


def test_a_list_of_such_days_refuses_the_file_in_one_line(tmp_path: Path) -> None:
    path = save(tmp_path, pa.array([[19000], [2**30]], pa.list_(pa.date32())))
    with pytest.raises(DataError, match="is not a sound Parquet file: year 2941775 is out of"):
        read_table(path, [TITLE])
