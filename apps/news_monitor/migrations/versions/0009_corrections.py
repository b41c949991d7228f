"""What readers say that stories are.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

from shared.storage import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "news_correction",
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("sentiment", sa.String(length=20), nullable=False),
        sa.Column("topics_json", sa.Text(), nullable=True),
        sa.Column("by", sa.String(length=320), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["news_item.id"]),
        sa.PrimaryKeyConstraint("item_id"),
    )
    op.create_index(op.f("ix_news_correction_at"), "news_correction", ["at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_news_correction_at"), table_name="news_correction")
    op.drop_table("news_correction")
