"""A run counts the deaths of its carriers; one that kills them is carried alone."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("runs", sa.Column("deaths", sa.Integer(), server_default="0", nullable=False))
    op.add_column("runs", sa.Column("lone_id", sa.String(), nullable=True))
    op.add_column("runs", sa.Column("lone_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("runs", sa.Column("last_words", sa.JSON(), nullable=True))
