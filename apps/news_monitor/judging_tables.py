"""What was judged, hour by hour, and the alerts that came of it; see tables.py for the rest."""

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from apps.news_monitor.tables import metadata
from shared.storage import UtcDateTime

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


def _config(*, key: bool = False, index: bool = False) -> Column[int]:
    there = ForeignKey("news_detector_config.id")
    return Column("config_id", there, primary_key=key, index=index, nullable=False)


def _topic(*, key: bool = False, index: bool = False) -> Column[int]:
    there = ForeignKey("news_topic.id")
    return Column("topic_id", there, primary_key=key, index=index, nullable=False)


def _phase() -> list[Column[int]]:
    """Where a topic stands between one moment and the next; see episodes.py."""
    return [
        _config(key=True),
        _topic(key=True),
        Column("phase", Integer, nullable=False),
        Column("streak", Integer, nullable=False),
        Column("cool_until", Integer, nullable=False),
    ]


calibration = Table(
    "news_calibration",
    metadata,
    Column("id", Integer, primary_key=True),
    _config(index=True),
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
    _topic(),
    Column("at", UtcDateTime, nullable=False, index=True),
    _config(),
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
    *_phase(),
    Column("alert_id", ForeignKey("news_alert.id"), index=True),
)

decision = Table(
    "news_decision",
    metadata,
    _config(key=True),
    _topic(key=True),
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

alert = Table(
    "news_alert",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dedupe_key", String(200), nullable=False, unique=True),
    _topic(index=True),
    _config(index=True),
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

broad = Table(
    "news_broad",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dedupe_key", String(64), nullable=False, unique=True),
    _config(index=True),
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
    _config(),
    _topic(index=True),
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
    *_phase(),
    Column("attention_id", ForeignKey("news_attention.id"), index=True),
)
