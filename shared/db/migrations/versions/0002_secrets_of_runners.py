"""A runner's id belongs to the process that showed its secret first."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("runners", sa.Column("secret", sa.LargeBinary(), nullable=True))
