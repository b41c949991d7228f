"""Cells to typed columns: text, numbers, time stamps; which cells are empty, which are wrong."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

UTC_TIME = pd.DatetimeTZDtype("us", "UTC")
FIRST, LAST = (pd.Timestamp(at, tz="UTC") for at in (datetime.min, datetime.max))
# A plain number is seconds since 1970 below this, else milliseconds, µs, ns: 1e11 s is the year
# 5138 and 1e11 ms is March 1973.
EPOCH_UNITS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (1e20, "ns"))
ISO_DAY = r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"  # 20240131, not an epoch


@dataclass(frozen=True, eq=False)
class Converted:
    """values: the typed column. empty: (n,) whether a cell was. wrong: row -> its cell as text."""

    values: "pd.Series[Any]"
    empty: NDArray[np.bool_]
    wrong: dict[int, str] = field(default_factory=dict)


def as_texts(values: "pd.Series[Any]") -> Converted:
    """Text as it stands; whole numbers and booleans as written; a list of texts joined by |.

    White space alone is empty. A table or a nested list is wrong.
    """
    wrong: dict[int, str] = {}
    if not _is_str(values):
        values = pd.Series(
            [_text(cell, row, wrong) for row, cell in enumerate(values)], dtype="str"
        )
    values = values.fillna("")
    return Converted(values, _blank(values), wrong)


def as_numbers(values: "pd.Series[Any]") -> Converted:
    """float64; NaN where empty or wrong. Infinity and NaN written out are wrong."""
    texts = as_texts(values).values
    empty = _blank(texts)
    numbers = pd.to_numeric(texts.str.strip(), errors="coerce").astype("float64")
    bad = ~empty & ~np.isfinite(numbers.to_numpy())
    return Converted(numbers.where(~bad), empty, _shown(texts, bad))


def as_timestamps(values: "pd.Series[Any]") -> Converted:
    """datetime64[us, UTC]; NaT where empty or wrong.

    Read: ISO 8601 (UTC where it has no offset), numbers since 1970 in s, ms, µs or ns by their
    size, and the dates of mail and feeds (RFC 2822). What lies outside the years 1 to 9999 in UTC
    is wrong: Python has no time for it.
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        times = pd.to_datetime(values, utc=True)
        beyond = _beyond(times)
        wrong = _shown(times.dt.tz_localize(None).astype("str"), beyond)
        empty = times.isna().to_numpy()
        return Converted(times.mask(beyond).astype(UTC_TIME), empty, wrong)
    texts = as_texts(values).values.str.strip()
    empty = _blank(texts)
    times = pd.Series(pd.NaT, index=texts.index, dtype=UTC_TIME)
    numbers = pd.to_numeric(texts, errors="coerce").where(~texts.str.fullmatch(ISO_DAY))
    below = 0.0
    for limit, unit in EPOCH_UNITS:
        chosen = (numbers.abs() >= below) & (numbers.abs() < limit)
        if chosen.any():
            # Whole µs first: as floats, to_datetime would round what a double holds exactly.
            scale = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}[unit]
            micros = (numbers[chosen] * scale).round().astype("int64")
            times[chosen] = pd.to_datetime(micros, unit="us", utc=True).astype(UTC_TIME)
        below = limit
    written = numbers.isna() & ~empty
    if written.any():
        read = pd.to_datetime(texts[written], utc=True, format="ISO8601", errors="coerce")
        times[written] = read.astype(UTC_TIME)
    for row in np.flatnonzero(times.isna() & ~empty):
        times.iloc[int(row)] = _mail_date(texts.iloc[int(row)])
    times = times.mask(_beyond(times))
    bad = times.isna().to_numpy() & ~empty
    return Converted(times, empty, _shown(texts, bad))


def _beyond(times: "pd.Series[Any]") -> NDArray[np.bool_]:
    return ((times < FIRST) | (times > LAST)).to_numpy(dtype=bool)


def _is_str(values: "pd.Series[Any]") -> bool:
    return isinstance(values.dtype, pd.StringDtype)


def _blank(texts: "pd.Series[Any]") -> NDArray[np.bool_]:
    return (texts.str.strip() == "").to_numpy(dtype=bool)


def _shown(texts: "pd.Series[Any]", bad: NDArray[np.bool_]) -> dict[int, str]:
    return {int(row): repr(texts.iloc[row]) for row in np.flatnonzero(bad)}


def _text(cell: object, row: int, wrong: dict[int, str]) -> str:
    if isinstance(cell, str):
        return cell
    if cell is None or cell is pd.NaT or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if isinstance(cell, list | tuple) and all(isinstance(part, str) for part in cell):
        return "|".join(cell)
    if isinstance(cell, list | tuple | dict):
        wrong[row] = json.dumps(cell, ensure_ascii=False, default=str)
        return ""
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="replace")
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    return str(cell)


def _mail_date(text: str) -> pd.Timestamp:
    try:
        read = pd.Timestamp(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return pd.NaT  # type: ignore[return-value]
    return read.tz_localize("UTC") if read.tzinfo is None else read.tz_convert("UTC")
