"""Chats handed over to a person, what is told to the outside, feedback."""

import sqlalchemy as sa
from alembic import op

revision = "chatbot_0002"
down_revision = "chatbot_0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    for column in (
        sa.Column("client_id", sa.String(200)),
        sa.Column("agent", sa.String(100)),
        sa.Column("details", sa.JSON),
    ):
        op.add_column("chatbot_message", column)
    op.create_index(
        "chatbot_message_once", "chatbot_message", ["sender", "role", "client_id"], unique=True
    )
    _handovers()
    _deliveries()
    op.create_table(
        "chatbot_feedback",
        sa.Column("message_id", sa.Integer, sa.ForeignKey("chatbot_message.id"), primary_key=True),
        sa.Column("value", sa.String(10), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )


def _handovers() -> None:
    op.create_table(
        "chatbot_handover",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column(
            "sender", sa.String(200), sa.ForeignKey("chatbot_conversation.sender"), nullable=False
        ),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("ranking", sa.JSON, nullable=False),
        sa.Column("slots", sa.JSON, nullable=False),
        sa.Column("language", sa.String(10), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("agent", sa.String(100)),
        sa.Column("queued_at", MOMENT, nullable=False),
        sa.Column("taken_at", MOMENT),
        sa.Column("deadline", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("ended_by", sa.String(100)),
    )
    # One open chat for each sender.
    op.create_index(
        "chatbot_handover_open",
        "chatbot_handover",
        ["sender"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("chatbot_handover_by_state", "chatbot_handover", ["state", "queued_at"])


def _deliveries() -> None:
    op.create_table(
        "chatbot_delivery",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("sender", sa.String(200), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_try_at", MOMENT, nullable=False),
        sa.Column("lease_until", MOMENT),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT),
    )
    op.create_index("chatbot_delivery_due", "chatbot_delivery", ["state", "next_try_at"])
    op.create_index("chatbot_delivery_by_sender", "chatbot_delivery", ["sender", "id"])


def downgrade() -> None:
    for table in ("chatbot_feedback", "chatbot_delivery", "chatbot_handover"):
        op.drop_table(table)
    op.drop_index("chatbot_message_once", "chatbot_message")
    with op.batch_alter_table("chatbot_message") as table:
        for column in ("details", "agent", "client_id"):
            table.drop_column(column)
