"""The pool of connections: what it does where Postgres ends them, or does not answer."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.engine import engine, is_away

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def use(pool: AsyncEngine) -> int:
    async with pool.connect() as connection:
        return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def test_a_connection_that_was_ended_in_the_pool_is_replaced(database_url: str) -> None:
    async with engine(database_url, pool_size=1) as pool:
        first = await use(pool)
        terminate(database_url, first)
        assert await use(pool) != first


async def test_one_after_the_other_ended_looks_like_an_absent_postgres(database_url: str) -> None:
    async with engine(database_url, pool_size=1) as pool:
        first = await use(pool)
        event.listen(
            pool.sync_engine,
            "connect",
            lambda made, _: terminate(database_url, pid_of(made)),
        )
        terminate(database_url, first)
        with pytest.raises(Exception, match="terminating connection") as refused:
            await use(pool)
        assert is_away(refused.value)


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
async def test_a_connection_that_was_cancelled_half_way_is_closed_at_once() -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        while await reader.read(1024):
            pass
        closed.set()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with engine(f"postgresql://baton@127.0.0.1:{port}/baton") as pool:
            using = asyncio.create_task(use(pool))
            await asyncio.wait_for(asked.wait(), 60)
            using.cancel()
            with suppress(asyncio.CancelledError, SQLAlchemyError):  # the latter after 2 s
                await using
            await asyncio.wait_for(closed.wait(), 60)


def pid_of(made: Any) -> int:
    pid: int = made.driver_connection.info.backend_pid
    return pid


def terminate(url: str, pid: int) -> None:
    """End a connection, and wait until it has ended."""
    with psycopg.connect(url) as db:
        assert db.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,)).fetchone() == (True,)
