"""A run keeps the receipt that was signed at its end."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("runs", sa.Column("receipt", sa.Text(), nullable=True))
