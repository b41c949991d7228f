"""The chatbot's own tables: one row per conversation, one per message."""

from pathlib import Path

from sqlalchemy import (
    JSON,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from shared.storage import UtcDateTime

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "chatbot_alembic_version"

metadata = MetaData()

conversations = Table(
    "chatbot_conversation",
    metadata,
    Column("sender", String(200), primary_key=True),
    # What the next message may refer to: offered options, a slot asked for, counts.
    Column("state", JSON, nullable=False),
    # Grows with every change: a writer that read an older one reads again (two workers at once).
    Column("revision", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

messages = Table(
    "chatbot_message",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sender", String(200), ForeignKey("chatbot_conversation.sender"), nullable=False),
    Column("role", String(10), nullable=False),  # customer | bot
    Column("text", Text, nullable=False),
    # Of the bot's messages: what decided.
    Column("decision", String(10)),
    Column("intent", String(200)),
    Column("probability", Float),
    Column("model", String(200)),
    Column("at", UtcDateTime, nullable=False),
)
Index("chatbot_message_by_sender", messages.c.sender, messages.c.id)
