"""Keys whose callers want a run to stop when they leave its answer."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column(
        "api_keys",
        sa.Column("cancel_on_disconnect", sa.Boolean(), server_default="false", nullable=False),
    )
