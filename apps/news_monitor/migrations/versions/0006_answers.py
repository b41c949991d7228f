"""Answers to alerts, mails about no one alert, webhooks, dropped files, imported feeds.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "news_source",
        sa.Column("origin", sa.String(length=10), nullable=False, server_default="settings"),
    )
    # SQLite makes the table anew and copies its rows, in this transaction.
    with op.batch_alter_table("news_outbox") as batch:
        batch.alter_column("alert_id", existing_type=sa.Integer(), nullable=True)
        batch.add_column(sa.Column("content_json", sa.Text(), nullable=True))
    _answers()
    op.create_table(
        "news_memo",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    _webhook_calls()
    op.create_table(
        "news_dropped_file",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("new", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
    )
    op.create_index(
        op.f("ix_news_dropped_file_taken_at"), "news_dropped_file", ["taken_at"], unique=False
    )


def _answers() -> None:
    op.create_table(
        "news_acknowledgement",
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("by", sa.String(length=320), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["news_alert.id"]),
        sa.PrimaryKeyConstraint("alert_id"),
    )
    op.create_table(
        "news_silence",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("topic_id", sa.Integer(), nullable=False),
        sa.Column("begins_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(length=320), nullable=False),
        sa.ForeignKeyConstraint(["topic_id"], ["news_topic.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_news_silence_topic_id"), "news_silence", ["topic_id"], unique=False)
    op.create_index(op.f("ix_news_silence_ends_at"), "news_silence", ["ends_at"], unique=False)
    op.create_table(
        "news_silenced",
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("silence_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["news_alert.id"]),
        sa.ForeignKeyConstraint(["silence_id"], ["news_silence.id"]),
        sa.PrimaryKeyConstraint("alert_id"),
    )
    op.create_index(
        op.f("ix_news_silenced_silence_id"), "news_silenced", ["silence_id"], unique=False
    )
    op.create_table(
        "news_mark",
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("by", sa.String(length=320), nullable=False),
        sa.Column("useful", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["news_alert.id"]),
        sa.PrimaryKeyConstraint("alert_id", "by"),
    )


def _webhook_calls() -> None:
    op.create_table(
        "news_webhook_call",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=20), nullable=False),
        sa.Column("idempotency_key", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["alert_id"], ["news_alert.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("idempotency_key"),
    )
    for column in ("alert_id", "next_try_at"):
        op.create_index(
            op.f(f"ix_news_webhook_call_{column}"), "news_webhook_call", [column], unique=False
        )


def downgrade() -> None:
    for table in (
        "news_dropped_file",
        "news_webhook_call",
        "news_memo",
        "news_mark",
        "news_silenced",
        "news_silence",
        "news_acknowledgement",
    ):
        op.drop_table(table)
    op.execute("DELETE FROM news_outbox WHERE alert_id IS NULL")
    with op.batch_alter_table("news_outbox") as batch:
        batch.drop_column("content_json")
        batch.alter_column("alert_id", existing_type=sa.Integer(), nullable=False)
    op.drop_column("news_source", "origin")
