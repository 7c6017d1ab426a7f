"""Messages: the current path of a thread, and what still waits to join it."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Path(NamedTuple):
    """Messages of a path, oldest first, each as AG-UI has it; `more` says that older ones exist."""

    messages: list[dict[str, Any]]
    more: bool


# Walks from the leaf to the root, one row of the primary key a step, and stops at the limit.
_PATH = text("""
    WITH RECURSIVE path AS (
        SELECT id, parent, content, 1 AS depth FROM messages
        WHERE thread_id = :thread AND id = :leaf
        UNION ALL
        SELECT messages.id, messages.parent, messages.content, path.depth + 1
        FROM path JOIN messages ON messages.thread_id = :thread AND messages.id = path.parent
        WHERE path.depth <= :limit
    )
    SELECT content FROM path ORDER BY depth
""")

_PARENT = text("SELECT parent FROM messages WHERE thread_id = :thread AND id = :id")

# `claimed_at` and not the status, so that a message is in the path or here, never in both.
_WAITING = text("""
    SELECT content FROM messages
    WHERE thread_id = :thread AND run_id IN (
        SELECT id FROM runs
        WHERE thread_id = :thread AND status = 'queued' AND claimed_at IS NULL
    ) ORDER BY ordinal
""")


async def path_messages(
    db: AsyncConnection, thread: UUID, head: str | None, limit: int, before: str | None = None
) -> Path:
    """The newest `limit` messages of the path to `head`, or of those before message `before`."""
    leaf = head
    if before is not None:
        found = await db.execute(_PARENT, {"thread": thread, "id": before})
        leaf = found.scalar_one_or_none()
    if leaf is None:
        return Path([], more=False)
    found = await db.execute(_PATH, {"thread": thread, "leaf": leaf, "limit": limit})
    newest_first = [row.content for row in found]
    return Path(newest_first[:limit][::-1], more=len(newest_first) > limit)


async def waiting_messages(db: AsyncConnection, thread: UUID) -> list[dict[str, Any]]:
    """What people said and no runner has read yet, in order."""
    found = await db.execute(_WAITING, {"thread": thread})
    return [row.content for row in found]
