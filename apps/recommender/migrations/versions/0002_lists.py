"""Lists of batch runs, and which run of a model's name is the one to read."""

import sqlalchemy as sa
from alembic import op

revision = "recommender_0002"
down_revision = "recommender_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "recommender_list",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("run", sa.String(40), nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("item_id", sa.Text, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.UniqueConstraint("name", "run", "user_id", "rank", name="recommender_list_once"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "recommender_list_live",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("run", sa.String(40), nullable=False),
        sa.Column("model", sa.String(90), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.execute(
        "CREATE VIEW recommender_current AS SELECT l.name, v.model, v.at, l.user_id, l.item_id, "
        "l.rank, l.score, l.reason FROM recommender_list l "
        "JOIN recommender_list_live v ON v.name = l.name AND v.run = l.run"
    )


def downgrade() -> None:
    op.execute("DROP VIEW recommender_current")
    op.drop_table("recommender_list_live")
    op.drop_table("recommender_list")
