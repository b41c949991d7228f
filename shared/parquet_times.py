"""Dates and times of a Parquet file that Python has none for: it knows the years 1 to 9999."""

from datetime import date, datetime

import pyarrow
import pyarrow.compute

EPOCH, DAY = date(1970, 1, 1), 24 * 3600
FIRST_DAY, LAST_DAY = (date.min - EPOCH).days, (datetime.max.date() - EPOCH).days
TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""In a second."""


def as_written(table: pyarrow.Table) -> pyarrow.Table:
    """The table with columns that hold such a date as text, the others as they are: it costs its
    row, where it is asked for, and neither the file nor a column that nobody reads."""
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if pyarrow.types.is_dictionary(field.type):
            column = column.cast(field.type.value_type)
        if _beyond(column):
            table = table.set_column(place, field.name, _texts(column))
    return table


def _beyond(column: pyarrow.ChunkedArray) -> bool:
    kind = column.type
    if pyarrow.types.is_date32(kind):
        ticks, numbers = 1, column.cast(pyarrow.int32())
    elif pyarrow.types.is_date64(kind):
        ticks, numbers = DAY * TICKS["ms"], column.cast(pyarrow.int64())
    elif pyarrow.types.is_timestamp(kind):
        ticks, numbers = DAY * TICKS[kind.unit], column.cast(pyarrow.int64())
    else:
        return False
    ends = pyarrow.compute.min_max(numbers).as_py()
    if ends["min"] is None:
        return False
    # By the clock of its zone it may be a day earlier or later.
    zone = int(pyarrow.types.is_timestamp(kind) and kind.tz is not None)
    first, last = (FIRST_DAY + zone) * ticks, (LAST_DAY + 1 - zone) * ticks
    return bool(ends["min"] < first or ends["max"] >= last)


def _texts(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Times of a zone in UTC: beyond those years Arrow writes none by a zone's clock."""
    kind = column.type
    if not pyarrow.types.is_timestamp(kind) or kind.tz is None:
        return column.cast(pyarrow.string())
    texts = column.cast(pyarrow.timestamp(kind.unit)).cast(pyarrow.string())
    marked = pyarrow.compute.binary_join_element_wise(texts, "Z", "")
    return pyarrow.compute.if_else(pyarrow.compute.starts_with(texts, "<"), texts, marked)
