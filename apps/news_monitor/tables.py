"""The monitor's tables: what is read, how it is labelled and counted, and what the monitor notes.

SQLAlchemy Core, for SQLite and PostgreSQL alike. Times are time-zone-aware UTC; `hour` counts
whole hours since the epoch. Buckets and evaluations are derived and can be rebuilt; items,
predictions, alerts and the outbox are what must not be lost. What was judged stands in
judging_tables.py, who is told of it in telling_tables.py; all are one schema, `metadata`.
"""

from pathlib import Path

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    and_,
    func,
)
from sqlalchemy.sql.elements import ColumnElement

from shared.storage import UtcDateTime

VERSION_TABLE = "news_version"
REPLAY_DATABASE = "replay.db"
MIGRATIONS = Path(__file__).parent / "migrations"
metadata = MetaData()

source = Table(
    "news_source",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("url", Text, nullable=False, unique=True),
    Column("title", Text, nullable=False, default=""),
    Column("enabled", Boolean, nullable=False, default=True),
    # Who listed it: "settings", or "import" for one that came from an OPML file.
    Column("origin", String(10), nullable=False, default="settings", server_default="settings"),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("next_check_at", UtcDateTime, nullable=False, index=True),
    Column("last_ok_at", UtcDateTime),
    Column("last_status", String(20), nullable=False, default=""),
    Column("last_error", Text, nullable=False, default=""),
    Column("error_count", Integer, nullable=False, default=0),
    # How often it says that it is made anew; NULL where it does not say.
    Column("own_minutes", Float),
    Column("created_at", UtcDateTime, nullable=False),
)

