"""The path of messages from a leaf of a thread's tree up to its root."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.line import Statement


class Path(NamedTuple):
    """Messages of a path, oldest first, each as AG-UI has it; `more` says that older ones exist."""

    messages: list[dict[str, Any]]
    more: bool


# Walks from the leaf to the root, one row of the primary key a step, and stops at the limit.
_PATH = """
    WITH RECURSIVE path AS (
        SELECT id, parent, content, 1 AS depth FROM messages
        WHERE thread_id = :thread AND id = :leaf
        UNION ALL
        SELECT messages.id, messages.parent, messages.content, path.depth + 1
        FROM path JOIN messages ON messages.thread_id = :thread AND messages.id = path.parent
        WHERE path.depth <= :limit
    )
    SELECT content FROM path ORDER BY depth
"""
_READ = text(_PATH)
#: The same for a claim, whose transaction it ends.
PATH = Statement(_PATH, lambda columns: columns[0])


async def read_path(db: AsyncConnection, thread: UUID, leaf: str | None, limit: int) -> Path:
    """The newest `limit` messages of the path that ends with message `leaf`."""
    if leaf is None:
        return Path([], more=False)
    found = await db.execute(_READ, {"thread": thread, "leaf": leaf, "limit": limit})
    return path_of([row.content for row in found], limit)


def path_of(newest_first: list[dict[str, Any]], limit: int) -> Path:
    """What the statement found; one more than the limit says that there is more."""
    return Path(newest_first[:limit][::-1], more=len(newest_first) > limit)
