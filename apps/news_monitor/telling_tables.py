"""Who is told of alerts, what is owed to them, and what they answered."""

from typing import Any

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table, Text, UniqueConstraint

from apps.news_monitor.judging_tables import alert
from apps.news_monitor.tables import metadata, topic
from shared.storage import UtcDateTime


def _delivery() -> tuple[Column[Any], ...]:
    """Columns of what is sent at least once: see owed.py."""
    return (
        Column("state", String(10), nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Column("next_try_at", UtcDateTime, nullable=False, index=True),
        Column("lease_until", UtcDateTime),
        Column("last_error", Text, nullable=False),
        Column("sent_at", UtcDateTime),
    )


recipient = Table(
    "news_recipient",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("email", String(320), nullable=False, unique=True),
    Column("enabled", Boolean, nullable=False, default=True),
)

outbox = Table(
    "news_outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(10), nullable=False),
    # NULL for a mail about no one alert: heartbeat, digest, summary after downtime.
    Column("alert_id", ForeignKey(alert.c.id), index=True),
    Column("revision", Integer, nullable=False),
    Column("recipient_id", ForeignKey("news_recipient.id"), nullable=False, index=True),
    Column("message_id", String(300), nullable=False, unique=True),
    *_delivery(),
    # What such a mail tells, frozen when it fell due.
    Column("content_json", Text),
    UniqueConstraint("alert_id", "revision", "kind", "recipient_id"),
)

acknowledgement = Table(
    "news_acknowledgement",
    metadata,
    Column("alert_id", ForeignKey(alert.c.id), primary_key=True),
    Column("by", String(320), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

silence = Table(
    "news_silence",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("topic_id", ForeignKey(topic.c.id), nullable=False, index=True),
    Column("begins_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False, index=True),
    Column("by", String(320), nullable=False),
)

silenced = Table(
    "news_silenced",
    metadata,
    # An alert that opened while its topic was silenced: it is told to nobody.
    Column("alert_id", ForeignKey(alert.c.id), primary_key=True),
    Column("silence_id", ForeignKey("news_silence.id"), nullable=False, index=True),
)

silenced_rise = Table(
    "news_silenced_rise",
    metadata,
    # An alert that was told, and became more severe while its topic was silenced.
    Column("alert_id", ForeignKey(alert.c.id), primary_key=True),
    # The severity that was told.
    Column("was", String(10), nullable=False),
)

mark = Table(
    "news_mark",
    metadata,
    Column("alert_id", ForeignKey(alert.c.id), primary_key=True),
    Column("by", String(320), primary_key=True),
    Column("useful", Boolean, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

webhook_call = Table(
    "news_webhook_call",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("url", Text, nullable=False),
    Column("alert_id", ForeignKey(alert.c.id), nullable=False, index=True),
    Column("event", String(20), nullable=False),
    Column("idempotency_key", String(64), nullable=False, unique=True),
    Column("body", Text, nullable=False),
    *_delivery(),
)
