"""What came of each moment of each topic, and how complete its sources were.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "news_decision",
        sa.Column("config_id", sa.Integer(), nullable=False),
        sa.Column("topic_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("coverage", sa.Float(), nullable=True),
        sa.Column("missing_json", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["config_id"], ["news_detector_config.id"]),
        sa.ForeignKeyConstraint(["topic_id"], ["news_topic.id"]),
        sa.ForeignKeyConstraint(["alert_id"], ["news_alert.id"]),
        sa.PrimaryKeyConstraint("config_id", "topic_id", "at"),
    )
    op.create_index(op.f("ix_news_decision_at"), "news_decision", ["at"], unique=False)
    op.create_index(op.f("ix_news_decision_alert_id"), "news_decision", ["alert_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_news_decision_alert_id"), table_name="news_decision")
    op.drop_index(op.f("ix_news_decision_at"), table_name="news_decision")
    op.drop_table("news_decision")
