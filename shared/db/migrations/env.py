"""How Alembic connects; called by shared.db.migrate."""

from alembic import context
from sqlalchemy import String, create_engine, text
from sqlalchemy.pool import NullPool

from shared.db.tables import METADATA

#: Any number, so that two processes do not migrate at once.
LOCK = 4_117_321


def _differs(*args: object) -> bool | None:
    """SQLModel's text type and `text` are one; everything else Alembic compares itself."""
    *_, there, here = args
    here = getattr(here, "impl_instance", here)  # SQLModel decorates its text type
    return False if isinstance(there, String) and isinstance(here, String) else None


def run() -> None:
    """Migrate online, in one transaction, under an advisory lock."""
    engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.commit()
        context.configure(connection=connection, target_metadata=METADATA, compare_type=_differs)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


run()
