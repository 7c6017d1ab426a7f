"""Files that people bring have names."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("files", sa.Column("name", sa.Text(), nullable=True))
