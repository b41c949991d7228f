"""What is shown of the feeds: what each usually brings, how it answers, what is wrong with it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from sqlalchemy import Connection, case, func, select

from apps.news_monitor.coverage import read_delivery
from apps.news_monitor.feeds import FetchStatus
from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.page_data import last_detector
from apps.news_monitor.settings import SECTION, FetchSettings, NewsSettings
from apps.news_monitor.tables import fetch_log, source
from shared.errors import TriptychError
from shared.settings import load_section, settings_file

ASKED_SHOWN = 100
ASKED_SPAN = timedelta(days=7)
ANSWERED = (FetchStatus.OK.value, FetchStatus.NOT_MODIFIED.value)
USUAL_OVERDUE = FetchSettings().overdue


def overdue_as_set(environ: Mapping[str, str]) -> timedelta:
    """How long a feed may be without a good answer by the settings in force; as by default where
    they cannot be read, which the page Settings tells of."""
    try:
        file = settings_file(environ)
        return load_section(NewsSettings, SECTION, file=file, environ=environ).fetch.overdue
    except TriptychError:
        return USUAL_OVERDUE


def source_frame(connection: Connection, overdue: timedelta = USUAL_OVERDUE) -> pd.DataFrame:
    """Every feed: when it last answered, how much it usually brings, what is wrong with it.

    Silent is what its own past makes all but impossible, at the last hour judged, or a feed without
    a good answer for as long as `overdue`.
    """
    detector = last_detector(connection)
    brings: dict[int | str, tuple[float, int, bool]] = {}
    if detector is not None:
        found = read_delivery(connection, hours=[epoch_hour(detector.until)], overdue=overdue)
        brings = {
            key: (float(found.usual[0, o]), int(found.quiet[0, o]), bool(found.absent[0, o]))
            for o, key in enumerate(found.outlets.keys)
        }
    rows = connection.execute(
        select(source).where(source.c.enabled.is_(True)).order_by(source.c.url)
    ).all()
    return pd.DataFrame(
        [
            {
                "feed": row.title or row.url,
                "address": row.url,
                "listed by": row.origin,
                "last answer": row.last_ok_at,
                "state": row.last_status or "not asked yet",
                "usual a day": round(brings.get(row.id, (0.0, 0, False))[0], 1),
                "hours without news": brings.get(row.id, (0.0, 0, False))[1],
                "silent": brings.get(row.id, (0.0, 0, False))[2],
                "failures in a row": row.error_count,
                "problem": row.last_error,
                "next check": row.next_check_at,
            }
            for row in rows
        ]
    )


def publisher_frame(connection: Connection) -> pd.DataFrame:
    """Where nothing is fetched: every publisher that has a usual rate, the largest first."""
    detector = last_detector(connection)
    if detector is None:
        return pd.DataFrame()
    hours = [epoch_hour(detector.until)]
    found = read_delivery(connection, hours=hours, overdue=USUAL_OVERDUE)
    names, usual = found.outlets.names, found.usual[0]
    known = sorted(np.flatnonzero(usual > 0).tolist(), key=lambda o: (-usual[o], names[o]))
    return pd.DataFrame(
        [
            {
                "publisher": names[o],
                "usual a day": round(float(usual[o]), 1),
                "hours without news": int(found.quiet[0, o]),
                "silent": bool(found.absent[0, o]),
            }
            for o in known
        ]
    )


def answers_of_feeds(connection: Connection, until: datetime) -> pd.DataFrame:
    """By address: of the week up to `until`, how often each was asked, the parts that failed and
    that had nothing new since (304), how long it took, what it brought."""
    failed = case((fetch_log.c.status.in_(ANSWERED), 0), else_=1)
    unchanged = case((fetch_log.c.status == FetchStatus.NOT_MODIFIED.value, 1), else_=0)
    rows = connection.execute(
        select(
            source.c.url,
            func.count().label("asked"),
            func.sum(failed).label("failed"),
            func.sum(unchanged).label("unchanged"),
            func.avg(fetch_log.c.milliseconds).label("milliseconds"),
            func.sum(fetch_log.c.n_new).label("new"),
        )
        .join(source, source.c.id == fetch_log.c.source_id)
        .where(fetch_log.c.started_at > until - ASKED_SPAN, fetch_log.c.started_at <= until)
        .group_by(source.c.url)
        .order_by(source.c.url)
    )
    return pd.DataFrame(
        [
            {
                "address": row.url,
                "asked, 7 days": row.asked,
                "failed": row.failed / row.asked,
                "unchanged": row.unchanged / row.asked,
                "seconds": round(float(row.milliseconds) / 1000, 2),
                "new articles": row.new,
            }
            for row in rows
        ],
        columns=["address", "asked, 7 days", "failed", "unchanged", "seconds", "new articles"],
    )


def last_answers(connection: Connection, url: str, limit: int = ASKED_SHOWN) -> pd.DataFrame:
    """How one feed answered, the newest first."""
    rows = connection.execute(
        select(fetch_log)
        .join(source, source.c.id == fetch_log.c.source_id)
        .where(source.c.url == url)
        .order_by(fetch_log.c.started_at.desc(), fetch_log.c.id.desc())
        .limit(limit)
    )
    return pd.DataFrame(
        [
            {
                "asked": row.started_at,
                "answer": row.status,
                "seconds": row.milliseconds / 1000,
                "KiB": round(row.bytes / 1024, 1),
                "entries": row.n_items,
                "new": row.n_new,
                "problem": row.error,
            }
            for row in rows
        ]
    )
