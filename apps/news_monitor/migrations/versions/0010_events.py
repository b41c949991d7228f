"""Vectors of stories, by which those of one event are found; what a model's "negative" is worth.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "news_item_vector",
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("encoder", sa.String(length=64), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["news_item.id"]),
        sa.PrimaryKeyConstraint("item_id"),
    )
    op.add_column("news_model_version", sa.Column("negative_recall", sa.Float(), nullable=True))
    op.add_column("news_model_version", sa.Column("negative_false_rate", sa.Float(), nullable=True))


def downgrade() -> None:
    # Not as a batch, which makes the table anew: in SQLite others refer to it.
    op.drop_column("news_model_version", "negative_false_rate")
    op.drop_column("news_model_version", "negative_recall")
    op.drop_table("news_item_vector")
