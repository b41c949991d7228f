"""The monitor's first tables.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "news_job_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(length=30), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("report_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_news_job_run_started_at"), "news_job_run", ["started_at"], unique=False
    )
    op.create_table(
        "news_model_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("fingerprint"),
    )
    op.create_table(
        "news_recipient",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email"),
    )
    op.create_table(
        "news_source",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("last_modified", sa.Text(), nullable=True),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_ok_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_status", sa.String(length=20), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("error_count", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("url"),
    )
    op.create_index(
        op.f("ix_news_source_next_check_at"), "news_source", ["next_check_at"], unique=False
    )
    op.create_table(
        "news_topic",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "news_bucket",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("topic_id", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("stories", sa.Integer(), nullable=False),
        sa.Column("negative", sa.Integer(), nullable=False),
        sa.Column("positive", sa.Integer(), nullable=False),
        sa.Column("sum_p_negative", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["news_model_version.id"],
        ),
        sa.ForeignKeyConstraint(
            ["topic_id"],
            ["news_topic.id"],
        ),
        sa.PrimaryKeyConstraint("model_id", "topic_id", "hour"),
    )
    op.create_index("ix_news_bucket_hour", "news_bucket", ["model_id", "hour"], unique=False)
    op.create_table(
        "news_detector_config",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("settings_json", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evaluated_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["news_model_version.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("fingerprint"),
    )
    op.create_index(
        op.f("ix_news_detector_config_model_id"), "news_detector_config", ["model_id"], unique=False
    )
    op.create_table(
        "news_fetch_log",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("n_items", sa.Integer(), nullable=False),
        sa.Column("n_new", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["news_source.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_news_fetch_log_source_id"), "news_fetch_log", ["source_id"], unique=False
    )
    op.create_index(
        op.f("ix_news_fetch_log_started_at"), "news_fetch_log", ["started_at"], unique=False
    )
    op.create_table(
        "news_item",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_key", sa.String(length=64), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("publisher", sa.Text(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("date_quality", sa.String(length=10), nullable=False),
        sa.Column("copy_of", sa.Integer(), nullable=True),
        sa.Column("story_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["copy_of"],
            ["news_item.id"],
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["news_source.id"],
        ),
        sa.ForeignKeyConstraint(
            ["story_id"],
            ["news_item.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("item_key"),
    )
    op.create_index(op.f("ix_news_item_copy_of"), "news_item", ["copy_of"], unique=False)
    op.create_index(op.f("ix_news_item_effective_at"), "news_item", ["effective_at"], unique=False)
    op.create_index(op.f("ix_news_item_hour"), "news_item", ["hour"], unique=False)
    op.create_index(op.f("ix_news_item_source_id"), "news_item", ["source_id"], unique=False)
    op.create_index(op.f("ix_news_item_story_id"), "news_item", ["story_id"], unique=False)
    op.create_table(
        "news_alert",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dedupe_key", sa.String(length=200), nullable=False),
        sa.Column("topic_id", sa.Integer(), nullable=False),
        sa.Column("config_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("severity", sa.String(length=10), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("peak_score", sa.Float(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("evidence_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["news_detector_config.id"],
        ),
        sa.ForeignKeyConstraint(
            ["topic_id"],
            ["news_topic.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dedupe_key"),
    )
    op.create_index(op.f("ix_news_alert_config_id"), "news_alert", ["config_id"], unique=False)
    op.create_index(op.f("ix_news_alert_opened_at"), "news_alert", ["opened_at"], unique=False)
    op.create_index(op.f("ix_news_alert_topic_id"), "news_alert", ["topic_id"], unique=False)
    op.create_table(
        "news_calibration",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("config_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("per_week", sa.Float(), nullable=False),
        sa.Column("topics", sa.Integer(), nullable=False),
        sa.Column("topic_weeks", sa.Float(), nullable=False),
        sa.Column("episodes_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["news_detector_config.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_news_calibration_config_id"), "news_calibration", ["config_id"], unique=False
    )
    op.create_table(
        "news_evaluation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("topic_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("config_id", sa.Integer(), nullable=False),
        sa.Column("window_hours", sa.Integer(), nullable=False),
        sa.Column("stories", sa.Integer(), nullable=False),
        sa.Column("negative", sa.Integer(), nullable=False),
        sa.Column("usual_share", sa.Float(), nullable=False),
        sa.Column("expected_count", sa.Float(), nullable=False),
        sa.Column("p_share", sa.Float(), nullable=False),
        sa.Column("p_count", sa.Float(), nullable=False),
        sa.Column("p_volume", sa.Float(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("gate", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["news_detector_config.id"],
        ),
        sa.ForeignKeyConstraint(
            ["topic_id"],
            ["news_topic.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("config_id", "at", "topic_id", "window_hours"),
    )
    op.create_index(op.f("ix_news_evaluation_at"), "news_evaluation", ["at"], unique=False)
    op.create_index(
        "ix_news_evaluation_topic", "news_evaluation", ["topic_id", "config_id", "at"], unique=False
    )
    op.create_table(
        "news_item_topic",
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("topic_id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"],
            ["news_item.id"],
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["news_model_version.id"],
        ),
        sa.ForeignKeyConstraint(
            ["topic_id"],
            ["news_topic.id"],
        ),
        sa.PrimaryKeyConstraint("item_id", "model_id", "topic_id"),
    )
    op.create_index(
        "ix_news_item_topic_topic",
        "news_item_topic",
        ["topic_id", "model_id", "item_id"],
        unique=False,
    )
    op.create_table(
        "news_prediction",
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=20), nullable=False),
        sa.Column("p_negative", sa.Float(), nullable=False),
        sa.Column("p_neutral", sa.Float(), nullable=False),
        sa.Column("p_positive", sa.Float(), nullable=False),
        sa.Column("negative", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"],
            ["news_item.id"],
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["news_model_version.id"],
        ),
        sa.PrimaryKeyConstraint("item_id", "model_id"),
    )
    op.create_index(
        "ix_news_prediction_model", "news_prediction", ["model_id", "item_id"], unique=False
    )
    op.create_table(
        "news_alert_item",
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"],
            ["news_alert.id"],
        ),
        sa.ForeignKeyConstraint(
            ["item_id"],
            ["news_item.id"],
        ),
        sa.PrimaryKeyConstraint("alert_id", "item_id"),
    )
    op.create_index(
        op.f("ix_news_alert_item_item_id"), "news_alert_item", ["item_id"], unique=False
    )
    op.create_table(
        "news_detector_state",
        sa.Column("config_id", sa.Integer(), nullable=False),
        sa.Column("topic_id", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("streak", sa.Integer(), nullable=False),
        sa.Column("cool_until", sa.Integer(), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["alert_id"],
            ["news_alert.id"],
        ),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["news_detector_config.id"],
        ),
        sa.ForeignKeyConstraint(
            ["topic_id"],
            ["news_topic.id"],
        ),
        sa.PrimaryKeyConstraint("config_id", "topic_id"),
    )
    op.create_index(
        op.f("ix_news_detector_state_alert_id"), "news_detector_state", ["alert_id"], unique=False
    )
    op.create_table(
        "news_outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("recipient_id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.String(length=300), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["alert_id"],
            ["news_alert.id"],
        ),
        sa.ForeignKeyConstraint(
            ["recipient_id"],
            ["news_recipient.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("alert_id", "revision", "kind", "recipient_id"),
        sa.UniqueConstraint("message_id"),
    )
    op.create_index(op.f("ix_news_outbox_alert_id"), "news_outbox", ["alert_id"], unique=False)
    op.create_index(
        op.f("ix_news_outbox_next_try_at"), "news_outbox", ["next_try_at"], unique=False
    )
    op.create_index(
        op.f("ix_news_outbox_recipient_id"), "news_outbox", ["recipient_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_news_outbox_recipient_id"), table_name="news_outbox")
    op.drop_index(op.f("ix_news_outbox_next_try_at"), table_name="news_outbox")
    op.drop_index(op.f("ix_news_outbox_alert_id"), table_name="news_outbox")
    op.drop_table("news_outbox")
    op.drop_index(op.f("ix_news_detector_state_alert_id"), table_name="news_detector_state")
    op.drop_table("news_detector_state")
    op.drop_index(op.f("ix_news_alert_item_item_id"), table_name="news_alert_item")
    op.drop_table("news_alert_item")
    op.drop_index("ix_news_prediction_model", table_name="news_prediction")
    op.drop_table("news_prediction")
    op.drop_index("ix_news_item_topic_topic", table_name="news_item_topic")
    op.drop_table("news_item_topic")
    op.drop_index("ix_news_evaluation_topic", table_name="news_evaluation")
    op.drop_index(op.f("ix_news_evaluation_at"), table_name="news_evaluation")
    op.drop_table("news_evaluation")
    op.drop_index(op.f("ix_news_calibration_config_id"), table_name="news_calibration")
    op.drop_table("news_calibration")
    op.drop_index(op.f("ix_news_alert_topic_id"), table_name="news_alert")
    op.drop_index(op.f("ix_news_alert_opened_at"), table_name="news_alert")
    op.drop_index(op.f("ix_news_alert_config_id"), table_name="news_alert")
    op.drop_table("news_alert")
    op.drop_index(op.f("ix_news_item_story_id"), table_name="news_item")
    op.drop_index(op.f("ix_news_item_source_id"), table_name="news_item")
    op.drop_index(op.f("ix_news_item_hour"), table_name="news_item")
    op.drop_index(op.f("ix_news_item_effective_at"), table_name="news_item")
    op.drop_index(op.f("ix_news_item_copy_of"), table_name="news_item")
    op.drop_table("news_item")
    op.drop_index(op.f("ix_news_fetch_log_started_at"), table_name="news_fetch_log")
    op.drop_index(op.f("ix_news_fetch_log_source_id"), table_name="news_fetch_log")
    op.drop_table("news_fetch_log")
    op.drop_index(op.f("ix_news_detector_config_model_id"), table_name="news_detector_config")
    op.drop_table("news_detector_config")
    op.drop_index("ix_news_bucket_hour", table_name="news_bucket")
    op.drop_table("news_bucket")
    op.drop_table("news_topic")
    op.drop_index(op.f("ix_news_source_next_check_at"), table_name="news_source")
    op.drop_table("news_source")
    op.drop_table("news_recipient")
    op.drop_table("news_model_version")
    op.drop_index(op.f("ix_news_job_run_started_at"), table_name="news_job_run")
    op.drop_table("news_job_run")
