"""A runner says which former code it keeps, and whether it carries runs on with other code."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column(
        "runners", sa.Column("former", ARRAY(sa.Text()), server_default="{}", nullable=False)
    )
    op.add_column(
        "runners", sa.Column("same_code", sa.Boolean(), server_default="false", nullable=False)
    )
    op.create_index(
        "runs_in_want_of_code",
        "runs",
        ["agent_digest"],
        postgresql_where=sa.text(
            "status = 'interrupted' OR error_code IN ('poisoned', 'tool_outcome_unknown')"
        ),
    )
