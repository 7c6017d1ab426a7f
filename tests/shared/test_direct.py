"""A process's own connections: few, reused, bounded in every wait, and replaced when they end."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psycopg
import pytest
import pytest_asyncio
import uvloop
from psycopg.errors import UniqueViolation
from sqlalchemy import text

from shared.db import direct as module
from shared.db.direct import Direct, NoneFreeError, direct
from shared.db.engine import engine, is_away
from shared.db.line import Statement
from tests.until import until

pytestmark = pytest.mark.stores

PID = Statement("SELECT pg_backend_pid()", lambda columns: int(columns[0]))
TABLE = Statement("CREATE TABLE kept (id int PRIMARY KEY)")
KEEP = Statement("INSERT INTO kept VALUES (:id)")
COUNT = Statement("SELECT count(*) FROM kept", lambda columns: int(columns[0]))
STATE = Statement(
    "SELECT current_setting('timezone'), current_setting('statement_timeout'), "
    "current_setting('application_name')"
)


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Direct]:
    async with direct(database_url, size=2) as made:
        async with made.transaction() as db:
            db.add(TABLE())
        yield made


async def pid(pool: Direct) -> int | None:
    async with pool.transaction() as db:
        return await db.one(PID())


async def count(pool: Direct) -> int | None:
    async with pool.transaction() as db:
        return await db.one(COUNT())


async def end_all(database_url: str) -> None:
    """What a restart of Postgres does to connections."""
    other = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
    async with other:
        await other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND usename = current_user"
        )


@pytest.mark.asyncio
async def test_a_connection_is_used_again(pool: Direct) -> None:
    assert await pid(pool) == await pid(pool)


@pytest.mark.asyncio
async def test_one_is_opened_when_none_is_unused(pool: Direct) -> None:
    async with pool.transaction() as db:
        assert await db.one(PID()) != await pid(pool)


@pytest.mark.asyncio
async def test_connections_are_as_the_engines_are(pool: Direct) -> None:
    async with pool.transaction() as db:
        assert await db.one(STATE()) == ("UTC", "10s", "baton")


@pytest.mark.asyncio
async def test_who_finds_none_free_is_told_that_postgres_is_away(
    pool: Direct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.05)
    async with AsyncExitStack() as busy:
        for _ in range(2):
            await busy.enter_async_context(pool.line())
        with pytest.raises(NoneFreeError) as full:
            await pid(pool)
    assert is_away(full.value)
    assert await pid(pool)


@pytest.mark.asyncio
async def test_a_postgres_that_is_not_there_is_away() -> None:
    nowhere = Direct("postgresql://postgres@127.0.0.1:1/x", size=1)
    for _ in range(2):  # the place of one that could not be opened is free again
        with pytest.raises(psycopg.OperationalError) as absent:
            await pid(nowhere)
        assert is_away(absent.value)


@pytest.mark.asyncio
async def test_a_transaction_counts_as_a_whole(pool: Direct) -> None:
    async def mistaken() -> None:
        async with pool.transaction() as db:
            await db.all(KEEP(id=1))
            db.add(KEEP(id=2))
            raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        await mistaken()
    assert await count(pool) == 0
    async with pool.transaction() as db:
        await db.all(KEEP(id=1))
        db.add(KEEP(id=2))
    assert await count(pool) == 2


@pytest.mark.asyncio
async def test_a_transaction_of_one_batch_counts_as_a_whole(pool: Direct) -> None:
    async def twice() -> None:
        async with pool.transaction() as db:
            db.add(KEEP(id=1))
            db.add(KEEP(id=1))

    with pytest.raises(UniqueViolation):
        await twice()
    assert await count(pool) == 0


@pytest.mark.asyncio
async def test_what_was_added_goes_before_what_is_waited_for(pool: Direct) -> None:
    async with pool.transaction() as db:
        first = db.add(COUNT())
        db.add(KEEP(id=1))
        assert await db.one(COUNT()) == 1
        assert first.row == 0


@pytest.mark.asyncio
async def test_a_transaction_that_was_committed_early_is_over(pool: Direct) -> None:
    async def committed_early() -> None:
        async with pool.transaction() as db:
            db.add(KEEP(id=1))
            await db.commit()
            raise RuntimeError("later")

    with pytest.raises(RuntimeError, match="later"):
        await committed_early()
    assert await count(pool) == 1


@pytest.mark.asyncio
async def test_a_failure_leaves_a_connection_that_can_be_used(pool: Direct) -> None:
    async def twice() -> None:
        async with pool.transaction() as db:
            await db.all(KEEP(id=1))
            await db.all(KEEP(id=1))

    before = await pid(pool)
    with pytest.raises(UniqueViolation):
        await twice()
    assert await count(pool) == 0
    assert await pid(pool) == before


@pytest.mark.asyncio
async def test_who_is_cancelled_within_a_transaction_undoes_it(pool: Direct) -> None:
    began = asyncio.Event()

    async def work() -> None:
        async with pool.transaction() as db:
            await db.all(KEEP(id=1))
            began.set()
            await asyncio.Event().wait()

    before = await pid(pool)
    working = asyncio.create_task(work())
    await began.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await count(pool) == 0
    assert await pid(pool) != before


@pytest.mark.asyncio
async def test_connections_that_postgres_has_ended_are_replaced_before_anybody_gets_them(
    pool: Direct, database_url: str
) -> None:
    async with pool.line() as first, pool.line() as second:
        lines = [first, second]
    await end_all(database_url)

    async def noticed() -> bool:
        return all(line.closed for line in lines)

    await until(noticed)
    async with pool.transaction() as db:
        assert await db.one(PID())
        assert await pid(pool)


@pytest.mark.asyncio
async def test_the_engine_does_not_give_out_a_connection_that_postgres_has_ended(
    database_url: str,
) -> None:
    async with engine(database_url, pool_size=2) as made:
        async with made.connect() as first, made.connect() as second:
            for one in (first, second):
                await one.execute(text("SELECT 1"))
        await end_all(database_url)
        async with made.connect() as first, made.connect() as second:
            for one in (first, second):
                await one.execute(text("SELECT 1"))


@pytest.mark.asyncio
async def test_no_connection_is_kept_for_ever(
    pool: Direct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECYCLE_S", 0)
    assert await pid(pool) != await pid(pool)


async def _asking(pool: Direct, end: float) -> int:
    """Small transactions until then; how many were cut off. Each is answered, or fails, soon."""
    cut_off = 0
    while time.monotonic() < end:
        try:
            async with asyncio.timeout(5), pool.transaction() as made:
                await made.all(PID())
                await made.all(PID())
        except psycopg.OperationalError:
            cut_off += 1
    return cut_off


async def _ending_connections(url: str, end: float) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
        while time.monotonic() < end:
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database() "
                "AND usename = current_user AND random() < 0.4"
            )
            await asyncio.sleep(0.03)


def test_nobody_waits_for_an_answer_of_a_connection_that_postgres_has_reset(
    database_url: str,
) -> None:
    """On the loop that services have: it stops watching a socket which the other side has reset."""

    async def hammer() -> list[int | None]:
        end = time.monotonic() + 3
        async with direct(database_url, size=8) as pool:
            asking = (_asking(pool, end) for _ in range(16))
            *cut_off, _ = await asyncio.gather(*asking, _ending_connections(database_url, end))
        return cut_off

    assert sum(one or 0 for one in uvloop.run(hammer())) > 10
