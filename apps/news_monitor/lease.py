"""One monitor for one database: a lease that its holder renews and that runs out when it dies.

Judging times by the clocks of two machines alone would be fragile. A row therefore also counts its
renewals: who waits sees by its own clock whether the holder still moves, whatever the wall clocks
say. A holder that was suspended and comes back finds its lease gone and stops; what it had begun is
harmless, because every job's work is found in the database and written once.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, delete, or_, select, update
from sqlalchemy.exc import OperationalError

from apps.news_monitor.ingest import insert_new
from apps.news_monitor.tables import lease
from shared.errors import ServiceError

MONITOR = "monitor"
LEASE = timedelta(minutes=2)
"""A holder that has not renewed for so long is taken for dead: six missed renewals, and more than
a writer to SQLite ever waits for another one (30 s)."""
RENEW_SECONDS = 20.0
LOG = logging.getLogger(__name__)


class LeaseHeldError(ServiceError):
    """Another monitor runs on this database."""


class LeaseLostError(ServiceError):
    """Another monitor has taken over from this one."""


@dataclass(frozen=True)
class Holding:
    """Who holds a lease. renewals: grows while it lives; until: when it runs out unrenewed."""

    holder: str
    since: datetime
    until: datetime
    renewals: int


class Lease:
    """The right to run the monitor's jobs, for one holder.

    holder: a name of this process that no other has, such as "host, process 17, 3f9a".
    """

    def __init__(
        self, engine: Engine, holder: str, *, name: str = MONITOR, lasts: timedelta = LEASE
    ) -> None:
        self._engine = engine
        self.holder = holder
        self._name = name
        self._lasts = lasts

    def holding(self) -> Holding | None:
        """Who holds it by the table, None if nobody ever did or the last one gave it back."""
        with self._engine.begin() as connection:
            return self._read(connection)

    def acquire(self, now: datetime) -> Holding | None:
        """Take or keep the lease; None if it is ours now, else who has it.

        A row that was renewed further in the future than a lease lasts was written by a clock that
        has since been set back: it would never run out, so it counts as run out.
        """
        row = {
            "name": self._name,
            "holder": self.holder,
            "since": now,
            "renewed_at": now,
            "until": now + self._lasts,
            "renewals": 1,
        }
        with self._engine.begin() as connection:
            insert_new(connection, lease, [row])
            free = or_(lease.c.until <= now, lease.c.renewed_at > now + self._lasts)
            connection.execute(
                update(lease)
                .where(lease.c.name == self._name, lease.c.holder != self.holder, free)
                .values({**row, "renewals": lease.c.renewals + 1})
            )
            found = self._read(connection)
            if found is not None and found.holder != self.holder:
                return found
            self._renew(connection, now)
        return None

    def renew(self, now: datetime) -> None:
        """Push the end of the lease out. Raises LeaseLostError if somebody else has it."""
        with self._engine.begin() as connection:
            if self._renew(connection, now):
                return
            found = self._read(connection)
        # Gone without a new holder: a person has emptied the table. It is ours to take again.
        other = self.acquire(now) if found is None else found
        if other is not None:
            raise LeaseLostError(
                f"{other.holder} has taken this database over since {_when(other.since)}: it was "
                f"not renewed for {self._lasts.total_seconds():.0f} s. This monitor stops"
            )

    def take_over(self, holding: Holding, now: datetime) -> bool:
        """Take the lease of a holder that was seen not to move, whatever its clock says; False if
        it has moved after all."""
        with self._engine.begin() as connection:
            taken = connection.execute(
                update(lease)
                .where(
                    lease.c.name == self._name,
                    lease.c.holder == holding.holder,
                    lease.c.renewals == holding.renewals,
                )
                .values(
                    holder=self.holder,
                    since=now,
                    renewed_at=now,
                    until=now + self._lasts,
                    renewals=holding.renewals + 1,
                )
            )
            return taken.rowcount == 1

    def release(self) -> None:
        """Give it back, so that the next one need not wait; does nothing if it is not ours."""
        with self._engine.begin() as connection:
            connection.execute(
                delete(lease).where(lease.c.name == self._name, lease.c.holder == self.holder)
            )

    def wait(
        self,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], object],
        say: Callable[[str], None],
        *,
        every: float = 5.0,
    ) -> None:
        """Return when the lease is ours: given back, run out, or its holder no longer moves."""
        told = ""
        seen: tuple[str, int] | None = None
        since = monotonic()
        while True:
            other = self.acquire(clock())
            if other is None:
                return
            if (other.holder, other.renewals) != seen:
                seen, since = (other.holder, other.renewals), monotonic()
            elif monotonic() - since > self._lasts.total_seconds():
                if self.take_over(other, clock()):
                    return
                continue
            if told != other.holder:
                say(f"{held_line(other)}; waiting until it stops or its lease runs out")
                told = other.holder
            sleep(every)

    def _renew(self, connection: Connection, now: datetime) -> bool:
        done = connection.execute(
            update(lease)
            .where(lease.c.name == self._name, lease.c.holder == self.holder)
            .values(renewed_at=now, until=now + self._lasts, renewals=lease.c.renewals + 1)
        )
        return done.rowcount == 1

    def _read(self, connection: Connection) -> Holding | None:
        row = connection.execute(
            select(lease.c.holder, lease.c.since, lease.c.until, lease.c.renewals).where(
                lease.c.name == self._name
            )
        ).one_or_none()
        return None if row is None else Holding(*row)


class Heartbeat:
    """Renews a lease from a thread of its own, so that no slow job lets it run out.

    A context: at its end the renewing stops and the lease is given back.
    """

    def __init__(
        self, lease: Lease, clock: Callable[[], datetime], *, seconds: float = RENEW_SECONDS
    ) -> None:
        self._lease = lease
        self._clock = clock
        self._seconds = seconds
        self._ended = threading.Event()
        self._lost: LeaseLostError | None = None
        self._tell: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._lease.release()

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Call `tell` as soon as the lease is lost; at once, if it is already."""
        self._tell = tell
        if self._lost is not None:
            tell()

    def check(self) -> None:
        """Raises LeaseLostError if the lease has been lost."""
        if self._lost is not None:
            raise self._lost

    def _beat(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._lease.renew(self._clock())
            except LeaseLostError as error:
                self._lost = error
                self._tell()
                return
            except (ServiceError, OperationalError) as error:
                # Locked or not reached: the lease stands until it runs out, the next beat may do.
                LOG.warning("the lease could not be renewed: %s", error)


def held_line(holding: Holding) -> str:
    """Such as "another monitor (bank1, process 17) runs on this database since …"."""
    return (
        f"another monitor ({holding.holder}) has been running on this database since "
        f"{_when(holding.since)}, its lease lasts until {_when(holding.until)}"
    )


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
