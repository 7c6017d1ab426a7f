"""What runs have answered, by their ids: for clients that name answers and do not repeat them."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Made(NamedTuple):
    """What a run, or one that has gone on from its questions, has left; `None` where it has not."""

    run: str
    message: dict[str, Any] | None


# Without what came with the run that asked.
_MADE = text("""
    WITH RECURSIVE told AS (
        SELECT runs.public_id AS run, runs.id, runs.public_id, runs.user_id, runs.thread_id,
            runs.input, 0 AS depth
        FROM runs JOIN threads ON threads.id = runs.thread_id
        WHERE runs.user_id = :user AND runs.public_id = ANY(:runs)
            AND runs.deleted_at IS NULL AND threads.deleted_at IS NULL
        UNION ALL
        SELECT told.run, later.id, later.public_id, later.user_id, later.thread_id,
            later.input, told.depth + 1
        FROM told JOIN runs AS later
            ON later.user_id = told.user_id AND later.resumes = told.public_id
    )
    SELECT told.run, messages.content
    FROM told LEFT JOIN messages ON messages.thread_id = told.thread_id
        AND messages.run_id = told.id AND messages.id NOT IN (
            SELECT said ->> 'id' FROM json_array_elements(told.input -> 'messages') AS said
        )
    ORDER BY told.run, told.depth, messages.ordinal
""")


async def made_by(db: AsyncConnection, user: UUID, runs: Sequence[str]) -> list[Made]:
    """What these runs of a person have left, in order; nothing of those that are not there."""
    found = await db.execute(_MADE, {"user": user, "runs": list(runs)})
    return [Made(*row) for row in found]
