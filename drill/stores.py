"""What can be done to the stores besides killing them. All of it is undone at the end."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
from psycopg import AsyncConnection

from stack.resp import Reply, RespConnection

#: Whoever has this name takes connections away, and keeps its own.
GREEDY = "baton-greedy"
#: So many connect at once.
HANDS = 8
SNATCH_S = 0.02
CONNECT_S = 2

_PROCESSES = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
_TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND usename = current_user AND application_name <> %s
"""


def ask_redis(url: str, *commands: list[str | int]) -> list[Reply]:
    """Commands in order, and what Redis says to them; blocks.

    Raises:
        OSError, RespError: Redis is away, or refuses.
    """
    with RespConnection(url) as redis:
        return [redis.call(*command) for command in commands]


def terminate_backends(url: str) -> None:
    """Have Postgres end all connections; blocks."""
    with psycopg.connect(url, connect_timeout=CONNECT_S) as db:
        db.execute(_TERMINATE, (GREEDY,))


@asynccontextmanager
async def frozen_postgres(url: str, server: int) -> AsyncIterator[None]:
    """Stop the server with this process id, and all that work for it, for the block.

    The kernel goes on to take connections and bytes for them, and nobody answers.
    """
    async with await AsyncConnection.connect(url, connect_timeout=CONNECT_S) as db:
        rows = await (await db.execute(_PROCESSES)).fetchall()
    pids = [server, *(pid for (pid,) in rows)]
    try:
        _signal(pids, signal.SIGSTOP)
        yield
    finally:
        _signal(pids, signal.SIGCONT)


async def take_connections(url: str, seconds: float) -> int:
    """Use up all connections that Postgres has, for a while; how many were to be had.

    Whoever else has one loses it, and competes for it with all hands.
    """
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        hands = [group.create_task(_snatch(url, until), name="greedy") for _ in range(HANDS)]
    return sum(hand.result() for hand in hands)


async def _snatch(url: str, until: float) -> int:
    taken: list[AsyncConnection] = []
    try:
        while time.monotonic() < until:
            try:
                taken.append(
                    await AsyncConnection.connect(
                        url, autocommit=True, connect_timeout=CONNECT_S, application_name=GREEDY
                    )
                )
            except psycopg.OperationalError:  # there are no more: now to those of others
                with suppress(psycopg.Error, IndexError):
                    await taken[0].execute(_TERMINATE, (GREEDY,))
                await asyncio.sleep(SNATCH_S)
        return len(taken)
    finally:
        for one in taken:
            with suppress(psycopg.Error):
                await one.close()


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
