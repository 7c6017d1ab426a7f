"""What stories look up in SQL, because no client may know it."""

from typing import Any
from uuid import UUID

import psycopg

from stack.running import Stack


async def thread_key(stack: Stack, public_id: str) -> UUID:
    """The uuid of a thread; its Redis keys carry it."""
    rows = await select(stack, "SELECT id FROM threads WHERE public_id = %s", public_id)
    key: UUID = rows[0][0]
    return key


async def select(stack: Stack, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of a query."""
    async with await psycopg.AsyncConnection.connect(stack.database_url) as db:
        return await (await db.execute(query.encode(), values)).fetchall()


async def carrier(stack: Stack, run_id: str) -> str:
    """Name of the process that carries a run."""
    rows = await select(stack, "SELECT runner_id FROM runs WHERE public_id = %s", run_id)
    pid = int(rows[0][0].split("-")[-2])
    return next(name for name, child in stack.processes.items() if child.pid == pid)
