"""Companies: topics found by their names, with a sentiment of their own.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OWN = (
    ("label", sa.String(length=20)),
    ("p_negative", sa.Float()),
    ("p_neutral", sa.Float()),
    ("p_positive", sa.Float()),
    ("negative", sa.Boolean()),
)


def upgrade() -> None:
    for name, kind in OWN:
        op.add_column("news_item_topic", sa.Column(name, kind, nullable=True))
    op.create_table(
        "news_company",
        sa.Column("topic_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ticker", sa.String(length=100), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["topic_id"], ["news_topic.id"]),
        sa.PrimaryKeyConstraint("topic_id"),
    )
    op.create_index(op.f("ix_news_company_name"), "news_company", ["name"], unique=False)
    op.create_index(op.f("ix_news_company_ticker"), "news_company", ["ticker"], unique=False)
    op.create_table(
        "news_company_reading",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("until_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["news_model_version.id"]),
        sa.PrimaryKeyConstraint("model_id"),
    )


def downgrade() -> None:
    op.drop_table("news_company_reading")
    op.drop_index(op.f("ix_news_company_ticker"), table_name="news_company")
    op.drop_index(op.f("ix_news_company_name"), table_name="news_company")
    op.drop_table("news_company")
    for name, _ in reversed(OWN):
        op.drop_column("news_item_topic", name)
