"""How often a feed says that it is made anew.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("news_source", sa.Column("own_minutes", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("news_source", "own_minutes")
