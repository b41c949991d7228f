"""Alerts of many topics at once, told in one mail.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "news_broad",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dedupe_key", sa.String(length=64), nullable=False),
        sa.Column("config_id", sa.Integer(), nullable=False),
        sa.Column("lead_alert_id", sa.Integer(), nullable=False),
        sa.Column("topics", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["config_id"], ["news_detector_config.id"]),
        sa.ForeignKeyConstraint(["lead_alert_id"], ["news_alert.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dedupe_key"),
        sa.UniqueConstraint("lead_alert_id"),
    )
    op.create_index(op.f("ix_news_broad_config_id"), "news_broad", ["config_id"], unique=False)
    op.create_index(op.f("ix_news_broad_joined_at"), "news_broad", ["joined_at"], unique=False)
    op.create_table(
        "news_broad_member",
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("broad_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["news_alert.id"]),
        sa.ForeignKeyConstraint(["broad_id"], ["news_broad.id"]),
        sa.PrimaryKeyConstraint("alert_id"),
    )
    op.create_index(
        op.f("ix_news_broad_member_broad_id"), "news_broad_member", ["broad_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_news_broad_member_broad_id"), table_name="news_broad_member")
    op.drop_table("news_broad_member")
    op.drop_index(op.f("ix_news_broad_joined_at"), table_name="news_broad")
    op.drop_index(op.f("ix_news_broad_config_id"), table_name="news_broad")
    op.drop_table("news_broad")
