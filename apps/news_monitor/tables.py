"""The monitor's tables: SQLAlchemy Core, for SQLite and PostgreSQL alike.

Times are time-zone-aware UTC; `hour` counts whole hours since the epoch. Buckets, stories'
totals and evaluations are derived and can be rebuilt; items, predictions, alerts and the outbox
are what must not be lost. Names and keys already fit what is planned on top of them (companies,
silences, feedback, several recipients each with its own wishes).
"""

from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.sql.elements import ColumnElement

from shared.storage import UtcDateTime

VERSION_TABLE = "news_version"
REPLAY_DATABASE = "replay.db"
MIGRATIONS = Path(__file__).parent / "migrations"
metadata = MetaData()


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
    # The item this is a copy of; NULL for the first of its story, which is what is counted.
    Column("copy_of", ForeignKey("news_item.id"), index=True),
    # The first item of the story; NULL only until the item has been placed.
    Column("story_id", ForeignKey("news_item.id"), index=True),
)

model_version = Table(
    "news_model_version",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("first_used_at", UtcDateTime, nullable=False),
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


detector_config = Table(
    "news_detector_config",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("model_id", ForeignKey("news_model_version.id"), nullable=False, index=True),
    Column("settings_json", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Everything up to here has been judged; the watermark of detection.
    Column("evaluated_until", UtcDateTime),
)

calibration = Table(
    "news_calibration",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("config_id", ForeignKey("news_detector_config.id"), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("per_week", Float, nullable=False),
    Column("topics", Integer, nullable=False),
    Column("topic_weeks", Float, nullable=False),
    Column("episodes_json", Text, nullable=False),
)

evaluation = Table(
    "news_evaluation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("topic_id", ForeignKey("news_topic.id"), nullable=False),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("config_id", ForeignKey("news_detector_config.id"), nullable=False),
    Column("window_hours", Integer, nullable=False),
    Column("stories", Integer, nullable=False),
    Column("negative", Integer, nullable=False),
    Column("usual_share", Float, nullable=False),
    Column("expected_count", Float, nullable=False),
    Column("p_share", Float, nullable=False),
    Column("p_count", Float, nullable=False),
    Column("p_volume", Float, nullable=False),
    Column("score", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    # Why the score is 0: a name of surges.Gate in lower case; "open" when nothing stopped it.
    Column("gate", String(20), nullable=False),
    UniqueConstraint("config_id", "at", "topic_id", "window_hours"),
    Index("ix_news_evaluation_topic", "topic_id", "config_id", "at"),
)

detector_state = Table(
    "news_detector_state",
    metadata,
    Column("config_id", ForeignKey("news_detector_config.id"), primary_key=True),
    Column("topic_id", ForeignKey("news_topic.id"), primary_key=True),
    Column("phase", Integer, nullable=False),
    Column("streak", Integer, nullable=False),
    Column("cool_until", Integer, nullable=False),
    Column("alert_id", ForeignKey("news_alert.id"), index=True),
)

alert = Table(
    "news_alert",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dedupe_key", String(200), nullable=False, unique=True),
    Column("topic_id", ForeignKey("news_topic.id"), nullable=False, index=True),
    Column("config_id", ForeignKey("news_detector_config.id"), nullable=False, index=True),
    Column("state", String(10), nullable=False),
    Column("severity", String(10), nullable=False),
    Column("opened_at", UtcDateTime, nullable=False, index=True),
    Column("resolved_at", UtcDateTime),
    Column("peak_score", Float, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("evidence_json", Text, nullable=False),
)

alert_item = Table(
    "news_alert_item",
    metadata,
    Column("alert_id", ForeignKey("news_alert.id"), primary_key=True),
    Column("item_id", ForeignKey("news_item.id"), primary_key=True, index=True),
    Column("rank", Integer, nullable=False),
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
    Column("alert_id", ForeignKey("news_alert.id"), index=True),
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
    Column("alert_id", ForeignKey("news_alert.id"), primary_key=True),
    Column("by", String(320), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

silence = Table(
    "news_silence",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("topic_id", ForeignKey("news_topic.id"), nullable=False, index=True),
    Column("begins_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False, index=True),
    Column("by", String(320), nullable=False),
)

silenced = Table(
    "news_silenced",
    metadata,
    # An alert that opened while its topic was silenced: it is told to nobody.
    Column("alert_id", ForeignKey("news_alert.id"), primary_key=True),
    Column("silence_id", ForeignKey("news_silence.id"), nullable=False, index=True),
)

mark = Table(
    "news_mark",
    metadata,
    Column("alert_id", ForeignKey("news_alert.id"), primary_key=True),
    Column("by", String(320), primary_key=True),
    Column("useful", Boolean, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

memo = Table(
    "news_memo",
    metadata,
    # Small things the monitor must remember across a restart: see memos.py.
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

webhook_call = Table(
    "news_webhook_call",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("url", Text, nullable=False),
    Column("alert_id", ForeignKey("news_alert.id"), nullable=False, index=True),
    Column("event", String(20), nullable=False),
    Column("idempotency_key", String(64), nullable=False, unique=True),
    Column("body", Text, nullable=False),
    *_delivery(),
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

decision = Table(
    "news_decision",
    metadata,
    Column("config_id", ForeignKey("news_detector_config.id"), primary_key=True),
    Column("topic_id", ForeignKey("news_topic.id"), primary_key=True),
    Column("at", UtcDateTime, primary_key=True, index=True),
    # What came of the moment: a value of decisions.Verdict, or the name of the gate.
    Column("verdict", String(20), nullable=False),
    Column("score", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    # Part of the topic's usual items whose outlets delivered; NULL while nothing is usual.
    Column("coverage", Float),
    Column("missing_json", Text, nullable=False),
    # The alert that was open, or opened, then.
    Column("alert_id", ForeignKey("news_alert.id"), index=True),
)

broad = Table(
    "news_broad",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dedupe_key", String(64), nullable=False, unique=True),
    Column("config_id", ForeignKey("news_detector_config.id"), nullable=False, index=True),
    # The alert whose outbox rows carry the common mail.
    Column("lead_alert_id", ForeignKey("news_alert.id"), nullable=False, unique=True),
    # How many topics were followed.
    Column("topics", Integer, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("joined_at", UtcDateTime, nullable=False, index=True),
    # The last mail; members of a later revision have not been told of yet.
    Column("revision", Integer, nullable=False),
)

broad_member = Table(
    "news_broad_member",
    metadata,
    Column("alert_id", ForeignKey("news_alert.id"), primary_key=True),
    Column("broad_id", ForeignKey("news_broad.id"), nullable=False, index=True),
    Column("revision", Integer, nullable=False),
)

attention = Table(
    "news_attention",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("config_id", ForeignKey("news_detector_config.id"), nullable=False),
    Column("topic_id", ForeignKey("news_topic.id"), nullable=False, index=True),
    Column("opened_at", UtcDateTime, nullable=False, index=True),
    Column("resolved_at", UtcDateTime),
    Column("peak_score", Float, nullable=False),
    Column("window_hours", Integer, nullable=False),
    Column("stories", Integer, nullable=False),
    Column("usual_stories", Float, nullable=False),
    Column("negative", Integer, nullable=False),
    Column("usual_share", Float, nullable=False),
    UniqueConstraint("config_id", "topic_id", "opened_at"),
)

attention_state = Table(
    "news_attention_state",
    metadata,
    Column("config_id", ForeignKey("news_detector_config.id"), primary_key=True),
    Column("topic_id", ForeignKey("news_topic.id"), primary_key=True),
    Column("phase", Integer, nullable=False),
    Column("streak", Integer, nullable=False),
    Column("cool_until", Integer, nullable=False),
    Column("attention_id", ForeignKey("news_attention.id"), index=True),
)
