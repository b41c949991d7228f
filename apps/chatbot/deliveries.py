"""What the outside is told of handovers: signed POSTs to one address, each sent at least once.

queued -> sending -> sent; what is refused goes back to queued with a later time, and ends as dead
when it was tried often enough: then it stays to be seen and can be queued again. A row is written
in the transaction of what it tells, so nothing is told that did not happen, and nothing forgotten.
What is told of one customer goes in order: the next waits until the one before has gone or is dead.
"""

import hmac
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import Connection, Engine, Row, and_, delete, exists, insert, or_, select, update
from sqlalchemy.orm import aliased

from apps.chatbot.tables import deliveries
from shared.errors import DataError

LOG = logging.getLogger(__name__)
# Seconds after the first refusal, the second, …; after the last one it is dead: an hour in all, for
# what is told of a chat is worth little later.
RETRY_SECONDS = (5, 15, 60, 300, 900, 900, 900, 900)
TIMEOUT_SECONDS = 10.0
LEASE = timedelta(minutes=2)
"""Longer than a delivery can take: connecting, writing and reading, 10 seconds each."""
KEPT = timedelta(days=7)
SIGNATURE_HEADER = "X-Triptych-Signature"


@dataclass(frozen=True)
class Delivery:
    """One thing told. state: queued, sending, sent or dead. last_error: why the last try failed."""

    id: int
    event: str
    sender: str
    state: str
    attempts: int
    created_at: datetime
    next_try_at: datetime
    last_error: str
    body: Mapping[str, Any]


class Deliveries:
    """The queue to one address; without one nothing is queued and nothing sent."""

    def __init__(
        self, engine: Engine, *, url: str, secret: str, clock: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self.url = url
        self._secret = secret
        self._clock = clock

    def note(
        self, connection: Connection, event: str, sender: str, body: Mapping[str, Any]
    ) -> None:
        """Queue it in the caller's transaction."""
        if not self.url:
            return
        now = self._clock()
        whole = {"event": event, "sender": sender, "at": now.isoformat(), **body}
        connection.execute(
            insert(deliveries).values(
                event=event, sender=sender, body=json.dumps(whole, ensure_ascii=False),
                state="queued", attempts=0, next_try_at=now, last_error="", created_at=now,
            )
        )  # fmt: skip

    def deliver_due(self, limit: int = 100) -> int:
        """Send what is due, one after the other; returns how many went. Several processes may do
        so at once."""
        if not self.url:
            return 0
        sent = 0
        with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            for _ in range(limit):
                row = self._claim()
                if row is None:
                    break
                sent += self._send(client, row)
        self._forget()
        return sent

    def listed(self, state: str, limit: int = 100) -> tuple[Delivery, ...]:
        """Those in this state, the newest first."""
        query = select(deliveries).where(deliveries.c.state == state)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(deliveries.c.id.desc()).limit(limit)).all()
        return tuple(_delivery(row) for row in rows)

    def retry(self, number: int) -> None:
        """Queue a dead one again. Raises DataError where there is none of that number."""
        with self._engine.begin() as connection:
            done = connection.execute(
                update(deliveries)
                .where(deliveries.c.id == number, deliveries.c.state == "dead")
                .values(state="queued", attempts=0, next_try_at=self._clock())
            )
        if done.rowcount == 0:
            raise DataError(f"delivery {number}: no dead one of that number")

    def _claim(self) -> Row[Any] | None:
        """Take the first that is due and whose customer has none before it."""
        now = self._clock()
        earlier = aliased(deliveries)
        blocked = exists().where(
            earlier.c.sender == deliveries.c.sender,
            earlier.c.id < deliveries.c.id,
            earlier.c.state.in_(("queued", "sending")),
        )
        due = or_(
            and_(deliveries.c.state == "queued", deliveries.c.next_try_at <= now),
            # Who was sending it has died, perhaps after it went: it goes again.
            and_(deliveries.c.state == "sending", deliveries.c.lease_until <= now),
        )
        query = select(deliveries).where(due, ~blocked).order_by(deliveries.c.id).limit(1)
        with self._engine.begin() as connection:
            while (row := connection.execute(query).one_or_none()) is not None:
                taken = connection.execute(
                    update(deliveries)
                    .where(deliveries.c.id == row.id, deliveries.c.attempts == row.attempts)
                    .where(deliveries.c.state == row.state)
                    .values(state="sending", attempts=row.attempts + 1, lease_until=now + LEASE)
                )
                if taken.rowcount == 1:
                    return row
        return None

    def _send(self, client: httpx.Client, row: Row[Any]) -> bool:
        content = row.body.encode()
        now = self._clock()
        headers = {
            "Content-Type": "application/json",
            "X-Triptych-Delivery": str(row.id),
            SIGNATURE_HEADER: signature(self._secret, content, now),
        }
        try:
            # Streamed: of the answer only its status is read, however long it is.
            with client.stream("POST", self.url, content=content, headers=headers) as answer:
                refused = "" if answer.is_success else f"answered {answer.status_code}"
        except httpx.HTTPError as error:
            refused = f"{type(error).__name__}: {error}"
        self._settle(row, refused)
        return not refused

    def _settle(self, row: Row[Any], refused: str) -> None:
        now = self._clock()
        values: dict[str, Any] = {"lease_until": None, "last_error": refused[:500]}
        if not refused:
            values |= {"state": "sent", "sent_at": now}
        elif row.attempts < len(RETRY_SECONDS):
            wait = timedelta(seconds=RETRY_SECONDS[row.attempts])
            values |= {"state": "queued", "next_try_at": now + wait}
        else:
            values |= {"state": "dead"}
            LOG.warning(
                "delivery %d given up after %d tries: %s", row.id, row.attempts + 1, refused
            )
        with self._engine.begin() as connection:
            connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(**values))

    def _forget(self) -> None:
        """What went long ago holds customers' words for nothing."""
        old = and_(deliveries.c.state == "sent", deliveries.c.sent_at < self._clock() - KEPT)
        with self._engine.begin() as connection:
            connection.execute(delete(deliveries).where(old))


def signature(secret: str, content: bytes, at: datetime) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA256 under the secret of "SECONDS.CONTENT"; the time stands in it
    so that what was overheard is worth nothing later."""
    seconds = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), seconds.encode() + b"." + content, "sha256").hexdigest()
    return f"t={seconds},v1={digest}"


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        row.id, row.event, row.sender, row.state, row.attempts, row.created_at, row.next_try_at,
        row.last_error, json.loads(row.body),
    )  # fmt: skip
