"""Threads of calls that name none: nobody lists them."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column(
        "threads", sa.Column("hidden", sa.Boolean(), server_default="false", nullable=False)
    )
    op.create_index(
        "threads_listed",
        "threads",
        ["user_id", "updated_at", "id"],
        postgresql_where=sa.text("deleted_at IS NULL AND NOT hidden"),
    )
