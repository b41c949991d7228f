"""`triptych data doctor recommender`: a catalogue, a log, what an evaluation on them is worth."""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pandas as pd

from apps.recommender.behaviour_doctor import EventTable, check_behaviour, event_table
from apps.recommender.catalog_doctor import check_catalogue, item_table
from apps.recommender.formats import read_event_file, read_item_file
from apps.recommender.leakage_doctor import check_leakage
from apps.recommender.settings import read_settings
from shared.data_findings import DataReport


def examine_shop(
    items: Path,
    events: Path | None,
    mapping: Mapping[str, str],
    *,
    held_out: Path | None = None,
    now: datetime,
) -> DataReport:
    """held_out: events to judge by, in a file of their own. now: later events are of the future.

    Raises: DataError: a file that cannot be read at all.
    """
    settings = read_settings(os.environ)
    catalogue = item_table(items, read_item_file(items, mapping), settings)
    ids = catalogue.frame["item_id"].tolist()
    read = [f"{items.name}: {len(catalogue.raw.frame):,} rows, {len(ids):,} items"]
    log = None if events is None else event_table(events, read_event_file(events, mapping), ids)
    findings = check_catalogue(catalogue, _last_taken(log), settings, now)
    if log is not None:
        users = int(log.user[log.user != ""].nunique())
        read.append(f"{log.path.name}: {len(log):,} events of {users:,} users")
        findings += check_behaviour(log, settings.events, now)
        later = None
        if held_out is not None:
            later = event_table(held_out, read_event_file(held_out, mapping), ids)
            read.append(f"{held_out.name}: {len(later):,} events to judge by")
        findings += check_leakage(log, later)
    return DataReport("Data doctor: recommender", tuple(read), tuple(findings))


def _last_taken(log: EventTable | None) -> "pd.Series[pd.Timestamp] | None":
    if log is None or not log.has_clock:
        return None
    last = log.pairs().groupby("item")["time"].max()
    return pd.to_datetime(last, unit="us", utc=True)