fetch_log = Table(
    "news_fetch_log",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("source_id", ForeignKey("news_source.id"), nullable=False, index=True),
    Column("started_at", UtcDateTime, nullable=False, index=True),
    Column("status", String(20), nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("n_items", Integer, nullable=False),
    Column("n_new", Integer, nullable=False),
    Column("error", Text, nullable=False, default=""),
)

item = Table(
    "news_item",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("item_key", String(64), nullable=False, unique=True),
    Column("source_id", ForeignKey("news_source.id"), index=True),
    Column("url", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("publisher", Text, nullable=False),
    Column("published_at", UtcDateTime),
    Column("fetched_at", UtcDateTime, nullable=False),
    Column("effective_at", UtcDateTime, nullable=False, index=True),
    Column("hour", Integer, nullable=False, index=True),
    Column("date_quality", String(10), nullable=False),
    # The first item with the same words; NULL for that one itself.
    Column("copy_of", ForeignKey("news_item.id"), index=True),
    # The first item of the story, which is what is counted: of its copies, and of those that tell
    # of the same event in other words. NULL only until the item has been placed.
    Column("story_id", ForeignKey("news_item.id"), index=True),
)

# Of stories by the encoder that labelled them first, kept while later ones may be held against it.
item_vector = Table(
    "news_item_vector",
    metadata,
    Column("item_id", ForeignKey("news_item.id"), primary_key=True),
    Column("encoder", String(64), nullable=False),
    # Of unit length, as 2-byte floats, little-endian.
    Column("vector", LargeBinary, nullable=False),
)

model_version = Table(
    "news_model_version",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("first_used_at", UtcDateTime, nullable=False),
    # Of "negative" as it counts it, on rows it had not seen; NULL where nobody measured.
    Column("negative_recall", Float),
    Column("negative_false_rate", Float),
)

prediction = Table(
    "news_prediction",
    metadata,
    Column("item_id", ForeignKey("news_item.id"), primary_key=True),
    Column("model_id", ForeignKey("news_model_version.id"), primary_key=True),
    Column("label", String(20), nullable=False),
    Column("p_negative", Float, nullable=False),
    Column("p_neutral", Float, nullable=False),
    Column("p_positive", Float, nullable=False),
    # Counted as negative: p_negative reaches the model's own threshold.
    Column("negative", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_news_prediction_model", "model_id", "item_id"),
)

topic = Table(
    "news_topic",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("enabled", Boolean, nullable=False, default=True),
)

item_topic = Table(
    "news_item_topic",
    metadata,
    Column("item_id", ForeignKey("news_item.id"), primary_key=True),
    Column("model_id", ForeignKey("news_model_version.id"), primary_key=True),
    Column("topic_id", ForeignKey("news_topic.id"), primary_key=True),
    Column("score", Float, nullable=False),
    # What is said of this one, where a headline names several companies; NULL: as of the headline.
    Column("label", String(20)),
    Column("p_negative", Float),
    Column("p_neutral", Float),
    Column("p_positive", Float),
    Column("negative", Boolean),
    Index("ix_news_item_topic_topic", "topic_id", "model_id", "item_id"),
)

# A topic that is a company of the user's list: all that is counted of topics is counted of it.
company = Table(
    "news_company",
    metadata,
    Column("topic_id", ForeignKey("news_topic.id"), primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("ticker", String(100), nullable=False, index=True),
    Column("enabled", Boolean, nullable=False),
)

company_reading = Table(
    "news_company_reading",
    metadata,
    Column("model_id", ForeignKey("news_model_version.id"), primary_key=True),
    # Of the list by which stories were read; those up to until_id are read again up to position.
    Column("fingerprint", String(64), nullable=False),
    Column("position", Integer, nullable=False),
    Column("until_id", Integer, nullable=False),
)

bucket = Table(
    "news_bucket",
    metadata,
    Column("model_id", ForeignKey("news_model_version.id"), primary_key=True),
    Column("topic_id", ForeignKey("news_topic.id"), primary_key=True),
    Column("hour", Integer, primary_key=True),
    Column("stories", Integer, nullable=False),
    Column("negative", Integer, nullable=False),
    Column("positive", Integer, nullable=False),
    Column("sum_p_negative", Float, nullable=False),
    Index("ix_news_bucket_hour", "model_id", "hour"),
)


def by_one_reading() -> ColumnElement[bool]:
    """A row of item_topic and the prediction of the same item by the same model."""
    return and_(
        item_topic.c.item_id == prediction.c.item_id,
        item_topic.c.model_id == prediction.c.model_id,
    )


def said_negative() -> ColumnElement[bool]:
    """Of a prediction joined with item_topic: what the story says of this topic or company counts
    as negative."""
    return func.coalesce(item_topic.c.negative, prediction.c.negative).is_(True)


def said_p_negative() -> ColumnElement[float]:
    """The probability behind `said_negative`."""
    return func.coalesce(item_topic.c.p_negative, prediction.c.p_negative)


def said_label() -> ColumnElement[str]:
    """The sentiment behind `said_negative`."""
    return func.coalesce(item_topic.c.label, prediction.c.label)


memo = Table(
    "news_memo",
    metadata,
    # Small things the monitor must remember across a restart: see memos.py.
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)


dropped_file = Table(
    "news_dropped_file",
    metadata,
    Column("id", Integer, primary_key=True),
    # Of its bytes: the same content is taken once, whatever it is called.
    Column("sha256", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("taken_at", UtcDateTime, nullable=False, index=True),
    Column("found", Integer, nullable=False),
    Column("new", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    # Why it was set aside; "" where it was taken.
    Column("problem", Text, nullable=False),
)

job_run = Table(
    "news_job_run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", String(30), nullable=False),
    Column("started_at", UtcDateTime, nullable=False, index=True),
    Column("report_json", Text, nullable=False),
)

lease = Table(
    "news_lease",
    metadata,
    Column("name", String(30), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("renewed_at", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
    # Grows with each renewal: who waits sees a living holder by it, whatever the clocks say.
    Column("renewals", Integer, nullable=False),
)

correction = Table(
    "news_correction",
    metadata,
    # What a reader says that a story is; the model's own label stays, and is what is counted.
    Column("item_id", ForeignKey("news_item.id"), primary_key=True),
    Column("sentiment", String(20), nullable=False),
    # A list of topics; NULL where the reader said nothing of them.
    Column("topics_json", Text),
    Column("by", String(320), nullable=False),
    Column("at", UtcDateTime, nullable=False, index=True),
)
