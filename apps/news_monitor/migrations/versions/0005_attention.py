"""Attention: more news than usual that is no worse than usual.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "news_attention",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("config_id", sa.Integer(), nullable=False),
        sa.Column("topic_id", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("peak_score", sa.Float(), nullable=False),
        sa.Column("window_hours", sa.Integer(), nullable=False),
        sa.Column("stories", sa.Integer(), nullable=False),
        sa.Column("usual_stories", sa.Float(), nullable=False),
        sa.Column("negative", sa.Integer(), nullable=False),
        sa.Column("usual_share", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["config_id"], ["news_detector_config.id"]),
        sa.ForeignKeyConstraint(["topic_id"], ["news_topic.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("config_id", "topic_id", "opened_at"),
    )
    op.create_index(
        op.f("ix_news_attention_opened_at"), "news_attention", ["opened_at"], unique=False
    )
    op.create_index(
        op.f("ix_news_attention_topic_id"), "news_attention", ["topic_id"], unique=False
    )
    op.create_table(
        "news_attention_state",
        sa.Column("config_id", sa.Integer(), nullable=False),
        sa.Column("topic_id", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("streak", sa.Integer(), nullable=False),
        sa.Column("cool_until", sa.Integer(), nullable=False),
        sa.Column("attention_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["attention_id"], ["news_attention.id"]),
        sa.ForeignKeyConstraint(["config_id"], ["news_detector_config.id"]),
        sa.ForeignKeyConstraint(["topic_id"], ["news_topic.id"]),
        sa.PrimaryKeyConstraint("config_id", "topic_id"),
    )
    op.create_index(
        op.f("ix_news_attention_state_attention_id"),
        "news_attention_state",
        ["attention_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_news_attention_state_attention_id"), table_name="news_attention_state")
    op.drop_table("news_attention_state")
    op.drop_index(op.f("ix_news_attention_topic_id"), table_name="news_attention")
    op.drop_index(op.f("ix_news_attention_opened_at"), table_name="news_attention")
    op.drop_table("news_attention")
