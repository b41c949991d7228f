"""What is owed to somebody outside: rows that are sent at least once, told apart, and given up.

queued -> sending -> sent; what was refused goes back to queued with a later time; what may or may
not have arrived (unknown) is tried once more under the same identity; what cannot be delivered ends
as dead and stays to be seen. Mails and webhook calls share this; each table has the columns state,
attempts, created_at, next_try_at, lease_until, last_error and sent_at.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, and_, or_, select, update

from shared.errors import ServiceError

RETRY_MINUTES = (1, 5, 15, 60)
REFUSED_RETRY_HOURS = (1, 6, 24)
UNKNOWN_WAIT = timedelta(minutes=10)
GIVE_UP_AFTER = timedelta(days=5)
LEASE = timedelta(minutes=20)
"""Longer than a mail can take: connecting, 30 seconds a command, 10 minutes for the last answer."""
LONGEST_WAIT = timedelta(hours=26)
"""Nothing waits longer: a reader's quiet hours, or REFUSED_RETRY_HOURS; a day may have 25 hours."""
OPEN = ("queued", "sending", "unknown")


class DeliveryError(ServiceError):
    """It was not taken; the same may be tried later."""


class RefusedForGoodError(DeliveryError):
    """It was refused as it is: trying again soon will not help."""


class UnknownOutcomeError(DeliveryError):
    """All was sent, no answer came: it may have arrived."""


@dataclass
class DeliveryReport:
    """Counts of this round; lines: one for each that did not go, in plain words."""

    sent: int = 0
    waiting: int = 0
    unknown: int = 0
    dead: int = 0
    lines: list[str] = field(default_factory=list)


def new_row(now: datetime, not_before: datetime | None = None) -> dict[str, Any]:
    """The columns above, of a row that is to be sent at once or not before a time."""
    return {
        "state": "queued",
        "attempts": 0,
        "created_at": now,
        "next_try_at": now if not_before is None else not_before,
        "last_error": "",
    }


def due_rows(engine: Engine, table: Table, now: datetime, limit: int) -> list[int]:
    """Ids of what is to be sent now, the longest due first. What is to wait, or is being sent, for
    longer than anything is made to was written by a clock that ran ahead, and is due too."""
    waits, sends = table.c.next_try_at, table.c.lease_until
    due = or_(
        and_(
            table.c.state.in_(("queued", "unknown")),
            or_(waits <= now, waits > now + LONGEST_WAIT),
        ),
        # Whoever was sending it has died: its fate is unknown, and it is tried again.
        and_(table.c.state == "sending", or_(sends <= now, sends > now + 2 * LEASE)),
    )
    query = select(table.c.id).where(due).order_by(table.c.next_try_at, table.c.id).limit(limit)
    with engine.begin() as connection:
        return list(connection.execute(query).scalars())


def claim(
    engine: Engine, table: Table, query: Select[Any], number: int, now: datetime
) -> dict[str, Any] | None:
    """Take a row over, so that nobody else sends it: the row of `query` as it now is, or None if
    somebody else was quicker, or the query leaves it out."""
    with engine.begin() as connection:
        found = connection.execute(query.where(table.c.id == number)).mappings().one_or_none()
        if found is None:
            return None
        row = dict(found)
        claimed = connection.execute(
            update(table)
            .where(
                table.c.id == number,
                table.c.state == row["state"],
                table.c.attempts == row["attempts"],
            )
            .values(state="sending", attempts=row["attempts"] + 1, lease_until=now + LEASE)
        ).rowcount
    row["attempts"] += 1
    return row if claimed == 1 else None


def note_sent(
    engine: Engine, table: Table, number: int, now: datetime, report: DeliveryReport
) -> None:
    _mark(engine, table, number, state="sent", sent_at=now, lease_until=None, last_error="")
    report.sent += 1


def note_failed(
    engine: Engine,
    table: Table,
    row: dict[str, Any],
    error: DeliveryError,
    now: datetime,
    report: DeliveryReport,
    what: str,
) -> None:
    """When it is tried again, or that it is given up. what: as the report's line names it."""
    attempts: int = row["attempts"]
    state, wait = "queued", timedelta(minutes=RETRY_MINUTES[min(attempts, 4) - 1])
    if isinstance(error, UnknownOutcomeError):
        # Sent once more, then left to a person: a third copy helps nobody.
        state, wait = ("dead" if row["state"] == "unknown" else "unknown"), UNKNOWN_WAIT
    elif isinstance(error, RefusedForGoodError):
        if attempts > len(REFUSED_RETRY_HOURS):
            state = "dead"
        else:
            wait = timedelta(hours=REFUSED_RETRY_HOURS[attempts - 1])
    if now - row["created_at"] > GIVE_UP_AFTER:
        state = "dead"
    line = f"{what} not sent: {error}"
    if state == "dead":
        report.dead += 1
        line += "; given up, see the outbox"
    else:
        report.unknown += state == "unknown"
        report.waiting += state == "queued"
        line += f"; kept, next attempt {now + wait:%Y-%m-%d %H:%M} UTC"
    report.lines.append(line)
    _mark(
        engine,
        table,
        row["id"],
        state=state,
        next_try_at=now + wait,
        lease_until=None,
        last_error=str(error),
    )


def try_again(connection: Connection, table: Table, number: int, at: datetime) -> bool:
    """A dead one back into the queue, as if it were new; False if it is not dead any more."""
    done = connection.execute(
        update(table)
        .where(table.c.id == number, table.c.state == "dead")
        .values(state="queued", attempts=0, created_at=at, next_try_at=at, lease_until=None)
    )
    return done.rowcount == 1


def _mark(engine: Engine, table: Table, number: int, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(table).where(table.c.id == number).values(**values))
