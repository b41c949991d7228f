"""What readers answer to alerts: acknowledged, silenced, useful or not; and who is written to.

An acknowledged alert is not mailed again. While a topic is silenced its alerts are kept with their
evidence and told to nobody. Marks are kept for learning: who found which alert worth its mail.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, inspect, select, update

from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.tables import topic
from apps.news_monitor.telling_tables import (
    acknowledgement,
    mark,
    outbox,
    recipient,
    silence,
    silenced,
)
from shared.errors import DataError

LONGEST_SILENCE = 720
"""Hours."""


@dataclass(frozen=True)
class Answers:
    """What was answered to one alert. silenced_by: the silence under which it opened; useful,
    not_useful: who marked it so."""

    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None
    silenced_by: str = ""
    useful: tuple[str, ...] = ()
    not_useful: tuple[str, ...] = ()

    @property
    def said(self) -> list[str]:
        """One sentence each."""
        lines = []
        if self.acknowledged_at is not None:
            lines.append(
                f"Acknowledged by {self.acknowledged_by}, {self.acknowledged_at:%Y-%m-%d %H:%M} UTC"
            )
        if self.silenced_by:
            lines.append(f"Told to nobody: its topic was silenced by {self.silenced_by}")
        for word, names in (("Useful", self.useful), ("Not useful", self.not_useful)):
            if names:
                lines.append(f"{word} to {', '.join(names)}")
        return lines


@dataclass(frozen=True)
class Silence:
    """A topic of whose alerts nobody is told, for a time."""

    id: int
    topic: str
    begins_at: datetime
    ends_at: datetime
    by: str


@dataclass
class _Gathered:
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None
    silenced_by: str = ""
    marks: dict[bool, list[str]] = field(default_factory=lambda: {True: [], False: []})


def acknowledge(connection: Connection, alert_id: int, by: str, at: datetime) -> str:
    """Somebody looks into it; the first to say so stands. Returns a sentence."""
    insert_new(connection, acknowledgement, [{"alert_id": alert_id, "by": by, "at": at}])
    row = connection.execute(
        select(acknowledgement).where(acknowledgement.c.alert_id == alert_id)
    ).one()
    return f"Acknowledged by {row.by} at {row.at:%Y-%m-%d %H:%M} UTC. It is not mailed again."


def silence_topic(connection: Connection, alert_id: int, hours: int, by: str, at: datetime) -> str:
    """Tell nobody of alerts about this alert's topic for so many hours. Returns a sentence.

    Raises DataError unless 1 <= hours <= 720.
    """
    if not 1 <= hours <= LONGEST_SILENCE:
        raise DataError(f"a silence of {hours} hours, expected 1 to {LONGEST_SILENCE}")
    row = connection.execute(
        select(topic.c.id, topic.c.name)
        .join(alert, alert.c.topic_id == topic.c.id)
        .where(alert.c.id == alert_id)
    ).one()
    until = at + timedelta(hours=hours)
    held = connection.execute(
        select(func.max(silence.c.ends_at)).where(
            silence.c.topic_id == row.id, silence.c.begins_at <= at
        )
    ).scalar_one()
    if held is None or held < until:  # pressed twice, it lasts as long as the longer one
        connection.execute(
            insert(silence).values(topic_id=row.id, begins_at=at, ends_at=until, by=by)
        )
    else:
        until = held
    return f"{row.name} is silenced until {until:%Y-%m-%d %H:%M} UTC: nobody is told of its alerts."


def end_silence(connection: Connection, silence_id: int, at: datetime) -> None:
    """Tell of the topic again from now on."""
    connection.execute(
        update(silence).where(silence.c.id == silence_id, silence.c.ends_at > at).values(ends_at=at)
    )


def mark_alert(connection: Connection, alert_id: int, useful: bool, by: str, at: datetime) -> str:
    """Whether an alert was worth its mail to somebody; a later mark replaces the earlier one.
    Returns a sentence."""
    key = {"alert_id": alert_id, "by": by}
    insert_new(connection, mark, [{**key, "useful": useful, "at": at}])
    connection.execute(
        update(mark)
        .where(mark.c.alert_id == alert_id, mark.c.by == by)
        .values(useful=useful, at=at)
    )
    return "Thank you: marked as useful." if useful else "Thank you: marked as not useful."


def write_to(connection: Connection, recipient_id: int, wanted: bool) -> str:
    """Whether a recipient gets mails at all. Returns a sentence."""
    email = connection.execute(
        update(recipient)
        .where(recipient.c.id == recipient_id)
        .values(enabled=wanted)
        .returning(recipient.c.email)
    ).scalar_one()
    if not wanted:
        connection.execute(
            update(outbox)
            .where(
                outbox.c.recipient_id == recipient_id,
                outbox.c.state.in_(("queued", "digest", "offline")),
            )
            .values(state="dead", last_error="unsubscribed")
        )
    if wanted:
        return f"{email} gets mails of the news monitor again."
    return f"{email} gets no more mails of the news monitor."


def silences(connection: Connection, at: datetime) -> list[Silence]:
    """Those that hold now, the one that ends first before the others."""
    query = (
        select(silence, topic.c.name)
        .join(topic, topic.c.id == silence.c.topic_id)
        .where(silence.c.begins_at <= at, silence.c.ends_at > at)
        .order_by(silence.c.ends_at, silence.c.id)
    )
    return [
        Silence(row.id, row.name, row.begins_at, row.ends_at, row.by)
        for row in connection.execute(query)
    ]


def silence_of(
    connection: Connection, topic_ids: Collection[int], at: datetime, now: datetime
) -> dict[int, int]:
    """topic -> the silence that holds for an alert of the moment `at` that is told `now`: one that
    held at any time between the two. An hour is judged after it has passed; who silences a topic
    meanwhile is not to be told of it either."""
    query = (
        select(silence.c.topic_id, silence.c.id)
        .where(
            silence.c.topic_id.in_(topic_ids),
            silence.c.begins_at <= max(at, now),
            silence.c.ends_at > min(at, now),
        )
        .order_by(silence.c.id)
    )
    return {row.topic_id: row.id for row in connection.execute(query)}


def note_silenced(connection: Connection, alert_id: int, silence_id: int) -> None:
    insert_new(connection, silenced, [{"alert_id": alert_id, "silence_id": silence_id}])


def answerable(connection: Connection) -> bool:
    """False for a database that no monitor has opened since there are answers."""
    return inspect(connection).has_table(acknowledgement.name)


def answers_to(connection: Connection, alert_ids: Sequence[int]) -> Mapping[int, Answers]:
    """What was answered to each of these alerts; empty for a database of before there were any."""
    if not answerable(connection):
        return dict.fromkeys(alert_ids, Answers())
    found = {number: _Gathered() for number in alert_ids}
    for row in connection.execute(
        select(acknowledgement).where(acknowledgement.c.alert_id.in_(alert_ids))
    ):
        found[row.alert_id].acknowledged_by = row.by
        found[row.alert_id].acknowledged_at = row.at
    hushed = (
        select(silenced.c.alert_id, silence.c.by)
        .join(silence, silence.c.id == silenced.c.silence_id)
        .where(silenced.c.alert_id.in_(alert_ids))
    )
    for row in connection.execute(hushed):
        found[row.alert_id].silenced_by = row.by
    marks = select(mark).where(mark.c.alert_id.in_(alert_ids)).order_by(mark.c.at, mark.c.by)
    for row in connection.execute(marks):
        found[row.alert_id].marks[row.useful].append(row.by)
    return {
        number: Answers(
            one.acknowledged_by,
            one.acknowledged_at,
            one.silenced_by,
            tuple(one.marks[True]),
            tuple(one.marks[False]),
        )
        for number, one in found.items()
    }
