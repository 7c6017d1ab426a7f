"""A suspect run knows which runner is to start its process: if that dies, nobody waits for it."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("runs", sa.Column("lone_starter", sa.String(), nullable=True))
