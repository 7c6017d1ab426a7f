"""An index of a person's runs that go on or wait, which are counted before another is accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_index(
        "runs_live",
        "runs",
        ["user_id", "agent"],
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
