"""Files of people."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import FILES, THREADS


async def find(db: AsyncConnection, user: UUID, key: UUID) -> tuple[str, bytes] | None:
    """Media type and bytes of a person's file, unless its thread was deleted."""
    query = (
        select(FILES.c.media_type, FILES.c.content)
        .outerjoin(THREADS, THREADS.c.id == FILES.c.thread_id)
        .where(FILES.c.id == key, FILES.c.user_id == user, THREADS.c.deleted_at.is_(None))
    )
    row = (await db.execute(query)).one_or_none()
    return (row.media_type, row.content) if row else None
