"""Messages: the current path of a thread, and what still waits to join it."""

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.path import Path, read_path

_PARENT = text("SELECT parent FROM messages WHERE thread_id = :thread AND id = :id")

_LEAF = text("""
    SELECT id FROM messages WHERE thread_id = :thread AND run_id = :run
    ORDER BY ordinal DESC LIMIT 1
""")

# A run's first claim puts its messages on the path, so that a message is there or here, never both.
_WAITING = text("""
    SELECT content FROM messages
    WHERE thread_id = :thread AND run_id IN (
        SELECT id FROM runs WHERE thread_id = :thread AND status = 'queued' AND claimed_at IS NULL
    ) ORDER BY ordinal
""")


# Of a run that has ended, without what came with it.
_MADE = text("""
    SELECT messages.content FROM messages JOIN runs ON runs.id = messages.run_id
    WHERE messages.thread_id = :thread AND messages.run_id = :run AND messages.id NOT IN (
        SELECT said ->> 'id' FROM json_array_elements(runs.input -> 'messages') AS said
    ) ORDER BY messages.ordinal
""")


async def path_messages(
    db: AsyncConnection, thread: UUID, head: str | None, limit: int, before: str | None = None
) -> Path:
    """The newest `limit` messages of the path to `head`, or of those before message `before`."""
    leaf = head
    if before is not None:
        found = await db.execute(_PARENT, {"thread": thread, "id": before})
        leaf = found.scalar_one_or_none()
    return await read_path(db, thread, leaf, limit)


async def history_after(
    db: AsyncConnection, thread: UUID, run: UUID, limit: int
) -> list[dict[str, Any]]:
    """The newest messages of the path that a run has ended with, itself included."""
    found = await db.execute(_LEAF, {"thread": thread, "run": run})
    return (await read_path(db, thread, found.scalar_one_or_none(), limit)).messages


async def waiting_messages(db: AsyncConnection, thread: UUID) -> list[dict[str, Any]]:
    """What people said and no runner has read yet, in order."""
    found = await db.execute(_WAITING, {"thread": thread})
    return [row.content for row in found]


async def messages_made(db: AsyncConnection, thread: UUID, run: UUID) -> list[dict[str, Any]]:
    """What a run that has ended left in the conversation, in order."""
    found = await db.execute(_MADE, {"thread": thread, "run": run})
    return [row.content for row in found]
