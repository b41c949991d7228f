"""The recommender's own tables: items and events that came after a model's training."""

from pathlib import Path

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from shared.storage import UtcDateTime

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "recommender_alembic_version"
LONGEST_ID = 200

metadata = MetaData()

# model: fingerprint of the folder of the model that they were added to. Ids are never used twice,
# so that the largest one tells whether anything has changed.
added_items = Table(
    "recommender_item",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(64), nullable=False),
    Column("item_id", String(LONGEST_ID), nullable=False),
    # The item's row of the catalogue, its text included.
    Column("fields", JSON, nullable=False),
    # The text's whitened vector, float32; zeros where there is no text.
    Column("vector", LargeBinary, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    UniqueConstraint("model", "item_id", name="recommender_item_once"),
    sqlite_autoincrement=True,
)

added_events = Table(
    "recommender_event",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(64), nullable=False),
    Column("user_id", String(LONGEST_ID), nullable=False),
    Column("item_id", String(LONGEST_ID), nullable=False),
    Column("event", String(40), nullable=False),
    # Microseconds since 1970, or a place in the user's sequence where the log has no clock.
    Column("time", BigInteger, nullable=False),
    Column("value", Float),
    Column("added_at", UtcDateTime, nullable=False),
    UniqueConstraint("model", "user_id", "item_id", "event", "time", name="recommender_event_once"),
    sqlite_autoincrement=True,
)

# Rows of batch runs. Read through the view `recommender_current`, which shows one whole run of each
# name: that of live_lists.
batch_lists = Table(
    "recommender_list",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False),
    Column("run", String(40), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("name", "run", "user_id", "rank", name="recommender_list_once"),
    sqlite_autoincrement=True,
)

live_lists = Table(
    "recommender_list_live",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("run", String(40), nullable=False),
    Column("model", String(90), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
