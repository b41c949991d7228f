"""Which feeds are to be asked now, as their rows say; a schedule that no restart upsets."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, or_, select, update

from apps.news_monitor.feed_list import sync_feeds
from apps.news_monitor.feeds import LONGEST_WAIT
from apps.news_monitor.settings import FetchSettings
from apps.news_monitor.tables import source

FURTHEST = LONGEST_WAIT * 1.25
"""No next time is set further ahead, its spread included: one that lies there was set by a clock
that ran ahead."""
ASTRAY = timedelta(hours=1)
"""A clock that was put right by less is not told from two machines that differ a little."""


def due_feeds(
    connection: Connection, feeds: Sequence[str], settings: FetchSettings, now: datetime
) -> tuple[list[dict[str, Any]], str]:
    """Rows of the feeds to ask now, and a line about what is wrong with the schedule, or "". Their
    next time is written before they are asked, so that a crash or a restart makes no burst."""
    sync_feeds(connection, feeds, now)
    ahead = or_(source.c.next_check_at > now + FURTHEST, source.c.last_ok_at > now + ASTRAY)
    query = (
        select(source, ahead.label("ahead"))
        .where(source.c.enabled.is_(True), or_(source.c.next_check_at <= now, ahead))
        .order_by(source.c.next_check_at, source.c.id)
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    astray = sum(bool(row.pop("ahead")) for row in rows)
    if rows:
        last_ok = case((source.c.last_ok_at > now, now), else_=source.c.last_ok_at)
        connection.execute(
            update(source)
            .where(source.c.id.in_([row["id"] for row in rows]))
            .values(
                next_check_at=now + timedelta(minutes=settings.every_minutes), last_ok_at=last_ok
            )
        )
    ran_ahead = f"the clock ran ahead: feeds asked before the time it had set for them: {astray}"
    return rows, ran_ahead if astray else ""
