"""Effects whose outcome is unknown are found by their key and settled by people."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

KEY = r"""encode(sha256(
    sha256(uuid_send(root_id))
    || sha256(CAST(replace(scope, '\', '\\') AS bytea))
    || sha256(CAST(replace(call_id, '\', '\\') AS bytea))
    || sha256(arguments_digest)), 'hex')"""


def upgrade() -> None:
    for column in (
        sa.Column("key", sa.Text(), sa.Computed(KEY, persisted=True), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=True),
        sa.Column("settled_as", sa.Text(), nullable=True),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("effects", column)
    op.create_index("effects_by_key", "effects", ["key"], unique=True)
    op.create_index(
        "effects_unsettled",
        "effects",
        ["root_id"],
        postgresql_where=sa.text("status IN ('claimed', 'unknown')"),
    )
