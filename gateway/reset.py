"""A reset: where a thread stands, for a client that has no cursor or too old a one."""

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.messages import path_messages, waiting_messages
from shared.protocol.position import Position

#: Older messages are read by REST.
MESSAGES = 50

# One statement, so that the path's leaf and the active run belong together.
_STATE = text("""
    SELECT threads.public_id, threads.head, threads.last_fence, threads.last_seq,
        runs.public_id AS run, runs.agent, runs.first_fence, runs.started_at
    FROM threads LEFT JOIN runs ON runs.thread_id = threads.id AND runs.status = 'running'
    WHERE threads.id = :thread
""")


async def read_reset(db: AsyncConnection, thread: UUID) -> tuple[Position, dict[str, Any]]:
    """The cursor to go on from, and the fields of the `reset` frame.

    The cursor lies just before the active run's RUN_STARTED; `messages` end with what people said
    in runs that have begun or wait.
    """
    state = (await db.execute(_STATE, {"thread": thread})).one()
    path = await path_messages(db, thread, state.head, MESSAGES)
    waiting = await waiting_messages(db, thread)
    cursor = (
        Position(state.first_fence, 0) if state.run else Position(state.last_fence, state.last_seq)
    )
    run = {"runId": state.run, "agent": state.agent, "startedAt": state.started_at}
    return cursor, {
        "thread_id": state.public_id,
        "cursor": str(cursor),
        "messages": [*path.messages, *waiting],
        "more": path.more,
        "run": run if state.run else {},
    }
