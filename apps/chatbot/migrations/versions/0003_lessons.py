"""What is learned of chats: lessons, answers taught since the training, how far chats were read."""

import sqlalchemy as sa
from alembic import op

revision = "chatbot_0003"
down_revision = "chatbot_0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_index("chatbot_message_by_time", "chatbot_message", ["at"])
    op.create_table(
        "chatbot_lesson",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("bot", sa.String(200), nullable=False),
        sa.Column("message_id", sa.Integer, sa.ForeignKey("chatbot_message.id"), unique=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("intent", sa.String(200)),
        sa.Column("probability", sa.Float),
        sa.Column("label", sa.String(200)),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("answer_ids", sa.JSON, nullable=False),
        sa.Column("agent", sa.String(100)),
        sa.Column("handover_id", sa.Integer, sa.ForeignKey("chatbot_handover.id")),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("must_pass", sa.Boolean, nullable=False),
        sa.Column("proposal", sa.String(200), nullable=False),
        sa.Column("proposal_title", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("decided_by", sa.String(100)),
        sa.Column("decided_at", MOMENT),
        sa.Column("found_at", MOMENT, nullable=False),
    )
    op.create_index("chatbot_lesson_by_state", "chatbot_lesson", ["bot", "state", "proposal"])
    op.create_table(
        "chatbot_taught_answer",
        sa.Column("bot", sa.String(200), primary_key=True),
        sa.Column("label", sa.String(200), primary_key=True),
        sa.Column("language", sa.String(10), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("template", sa.Text, nullable=False),
        sa.Column("taught_by", sa.String(100), nullable=False),
        sa.Column("taught_at", MOMENT, nullable=False),
    )
    op.create_table(
        "chatbot_learning",
        sa.Column("bot", sa.String(200), primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("read_until", MOMENT),
    )


def downgrade() -> None:
    for table in ("chatbot_learning", "chatbot_taught_answer", "chatbot_lesson"):
        op.drop_table(table)
    op.drop_index("chatbot_message_by_time", "chatbot_message")
