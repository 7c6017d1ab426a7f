"""An index of hidden threads by their age, which retention begins with."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_index("threads_hidden", "threads", ["id"], postgresql_where=sa.text("hidden"))
