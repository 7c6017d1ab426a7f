"""Deleting files that somebody brought, and then sent in no message."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from toolsvc.retention.waiting import MOST_ROWS

# Who sends one just now holds it, and keeps it.
_DELETE = text("""
    DELETE FROM files WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM files
        WHERE thread_id IS NULL AND root_id IS NULL AND created_at < :before
        LIMIT :most FOR UPDATE SKIP LOCKED
    ))
""")


async def delete_unsent(engine: AsyncEngine, before: datetime) -> int:
    """Delete up to `MOST_ROWS` of those that were brought before a moment; how many."""
    async with engine.begin() as db:
        return (await db.execute(_DELETE, {"before": before, "most": MOST_ROWS})).rowcount
