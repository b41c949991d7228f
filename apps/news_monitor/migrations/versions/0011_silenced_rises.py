"""Alerts that became more severe while their topic was silenced.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "news_silenced_rise",
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("was", sa.String(length=10), nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["news_alert.id"]),
        sa.PrimaryKeyConstraint("alert_id"),
    )


def downgrade() -> None:
    op.drop_table("news_silenced_rise")
