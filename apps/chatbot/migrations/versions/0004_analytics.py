"""Handovers and thumbs are found by time, for the figures of a period."""

from alembic import op

revision = "chatbot_0004"
down_revision = "chatbot_0003"
branch_labels = None
depends_on = None

BY_TIME = (
    ("chatbot_handover_by_time", "chatbot_handover", "queued_at"),
    ("chatbot_feedback_by_time", "chatbot_feedback", "at"),
)


def upgrade() -> None:
    for name, table, column in BY_TIME:
        op.create_index(name, table, [column])


def downgrade() -> None:
    for name, table, _ in BY_TIME:
        op.drop_index(name, table)
