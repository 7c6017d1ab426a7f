"""An index for the few runs that operators have to look at."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_index(
        "runs_poisoned", "runs", ["id"], postgresql_where=sa.text("error_code = 'poisoned'")
    )
