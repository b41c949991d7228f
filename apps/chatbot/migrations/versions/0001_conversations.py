"""Conversations and their messages."""

import sqlalchemy as sa
from alembic import op

revision = "chatbot_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chatbot_conversation",
        sa.Column("sender", sa.String(200), primary_key=True),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "chatbot_message",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column(
            "sender", sa.String(200), sa.ForeignKey("chatbot_conversation.sender"), nullable=False
        ),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("decision", sa.String(10)),
        sa.Column("intent", sa.String(200)),
        sa.Column("probability", sa.Float),
        sa.Column("model", sa.String(200)),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("chatbot_message_by_sender", "chatbot_message", ["sender", "id"])


def downgrade() -> None:
    op.drop_table("chatbot_message")
    op.drop_table("chatbot_conversation")
