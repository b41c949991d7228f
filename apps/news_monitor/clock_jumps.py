"""A clock that ran ahead and was put right: what it judged of hours that have not come.

Those moments were judged on nothing, and would be taken for judged when they come. What was stored
of them goes. What was told stays told: a surge that ended in those hours alone goes on where it
still does, under the alert it had, and one that fires ends by the next honest looks.
"""

from datetime import datetime

from sqlalchemy import Connection, Table, case, delete, func, select, update

from apps.news_monitor.broad import SPAN
from apps.news_monitor.bucket_counts import at_hour
from apps.news_monitor.episodes import Phase
from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.judging_tables import (
    alert,
    attention,
    attention_state,
    broad,
    calibration,
    decision,
    detector_config,
    detector_state,
    evaluation,
)


def take_back(connection: Connection, now: datetime, cooldown_hours: int) -> str:
    """Let judging go on from the last whole hour before `now`, by whatever configuration, if it
    had gone beyond `now`; a line about it, or "". cooldown_hours: see EpisodeRule."""
    last = connection.execute(select(func.max(detector_config.c.evaluated_until))).scalar_one()
    if last is None or last <= now:
        return ""
    hour = epoch_hour(now)
    cut = at_hour(hour)
    for table in (evaluation, decision, calibration):
        connection.execute(delete(table).where(table.c.at > cut))
    # Attention is told to nobody: what began in those hours need not be remembered.
    gone = select(attention.c.id).where(attention.c.opened_at > cut)
    connection.execute(
        update(attention_state)
        .where(attention_state.c.attention_id.in_(gone))
        .values(phase=int(Phase.QUIET), streak=0, attention_id=None)
    )
    connection.execute(delete(attention).where(attention.c.opened_at > cut))
    _cool_from(connection, detector_state, alert, cut, hour + cooldown_hours)
    _cool_from(connection, attention_state, attention, cut, hour + cooldown_hours)
    # A common mail of those hours would take in every alert until they have come.
    connection.execute(update(broad).where(broad.c.joined_at > cut).values(joined_at=cut - SPAN))
    connection.execute(
        update(detector_config)
        .where(detector_config.c.evaluated_until > cut)
        .values(evaluated_until=cut)
    )
    return (
        f"the clock ran ahead: hours up to {_when(last)} were judged that have not come; judging "
        f"goes on from {_when(cut)}"
    )


def _cool_from(
    connection: Connection, states: Table, records: Table, cut: datetime, until: int
) -> None:
    """What ended after `cut` ended then, and cools until the epoch hour `until`: if it still goes
    on, it is the same one."""
    (reference,) = (column for column in states.c if column.references(records.c.id))
    ended = select(records.c.id).where(records.c.resolved_at > cut)
    connection.execute(
        update(states)
        .where(states.c.phase != int(Phase.FIRING), reference.in_(ended))
        .values(phase=int(Phase.COOLING), streak=0, cool_until=until)
    )
    connection.execute(update(states).where(states.c.cool_until > until).values(cool_until=until))
    over = case((records.c.opened_at > cut, records.c.opened_at), else_=cut)
    connection.execute(update(records).where(records.c.resolved_at > cut).values(resolved_at=over))


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
