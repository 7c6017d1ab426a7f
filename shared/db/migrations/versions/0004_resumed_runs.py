"""A run may continue the journal of another one that has ended."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("runs", sa.Column("resumes", sa.String(), nullable=True))
    op.create_index(
        "runs_resumed",
        "runs",
        ["user_id", "resumes"],
        unique=True,
        postgresql_where=sa.text("resumes IS NOT NULL"),
    )
